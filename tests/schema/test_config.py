"""RunConfig: sizes, defaults, overrides, and every combination that is refused."""

from __future__ import annotations

import dataclasses

import pytest

from perfkit.cli import build_app
from perfkit.errors import UsageError
from perfkit.schema.config import Measurement, RunConfig
from perfkit.schema.workloads import SIZES, ModelShape

PARAMETERS = {
    "tiny": 3_609_728,
    "small": 128_625_408,
    "medium": 423_183_360,
    "large": 969_411_840,
    "xl": 1_998_235_200,
    "2.7B": 3_406_809_600,
    "10B": 12_832_823_808,
}


@pytest.mark.parametrize("size", SIZES)
def test_parameter_counts_are_pinned(size):
    assert RunConfig.of(model_size=size).transformer.parameters == PARAMETERS[size]


def test_overrides_replace_single_numbers_of_the_size():
    # WHEN
    config = RunConfig.of(model_size="small", num_layers=2, d_ff=100, vocab_size=50)

    # THEN
    assert config.transformer.shape == ModelShape(d_model=768, d_ff=100, num_layers=2, num_heads=12)
    assert config.transformer.parameters == 2 * (4 * 768**2 + 3 * 768 * 100 + 2 * 768) + 2 * 50 * 768 + 768
    assert str(config.transformer.shape) == "768/100/2/12"


@pytest.mark.parametrize(
    ("device", "size", "context"), [("cpu", "tiny", 128), ("cuda", "small", 512), ("cuda:1", "small", 512)]
)
def test_resolving_chooses_size_and_context_by_device(device, size, context):
    # WHEN
    resolved = RunConfig().resolved(device)

    # THEN
    model, step = resolved.transformer, resolved.step
    assert (model.model_size, step.context_length, step.device) == (size, context, device)
    assert ModelShape(model.d_model, model.d_ff, model.num_layers, model.num_heads) == SIZES[size]


def test_resolving_keeps_what_was_asked_for():
    # GIVEN
    asked = RunConfig.of(model_size="medium", context_length=64, d_model=512, batch_size=3, seed=7)

    # WHEN
    resolved = asked.resolved("cpu")

    # THEN
    model = resolved.transformer
    assert (model.model_size, resolved.step.context_length, model.d_model, model.d_ff) == ("medium", 64, 512, 4096)
    assert resolved.step.tokens == 3 * 64
    assert resolved.resolved("cpu") == resolved


def test_the_shape_needs_a_size():
    with pytest.raises(UsageError, match="pass --model-size, or call resolved"):
        _ = RunConfig.of(d_model=64).transformer.shape


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"batch_size": 0}, "--batch-size 0: must be at least 1"),
        ({"context_length": 0}, "--context-length 0: must be at least 1"),
        ({"measure_steps": 0}, "--measure-steps 0: must be at least 1"),
        ({"num_threads": 0}, "--num-threads 0: must be at least 1"),
        ({"num_layers": -1}, "--num-layers -1: must be at least 1"),
        ({"vocab_size": 2**31}, "--vocab-size 2147483648: must be below 2147483648"),
        ({"warmup_steps": -1}, "--warmup-steps -1: must be 0 or more"),
        ({"seed": -1}, "--seed -1: must be 0 or more"),
        ({"seed": 2**63}, "must be 0 or more, and below 2^63"),
        ({"device": "gpu"}, "--device gpu: choose auto, cpu, cuda or cuda:N"),
        ({"device": "cuda:"}, "choose auto, cpu, cuda or cuda:N"),
        ({"model_size": "huge"}, "--model-size huge: choose from tiny, small, medium, large, xl, 2.7B, 10B"),
        ({"precision": "fp8"}, "--precision fp8: choose from fp32, tf32, bf16, fp16"),
        ({"pass_type": "backward"}, "--pass-type backward: choose from forward, forward-backward, train"),
        ({"sdpa_backend": "flash"}, "--sdpa-backend flash needs --attention sdpa"),
        ({"optimizer": "adamw-fused"}, "--optimizer adamw-fused needs --pass-type train"),
        ({"optimizer": "adamw-fused", "pass_type": "forward"}, "needs --pass-type train"),
        ({"checkpoint": True, "pass_type": "forward"}, "--checkpoint needs a backward pass"),
        ({"profile_stack": True}, "--profile-stack needs --profiler torch"),
        ({"autograd_nvtx": True, "profiler": "torch"}, "--autograd-nvtx is for Nsight Systems"),
        ({"autograd_nvtx": True, "device": "cpu"}, "--autograd-nvtx needs a CUDA device"),
        ({"device": "cpu", "precision": "tf32"}, "use --precision fp32 or bf16 on a CPU"),
        ({"device": "cpu", "attention": "sdpa", "sdpa_backend": "cudnn"}, "use auto, flash or math on a CPU"),
        ({"device": "cpu", "attention": "sdpa", "sdpa_backend": "efficient"}, "exists on GPUs only"),
        ({"model_size": "tiny", "d_model": 130}, "--d-model 130 is not a multiple of --num-heads 4"),
        ({"d_model": 33, "num_heads": 2}, "--d-model 33 is not a multiple of --num-heads 2"),
        ({"model_size": "small", "num_heads": 256}, "heads of odd width 3"),
    ],
)
def test_what_cannot_work_is_refused_with_what_to_change(fields, message):
    with pytest.raises(UsageError) as refused:
        RunConfig.of(**fields)
    assert message in str(refused.value)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"precision": "tf32"}, "--precision tf32 exists on NVIDIA GPUs only"),
        ({"attention": "sdpa", "sdpa_backend": "efficient"}, "exists on GPUs only"),
        ({"num_heads": 3}, "--d-model 128 is not a multiple of --num-heads 3"),
        ({"d_model": 4}, "heads of odd width 1"),
    ],
)
def test_what_depends_on_the_device_or_the_size_is_refused_on_resolving(fields, message):
    # GIVEN a configuration that may work somewhere
    config = RunConfig.of(**fields)

    # THEN
    with pytest.raises(UsageError, match=message):
        config.resolved("cpu")


