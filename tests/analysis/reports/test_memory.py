"""Estimates of memory as people see them, from estimates by hand."""

from __future__ import annotations

import dataclasses
import math

import pytest

from perfkit.analysis.memory import model as memory_model
from perfkit.analysis.memory.fit import Prediction, Proposal
from perfkit.analysis.reports import memory as memory_report
from perfkit.render import terminal
from perfkit.schema.config import RunConfig
from perfkit.schema.memory import estimate as memory
from perfkit.schema.memory.estimate import Beside, MemoryEstimate
from perfkit.schema.table import Table
from tests import runs
from tests.reports import lines_in, tables_for_people

MIB = 2**20
GIB = 2**30
CPU = runs.quick()
GPU = RunConfig.of(model_size="small").resolved("cuda")


def estimate(parts: dict[str, int], module: str = "loss", first_step: int | None = None) -> MemoryEstimate:
    first = sum(parts.values()) if first_step is None else first_step
    return MemoryEstimate(method="formula", parts=parts, phase="backward", module=module, first_step=first)


def prediction(peak: int, available: int | None, beside: int = 0) -> Prediction:
    return Prediction(CPU, peak, peak, "optimizer", available, beside)


def shown(table: Table) -> list[str]:
    """The table's lines for people, without the rules."""
    return [line for line in terminal.render(table, color=False, width=120, top=1).splitlines() if line.strip("─")]


