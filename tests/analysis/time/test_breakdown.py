"""Tables by kernel, copy, layer, phase, category and thread, of traces small enough to add up by hand."""

from __future__ import annotations

import math

import pytest

from perfkit.analysis.attribution.attribute import COMMUNICATION, UNATTRIBUTED, Phase, attribute
from perfkit.analysis.time import breakdown
from perfkit.analysis.time.account import Account, Selection, account_for
from perfkit.trace.columns import DeviceKind
from tests.analysis import columns
from tests.builders import TraceBuilder

TIMES = ["mean_ns", "min_ns", "max_ns"]


def account(builder: TraceBuilder, **selection) -> Account:
    trace = builder.build()
    return account_for(trace, attribute(trace), Selection(**selection))


def two_steps() -> TraceBuilder:
    """gemm twice in each step's forward and once in the second one's backward; relu once in each forward."""
    b = TraceBuilder()
    for step, second in enumerate((20, 30)):
        at = 1000 * step
        b.step(step, at, at + 1000).module("net", at + 1, at + 200)
        b.range("aten::mm", at + 10, at + 50, sequence=step)
        b.launched("gemm", at + 11, at + 100, at + 110).launched("gemm", at + 12, at + 110, at + 110 + second)
        b.range("aten::relu", at + 60, at + 70).launched("relu", at + 61, at + 150, at + 155)
    return b.node("MmBackward0", 1300, 1400, 1).launched("gemm", 1310, 1400, 1440)


def test_a_row_says_how_often_how_long_and_of_what_kind_a_kernel_ran():
    """GIVEN 5 gemms of 10, 20, 10, 30 and 40 ns and 2 relus of 5 ns in two steps WHEN tabled THEN by hand"""
    table = breakdown.kernel_table(account(two_steps()).partial)
    gemm, relu = table.frame.to_dict("records")
    assert gemm == {
        "name": "gemm", "short_name": "gemm", "category": "matmul", "operator": "aten::mm", "count": 5,
        "total_ns": 110, "share": 110 / 120,
        "count_per_step": 2.5, "count_per_forward": 2.0, "mean_ns": 22.0, "min_ns": 10, "max_ns": 40,
    }  # fmt: skip
    assert relu == {
        "name": "relu", "short_name": "relu", "category": "elementwise", "operator": "aten::relu", "count": 2,
        "total_ns": 10, "share": 10 / 120,
        "count_per_step": 1.0, "count_per_forward": 1.0, "mean_ns": 5.0, "min_ns": 5, "max_ns": 5,
    }  # fmt: skip
    assert (table.name, table.title, table.pinned) == ("kernels", "Kernels", 0)
    columns.assert_regular(table)
    assert columns.summed(table) == ["count", "total_ns", "share"]
    assert columns.spare(table) == ["operator", "count_per_forward", *TIMES]


def test_a_kernel_stands_beside_the_operator_that_launched_most_of_its_time():
    """GIVEN a kernel of 10 ns from one operator, 30 and 20 ns from another, and one without any WHEN tabled THEN so"""
    b = TraceBuilder().range("aten::a", 0, 10).launched("k", 1, 100, 110)
    b.range("aten::b", 20, 40).launched("k", 21, 110, 140).launched("k", 22, 140, 160).launched("alone", 50, 160, 165)
    frame = breakdown.kernel_table(account(b).partial).frame
    assert frame[["name", "operator"]].to_numpy().tolist() == [["k", "aten::b"], ["alone", None]]


def test_equal_times_go_to_the_operator_whose_name_is_first():
    b = TraceBuilder().range("aten::b", 0, 10).launched("k", 1, 100, 110)
    b.range("aten::a", 20, 30).launched("k", 21, 110, 120)
    assert breakdown.kernel_table(account(b).partial).frame["operator"].tolist() == ["aten::a"]


def test_people_read_short_names_and_full_ones_where_they_ask():
    """GIVEN two gemms that differ in their alignment, one of them in backward WHEN only forward is shown THEN it has

    the short name that it has in the whole trace; a script reads the full one beside it, and so do people in full.
    """
    names = [f"cutlass_80_tensorop_s1688gemm_128x128_16x4_nn_align{n}" for n in (1, 4)]
    b = two_steps().range("aten::mm", 80, 90, sequence=7).launched(names[0], 81, 160, 165)
    b.node("MmBackward0", 1420, 1430, 7).launched(names[1], 1421, 1440, 1450)
    whole = breakdown.kernel_table(account(b).partial)
    short = dict(zip(whole.frame["name"], whole.frame["short_name"], strict=True))
    assert [short[name] for name in names] == [f"gemm 128x128x16 tf32 nn (cutlass) · align {n}" for n in (1, 4)]
    part = breakdown.kernel_table(account(b, phase=Phase.BACKWARD).partial)
    assert short[names[1]] in part.frame["short_name"].tolist()
    assert columns.names(whole.seen_by("people"))[0] == "short_name"
    assert columns.names(whole.seen_by("scripts"))[:2] == ["name", "short_name"]
    in_full = whole.in_full().seen_by("people").columns[0]
    assert (in_full.name, in_full.whole) == ("name", True)


