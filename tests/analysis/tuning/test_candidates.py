"""Findings -> changes to try, and those that nothing here can make."""

from __future__ import annotations

import dataclasses

import pytest

from perfkit import RunConfig
from perfkit.analysis.findings.performance.catalogue import LOOKS
from perfkit.analysis.findings.performance.program.debugging import ANOMALY_MODE
from perfkit.analysis.tuning import candidates as changes
from perfkit.analysis.tuning.candidates import Candidate, Change
from perfkit.errors import UsageError
from perfkit.schema.config import of_own
from perfkit.schema.finding import Cost, Finding, Rule
from tests.runs import quick


def finding(rule: str, percent: int = 10, gain: int | None = None) -> Finding:
    """A finding about performance, with so many percent of a step of 100 ns at stake."""
    replayed = Cost() if gain is None else Cost(gain, gain / 100)
    return Finding(
        Rule(rule, "performance", ""), "slow", Cost(percent, percent / 100), advice="something", gain=replayed
    )


OWN = {"model": "package:build", "input": "package:batch"}


def own(**fields) -> RunConfig:
    return of_own(OWN, **{"device": "cpu", **fields}).resolved("cpu")


def on_gpu(config: RunConfig) -> RunConfig:
    return dataclasses.replace(config, step=dataclasses.replace(config.step, device="cuda"))


def names(config: RunConfig, *rules: str, modules: tuple[str, ...] = ()) -> list[str]:
    return [one.name for one in changes.candidates(config, map(finding, rules), modules)[0]]


@pytest.mark.parametrize(
    ("config", "rule", "modules", "expected"),
    [
        (quick(pass_type="train"), "unfused-optimizer", (), ["--optimizer adamw-fused"]),
        (quick(pass_type="train", optimizer="adamw-fused"), "unfused-optimizer", (), []),
        (quick(), "unfused-optimizer", (), []),
        (quick(), "eager-attention", (), ["--attention sdpa"]),
        (quick(attention="sdpa"), "eager-attention", (), []),
        (quick(attention="sdpa", sdpa_backend="math"), "sdpa-math", (), ["without --sdpa-backend math"]),
        (quick(checkpoint=True), "recomputation", (), ["without --checkpoint"]),
        (quick(gc="on"), "garbage-collection", (), ["without --gc on"]),
        (quick(), "unused-tensor-cores", (), []),
        (on_gpu(quick()), "unused-tensor-cores", (), ["--precision tf32", "--precision bf16"]),
        (on_gpu(quick()), "allocator-calls", (), ["PYTORCH_CUDA_ALLOC_CONF=expandable_segments:True"]),
        (quick(), "elementwise-chains", (), ["--compile model", "--compile block"]),
        (own(), "elementwise-chains", (), ["--compile model"]),
        (own(), "elementwise-chains", ("ModuleList",), ["--compile model", "--compile block"]),
        (own(), "anomaly-mode", (), ["--apply no-anomaly"]),
        (own(), "double-precision", (), ["--apply float32"]),
        (own(), "layout-copies", ("Conv2d",), ["--apply channels-last"]),
        (own(), "layout-copies", ("Linear",), []),
        (quick(), "layout-copies", ("Conv2d",), []),
        (quick(), "data-loader", (), []),
        (own(), "data-loader", ("Linear",), []),
        (own(), "data-loader", ("DataLoader",), ["--apply workers-2", "--apply workers-4"]),
        (own(), "blocking-copies", ("DataLoader",), []),
        (on_gpu(own()), "data-loader", ("DataLoader",),
            ["--apply workers-2", "--apply workers-4", "--apply pin-memory"]),
        (on_gpu(own()), "blocking-copies", ("DataLoader",), ["--apply pin-memory"]),
    ],
)  # fmt: skip
def test_each_advice_is_the_flags_that_follow_it(config, rule, modules, expected):
    assert names(config, rule, modules=modules) == expected


def test_each_rule_with_flags_is_one_that_there_is():
    known = {look.rule.id for look in LOOKS}
    assert {*changes.ADVICE, *changes.REASONS, *changes.BESIDE} <= known


def test_what_no_flag_can_do_is_listed_with_the_reason():
    """GIVEN a slow loader that --input does not return, and a loop THEN one needs that, the other a change of code"""
    found, unapplied = changes.candidates(own(), [finding("data-loader", 7), finding("python-loop", 8)])
    assert not found
    assert [(one.rule, one.cost_ns, one.what) for one in unapplied] == [
        ("data-loader", 7, "something"), ("python-loop", 8, "something")]  # fmt: skip
    assert unapplied[0].why.startswith("tried of a DataLoader that --input returns")
    assert unapplied[1].why == "a change of your code"


