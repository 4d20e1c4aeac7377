"""What a Kineto file says beside its events. Versions: CUDA's and HIP's own formulas, by hand."""

from __future__ import annotations

from typing import Any

import pytest

from perfkit.schema.provenance import CompiledGraph, KernelCall, Provenance
from perfkit.trace.chrome.recording import integer, recording
from perfkit.trace.recording import Cpu, Device, OwnNotes, Recording, Tool, Versions

NOTHING = Recording(Tool.KINETO)
NO_VALUE = [None, "text", 3.5, True, [], [[]], [7], {}, {"x": 1}, 1 << 63]
"""Of no use wherever Kineto writes something else."""


def test_a_whole_recording() -> None:
    members = {
        "schemaVersion": 1,
        "deviceProperties": [
            {"id": 0, "name": "H100", "totalGlobalMem": 85, "numSms": 132, "computeMajor": 9, "computeMinor": 0},
            {"id": 1, "name": "MI300X", "warpSize": 64},
        ],
        "distributedInfo": {"backend": "nccl", "rank": 3, "world_size": 8},
        "record_shapes": 1,
        "with_stack": 1,
        "with_flops": 0,
        "cuda_runtime_version": 12040,
        "cuda_driver_version": 13030,
        "cupti_version": 130001,
        "INFO": ["first", "second"],
        "WARNING": ["third"],
        "traceName": "x.json",
    }
    assert recording(members) == Recording(
        tool=Tool.KINETO,
        versions=Versions(schema="1", runtime="12.4", driver="13.3", tracer="130001"),
        devices=(Device(0, "H100", 85, 132, 9, 0), Device(1, "MI300X")),
        rank=3,
        world_size=8,
        options=("record_shapes", "with_stack"),
        log=("first", "second", "third"),
    )


def test_hips_versions() -> None:
    """GIVEN versions as HIP counts them, 10^7 a major and 10^5 a minor one WHEN read THEN as AMD writes them"""
    said = {"hip_runtime_version": 60443483, "hip_driver_version": 70226015, "roctracer_version": 4.1}
    assert recording(said).versions == Versions(runtime="6.4.43483", driver="7.2.26015", tracer="4.1")


@pytest.mark.parametrize("value", [0, -1, -12040, "12040", 12040.5])
@pytest.mark.parametrize("key", ["cuda_runtime_version", "cuda_driver_version", "hip_runtime_version"])
def test_a_version_that_is_none(key: str, value: Any) -> None:
    assert recording({key: value}).versions == Versions()


def test_a_version_is_a_line() -> None:
    assert recording({"schemaVersion": "1\n\x1b[2J" + "x" * 200}).versions.schema == r"1\n\x1b[2J" + "x" * 94


@pytest.mark.parametrize("value", NO_VALUE)
@pytest.mark.parametrize(
    "key",
    ["deviceProperties", "distributedInfo", "cuda_runtime_version", "hip_driver_version", "record_shapes"],
)
def test_what_has_another_type_was_not_said(key: str, value: Any) -> None:
    assert recording({key: value}) == NOTHING


@pytest.mark.parametrize("value", [value for value in NO_VALUE if not isinstance(value, str | float)])
def test_a_tracer_of_another_type_was_not_said(value: Any) -> None:
    assert recording({"cupti_version": value}) == NOTHING


@pytest.mark.parametrize("value", NO_VALUE)
def test_members_of_another_type_were_not_said(value: Any) -> None:
    assert recording({"distributedInfo": {"rank": value, "world_size": value}}) == NOTHING
    assert recording({"deviceProperties": [value, {"id": value, "name": "x"}]}) == NOTHING
    rest = dict.fromkeys(("totalGlobalMem", "numSms", "computeMajor", "computeMinor"), value)
    assert recording({"deviceProperties": [{"id": 4, "name": 7} | rest]}).devices == (Device(4, ""),)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("Out-of-range = 7", ("Out-of-range = 7",)),
        (["a", 3, None, ["b"], "c"], ("a", "c")),
        (7, ()),
        ({"a": "b"}, ()),
    ],
)
def test_lines_of_the_log(value: Any, expected: tuple[str, ...]) -> None:
    assert recording({"ERROR": value, "host_name": "nobody's"}).log == expected


def test_a_log_is_bounded() -> None:
    assert recording({"INFO": ["x"] * 10_001}).log == ("x",) * 10_000


def test_a_long_name_of_a_device_is_cut() -> None:
    assert len(recording({"deviceProperties": [{"id": 0, "name": "x" * 70_000}]}).devices[0].name) == 65_536


# --- what perfkit left there --------------------------------------------------------------------------------------


@pytest.mark.parametrize("value", [None, 7, "text", ["modules"]])
def test_what_is_no_object_is_not_perfkits(value: Any) -> None:
    assert recording({"perfkit": value}).own is None


@pytest.mark.parametrize("modules", [None, 7, "Model", [1], {}])
def test_a_tree_of_another_type_is_none(modules: Any) -> None:
    assert recording({"perfkit": {"modules": modules}}).own == OwnNotes({}, None)


def test_the_tree_is_in_order_and_has_texts_only() -> None:
    modules = {"Model": "Model", "a": 7, "b": "Linear", "0": "Linear"}
    own = recording({"perfkit": {"modules": modules}}).own
    assert own is not None
    assert list(own.modules.items()) == [("Model", "Model"), ("b", "Linear"), ("0", "Linear")]


def test_the_origin_of_compiled_kernels() -> None:
    graphs = {"f1": {"backward": False, "calls": [{"kernel": "mm", "modules": ["attn"]}]}}
    own = recording({"perfkit": {"provenance": {"graphs": graphs}}}).own
    assert own == OwnNotes({}, Provenance({"f1": CompiledGraph(False, (KernelCall("mm", ("attn",)),))}))


@pytest.mark.parametrize("said", [None, 7, "text", {"graphs": 5}, {"graphs": {"f1": {"backward": "yes"}}}])
def test_an_origin_that_cannot_be_read_is_a_problem(said: Any) -> None:
    own = recording({"perfkit": {"provenance": said}}).own
    assert own is not None
    assert own.provenance is not None
    assert own.provenance.graphs == {}
    assert own.provenance.problem.startswith("its part of the metadata cannot be read: ")


@pytest.mark.parametrize(
    ("value", "expected"),
    [(0, 0), (-5, -5), ((1 << 63) - 1, (1 << 63) - 1), (1 << 63, None), (-(1 << 63), None), (True, None), (1.0, None)],
)
def test_integers(value: object, expected: int | None) -> None:
    assert integer(value) == expected


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        ({"model": "AMD EPYC", "threads": 2}, Cpu("AMD EPYC", 2)),
        ({"model": "AMD EPYC"}, None),
        ({"model": 7, "threads": 2}, None),
        ("AMD EPYC", None),
        (None, None),
    ],
)
def test_the_cpu_that_a_run_was_on(said: Any, expected: Cpu | None) -> None:
    own = recording({"perfkit": {"cpu": said}}).own
    assert own is not None
    assert own.cpu == expected