def test_counts_per_step_and_pass_of_a_single_one():
    """GIVEN one step with one pass WHEN counted THEN per step and per forward are the plain count"""
    b = TraceBuilder().step(0, 0, 100).module("net", 1, 90)
    b.launched("k", 5, 10, 20).launched("k", 6, 20, 30).launched("late", 95, 96, 99)
    k, late = breakdown.kernel_table(account(b).partial).frame.to_dict("records")
    assert (k["count_per_step"], k["count_per_forward"]) == (2, 2)
    assert (late["count_per_step"], late["count_per_forward"]) == (1, 0)


def test_without_steps_nothing_is_counted_per_step():
    table = breakdown.kernel_table(account(TraceBuilder().module("net", 0, 50).launched("k", 5, 10, 20)).partial)
    assert columns.names(table) == [
        "name", "short_name", "category", "operator", "count", "total_ns", "share", *TIMES,
    ]  # fmt: skip


def test_a_phase_has_its_count_per_pass_behind_that_per_forward():
    """GIVEN one backward pass in two steps WHEN only backward is shown THEN one gemm a step is half of one a pass"""
    table = breakdown.kernel_table(account(two_steps(), phase=Phase.BACKWARD).partial)
    (gemm,) = table.frame.to_dict("records")
    assert (gemm["count"], gemm["count_per_step"], gemm["count_per_forward"], gemm["count_per_pass"]) == (
        1,
        0.5,
        0,
        0.5,
    )
    front = ["name", "short_name", "category", "operator", "count", "total_ns", "share", "count_per_step"]
    assert columns.names(table) == [*front, "count_per_forward", "count_per_pass", *TIMES]
    assert columns.spare(table) == ["operator", "count_per_forward", "count_per_pass", *TIMES]
    columns.assert_regular(table)
    assert columns.names(table.seen_by("people")) == [*front[1:], "count_per_pass", *TIMES]


def test_one_pass_of_a_phase_counts_as_one():
    b = TraceBuilder().step(0, 0, 100).module("net", 1, 90).launched("k", 5, 10, 20).launched("k", 6, 20, 30)
    (k,) = breakdown.kernel_table(account(b, phase=Phase.FORWARD).partial).frame.to_dict("records")
    assert k["count_per_pass"] == 2


def test_people_see_the_count_per_forward_of_the_whole_step():
    table = breakdown.kernel_table(account(two_steps()).partial)
    assert "count_per_forward" in columns.names(table.seen_by("people"))


@pytest.mark.parametrize(
    ("copied", "added", "category"),
    [
        ((30,), (20, 5), "cast/layout"),  # more time
        ((20, 5), (30,), "elementwise"),
        ((30,), (15, 15), "elementwise"),  # as much time, more often
        ((15, 15), (30,), "cast/layout"),
        ((30,), (30,), "elementwise"),  # a tie goes by the order of the categories
    ],
)
def test_a_kernel_of_two_kinds_is_of_the_one_that_took_most(copied, added, category):
    """GIVEN one kernel launched by copies and by additions WHEN tabled THEN its category is where its time went"""
    b, at = TraceBuilder(), 0
    for operator, durations in (("aten::copy_", copied), ("aten::add", added)):
        for duration in durations:
            b.range(operator, at, at + 50).launched("elementwise_kernel", at + 10, at, at + duration)
            at += 100
    (row,) = breakdown.kernel_table(account(b).partial).frame.to_dict("records")
    assert (row["category"], row["total_ns"]) == (category, sum(copied) + sum(added))


def test_the_longest_kernel_comes_first_and_equal_ones_go_by_name():
    b = TraceBuilder()
    for number, (name, duration) in enumerate([("b", 5), ("c", 9), ("a", 5)]):
        b.launched(name, number, 100 * number, 100 * number + duration)
    assert breakdown.kernel_table(account(b).partial).frame["name"].tolist() == ["c", "a", "b"]