@pytest.mark.parametrize("rule", ["launch-bound", "tiny-kernels"])
def test_cuda_graphs_are_tried_on_a_gpu_alone(rule):
    """GIVEN kernels that wait for their launches THEN a GPU tries CUDA graphs; without one they are not applied"""
    graphs = "--compile model --compile-mode reduce-overhead"
    assert graphs in names(on_gpu(quick()), rule)
    assert graphs in names(on_gpu(own()), rule)
    compiled = on_gpu(quick(compile="model"))
    assert "--compile-mode reduce-overhead" in names(compiled, rule)
    found, unapplied = changes.candidates(quick(), [finding(rule)])
    assert graphs not in [one.name for one in found]
    assert ("CUDA graphs", "needs a GPU") in [(one.what, one.why) for one in unapplied]


def test_a_larger_batch_shares_what_does_not_grow_with_it():
    """GIVEN 40% in launches THEN twice the batch has them once in two steps: 20% of the time for as many tokens"""
    found, unapplied = changes.candidates(on_gpu(quick()), [finding("few-tiles", 40)], fits=lambda *_: True)
    assert [(one.name, one.times, one.predicted) for one in found] == [
        ("--batch-size 8", 4, pytest.approx(0.3)), ("--batch-size 4", 2, pytest.approx(0.2))]  # fmt: skip
    assert found[1].of(quick()) == quick(batch_size=4)
    assert not unapplied
    config = on_gpu(of_own(OWN | {"input_arg": ("n=1", "batch=4")}, device="cpu").resolved("cpu"))
    found, _ = changes.candidates(config, [finding("few-tiles")], fits=lambda _, times: times == 2)
    assert [(one.name, one.of(config).value("input_arg")) for one in found] == [
        ("--input-arg batch=8", "n=1 batch=8")]  # fmt: skip


def test_what_does_not_fit_is_said_once():
    """GIVEN two findings that advise a larger batch, and no room THEN each batch is listed once"""
    _, unapplied = changes.candidates(on_gpu(quick()), [finding("launch-bound"), finding("few-tiles")])
    assert [one.what for one in unapplied] == ["a batch of 4", "a batch of 8", "something"]


def test_an_argument_of_the_input_takes_the_place_of_the_one_of_its_name():
    config = of_own(OWN | {"input_arg": ("batch=4", "wide=True")}, device="cpu")
    change = Change({"input_arg": "batch=8"})
    assert change.of(config).value("input_arg") == "batch=8 wide=True"
    assert Change({"input_arg": "n=1"}).of(config).value("input_arg") == "batch=4 wide=True n=1"
    assert changes.spelled(config, change) == "--input-arg batch=8 wide=True"
    with pytest.raises(UsageError, match="--input-arg is for a model of your own"):
        change.of(quick())


def test_the_most_to_gain_comes_first_and_overlapping_findings_count_once():
    """GIVEN two findings for compilation, 30 and 50, and one for the optimizer with a gain of 40 THEN 50, 50, 40"""
    given = [finding("tiny-kernels", 30), finding("unfused-optimizer", 90, 40), finding("elementwise-chains", 50)]
    found, _ = changes.candidates(quick(pass_type="train"), given)
    assert [(one.name, one.predicted) for one in found] == [
        ("--compile model", 0.5), ("--compile block", 0.5), ("--optimizer adamw-fused", 0.4)]  # fmt: skip
    assert found[0].rules == ("tiny-kernels", "elementwise-chains")


def test_other_findings_advise_no_change():
    """GIVEN an integrity finding of a rule's name THEN nothing is made of it"""
    other = Finding(Rule("unfused-optimizer", "integrity", ""), "x")
    assert changes.candidates(quick(pass_type="train"), [other]) == ([], [])


def test_what_is_asked_for_has_the_fields_of_its_flags_alone():
    [found] = changes.asked_for(quick(), [("--num-threads 2", RunConfig.of(num_threads=2))], RunConfig.of())
    assert found.name == "--num-threads 2"
    assert found.of(quick()) == quick(num_threads=2)
    with pytest.raises(UsageError, match="changes nothing"):
        changes.asked_for(quick(), [("", RunConfig.of())], RunConfig.of())


@pytest.mark.parametrize(
    ("flags", "described", "said"),
    [
        ("--batch-size 6", RunConfig.of(batch_size=6), "--batch-size makes it another computation"),
        ("--batch-size 2", RunConfig.of(batch_size=2), "only a batch of a whole number of times the rows is tried"),
        ("--context-length 8", RunConfig.of(context_length=8), "--context-length makes it another computation"),
        ("--model a:b ...", of_own({"model": "a:b", "input": "a:c"}), "--model makes it another computation"),
    ],
)
def test_other_work_than_a_larger_batch_is_refused(flags, described, said):
    with pytest.raises(UsageError, match=said):
        changes.asked_for(quick(batch_size=4), [(flags, described)], RunConfig.of())


