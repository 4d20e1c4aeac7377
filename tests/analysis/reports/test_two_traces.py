"""Two traces side by side: the rows add up to either file's own tables, and what disagrees is marked."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from perfkit.analysis.reports import trace as trace_report
from perfkit.analysis.reports import two_traces as trace_comparison
from perfkit.analysis.reports.two_traces import TABLE_DISAGREES
from perfkit.errors import UsageError
from perfkit.render.terminal import render
from perfkit.schema.report import Report
from perfkit.trace.columns import HostKind
from perfkit.trace.load import load
from tests.builders import TraceBuilder, saying
from tests.corpus import corpus_file
from tests.nsys_export import NsysExport, as_nsys
from tests.reports import evidence_that_misses, lines_in, tables_for_people


def training(*, steps: int = 2, scale: int = 1, extra: str = "") -> TraceBuilder:
    """Steps of 100 ns with two kernels each in a layer of its own, `scale` times as long on the device."""
    builder = TraceBuilder()
    for index in range(steps):
        at = 100 * index
        builder.step(index, at, at + 100)
        for number, layer in enumerate(("fc1", "fc2")):
            begin = at + 10 + 30 * number
            builder.module(layer, begin, begin + 20).range("aten::mm", begin + 1, begin + 10)
            builder.launched(f"gemm_{layer}", begin + 2, begin + 4, begin + 4 + 5 * scale * (number + 1))
        if extra:
            builder.launched(extra, at + 90, at + 91, at + 93)
    return builder


def frame(report: Report, name: str) -> pd.DataFrame:
    table = report.table(name)
    assert table is not None
    return table.frame


def flags(report: Report, name: str, key: str) -> dict[str, str]:
    rows = frame(report, name)
    return dict(zip(rows[key], rows["disagrees"], strict=True))


def test_a_trace_agrees_with_itself():
    report = trace_comparison.report(training().build(), training().build())
    assert report.summary["disagreements"] == {"phases": 0, "groups": 0, "kernels": 0}
    assert "kernels: all 2 rows agree: counts are equal and shares differ by at most 1.00% of the time" in lines_in(
        report
    )


def test_an_instrument_that_is_slower_throughout_still_agrees():
    """GIVEN one recording with times twice as long WHEN compared THEN shares are equal, and the difference is shown"""
    report = trace_comparison.report(training().build(), training(scale=2).build())
    assert set(report.summary["disagreements"].values()) == {0}
    assert frame(report, "kernels")["difference_ns"].tolist() == [20, 10]


@pytest.mark.parametrize("name", ["kernels", "groups"])
def test_a_narrow_terminal_leaves_out_columns_and_names_them(name: str):
    """GIVEN kernels of several seconds with long names, and 80 columns THEN no line is longer, and times stay"""
    long = "a_kernel_with_a_name_that_no_terminal_of_eighty_columns_has_room_for"
    report = trace_comparison.report(training(scale=10**8).build(), training(scale=10**9, extra=long).build())
    text = render(report.table(name), width=80, color=False)
    assert max(map(len, text.splitlines())) <= 80
    assert "A (s)" in " ".join(text.split())
    assert "no room in 80 columns for:" in text


def test_a_kernel_on_one_side_and_a_missing_one():
    report = trace_comparison.report(training().build(), training(extra="surprise").build())
    assert flags(report, "kernels", "name") == {"gemm_fc2": "share", "gemm_fc1": "share", "surprise": "only B, share"}
    assert flags(report, "groups", "scope")["<unattributed>"] == "only B, share"
    assert "kernels: 3 of 3 rows disagree: 3 share, 1 only B" in lines_in(report)
    assert [len(one.evidence) for one in report.findings if one.rule is TABLE_DISAGREES][-1] == 3
    assert evidence_that_misses(report) == []


def test_another_count_of_the_same_kernels():
    other = training()
    other.launched("gemm_fc1", 30, 31, 31)  # no time, but one more
    report = trace_comparison.report(training().build(), other.build())
    assert flags(report, "kernels", "name") == {"gemm_fc2": "", "gemm_fc1": "count"}


def test_recordings_of_different_numbers_of_steps_are_compared_per_step():
    report = trace_comparison.report(training(steps=2).build(), training(steps=5).build())
    assert set(report.summary["disagreements"].values()) == {0}
    assert frame(report, "kernels")["count_b"].tolist() == [1.0, 1.0]
    assert "counts and times are per step: A has 2 steps, B has 5 steps" in lines_in(report)


def test_of_which_ranks_they_are_is_said():
    a, b = (saying(training().build(), rank=rank, world_size=4) for rank in (0, 2))
    remark = "A is rank 0 of 4 and B is rank 2 of 4: nothing here is about other ranks"
    assert remark in [found.what for found in trace_comparison.report(a, b).findings]


def test_margins_are_in_points_of_the_share():
    a = TraceBuilder().launched("x", 0, 10, 110).launched("y", 5, 200, 300).build()
    b = TraceBuilder().launched("x", 0, 10, 110).launched("y", 5, 200, 310).build()
    assert trace_comparison.report(a, b, margin=0.01).summary["disagreements"]["kernels"] == 2
    assert trace_comparison.report(a, b, margin=0.03).summary["disagreements"]["kernels"] == 0


def test_rows_add_up_to_what_either_file_says():
    a, b = training().build(), training(extra="surprise", scale=3, steps=2).build()
    report = trace_comparison.report(a, b)
    for name in ("phases", "groups", "kernels"):
        rows = frame(report, name)
        for side, trace in (("a", a), ("b", b)):
            own = frame(trace_report.report(trace), name)
            assert rows[f"total_ns_{side}"].sum() == own["total_ns"].sum()
            assert rows[f"count_{side}"].sum() == own["count"].sum()
            assert rows[f"share_{side}"].sum() == pytest.approx(1)


def test_device_work_is_not_compared_with_host_times():
    host = TraceBuilder().step(0, 0, 100).range("aten::mm", 10, 20).build()
    with pytest.raises(UsageError, match="only A holds device work"):
        trace_comparison.report(training().build(), host)


def test_host_times_of_one_instrument():
    host = TraceBuilder().step(0, 0, 100).range("aten::mm", 10, 20).build()
    report = trace_comparison.report(host, host)
    assert report.summary["disagreements"] == {"phases": 0, "groups": 0, "kernels": 0}


def test_host_times_of_two_instruments_agree_in_their_ranges(tmp_path: Path):
    # GIVEN the same module, run twice, recorded by torch.profiler with its operators and by nsys without
    kineto = TraceBuilder().step(0, 0, 100).range("perfkit.step::0", 1, 99)
    for at in (10, 50):
        kineto.module("fc", at, at + 20).range("aten::mm", at + 1, at + 10)
        kineto.range("perfkit.grad::fc", at + 25, at + 26, HostKind.OP)
    export = NsysExport().domain("perfkit", 1).range("step::0", 1, 99, domainId=1)
    for at in (10, 50):
        export.range("fc", at, at + 20, domainId=1)

    # WHEN
    report = trace_comparison.report(kineto.build(), load(export.write(tmp_path / "a.sqlite")))

    # THEN
    assert flags(report, "ranges", "name") == {"step::*": "", "fc": ""}
    assert frame(report, "ranges")["count_b"].tolist() == [1, 2]
    assert report.table("kernels") is None
    assert any(line.startswith("two instruments without device work") for line in lines_in(report))


def test_backward_ranges_that_one_recording_cannot_have_are_no_disagreement(tmp_path: Path):
    # GIVEN a torch.profiler recording without ranges round backward nodes, one with, and an export with them
    def kineto() -> TraceBuilder:
        return TraceBuilder().step(0, 0, 100).range("perfkit.step::0", 1, 99).module("fc", 10, 20)

    without, with_them = kineto().build(), kineto().range("perfkit.backward::fc", 50, 60).build()
    export = NsysExport().domain("perfkit", 1).range("step::0", 1, 99, domainId=1).range("fc", 10, 20, domainId=1)
    nsys = load(export.range("backward::fc", 50, 60, domainId=1).write(tmp_path / "a.sqlite"))

    # WHEN
    one, two = trace_comparison.report(without, nsys), trace_comparison.report(with_them, nsys)

    # THEN they are compared where both could have them
    assert flags(one, "ranges", "name") == {"step::*": "", "fc": ""}
    assert any(line.startswith("only B has ranges round backward nodes") for line in lines_in(one))
    assert flags(two, "ranges", "name") == {"step::*": "", "fc": "", "backward::fc": ""}
    assert not any("round backward nodes" in line for line in lines_in(two))


def test_what_pytorch_itself_or_the_search_for_nodes_leaves_in_one_recording_is_no_disagreement(tmp_path: Path):
    kineto = TraceBuilder().step(0, 0, 100).range("perfkit.step::0", 1, 99).range("Optimizer.step#AdamW.step", 60, 90)
    export = NsysExport().domain("perfkit", 1).range("step::0", 1, 99, domainId=1)
    export.range("phase::hooks", 5, 9, domainId=1).range("backward::fc", 50, 60, domainId=1)
    report = trace_comparison.report(kineto.build(), load(export.write(tmp_path / "a.sqlite")))
    assert flags(report, "ranges", "name") == {"step::*": ""}


def test_kernels_that_two_instruments_spell_differently_are_one_row(tmp_path: Path):
    # GIVEN two kernels, one of which torch.profiler and nsys spell each in their way
    builder = TraceBuilder()
    gnu = "void at::f<4, std::array<char*, 2ul> >(int, std::array<char*, 2ul>)"
    builder.launched(gnu, 1, 10, 20).launched("sgemm", 2, 30, 60)
    export = NsysExport().kernel("void at::f<(int)4, std::array<char *, (unsigned long)2>>(int, T2)", 10, 20, 1)
    nsys = load(export.kernel("sgemm", 30, 60, 2).write(tmp_path / "b.sqlite"))

    # WHEN
    report = trace_comparison.report(builder.build(), nsys)

    # THEN it is one row, by the name of A
    assert flags(report, "kernels", "name") == {"sgemm": "", gnu: ""}
    assert any("names are spelled differently" in line for line in lines_in(report))


def test_kernels_are_put_together_only_where_a_name_is_on_one_side_alone_and_it_is_said(tmp_path: Path):
    # GIVEN overloads that both instruments spell alike, in other numbers, and two that nsys alone spells out
    builder = TraceBuilder().launched("f(int)", 1, 10, 20).launched("f(int)", 2, 30, 40).launched("f(float)", 3, 50, 60)
    builder.launched("void g<4>(int)", 4, 70, 90)
    export = NsysExport().kernel("f(int)", 10, 20, 1).kernel("f(float)", 30, 40, 2).kernel("f(float)", 50, 60, 3)
    export.kernel("void g<(int)4>(T1)", 70, 80, 4).kernel("void g<(long)4>(T1)", 80, 90, 5)

    # WHEN
    report = trace_comparison.report(builder.build(), load(export.write(tmp_path / "b.sqlite")))

    # THEN the overloads are not confused, and that a row holds two names of B is said
    assert flags(report, "kernels", "name") == {
        "f(int)": "count, share",
        "f(float)": "count, share",
        "void g<4>(int)": "count",
    }
    (kernels,) = [table for table in tables_for_people(report) if table.name == "kernels"]
    assert kernels.notes == ("B: 1 names share a row with one that differs in its parameters only",)


@pytest.mark.corpus
@pytest.mark.parametrize("name", ["v100_training", "a100_ddp_training"])
def test_two_instruments_of_one_recording_agree(tmp_path: Path, name: str):
    """GIVEN a Kineto trace, and the same columns as nsys would export them WHEN compared THEN nothing disagrees"""
    kineto = load(corpus_file(f"kineto/{name}.json.gz"))
    report = trace_comparison.report(kineto, load(as_nsys(kineto).write(tmp_path / "b.sqlite")))
    assert set(report.summary["disagreements"].values()) == {0}
    assert (frame(report, "kernels")["difference_ns"] == 0).all()
    facts = frame(report, "recordings").set_index("recording")
    assert [facts[side]["instrument"] for side in "ab"] == ["PyTorch profiler (Kineto)", "Nsight Systems"]
    assert facts["a"]["kernel time"] == facts["b"]["kernel time"]


@pytest.mark.corpus
def test_a_kernel_that_an_instrument_lost_is_found(tmp_path: Path):
    """GIVEN an export without one of 4,350 kernels WHEN compared THEN that kernel's row and its layer's are marked"""
    kineto = load(corpus_file("kineto/v100_training.json.gz"))
    export = as_nsys(kineto)
    lost = export.rows["CUPTI_ACTIVITY_KIND_KERNEL"].pop(2000)
    report = trace_comparison.report(kineto, load(export.write(tmp_path / "b.sqlite")))
    assert report.summary["disagreements"] == {"phases": 1, "groups": 1, "kernels": 1, "copies": 0}
    texts = {number: text for text, number in export.strings.items()}
    rows = frame(report, "kernels")
    assert rows["name"][rows["disagrees"] != ""].tolist() == [texts[lost["demangledName"]]]
