"""What steps computed: losses and gradients as PyTorch has them, of warm-up steps alone."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from perfkit.errors import UsageError
from perfkit.measure import runner
from perfkit.measure.loop import StepId
from perfkit.measure.observers import computed
from perfkit.schema.computed import load
from perfkit.workload.step import TransformerWorkload
from tests.runs import quick


def kept(config, folder, **more):
    folder.mkdir(exist_ok=True)
    record = runner.run(config, folder, [computed.Results(folder, **more)])
    assert record.artifacts["computed"] == "computed.npz"
    return load(folder)


def test_losses_and_gradients_are_those_of_the_steps(tmp_path):
    """GIVEN a run WHEN three warm-up steps are kept THEN they are what the same steps give without perfkit's loop"""
    config = quick(pass_type="train", warmup_steps=4, measure_steps=1)
    found = kept(config, tmp_path)
    again = TransformerWorkload(config)
    losses, norms = [], []
    for _ in range(3):
        again.model.zero_grad()
        loss = again.loss(again.forward())
        loss.backward()
        losses.append(loss.item())
        norms.append([float(parameter.grad.norm()) for parameter in again.model.parameters()])
        again.optimizer.step()
    np.testing.assert_allclose(found.losses, losses, rtol=1e-6)
    np.testing.assert_allclose(found.norms, norms, rtol=1e-5)
    assert found.names == tuple(name for name, _ in again.model.named_parameters())
    assert found.precision == "fp32"
    assert found.samples.shape == (3, found.sizes.sum())


@pytest.mark.parametrize("pass_type", ["train", "forward"])
def test_a_batch_that_repeats_another_computes_the_same(tmp_path, pass_type):
    """GIVEN two sequences, and six that repeat them thrice THEN losses, gradients and outputs are the same: the mean of
    a sum that is there three times"""
    fields = {"pass_type": pass_type, "warmup_steps": 3, "measure_steps": 1}
    one = kept(quick(batch_size=2, **fields), tmp_path / "one")
    three = kept(quick(batch_size=6, **fields), tmp_path / "three", batch=2)
    other = kept(quick(batch_size=6, **fields), tmp_path / "other")
    np.testing.assert_allclose(three.losses, one.losses, rtol=1e-6)
    np.testing.assert_allclose(three.samples, one.samples, rtol=1e-3, atol=1e-6)
    assert (one.batch, three.batch) == (((2, 16), (2, 16)), ((6, 16), (6, 16)))
    assert other.names == three.names
    assert abs(other.norms[0, 0] / three.norms[0, 0] - 1) > 1e-3


def test_after_its_steps_the_batch_is_the_runs_own(tmp_path):
    workload, plain = TransformerWorkload(quick(batch_size=4)), TransformerWorkload(quick(batch_size=4))
    observer = computed.Results(tmp_path, batch=2)
    chance = torch.get_rng_state()
    observer.built(workload)
    assert torch.equal(workload.tokens[:2], workload.tokens[2:])
    for index in range(3):
        workload.step(lambda _: None)
        observer.after(StepId("warm-up", index), None)
    assert torch.equal(workload.tokens, plain.tokens)
    assert torch.equal(workload.targets, plain.targets)
    assert torch.equal(torch.get_rng_state(), chance)


@pytest.mark.parametrize(("batch", "said"), [(3, "--batch-size 4 is no multiple of 3"), (8, "no multiple of 8")])
def test_a_batch_that_does_not_repeat_evenly_is_refused(tmp_path, batch, said):
    with pytest.raises(UsageError, match=said):
        computed.Results(tmp_path, batch=batch).built(TransformerWorkload(quick(batch_size=4)))


def test_of_a_forward_pass_the_outputs_are_kept(tmp_path):
    found = kept(quick(pass_type="forward", warmup_steps=3, measure_steps=1), tmp_path)
    assert np.isnan(found.losses).all()
    assert found.names == ("output 0",)


def test_gradients_of_fp16_are_not_scaled(tmp_path):
    """GIVEN fp16, whose loss is scaled by 65536 THEN the gradients are those of fp32 within a few percent"""
    exact = kept(quick(warmup_steps=1, measure_steps=1), tmp_path / "exact")
    scaled = kept(quick(precision="fp16", warmup_steps=1, measure_steps=1), tmp_path / "scaled")
    assert scaled.precision == "fp16"
    np.testing.assert_allclose(scaled.norms[0], exact.norms[0], rtol=0.05)
    np.testing.assert_allclose(scaled.losses, exact.losses, rtol=1e-3)


def test_nothing_is_kept_after_warm_up(tmp_path):
    """GIVEN a workload WHEN three steps are over THEN it holds no result any more"""
    workload = TransformerWorkload(quick())
    observer = computed.Results(tmp_path)
    observer.built(workload)
    for index in range(3):
        workload.step(lambda _: None)
        assert workload.made is not None
        observer.after(StepId("warm-up", index), None)
    assert workload.made is None
    workload.step(lambda _: None)
    assert workload.made is None


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16])
def test_nudged_weights_are_a_rounding_error_away(dtype):
    """GIVEN weights of one type THEN each moves by one or two of its smallest steps, up and down, the same each time"""
    torch.manual_seed(0)
    first, again = (torch.nn.Linear(20, 20, bias=False).to(dtype) for _ in range(2))
    with torch.no_grad():
        again.weight.copy_(first.weight)
    before = first.weight.detach().clone()
    for model in (first, again):
        computed.nudge(model)
    moved = ((first.weight - before) / before).double()
    eps = torch.finfo(dtype).eps
    assert (moved.abs() <= 2 * eps).all()
    assert (moved.abs() >= eps / 4).all()
    assert (moved > 0).any()
    assert (moved < 0).any()
    assert torch.equal(first.weight, again.weight)


def test_nudging_changes_no_other_random_number():
    torch.manual_seed(1)
    expected = torch.randn(3)
    torch.manual_seed(1)
    computed.nudge(torch.nn.Identity())
    assert torch.equal(torch.randn(3), expected)
