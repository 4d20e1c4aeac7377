"""The history of storages by hand: where its peak is, what the first step lacks, which part a storage belongs to."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import nn
from torch.profiler import ProfilerActivity, profile

from perfkit.errors import UsageError
from perfkit.measure import estimate
from perfkit.measure.estimate import _History, _Storage
from perfkit.schema.config import RunConfig
from perfkit.schema.memory import estimate as memory
from tests.runs import QUICK, quick


def history(*changes: tuple[int, int]) -> _History:
    """Storages that came (+ bytes) and went (- bytes), by index."""
    made = _History()
    made.timeline = list(changes)
    return made


@pytest.mark.parametrize(
    ("start", "stop", "moment", "peak"),
    [
        (0, 4, 1, 15),
        (2, 4, 1, 15),  # a stretch begins with what is there
        (3, 4, 3, 13),
        (0, 1, 0, 10),
        (4, 4, 3, 13),  # one in which nothing happens too
        (0, 0, 0, 0),
    ],
)
def test_the_peak_of_a_stretch_is_at_its_first_largest_moment(start, stop, moment, peak):
    """GIVEN 10, then 5 more, which go, then 3"""
    assert history((0, 10), (1, 5), (1, -5), (2, 3))._peak(start, stop) == (moment, peak)


def test_of_equal_peaks_the_first_counts():
    assert history((0, 10), (1, 5), (1, -5), (2, 5))._peak(0, 4) == (1, 15)


@pytest.mark.parametrize(
    ("forward", "working", "first"),
    [(7, 4, 34), (50, 4, 60)],  # 10 + 20 + 4 in the optimizer; 10 + 50 before it, without the state
)
def test_the_first_step_has_no_state_before_its_optimizer(forward, working, first):
    # GIVEN parameters of 10 bytes and their state of 20, then a step
    made = history((0, 10), (1, 20), (2, forward), (2, -forward), (3, working), (3, -working))
    made.storages = [_Storage(size, "", "", True, False) for size in (10, 20, forward, working)]
    made._state, made._from, made._optimizer_from = {1}, 2, 4

    # THEN
    assert made._first_step() == first
    made._optimizer_from = None
    assert made._first_step() == 30 + max(forward, working)


@pytest.mark.parametrize(
    ("phase", "scope", "in_forward", "copy", "part"),
    [
        ("", "", True, False, memory.CONSTANTS),
        ("forward", "layers.0.mlp", True, False, memory.MLP),
        ("forward", "layers.0.mlp", True, True, memory.WEIGHT_COPIES),
        ("backward", "layers.0.mlp", False, False, memory.WORKING),
        ("backward", "layers.0.mlp", True, False, memory.MLP),  # computed again
        ("optimizer", "", False, False, memory.WORKING),
    ],
)
def test_a_storage_belongs_to_what_made_it(phase, scope, in_forward, copy, part):
    made = _History()
    made.storages = [_Storage(8, phase, scope, in_forward, copy)] * 4
    made._parameters, made._state, made._gradients = {1}, {2}, {3}
    assert made._part(0) == part
    assert [made._part(index) for index in (1, 2, 3)] == [memory.PARAMETERS, memory.OPTIMIZER, memory.GRADIENTS]


def test_the_summary_is_what_was_live_at_the_peak_and_where_it_was_made():
    # GIVEN
    made = history((0, 10), (1, 5), (2, 7), (1, -5), (3, 1))
    made.storages = [
        _Storage(10, "", "", True, False),
        _Storage(5, "forward", "layers.0.mlp", True, False),
        _Storage(7, "backward", "layers.0.attn", False, False),
        _Storage(1, "backward", "head", False, False),
    ]
    made._parameters, made._from = {0}, 1

    # WHEN
    found = made.summary()

    # THEN
    assert found.parts == {memory.PARAMETERS: 10, memory.MLP: 5, memory.WORKING: 7}
    assert (found.peak, found.where, found.first_step) == (22, "backward of layers.0.attn", 22)
    assert found.method == "traced"


@pytest.mark.parametrize(
    ("device", "asked", "twin"),
    [
        ("cuda", {"precision": "tf32"}, {"precision": "fp32"}),
        ("cuda", {"precision": "bf16"}, {"precision": "bf16"}),
        ("cuda", {"attention": "sdpa", "sdpa_backend": "efficient"}, {"sdpa_backend": "auto"}),
        ("cuda", {"attention": "sdpa", "sdpa_backend": "cudnn"}, {"sdpa_backend": "auto"}),
        ("cuda", {"attention": "sdpa", "sdpa_backend": "math"}, {"sdpa_backend": "math"}),
        ("cuda", {"pass_type": "train"}, {"optimizer": "adamw-foreach"}),
        ("cuda", {"pass_type": "train", "optimizer": "adamw-fused"}, {"optimizer": "adamw-fused"}),
        ("cuda", {"pass_type": "forward"}, {"optimizer": "adamw"}),
        ("cpu", {"pass_type": "train"}, {"optimizer": "adamw"}),
    ],
)
def test_a_twin_on_a_cpu_holds_what_the_configuration_holds_on_its_device(device, asked, twin):
    config = RunConfig.of(
        model_size="tiny", num_threads=2, compile="model", compile_mode="max-autotune", **asked
    ).resolved(device)
    found = estimate._twin(config)
    assert {name: found.value(name) for name in twin} == twin
    assert (found.step.device, found.step.compile, found.step.num_threads) == ("cpu", "off", None)
    assert found.transformer.shape == config.transformer.shape


def test_a_step_too_large_to_count_is_refused_and_other_errors_are_not_hidden(monkeypatch):
    for text, error, said in (
        ("Storage size calculation overflowed with sizes=[9]", UsageError, "choose smaller sizes"),
        ("shapes differ", RuntimeError, "shapes differ"),
    ):

        def fail(_: RunConfig, text: str = text) -> Any:
            raise RuntimeError(text)

        with pytest.raises(error, match=said):
            estimate.estimate(quick(), build=fail)


@pytest.mark.parametrize(
    ("wanted", "there", "chosen"),
    [("auto", False, "cpu"), ("auto", True, "cuda"), ("cuda:3", False, "cuda:3"), ("cpu", True, "cpu")],
)
def test_a_gpu_that_is_asked_for_need_not_be_here(wanted, there, chosen):
    assert estimate.choose_device(wanted, gpus(9 * there)) == chosen


def test_a_gpu_that_is_here_is_checked():
    assert estimate.choose_device("cuda:1", gpus(2)) == "cuda:1"
    with pytest.raises(UsageError, match="numbered from 0"):
        estimate.choose_device("cuda:2", gpus(2))


def gpus(count: int) -> SimpleNamespace:
    """torch.cuda of a machine with so many GPUs."""
    return SimpleNamespace(is_available=lambda: count > 0, device_count=lambda: count)


@pytest.mark.parametrize(
    ("device", "there", "free"), [("cpu", False, 7), ("cuda", False, None), ("cuda", True, 7), ("cpu", True, 7)]
)
def test_what_is_free_on_a_gpu_is_known_where_there_is_one(device, there, free):
    assert estimate.available(device, gpus(int(there)), lambda _: 7) == free


def test_a_history_in_which_no_step_began_is_all_of_one():
    assert history((0, 10), (0, -10))._first_step() == 10


def test_a_module_whose_forward_raises_is_at_work_no_more():
    """As a checkpoint's second forward does, when it has what it needs."""

    class Raising(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            raise ValueError

    # GIVEN
    made, model = _History(), nn.Sequential(nn.Identity(), Raising())
    estimate._name_scopes(model, made)

    # WHEN
    with pytest.raises(ValueError):  # noqa: PT011 - its own
        model(torch.ones(1))

    # THEN
    assert made._scopes == [""]
    assert [scope for _, scope in made._marks] == ["", "0", "", "1", ""]


@pytest.mark.parametrize(
    ("number", "scope"), [(0, ""), (4, ""), (5, "a"), (8, "a"), (9, "b"), (2**63 - 1, "b"), (2**63, ""), (2**64, "")]
)
def test_a_node_is_of_the_module_that_was_at_work_when_it_was_made(number, scope):
    """GIVEN that a began at node 5 and b at 9 THEN numbers from there on are theirs, and AccumulateGrad's nobody's"""
    made = _History()
    made._marks = [(-1, ""), (5, "a"), (9, "b")]
    assert made._scope_of(SimpleNamespace(_sequence_nr=lambda: number)) == scope


@pytest.mark.parametrize(
    ("phase", "scopes", "place"),
    [
        ("", [""], ("", True)),
        ("forward", [""], ("", True)),
        ("loss", ["loss"], ("loss", True)),
        ("backward", [""], ("", False)),
        ("optimizer", [""], ("", False)),
        ("forward", ["", "head"], ("head", True)),
        ("backward", ["", "head"], ("head", True)),  # a checkpoint's second forward
    ],
)
def test_what_is_made_outside_autograd_is_of_the_module_at_work(phase, scopes, place):
    made = _History()
    made._phase, made._scopes = phase, scopes
    assert made._place() == place


@pytest.mark.parametrize(
    ("device", "precision", "widened"),
    [("cuda", "bf16", 1), ("cuda", "fp16", 1), ("cuda", "fp32", 0), ("cuda", "tf32", 0), ("cpu", "bf16", 0),
     ("cpu", "fp16", 0)],
)  # fmt: skip
def test_softmax_is_wide_under_cudas_autocast_alone(monkeypatch, device, precision, widened):
    calls: list[Any] = []
    monkeypatch.setattr(estimate, "_widen_softmax", calls.append)
    asked = RunConfig.of(**QUICK | {"precision": precision}).resolved(device)
    found = estimate.estimate(asked)
    assert len(calls) == widened
    assert found.part(memory.PARAMETERS) == 4 * asked.transformer.parameters
    assert found.part(memory.OPTIMIZER) == 0


@pytest.mark.parametrize(("other", "changes"), [("bfloat16", [-4000, 4000, 4000]), ("float32", [4000])])
def test_a_cpus_copy_of_an_operand_is_what_the_profiler_sees_inside_the_operator(other, changes):
    # GIVEN the real allocator's record of one sum, kept in `results`
    one, two, results = torch.ones(1000), torch.ones(1000, dtype=getattr(torch, other)), []
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as recording:
        results.append(one + two)
    real: Any = recording.profiler
    waiting, sizes = list(real.kineto_results.experimental_event_tree()), []
    for event in waiting:
        waiting += event.children
        if event.tag.name == "Allocation":
            sizes.append(event.extra_fields.alloc_size)

    # WHEN
    with _History(casts_inside=True) as made:
        results.append(one + two)

    # THEN
    assert sorted(sizes) == sorted(change for _, change in made.timeline) == changes