def test_kernels_of_no_length_have_no_share():
    assert breakdown.kernel_table(account(TraceBuilder().launched("k", 0, 5, 5)).partial).frame["share"].tolist() == [0]


def test_a_phase_without_any_work_is_an_empty_table():
    b = two_steps()
    for table in (breakdown.kernel_table, breakdown.copy_table, breakdown.layer_table, breakdown.category_table):
        assert len(table(account(b, phase=Phase.OPTIMIZER).partial)) == 0


# --- without a device ---------------------------------------------------------------------------------------------


def host_only() -> TraceBuilder:
    """100 ns of a step: 30 in two operators, of which 10 are of the inner one; 70 between them."""
    b = TraceBuilder().step(0, 0, 100).range("aten::linear", 10, 40).range("aten::mm", 20, 30)
    return b.range("aten::mm", 200, 300)


def test_operators_by_self_time_and_what_lies_between_them():
    table = breakdown.kernel_table(account(host_only()).partial)
    assert (table.name, table.title, table.pinned) == ("kernels", "Operators, self time", 1)
    rows = table.frame[["name", "category", "count", "total_ns", "share"]].to_numpy().tolist()
    assert rows == [
        ["aten::linear", "matmul", 1, 20, 0.2],
        ["aten::mm", "matmul", 1, 10, 0.1],
        [UNATTRIBUTED, "host", 0, 70, 0.7],
    ]


def test_a_phase_without_any_host_work_has_no_row_for_what_lies_between():
    table = breakdown.kernel_table(account(host_only(), phase=Phase.BACKWARD).partial)
    assert (len(table), table.pinned) == (0, 0)


def test_the_notes_say_what_the_times_are():
    """GIVEN device work, operators, or ranges alone WHEN noted THEN each says what is added up and what is counted"""
    [device] = breakdown.phase_table(account(two_steps()).partial).remarks
    [operators, _] = breakdown.phase_table(account(host_only()).partial).remarks
    of_ranges = account(TraceBuilder().step(0, 0, 100).annotation("mine", 10, 20)).partial
    assert device.startswith("sum: durations of kernels, copies and memsets added up; exclusive: each busy instant")
    assert operators.startswith("no device work in this trace: host self time on the main thread")
    assert breakdown.phase_table(of_ranges).remarks[:2] == ("count: ranges", operators)


# --- copies -------------------------------------------------------------------------------------------------------


def test_copies_have_their_bytes_and_an_unknown_size_counts_as_none():
    """GIVEN 128 bytes from pinned memory in 8 ns, and copies and a memset without a size WHEN tabled THEN 16 GB/s"""
    b = two_steps().launched("Memset", 30, 500, 501, kind=DeviceKind.MEMSET)
    pinned = "Memcpy HtoD (Pinned -> Device)"
    for at, size in ((2, 100), (3, 28)):
        b.launched(pinned, at, 10 * at, 10 * at + 4, kind=DeviceKind.MEMCPY, bytes=size)
    b.launched("Memcpy DtoH (Device -> Pageable)", 4, 40, 43, kind=DeviceKind.MEMCPY)
    table = breakdown.copy_table(account(b).partial)
    columns_of_copies = ["name", "short_name", "category", "host_memory", "count", "total_ns", "share", "bytes"]
    to_device, to_host = "copy host (pinned) to device", "copy device to host (pageable)"
    assert table.frame[columns_of_copies].to_numpy().tolist() == [
        [pinned, to_device, "host to device", "pinned", 2, 8, 8 / 12, 128],
        ["Memcpy DtoH (Device -> Pageable)", to_host, "device to host", "pageable", 1, 3, 3 / 12, 0],
        ["Memset", "set memory", "memset", None, 1, 1, 1 / 12, 0],
    ]
    assert table.frame["mean_ns"].tolist() == [4, 3, 1]
    assert table.frame["bytes_per_s"].tolist() == pytest.approx([16e9, math.nan, math.nan], nan_ok=True)
    assert (table.name, table.title) == ("copies", "Copies and memsets")
    assert columns.names(table) == [*columns_of_copies, "bytes_per_s", *TIMES]
    assert columns.summed(table) == ["count", "total_ns", "share", "bytes"]
    columns.assert_regular(table)


def test_copies_that_take_no_time_have_no_rate():
    b = TraceBuilder().launched("Memcpy HtoD", 0, 5, 5, kind=DeviceKind.MEMCPY, bytes=100)
    assert breakdown.copy_table(account(b).partial).frame["bytes_per_s"].isna().all()