def test_the_parts_of_both_methods_stand_side_by_side_and_add_up():
    # GIVEN
    formula = estimate({memory.PARAMETERS: 3 * MIB, memory.MLP: MIB})
    traced = estimate({memory.PARAMETERS: 3 * MIB, memory.ROPE: MIB // 2})

    # WHEN
    table = memory_report.parts_table(formula, traced)

    # THEN
    assert shown(table) == [
        "Memory at the peak",
        "part        formula (MiB)  traced (MiB)  difference (MiB)   share                  what",
        "parameters          3.000         3.000             0.000   75.0%  █████████████▌  fp32 master weights",
        "rope                0.000         0.500            -0.500    0.0%                  rotated q and k",
        "mlp                 1.000         0.000             1.000   25.0%  ████▌           gate, its silu, up, their"
        " product",
        "total               4.000         3.500             0.500  100.0%",
    ]  # fmt: skip
    assert [column.name for column in table.columns if column.spare] == ["difference_bytes"]


@pytest.mark.parametrize(
    ("formula", "traced", "said"),
    [
        (100_000, 100_000, "the same"), (100_004, 100_000, "the same"), (100_000, 100_004, "the same"),
        (100_006, 100_000, "0.01% less"), (100_000, 100_006, "0.01% more"), (3 * MIB, 2 * MIB, "50.0% less"),
    ],
)  # fmt: skip
def test_how_far_the_methods_are_apart_is_said(formula, traced, said):
    [line, *_] = lines_in(memory_report.report(CPU, estimate({"mlp": formula}), estimate({"mlp": traced}), None))
    assert f"tracing on fake tensors gives {said}, in backward of loss" in line


@pytest.mark.parametrize(
    ("traced_in", "first_step", "more"),
    [("loss", 2 * MIB, 0), ("mlp", 2 * MIB, 1), ("loss", 2 * MIB - 1, 1), ("mlp", MIB, 2)],
)
def test_another_place_and_a_lower_first_step_have_lines_of_their_own(traced_in, first_step, more):
    # GIVEN
    formula, traced = estimate({"mlp": 2 * MIB}, first_step=first_step), estimate({"mlp": 2 * MIB}, traced_in)

    # THEN after the peak: these, the verdict, and what is not counted
    assert len(lines_in(memory_report.report(CPU, formula, traced, None))) == 3 + more


def test_the_summary_is_the_formulas_with_the_traced_peak_beside_it():
    # WHEN
    report = memory_report.report(CPU, estimate({"mlp": 3}, first_step=2), estimate({"mlp": 5}), GIB)

    # THEN
    found = report.summary
    assert report.tables[0].frame[["formula_bytes", "traced_bytes"]].to_numpy().tolist() == [[3, 5]]
    assert (found["peak_bytes"], found["traced_bytes"], found["first_step_bytes"]) == (3, 5, 2)
    assert (found["where"], found["memory_bytes"], found["verdict"]) == ("backward of loss", GIB, "fits")


@pytest.mark.parametrize(("compiled", "said"), [("off", False), ("block", True)])
def test_that_compiling_is_not_covered_is_said(compiled, said):
    remarks = lines_in(
        memory_report.report(CPU.changed(compile=compiled), estimate({"mlp": 1}), estimate({"mlp": 1}), None)
    )
    assert any("is not covered" in remark for remark in remarks) is said
    assert remarks[-1].startswith("not counted:")


@pytest.mark.parametrize(
    ("found", "line"),
    [
        (prediction(8 * GIB, 10 * GIB), "fits in 10.0 GiB: 8.0 GiB is 80.0% of it"),
        (
            prediction(8 * GIB, 10 * GIB, GIB // 2),
            "fits in 10.0 GiB: 8.0 GiB + 512.0 MiB beside the tensors is 85.0% of it",
        ),
        (prediction(12 * GIB, 10 * GIB), "will not fit in 10.0 GiB: 12.0 GiB is 120.0% of it"),
    ],
)  # fmt: skip
def test_the_verdict_names_its_rule(found, line):
    assert memory_report.verdict(found).what == f"{line} (fits below 90%, borderline to 105%)"


def test_without_a_memory_the_verdict_says_how_to_get_one():
    assert "--memory 16GB" in memory_report.verdict(prediction(8 * GIB, None)).advice


PROPOSAL = Proposal(("--batch-size 2", "--checkpoint"), "time", prediction(6 * GIB, 10 * GIB))


@pytest.mark.parametrize(
    ("available", "proposed", "tables", "said"),
    [
        (GIB, None, ["memory"], ""),
        (GIB, [], ["memory"], "nothing to change: the configuration fits as it is"),
        (1, [], ["memory"], "nothing that was tried fits"),
        (1, [PROPOSAL], ["memory", "fit"], ""),
    ],
)  # fmt: skip
def test_what_would_fit_is_shown_to_those_who_ask(available, proposed, tables, said):
    report = memory_report.report(CPU, estimate({"mlp": 1}), estimate({"mlp": 1}), available, proposed)
    assert [table.name for table in tables_for_people(report)] == [table.name for table in report.tables] == tables
    assert any(remark.startswith("nothing") for remark in lines_in(report)) is bool(said)
    assert any(remark.startswith(said) for remark in lines_in(report))


def test_proposals_are_flags_to_paste_with_their_peak_and_what_they_give_up():
    # GIVEN
    table = memory_report.proposals_table([PROPOSAL, dataclasses.replace(PROPOSAL, flags=("--checkpoint",))])

    # THEN
    assert shown(table)[1:] == [
        "add                          peak (GiB)  of memory  gives up",
        "--batch-size 2 --checkpoint       6.000      60.0%  time",
        "--checkpoint                      6.000      60.0%  time",
    ]
    assert table.columns[0].whole


def test_a_row_of_many_estimates_says_what_it_is_of():
    # GIVEN two configurations, of which the first was traced too
    configs = [RunConfig.of(model_size=size, batch_size=3).resolved("cuda") for size in ("small", "medium")]
    formulas = [memory_model.estimate(config) for config in configs]
    traced = dataclasses.replace(formulas[0], parts={"mlp": 2 * formulas[0].peak})

    # WHEN
    table = memory_report.estimate_table(configs, traced=[traced], varied=["seed", "batch_size"])

    # THEN
    one, two = table.frame.to_dict("records")
    shown = "size parameters context_length batch_size pass_type precision seed peak_bytes traced_bytes difference"
    assert list(table.frame) == [*shown.split(), "first_step_bytes", "where"]
    assert (one["size"], one["parameters"], one["context_length"], one["batch_size"]) == ("small", 128_625_408, 512, 3)
    assert (one["seed"], one["peak_bytes"]) == (str(configs[0].step.seed), formulas[0].peak)
    assert (one["traced_bytes"], one["difference"]) == (2 * formulas[0].peak, -0.5)
    assert (two["peak_bytes"], two["first_step_bytes"]) == (formulas[1].peak, formulas[1].first_step)
    assert two["traced_bytes"] != two["traced_bytes"]  # nan: not traced
    assert [column.heading for column in table.columns] == [
        "size", "parameters", "context", "batch", "pass", "precision", "seed", "peak", "traced", "difference",
        "first step", "where",
    ]  # fmt: skip
    assert [c.name for c in table.columns if c.spare] == ["parameters", "difference", "first_step_bytes"]


def test_many_estimates_without_a_trace_or_a_memory_have_no_columns_for_them():
    table = memory_report.estimate_table([CPU], varied=["num_layers"])
    assert not {"traced_bytes", "difference", "verdict"} & set(table.frame)
    assert list(memory_report.estimate_table([CPU], GIB).frame["verdict"]) == ["fits"]


def test_what_is_beside_the_tensors_adds_up_to_what_pytorch_counts():
    # GIVEN estimates for a GPU, of which only the traced one knows the order of allocations
    beside = Beside(rounding={memory.MLP: MIB, memory.ROPE: MIB}, workspaces=8 * MIB, context=GIB)
    formula = dataclasses.replace(estimate({memory.MLP: 90 * MIB}), beside=beside)
    traced = dataclasses.replace(formula, beside=dataclasses.replace(beside, unused=20 * MIB))

    # THEN
    table = memory_report.report(GPU, formula, traced, GIB).tables[1]
    assert table.name == "memory_beside"
    frame = table.frame.set_index("what")[["formula_bytes", "traced_bytes"]] / MIB
    rows = {str(what): tuple(amounts) for what, amounts in zip(frame.index, frame.to_numpy(), strict=True)}
    assert rows["tensors"] == (90, 90)
    assert rows["rounding"] == (2, 2)
    assert rows["allocated"] == (100, 100)
    assert rows["reserved"][1] == 120
    assert math.isnan(rows["reserved"][0])  # not known
    assert (formula.reserved, traced.reserved) == (None, 120 * MIB)


def test_a_cpu_has_nothing_beside_the_tensors():
    report = memory_report.report(CPU, estimate({"mlp": 1}), estimate({"mlp": 1}), GIB)
    assert "memory_beside" not in [table.name for table in report.tables]
    assert (memory_model.estimate(CPU).beside, memory_model.estimate(CPU).allocated) == (
        None,
        memory_model.estimate(CPU).peak,
    )
