"""All rules together: their order, what they lack, and that a healthy program has none."""

from __future__ import annotations

from perfkit.analysis.attribution.attribute import Phase, attribute
from perfkit.analysis.findings.performance import catalogue
from perfkit.analysis.findings.performance.case import Case
from perfkit.analysis.findings.performance.catalogue import LOOKS, UNCHECKED
from perfkit.analysis.findings.performance.look import Look
from perfkit.analysis.time.account import Selection, account_for
from perfkit.analysis.time.summary import summary
from perfkit.schema.finding import Cost, Finding, Rule
from tests.analysis.findings.performance.cases import case_of, operators, rules_of
from tests.builders import TraceBuilder


def look(name: str, cost: Cost | None, *needs) -> Look:
    rule = Rule(name, "performance", "made by a test")
    return Look(rule, lambda _: None if cost is None else Finding(rule, name, cost), needs)


def said(looks, builder: TraceBuilder) -> list[tuple[str, str]]:
    return [(one.rule.id, one.what) for one in catalogue.findings(case_of(builder), looks)]


def host() -> TraceBuilder:
    b = TraceBuilder().step(0, 0, 100)
    operators(b, ["mm"], 10)
    return b


def test_the_dearest_is_first():
    looks = [look("small", Cost(10)), look("none", None), look("unknown", Cost()), look("large", Cost(20))]
    assert [rule for rule, _ in said(looks, host())] == ["large", "small", "unknown"]


def test_what_could_not_be_checked_is_one_finding():
    """GIVEN two rules that need shapes and one that needs steps WHEN the file has neither THEN one finding says so"""
    b = TraceBuilder()
    operators(b, ["mm"], 10)
    looks = [
        look("a-b", Cost(1), "shapes"),
        look("c", Cost(1), "shapes"),
        look("d", Cost(1), "steps"),
        look("e", Cost(1)),
    ]
    (first, _), (last, text) = said(looks, b)
    assert (first, last) == ("e", "unchecked")
    assert text == "not checked, without shapes: a b, c; without steps: d"
    advice = catalogue.findings(case_of(b), looks)[-1].advice
    assert advice == "profile(record_shapes=True) and profiler.step() after each step"


def test_rules_about_devices_are_no_loss_on_a_host():
    assert said([look("a", Cost(1), "device", "shapes")], host()) == []
    on_device = host().launched("k", 12, 20, 30)
    assert [rule for rule, _ in said([look("a", Cost(1), "device", "shapes")], on_device)] == ["unchecked"]


def test_what_is_not_in_the_recording_at_all_is_no_loss():
    def nothing(_: Case) -> bool:
        return False

    looks = [Look(UNCHECKED, lambda _: None, ("shapes",), nothing)]
    assert said(looks, host()) == []


def test_a_healthy_step_has_no_finding():
    """GIVEN a transformer's step: fused attention, norms, pairs of elementwise operators, a fused optimizer"""
    b = TraceBuilder(metadata={"record_shapes": 1}).step(0, 0, 10_000)
    layer = ["layer_norm", "linear>addmm", "scaled_dot_product_attention", "linear>addmm", "dropout", "add"]
    end = operators(b, [*layer, "layer_norm", "linear>addmm", "gelu", "linear>addmm", "add"] * 12, 100, sequence=1)
    b.annotation("Optimizer.step#AdamW.step", end, end + 500)
    operators(b, ["_fused_adamw_"], end, 400)
    assert rules_of(b) == []


def test_one_phase_alone_and_an_empty_account_are_not_judged():
    trace = host().build()
    account = account_for(trace, attribute(trace), Selection(phase=Phase.BACKWARD))
    assert catalogue.findings(Case(account, summary(account.partial)), [look("a", Cost(1))]) == ()
    empty = TraceBuilder().build()
    nothing = account_for(empty, attribute(empty))
    assert catalogue.findings(Case(nothing, summary(nothing.partial)), [look("a", Cost(1))]) == ()


def test_every_rule_is_looked_for_once():
    names = [one.rule.id for one in LOOKS]
    assert len(names) == len(set(names))
    assert all(one.rule.topic == "performance" for one in LOOKS)
