"""Events to columns, chunk by chunk, without a document round them."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from perfkit.trace.chrome.columns import ColumnBuilder
from perfkit.trace.chrome.events import Args, Event
from perfkit.trace.columns import (
    BEGIN_END,
    MISSING,
    NO_CATEGORY,
    AutogradFlows,
    Content,
    DeviceEvents,
    DeviceKind,
    HostKind,
    HostRanges,
    Thread,
)


def event(cat: str, name: str = "e", ts: str = "1", dur: str = "2", ph: str = "X", **more: Any) -> Event:
    times = {"ts": msgspec.Raw(ts.encode()), "dur": msgspec.Raw(dur.encode())}
    return Event(ph=ph, cat=cat, name=name, **{"pid": 1, "tid": 2, **times, **more})


def built(*chunks: list[Event], content: Content = Content.ALL) -> ColumnBuilder:
    builder = ColumnBuilder(content=content)
    for chunk in chunks:
        builder.add(chunk)
    return builder


HOST_KINDS = {
    "cpu_op": HostKind.OP, "Operator": HostKind.OP, "user_annotation": HostKind.ANNOTATION,
    "python_function": HostKind.PYTHON, "cuda_runtime": HostKind.RUNTIME, "cuda_driver": HostKind.RUNTIME,
    "Runtime": HostKind.RUNTIME, "hip_driver": HostKind.RUNTIME, "privateuse1_driver": HostKind.RUNTIME,
}  # fmt: skip


def test_events_of_unknown_categories_are_counted_with_their_time():
    """GIVEN events of no known category, of none, and of one that mixes kinds THEN count and ns; 0 ns is no time"""
    builder = built(
        [
            event("npu", dur="1.5"),
            event("npu", dur="2"),
            event("npu", dur="0"),
            event("", dur="700"),
            event("", dur='"x"'),
        ],
        [event("npu", dur="3"), event("mtia_ccp_events", dur="4"), event("mtia_ccp_events", dur="0"), event("kernel")],
    )
    assert builder.unknown == {"npu": (3, 6_500), NO_CATEGORY: (1, 700_000), "mtia_ccp_events": (1, 4_000)}
    assert builder.ignored == {"npu": 4, NO_CATEGORY: 2}
    assert builder.take(DeviceEvents).kind.tolist() == [DeviceKind.KERNEL] * 3


def test_host_events_keep_their_order_across_chunks():
    # GIVEN
    builder = built([event(cat, name=cat) for cat in HOST_KINDS], [event("cpu_op", name="last")])

    # WHEN
    names = builder.names()
    host = builder.take(HostRanges)

    # THEN
    assert [names[code] for code in host.name] == [*HOST_KINDS, "last"]
    assert host.kind.tolist() == [*HOST_KINDS.values(), HostKind.OP]
    assert host.order.tolist() == list(range(len(HOST_KINDS) + 1))
    assert set(host.start) == {1000}
    assert set(host.end) == {3000}
    assert len(builder.take(HostRanges)) == 0  # it was handed over


def test_device_events_take_their_place_from_args_or_pid_and_tid():
    # GIVEN
    args = Args(device=3, stream=9, bytes=64, correlation=5, graph_node=12, annotation="layers.0")
    builder = built(
        [event("kernel", args=args), event("gpu_memcpy", pid=7, tid=8), event("Memset", args=Args(device="x"), pid=7)]
    )

    # WHEN
    device = builder.take(DeviceEvents)

    # THEN
    assert device.kind.tolist() == [DeviceKind.KERNEL, DeviceKind.MEMCPY, DeviceKind.MEMSET]
    assert device.device.tolist() == [3, 7, 7]
    assert device.stream.tolist() == [9, 8, 2]
    assert device.bytes.tolist() == [64, MISSING, MISSING]
    assert device.correlation.tolist() == [5, MISSING, MISSING]
    assert device.graph_node.tolist() == [12, MISSING, MISSING]
    assert [builder.names()[code] if code >= 0 else "" for code in device.annotation] == ["layers.0", "", ""]
    assert builder.threads() == ()  # only those of the host are threads


@pytest.mark.parametrize(("value", "kept"), [(0, 0), (-2, MISSING), (2**31 - 1, 2**31 - 1), (2**31, MISSING)])
def test_a_device_number_has_31_bits(value, kept):
    events = [event("kernel", args=Args(device=value), pid=None)]
    assert built(events).take(DeviceEvents).device.tolist() == [kept]


@pytest.mark.parametrize(
    ("new", "old", "kept"), [(4, MISSING, 4), (MISSING, 6, 6), (4, 6, 4), (MISSING, MISSING, MISSING)]
)
@pytest.mark.parametrize(("cat", "table"), [("cpu_op", HostRanges), ("kernel", DeviceEvents)])
def test_an_external_id_is_spelled_in_two_ways(new, old, kept, cat, table):
    args = Args(external_id=new, old_external_id=old)
    assert built([event(cat, args=args)]).take(table).external_id.tolist() == [kept]


@pytest.mark.parametrize(
    ("sequence", "forward", "kept"),
    [
        (3, 2, (3, 2)),
        (3, MISSING, (3, 0)),
        (0, 0, (0, 0)),
        (MISSING, 2, (MISSING, MISSING)),
        (-9, 2, (MISSING, MISSING)),
    ],
)
def test_a_forward_thread_goes_with_a_sequence_number(sequence, forward, kept):
    host = built([event("cpu_op", args=Args(sequence=sequence, forward_thread=forward))]).take(HostRanges)
    assert (host.sequence[0], host.forward_thread[0]) == kept


def test_only_runtime_calls_have_correlations():
    builder = built([event("cpu_op", args=Args(correlation=5)), event("cuda_runtime", args=Args(correlation=6))])
    assert builder.take(HostRanges).correlation.tolist() == [MISSING, 6]


def test_the_frame_of_a_call_stack_is_the_innermost_outside_torch():
    packages = "/env/site-packages"
    stack = f"{packages}/torch/nn/functional.py(1): conv2d;{packages}/torchvision/r.py(9): forward;a.py(1): f"
    texts = [msgspec.json.encode(said) for said in (stack, None, "", stack, f"{packages}/torch/a.py(1): step", 7)]
    args = [Args(call_stack=msgspec.Raw(text)) for text in texts]
    builder = built([event("Operator", args=each) for each in args] + [event("cpu_op")])
    frames = builder.take(HostRanges).frame
    assert frames.tolist() == [frames[0], MISSING, MISSING, frames[0], MISSING, MISSING, MISSING]
    assert builder.names()[frames[0]] == "torchvision/r.py(9): forward"


def test_flows_have_a_start_and_a_finish():
    # GIVEN
    builder = built([event("fwdbwd", ph="s", id=6, ts="1.5"), event("forward_backward", ph="f", id=6, tid=3, ts="2")])

    # WHEN
    flows = builder.take(AutogradFlows)

    # THEN
    assert (flows.flow.tolist(), flows.is_start.tolist(), flows.time.tolist()) == ([6, 6], [True, False], [1500, 2000])
    assert [builder.threads()[code].tid for code in flows.thread] == [2, 3]
    assert builder.events == 0  # complete events are counted


def test_what_no_column_holds_is_counted_by_what_it_is():
    # GIVEN
    ignored = [
        event("ac2g", ph="s"), event("fwdbwd", ph="t"), event("cpu_op", ph="i"), event("", ph="i"), event("", ph="B"),
        event("x", ph="E"), event("gpu_user_annotation"), event("overhead", dur="1.5"), event("overhead", dur="-4"),
        event("overhead", dur="2"),
    ]  # fmt: skip
    builder = built([*ignored, event("cpu_op"), event("kernel")], [event("ac2g", ph="s")])

    # THEN
    assert builder.ignored == {
        "ac2g": 2, "fwdbwd": 1, "cpu_op": 1, "ph i": 1, BEGIN_END: 2, "gpu_user_annotation": 1, "overhead": 3,
    }  # fmt: skip
    assert builder.events == 6
    assert builder.overhead_ns == 3500  # without the one that ended before it began


def test_known_categories_are_known_behind_any_number_of_others():
    """GIVEN 300 categories that nobody has, in one chunk and before it THEN they are counted and the rest is found"""
    odd = [event(f"c{number}") for number in range(300)]
    builder = built(odd, [*odd, event("kernel"), event("user_annotation"), event("fwdbwd", ph="s", id=1)])
    assert [len(builder.take(table)) for table in (DeviceEvents, HostRanges, AutogradFlows)] == [1, 1, 1]
    assert builder.events == 602
    # 13 are known beforehand; of the others the first 242 have names of their own, and the rest share one
    assert sum(builder.ignored.values()) == 600
    assert len(builder.ignored) == 255 - 13 + 1


@pytest.mark.parametrize("odd", ["", "XX", "ü", "\u2028", "\0"])
def test_a_phase_that_is_none_shifts_no_other(odd):
    builder = built([event("cpu_op", name="a", ph=odd), event("cpu_op", name="b"), event("kernel", name="c", ph=odd)])
    host = builder.take(HostRanges)
    assert [builder.names()[code] for code in host.name] == ["b"]
    assert len(builder.take(DeviceEvents)) == 0
    assert sum(builder.ignored.values()) == 2


def metadata(name: str, label: Any, pid: int = 1, tid: Any = 2) -> Event:
    return Event(ph="M", name=name, pid=pid, tid=tid, args=Args(name=label))


@pytest.mark.parametrize(
    ("labels", "name"),
    [
        ([metadata("process_name", "python", tid=0), metadata("thread_name", "main")], "main"),
        ([metadata("process_name", "python", tid=0)], "python"),
        ([metadata("process_name", "python", pid=9)], ""),
        ([metadata("thread_name", "other", tid=3)], ""),
        ([metadata("thread_name", "main"), metadata("thread_name", "")], "main"),
        ([metadata("thread_name", "main"), metadata("thread_name", None)], "main"),
        ([metadata("thread_name", 7)], "7"),
        ([metadata("process_labels", "CPU")], ""),
        ([Event(ph="M", name="thread_name", pid=1, tid=2)], ""),
    ],
)
def test_a_thread_is_called_what_the_file_calls_it_or_its_process(labels, name):
    for chunk in ([event("cpu_op"), *labels], [*labels, event("cpu_op")]):
        assert built(chunk).threads() == (Thread(1, 2, name),)


def test_a_thread_that_is_a_text_is_called_so():
    # GIVEN runs of events on one thread, that come and go
    chunk = [event("cpu_op", tid=tid) for tid in ("gloo", "gloo", 5, "gloo", 5)]

    # WHEN
    builder = built(chunk, [event("cpu_op", tid=5)])

    # THEN
    gloo, five = builder.threads()
    assert (gloo.name, gloo.tid < MISSING) == ("gloo", True)
    assert (five.name, five.tid) == ("", 5)
    assert builder.take(HostRanges).thread.tolist() == [0, 0, 1, 0, 1, 1]


def test_the_same_thread_number_in_another_process_is_another_thread():
    builder = built([event("cpu_op", pid=pid) for pid in (1, 2, 2, 1)])
    assert builder.take(HostRanges).thread.tolist() == [0, 1, 1, 0]


@pytest.mark.parametrize(("ts", "dur"), [("1", ""), ("", "1"), ('"x"', "1"), ("1", "null")])
def test_an_event_without_a_time_is_left_out_and_counted(ts, dur):
    builder = built([event("cpu_op", ts=ts, dur=dur), event("cpu_op", name="sound"), event("kernel", ts=ts, dur=dur)])
    host = builder.take(HostRanges)
    assert [builder.names()[code] for code in host.name] == ["sound"]
    assert builder.ignored == {"cpu_op without a usable time": 1, "kernel without a usable time": 1}
    assert builder.negative_durations == 0


def test_an_event_that_ends_before_it_starts_has_no_length():
    # GIVEN
    builder = built([event("cpu_op", ts="5", dur="-3"), event("cpu_op", dur="0"), event("cpu_op", ts='"x"', dur="-1")])

    # WHEN
    host = builder.take(HostRanges)

    # THEN the one without a time is not counted again
    assert (host.start.tolist(), host.end.tolist()) == ([5000, 1000], [5000, 1000])
    assert builder.negative_durations == 1


@pytest.mark.parametrize(
    ("first", "second", "resolution"),
    [
        (event("cpu_op"), event("kernel"), 1000),
        (event("cpu_op", ts="1.001"), event("kernel"), 1),
        (event("cpu_op"), event("kernel", dur="1.5"), 1),
        (event("cpu_op"), event("fwdbwd", ph="s", ts="1.5"), 1),
        (event("cpu_op", ts="1.001", dur='"x"'), event("kernel"), 1000),  # what was left out does not count
        (event("overhead", ts="1.001"), event("ac2g", ph="s"), 1000),
        (event("ac2g", ph="s"), event("ac2g", ph="s"), 1),  # nothing is known of no event
    ],
)
def test_the_resolution_is_a_microsecond_where_all_times_are_whole_ones(first, second, resolution):
    assert built([first], [second]).resolution_ns == resolution
    assert built([second, first]).resolution_ns == resolution


def test_with_kernels_alone_the_rest_is_counted_as_left_out_and_costs_nothing():
    # GIVEN
    chunk = [event("cpu_op", name="op"), event("kernel", name="k"), event("gpu_memcpy"), event("fwdbwd", ph="s")]

    # WHEN
    builder = built(chunk, content=Content.KERNELS)

    # THEN
    assert builder.take(DeviceEvents).kind.tolist() == [DeviceKind.KERNEL]
    assert builder.names() == ("k",)
    assert (len(builder.take(HostRanges)), len(builder.take(AutogradFlows)), builder.threads()) == (0, 0, ())
    assert builder.events == 3


@pytest.mark.parametrize("chunks", [63, 64, 65, 129])
def test_however_many_chunks_there_are_none_is_lost(chunks):
    builder = built(*([event("cpu_op", name=str(number))] for number in range(chunks)))
    assert [builder.names()[code] for code in builder.take(HostRanges).name] == [str(n) for n in range(chunks)]
