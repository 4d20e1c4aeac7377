"""RunConfig: sizes, defaults, overrides, and every combination that is refused."""

from __future__ import annotations

import dataclasses

import pytest

from perfkit.cli import build_app
from perfkit.errors import UsageError
from perfkit.schema.config import FIELDS, RunConfig, of_own
from perfkit.schema.parts.measurement import Measurement
from perfkit.schema.parts.step import Step
from perfkit.schema.parts.workloads import SIZES, ModelShape, Own, Transformer

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
        ({"checkpoint_every": 2, "pass_type": "forward"}, "--checkpoint-every 2 needs a backward pass"),
        ({"checkpoint_every": -1}, "--checkpoint-every -1: must be 0 or more"),
        ({"checkpoint": True, "checkpoint_every": 2}, "leave out --checkpoint"),
        ({"checkpoint_nested": True}, "--checkpoint-nested needs groups of blocks: add --checkpoint-every"),
        ({"compile_mode": "max-autotune"}, "--compile-mode max-autotune needs --compile model or --compile block"),
        ({"profile_stack": True}, "--profile-stack needs --profiler torch"),
        ({"autograd_nvtx": True, "profiler": "torch"}, "--autograd-nvtx is for Nsight Systems"),
        ({"autograd_nvtx": True, "profiler": "memory"}, "--autograd-nvtx is for Nsight Systems"),
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
        ({"max_time": 5.0}, "--max-time needs --target-ci: add it, or set --measure-steps instead"),
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


OWN = RunConfig(workload=Own(name="mine"), step=Step(batch_size=3))


def test_a_configuration_of_fields_has_each_in_its_part():
    assert RunConfig.of(d_ff=64, attention="sdpa", seed=3, gc="on") == RunConfig(
        workload=Transformer(d_ff=64, attention="sdpa"), step=Step(seed=3), measurement=Measurement(gc="on")
    )


@pytest.mark.parametrize("make", [RunConfig.of, RunConfig().changed, OWN.changed])
def test_a_name_that_no_part_has_is_refused(make):
    with pytest.raises(TypeError, match="no field colour, name"):
        make(colour="red", seed=1, name="mine")


def test_a_changed_configuration_is_another_one_checked_anew():
    """GIVEN a configuration WHEN one field is changed THEN the others stay, and what cannot work is refused"""
    # GIVEN
    config = RunConfig.of(model_size="tiny", batch_size=2, device="cpu")

    # WHEN
    changed = config.changed(precision="bf16", profiler="torch")

    # THEN
    assert changed == RunConfig.of(model_size="tiny", batch_size=2, device="cpu", precision="bf16", profiler="torch")
    assert config == RunConfig.of(model_size="tiny", batch_size=2, device="cpu")
    with pytest.raises(UsageError, match="--precision tf32 exists on NVIDIA GPUs only"):
        config.changed(precision="tf32")
    with pytest.raises(UsageError, match="is not a multiple of --num-heads 4"):
        config.changed(d_model=130)
    assert OWN.changed(batch_size=4) == RunConfig(workload=Own(name="mine"), step=Step(batch_size=4))


def test_fields_are_flat_in_the_order_of_the_command_line():
    """GIVEN fields of three parts WHEN asked for by name THEN a Transformer has all, another workload its name"""
    config = RunConfig.of(d_ff=64, seed=3, gc="on")
    assert list(config.flat()) == list(FIELDS)
    assert {name: config.value(name) for name in FIELDS} == config.flat()
    assert config.value("workload") is None
    assert {name: OWN.value(name) for name in ("workload", "batch_size", "d_ff")} == {
        "workload": "mine", "batch_size": 3, "d_ff": None,
    }  # fmt: skip
    assert OWN.flat() == {"workload": "mine"} | {
        name: RunConfig().value(name) for name, field in FIELDS.items() if field.part != "workload"
    } | {"batch_size": 3}  # fmt: skip


def test_an_own_workload_is_resolved_without_a_guess():
    assert OWN.resolved("cuda:1") == RunConfig(workload=Own(name="mine"), step=Step(batch_size=3, device="cuda:1"))
    assert (OWN.is_resolved, RunConfig().is_resolved, RunConfig().resolved("cpu").is_resolved) == (True, False, True)


@pytest.mark.parametrize("ask", [lambda: OWN.transformer, OWN.flags, lambda: OWN.changed(d_model=8)])
def test_what_needs_a_transformer_refuses_another_workload(ask):
    with pytest.raises(UsageError, match=r"^mine: a workload of your own, of which perfkit knows neither shape"):
        ask()


@pytest.mark.parametrize("name", ["", " ", "two\nlines", "\x1b[31mred"])
def test_a_workload_has_a_name_of_one_line(name):
    with pytest.raises(UsageError, match="must be one line of printable text"):
        Own(name=name)


def test_a_refusal_across_parts_is_of_the_whole_configuration():
    """GIVEN parts that are fine by themselves WHEN put together THEN what they cannot be together is refused"""
    for workload, step, measurement, message in (
        (
            Transformer(attention="sdpa", sdpa_backend="cudnn"),
            Step(device="cpu"),
            Measurement(),
            "--sdpa-backend cudnn",
        ),
        (Own(name="mine"), Step(device="cpu"), Measurement(autograd_nvtx=True), "--autograd-nvtx needs a CUDA device"),
        (
            Own(name="mine"),
            Step(),
            Measurement(experimental_provenance=True, profiler="torch"),
            "needs --compile model",
        ),
    ):
        with pytest.raises(UsageError, match=message):
            RunConfig(workload=workload, step=step, measurement=measurement)


def test_values_of_an_own_model_are_those_of_its_arguments():
    """GIVEN arguments of every kind WHEN asked for THEN numbers are numbers, and what is no number its text"""
    arguments = ("n=4", "x=0.5", "on=True", "act=relu", "sizes=[1, 2]", "none=None")
    config = of_own({"model": "a.b:C", "model_arg": arguments, "input": "a:d", "input_arg": ("n=2",)})
    assert config.names[:9] == (
        "model", "model_arg.n", "model_arg.x", "model_arg.on", "model_arg.act", "model_arg.sizes", "model_arg.none",
        "input", "input_arg.n")  # fmt: skip
    assert [config.value(name) for name in config.names[:9]] == [
        "a.b:C", 4, 0.5, True, "relu", "[1, 2]", None, "a:d", 2]  # fmt: skip
    assert config.value("model_arg.other") is RunConfig().value("model_arg.n") is None
    assert {"batch_size", "d_model", "checkpoint"}.isdisjoint(config.names)
    assert {"precision", "seed", "profiler"} <= {*config.names}


@pytest.mark.parametrize(
    ("own", "message"),
    [
        ({"input_arg": ("n=1",)}, "--input-arg n=1 needs --model and --input"),
        ({"model": "a:b", "input": "a:c", "input_arg": ("n",)}, "--input-arg n: write it as name=value"),
        ({"model": "a:b", "input": "a:c", "input_arg": ("n=1", "n=2")}, "--input-arg n is given twice: leave one out"),
    ],
)
def test_arguments_of_an_input_are_checked_as_a_models(own, message):
    with pytest.raises(UsageError, match=message):
        of_own(own)