def test_what_works_on_a_gpu_is_not_refused_before_the_device_is_known():
    resolved = RunConfig.of(precision="tf32", attention="sdpa", sdpa_backend="cudnn").resolved("cuda")
    assert (resolved.step.precision, resolved.transformer.sdpa_backend) == ("tf32", "cudnn")


def test_zero_is_a_number_of_warm_up_steps():
    assert RunConfig.of(warmup_steps=0).measurement.warmup_steps == 0


def test_a_configuration_cannot_be_changed_in_place():
    with pytest.raises(dataclasses.FrozenInstanceError):
        RunConfig().step.batch_size = 2  # type: ignore[misc]


def test_the_flags_of_a_configuration_ask_for_it_again():
    # GIVEN
    config = RunConfig.of(model_size="small", checkpoint=True, pass_type="train", gc="on", batch_size=2).resolved("cpu")

    # WHEN
    flags = config.flags()
    (_, bound, _) = build_app().parse_args(["run", *flags])

    # THEN
    assert RunConfig().flags() == []
    assert flags[flags.index("--checkpoint") + 1].startswith("--")
    assert bound.arguments["flags"].config == config


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"target_ci": 0.0}, "--target-ci 0.0: must be above 0 and below 100%, as in 1% or 0.01"),
        ({"target_ci": 1.0}, "--target-ci 1.0: must be above 0"),
        ({"target_ci": float("nan")}, "--target-ci nan: must be above 0"),
        ({"target_ci": 0.01, "profiler": "torch"}, "--target-ci needs plain steps: drop --profiler torch"),
        ({"target_ci": 0.01, "max_time": 0.0}, "--max-time 0.0: must be above 0 seconds"),
        ({"target_ci": 0.01, "max_time": float("inf")}, "--max-time inf: must be above 0 seconds"),
        ({"target_ci": 0.01, "max_steps": 19}, "--max-steps 19: --target-ci measures at least 20 steps"),
        ({"target_ci": 0.01, "measure_steps": 50, "max_steps": 49}, "--target-ci measures at least 50 steps"),
        ({"max_time": 5.0}, "--max-time needs --target-ci: without it --measure-steps is obeyed exactly"),
        ({"max_steps": 50}, "--max-steps needs --target-ci"),
        ({"max_steps": 0}, "--max-steps 0: must be at least 1"),
    ],
)
def test_targets_that_cannot_be_met_are_refused(fields, message):
    with pytest.raises(UsageError) as refused:
        RunConfig.of(**fields)
    assert message in str(refused.value)


def test_bounds_of_a_run():
    plain, target = Measurement(measure_steps=7), Measurement(measure_steps=7, target_ci=0.02)
    assert (plain.fewest_steps, plain.most_steps, plain.time_limit_s) == (7, 7, float("inf"))
    assert (target.fewest_steps, target.most_steps, target.time_limit_s) == (20, 10_000, 300.0)
    capped = Measurement(measure_steps=30, target_ci=0.02, max_time=5.0, max_steps=40)
    assert (capped.fewest_steps, capped.most_steps, capped.time_limit_s) == (30, 40, 5.0)
    assert Measurement(measure_steps=20_000, target_ci=0.02).most_steps == 20_000
