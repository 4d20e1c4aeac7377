"""Where events go by phase and category; dictionaries; columns that grow."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import pytest

from perfkit.trace.chrome.events import Event
from perfkit.trace.chrome.routing import Dictionary, Pieces, Route, Router, Target
from perfkit.trace.columns import Content, DeviceKind, HostKind


def events(kinds: Iterable[tuple[str, str]]) -> list[Event]:
    """Events of these phases and categories."""
    return [Event(ph=ph, cat=cat) for ph, cat in kinds]


@pytest.mark.parametrize(
    ("ph", "cat", "target", "kind"),
    [
        ("X", "cpu_op", Target.HOST, HostKind.OP),
        ("X", "Operator", Target.HOST, HostKind.OP),
        ("X", "Kernel", Target.DEVICE, DeviceKind.KERNEL),
        ("X", "gpu_memset", Target.DEVICE, DeviceKind.MEMSET),
        ("X", "mtia_ccp_events", Target.DEVICE, DeviceKind.KERNEL),
        ("X", "concurrent_kernel", Target.DEVICE, DeviceKind.KERNEL),
        ("X", "Memcpy", Target.DEVICE, DeviceKind.MEMCPY),
        ("X", "mlu_memset", Target.DEVICE, DeviceKind.MEMSET),
        ("X", "Runtime", Target.HOST, HostKind.RUNTIME),
        ("X", "driver", Target.HOST, HostKind.RUNTIME),
        ("X", "privateuse1_driver", Target.HOST, HostKind.RUNTIME),
        ("X", "glow_runtime", Target.HOST, HostKind.RUNTIME),
        ("X", "Trace", Target.NONE, 0),
        ("X", "cuda_sync", Target.NONE, 0),
        ("X", "cuda_event", Target.NONE, 0),
        ("X", "gpu_user_annotation", Target.NONE, 0),
        ("X", "mtia_counters", Target.NONE, 0),
        ("X", "cuda_profiler_range", Target.NONE, 0),
        ("X", "mtia_insight", Target.UNKNOWN, 0),
        ("X", "hpu_op", Target.UNKNOWN, 0),
        ("X", "collective_comm", Target.UNKNOWN, 0),
        ("X", "some_events", Target.UNKNOWN, 0),
        ("X", "", Target.UNKNOWN, 0),
        ("i", "some_events", Target.NONE, 0),
        ("s", "fwdbwd", Target.FLOW, 1),
        ("f", "fwdbwd", Target.FLOW, 0),
        ("s", "ac2g", Target.NONE, 0),
        ("X", "overhead", Target.OVERHEAD, 0),
        ("M", "", Target.METADATA, 0),
        ("C", "anything", Target.COUNTER, 0),
        ("i", "cpu_instant_event", Target.MEMORY, 0),
        ("i", "", Target.MEMORY, 0),
        ("i", "kernel", Target.NONE, 0),
        ("B", "kernel", Target.NONE, 0),
    ],
)
def test_phase_and_category_decide_the_columns(ph, cat, target, kind):
    """GIVEN an event as Kineto writes them WHEN routed THEN it goes where the Chrome format and Kineto mean it"""
    router = Router()
    [code] = router.encode(events([(ph, cat)]))
    assert (router.routes[code].target, router.routes[code].kind) == (target, kind)


def test_equal_events_share_a_code_and_chunks_share_the_codes():
    """GIVEN two chunks WHEN encoded THEN what both have has one code, and only what is new makes a route"""
    router = Router()
    first = router.encode(events([("X", "kernel"), ("X", "cpu_op"), ("X", "kernel")]))
    second = router.encode(events([("X", "cpu_op"), ("M", "")]))
    assert first[0] == first[2] != first[1]
    assert second[0] == first[1]
    assert len(router.routes) == 3


def test_a_phase_of_several_letters_or_none_is_no_phase_and_shifts_no_other():
    """GIVEN phases whose letters together are as many as the events WHEN encoded THEN each event has its own route"""
    router = Router()
    codes = router.encode(events([("XX", "kernel"), ("", "kernel"), ("X", "kernel")]))
    assert [router.routes[code].target for code in codes] == [Target.NONE, Target.NONE, Target.DEVICE]


def test_of_kernels_alone_nothing_else_has_a_target():
    """GIVEN a kernel, a copy and an operator WHEN only kernels are wanted THEN only the kernel goes anywhere"""
    router = Router()
    codes = router.encode(events([("X", "kernel"), ("X", "gpu_memcpy"), ("X", "cpu_op")]))
    assert router.targets(content=Content.KERNELS)[codes].tolist() == [Target.DEVICE, Target.NONE, Target.NONE]
    assert router.targets(content=Content.ALL)[codes].tolist() == [Target.DEVICE, Target.DEVICE, Target.HOST]


def test_a_dictionary_numbers_by_first_appearance():
    dictionary = Dictionary()
    assert dictionary.encode(["b", "a", "b"]).tolist() == [0, 1, 0]
    assert dictionary.encode(["c", "a"]).tolist() == [2, 1]


@pytest.mark.parametrize("chunks", [1, 2, 1000])
def test_pieces_keep_the_order_of_the_chunks(chunks):
    """GIVEN chunks WHEN a column is taken THEN all are in it in order"""
    pieces = Pieces()
    for chunk in range(chunks):
        pieces.append({"start": np.array([2 * chunk, 2 * chunk + 1])})
    assert pieces
    assert pieces.column("start").tolist() == list(range(2 * chunks))


def test_pieces_without_a_chunk_are_false():
    assert not Pieces()


def test_only_kernels_are_kernels():
    assert Route(Target.DEVICE, DeviceKind.KERNEL, "kernel", True).is_kernel
    assert not Route(Target.DEVICE, DeviceKind.MEMCPY, "gpu_memcpy", True).is_kernel
    assert not Route(Target.HOST, int(DeviceKind.KERNEL), "cpu_op", True).is_kernel