def test_copies_and_casts_are_categories_of_their_own():
    """GIVEN a copy to the device, one from it, and a kernel that casts WHEN tabled THEN three categories"""
    b = TraceBuilder().launched("Memcpy HtoD (Pageable -> Device)", 0, 0, 5, kind=DeviceKind.MEMCPY)
    b.launched("Memcpy DtoH (Device -> Pageable)", 10, 10, 13, kind=DeviceKind.MEMCPY)
    b.range("aten::copy_", 20, 40).launched("direct_copy_kernel_cuda", 30, 30, 32)
    frame = breakdown.category_table(account(b).partial).frame
    assert frame[["category", "total_ns"]].to_numpy().tolist() == [
        ["host to device", 5], ["device to host", 3], ["cast/layout", 2],
    ]  # fmt: skip


# --- layers, phases, categories -----------------------------------------------------------------------------------


def rest_and_ties() -> TraceBuilder:
    """Two modules and a collective of 20 ns each, one module also in backward, and 50 ns without a scope."""
    b = TraceBuilder().step(0, 0, 1000).launched("stray", 900, 900, 950)
    for number, module in enumerate(("beta", "alpha")):
        at = 100 * number
        b.module(module, at, at + 90).range("aten::mm", at + 10, at + 50, sequence=number)
        b.launched("gemm", at + 20, at + 20, at + 40)
    b.node("MmBackward0", 300, 400, 1).launched("gemm", 310, 310, 330)
    return b.launched("ncclDevKernel", 500, 500, 520)


def test_layers_longest_first_then_by_name_and_phase_with_the_rest_last():
    table = breakdown.layer_table(account(rest_and_ties()).partial)
    assert table.frame[["scope", "phase", "count", "total_ns", "exclusive_ns"]].to_numpy().tolist() == [
        ["alpha", "backward", 1, 20, 20],
        ["alpha", "forward", 1, 20, 20],
        ["beta", "forward", 1, 20, 20],
        [UNATTRIBUTED, "other", 1, 50, 50],
        [COMMUNICATION, "communication", 1, 20, 20],
    ]
    assert table.frame["share"].tolist() == [20 / 130] * 3 + [50 / 130, 20 / 130]
    assert (table.name, table.title, table.pinned) == ("layers", "Layers by phase, self time", 2)
    assert columns.names(table) == ["scope", "phase", "count", "total_ns", "exclusive_ns", "share"]
    assert columns.summed(table) == ["count", "total_ns", "exclusive_ns", "share"]
    assert columns.spare(table) == []
    assert table.frame.columns[0] == "scope"
    columns.assert_regular(table)


def test_every_phase_has_its_row_in_order():
    table = breakdown.phase_table(account(rest_and_ties()).partial)
    assert table.frame[["phase", "count", "total_ns"]].to_numpy().tolist() == [
        ["forward", 2, 40], ["recompute", 0, 0], ["backward", 1, 20], ["optimizer", 0, 0],
        ["communication", 1, 20], ["other", 1, 50], ["unlaunched", 0, 0],
    ]  # fmt: skip
    assert (table.name, table.title, table.pinned) == ("phases", "Phases", 7)
    columns.assert_regular(table)


def test_categories_longest_first_then_by_name():
    b = rest_and_ties().range("aten::softmax", 600, 650).launched("k", 610, 610, 620)
    table = breakdown.category_table(account(b.range("aten::relu", 700, 750).launched("k", 710, 710, 720)).partial)
    assert table.frame[["category", "total_ns"]].to_numpy().tolist() == [
        ["matmul", 60], ["other", 50], ["communication", 20], ["elementwise", 10], ["softmax", 10],
    ]  # fmt: skip
    assert (table.name, table.title) == ("categories", "Categories")
    columns.assert_regular(table)


@pytest.mark.parametrize(("updates", "said"), [(False, True), (True, False)])
def test_an_optimizer_that_is_zero_grad_alone_is_said_to_be(updates, said):
    """GIVEN a step that clears its gradients, and updates or not WHEN phases are shown THEN a note says what is there

    It is the optimizer's phase either way: which phases there are is a promise to scripts.
    """
    b = TraceBuilder().step(0, 0, 100).range("perfkit.phase::zero_grad", 5, 15)
    b = b.range("perfkit.phase::optimizer", 50, 60) if updates else b
    table = breakdown.phase_table(account(b.range("perfkit.phase::forward", 20, 40)).partial)
    assert int(table.frame.set_index("phase")["total_ns"]["optimizer"]) == (20 if updates else 10)
    assert ("optimizer is zero_grad alone" in table.remarks[0]) == said