def test_a_larger_batch_can_be_asked_for():
    for run, asked in ((4, 12), (2, 4), (1, 4)):  # 4 is the default
        given = [(f"--batch-size {asked}", RunConfig.of(batch_size=asked))]
        [found] = changes.asked_for(quick(batch_size=run), given, RunConfig.of())
        assert (found.times, found.of(quick(batch_size=run))) == (asked // run, quick(batch_size=asked))
    four, eight = (of_own(OWN | {"input_arg": (f"rows={rows}",)}, device="cpu").resolved("cpu") for rows in (4, 8))
    [found] = changes.asked_for(four, [("--input-arg rows=8", eight)], four)
    assert (found.times, found.of(four)) == (2, eight)
    for name in ("model", "model_arg"):
        other = of_own(OWN | {"input_arg": ("rows=4",)} | {name: "a:b" if name == "model" else ("n=2",)}, device="cpu")
        with pytest.raises(UsageError, match="makes it another computation"):
            changes.asked_for(four, [("x", other.resolved("cpu"))], four)


def test_what_costs_more_than_a_recording_shows_predicts_the_least():
    """GIVEN the finding of anomaly mode, whose cost is the least of it THEN its prediction is, too; not another's"""
    [found], _ = changes.candidates(own(), [dataclasses.replace(finding("x"), rule=ANOMALY_MODE)])
    assert found.at_least
    assert not any(one.at_least for one in changes.candidates(own(), [finding("double-precision")])[0])


def test_a_change_of_a_model_can_be_asked_for():
    changed = of_own({**OWN, "apply": ("float32",)}, device="cpu")
    usual = of_own(OWN)
    [found] = changes.asked_for(own(), [("--apply float32", changed)], dataclasses.replace(usual, step=own().step))
    assert found.of(own()).flags()[-4:-2] == ["--apply", "float32"]


def test_changes_of_a_model_add_up():
    """GIVEN a model that is changed already THEN another change comes after it"""
    one, other = (Change({"apply": name}) for name in ("float32", "no-anomaly"))
    both = Candidate("both", (one, other)).of(own())
    assert both.flags()[-5:-2] == ["--apply", "float32", "no-anomaly"]
    assert not one.touches & other.touches
    with pytest.raises(UsageError, match="--apply"):
        one.of(quick())


def test_only_one_number_of_workers_can_be_had():
    few, many, pinned = (Change({"apply": name}) for name in ("workers-2", "workers-4", "pin-memory"))
    assert few.touches & many.touches
    assert not few.touches & pinned.touches


def test_variables_and_flags_stand_as_a_shell_takes_them():
    change = Change({"compile": "model"}, {"A": "b c"})
    assert changes.spelled(quick(), change) == "A='b c' --compile model"


def test_a_command_leaves_out_what_follows_from_the_size():
    config = RunConfig.of(model_size="tiny", pass_type="train").resolved("cpu")
    assert changes.shortest(config) == ["--model-size", "tiny", "--pass-type", "train", "--device", "cpu"]
    assert changes.shortest(quick())[:4] == ["--model-size", "tiny", "--d-model", "32"]


def lost(advice: str, rule: str = "lost-every-step") -> Finding:
    """What every step loses to a cause of noise: 7 of its 100 ns."""
    return Finding(Rule(rule, "noise", ""), "slow", Cost(7, 0.07), advice=advice)


def test_what_every_step_loses_is_tried_as_its_advice_says():
    """GIVEN page faults and waiting threads WHEN asked THEN the allocator's settings and the threads are tried"""
    malloc = "MALLOC_TRIM_THRESHOLD_=4294967296 and MALLOC_MMAP_THRESHOLD_=4294967296 in the environment (so that)"
    waiting = lost("a quiet machine, taskset, or --num-threads 1", "too-many-threads")
    found, unapplied = changes.candidates(quick(num_threads=2), [lost(malloc), waiting])
    by_name = {one.name: one for one in found}
    settings = "MALLOC_TRIM_THRESHOLD_=4294967296 MALLOC_MMAP_THRESHOLD_=4294967296"
    assert set(by_name) == {settings, "--num-threads 1"}
    assert by_name[settings].environment == dict(pair.split("=") for pair in settings.split())
    assert by_name["--num-threads 1"].of(quick(num_threads=2)) == quick(num_threads=1)
    assert {one.predicted for one in found} == {0.07}
    assert unapplied == []


def test_other_noise_is_no_change_to_try():
    found = changes.candidates(quick(), [lost("a quiet machine"), lost("--num-threads 1", "slow-steps")])
    assert found == ([], [])
