"""Built recordings: perfkit reads them as it reads anybody's, and they say what was played."""

from __future__ import annotations

import gzip
import json

import pytest

from perfkit.analysis.reports.trace import report
from perfkit.trace.columns import DeviceKind
from perfkit.trace.load import load
from tests.planted import kineto
from tests.planted.machine import COMPUTE, COPIES, play
from tests.planted.parts import Network
from tests.planted.program import all_pairs, pair


@pytest.fixture(scope="module", params=[(one.name, fault) for one in all_pairs() for fault in (True, False)], ids=str)
def built(request, tmp_path_factory):
    name, fault = request.param
    played = play(pair(name).step(fault), steps=2)
    file = tmp_path_factory.mktemp("built") / "built.pt.trace.json.gz"
    kineto.write(played.happened, file)
    return played, load(file)


def test_perfkit_finds_every_piece_of_device_work_with_its_time(built):
    played, trace = built
    device = [one for one in played.happened if one.category in ("kernel", "gpu_memcpy")]
    spans = trace.device.end - trace.device.start
    assert sorted(spans) == sorted(one.end - one.start for one in device)
    assert (trace.device.kind == DeviceKind.MEMCPY).sum() == sum(one.category == "gpu_memcpy" for one in device)


def test_all_device_work_has_a_launch_and_layers_have_forward_and_backward(built):
    _, trace = built
    made = report(trace)
    phases = made.table("phases").frame.set_index("phase")
    assert phases.loc["unlaunched", "count"] == 0
    asked = [finding.rule.id for finding in made.findings if finding.rule.topic == "integrity"]
    assert set(asked) <= {"clean", "unknown-kernels"}
    layers = made.table("layers").frame
    of_layers = layers[layers.scope.str.startswith("layers.")]
    trains = any("Optimizer.step" in name for name in trace.names)
    assert set(of_layers.phase) == ({"forward", "backward"} if trains else {"forward"})


def test_steps_follow_each_other_and_take_what_the_model_says(built):
    played, trace = built
    named = dict(enumerate(trace.names))
    steps = [row for row, name in enumerate(trace.host.name) if named[name].startswith("ProfilerStep#")]
    [start, _], [_, end] = trace.host.start[steps], trace.host.end[steps]
    assert (end - start) // 2 == played.recorded_ns


@pytest.mark.parametrize("one", all_pairs(), ids=lambda one: one.name)
def test_a_fault_costs_between_15_and_60_percent(one):
    fault, healthy = (play(one.step(side)).step_ns for side in (True, False))
    assert 0.15 <= 1 - healthy / fault <= 0.6


def test_the_work_on_the_device_is_the_same_but_for_the_fault():
    """GIVEN faults of waiting, THEN both twins run the same kernels."""
    for name in ("item_each_step", "synchronise_each_layer", "pageable_copy"):
        sides = [play(pair(name).step(fault), steps=1).happened for fault in (True, False)]
        kernels = [[(one.name, one.end - one.start) for one in side if one.category == "kernel"] for side in sides]
        assert kernels[0] == kernels[1]


def test_a_file_holds_arrows_and_what_kineto_says_of_streams(tmp_path):
    """GIVEN a linear forward and backward and a copy on another stream, THEN the file by hand."""

    def step(machine):
        network = Network(machine, batch=1, length=8, width=16)
        network.linear(16, 16)
        network.backward()
        machine.copy("HtoD (Pinned -> Device)", 64, 25e9, COPIES)

    file = tmp_path / "one.json.gz"
    kineto.write(play(step, steps=1).happened, file)
    events = json.loads(gzip.decompress(file.read_bytes()))["traceEvents"]
    by = {kind: [event for event in events if event.get("cat") == kind] for kind in ("ac2g", "fwdbwd", "kernel")}
    assert len(by["kernel"]) == 4  # addmm, two mm, sum
    assert len(by["ac2g"]) == 2 * 5
    assert [event["ph"] for event in by["fwdbwd"]] == ["s", "f"]
    shown = {(event["tid"], event["name"]) for event in events if event.get("cat") == "gpu_user_annotation"}
    assert {stream for stream, _ in shown} == {COMPUTE, COPIES}
    assert len({name for _, name in shown}) == 1


def test_the_same_program_gives_the_same_bytes(tmp_path):
    files = [tmp_path / "a.json.gz", tmp_path / "b.json.gz"]
    for file in files:
        kineto.write(play(pair("synchronise_each_layer").step(True), steps=1).happened, file)
    assert files[0].read_bytes() == files[1].read_bytes()
