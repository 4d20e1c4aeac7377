"""RunConfig at its edges: the last value taken and the first refused, what each guard lets pass, the defaults."""

from __future__ import annotations

import pytest

from perfkit.errors import UsageError
from perfkit.schema.config import RunConfig
from perfkit.schema.parts.measurement import Measurement
from perfkit.schema.parts.step import Step
from perfkit.schema.parts.workloads import Own

SIZES_AND_COUNTS = ("d_model", "d_ff", "num_layers", "num_heads", "vocab_size", "batch_size", "context_length",
                    "measure_steps", "num_threads", "max_steps")  # fmt: skip
TARGET = {"target_ci": 0.01}
PROVENANCE = {"experimental_provenance": True, "compile": "model", "profiler": "torch"}


def test_defaults_are_those_of_the_manual():
    """GIVEN nothing THEN each field is what docs/run.md says of its flag"""
    assert RunConfig().flat() == {
        "model_size": None, "d_model": None, "d_ff": None, "num_layers": None, "num_heads": None,
        "vocab_size": 10_000, "attention": "eager", "sdpa_backend": "auto", "pass_type": "forward-backward",
        "batch_size": 4, "context_length": None, "precision": "fp32", "optimizer": "adamw", "compile": "off",
        "compile_mode": "default", "checkpoint": False, "checkpoint_every": 0, "checkpoint_nested": False,
        "parallel": "off", "seed": 0, "device": "auto", "num_threads": None, "warmup_steps": 5, "measure_steps": 10,
        "target_ci": None, "max_time": None, "max_steps": None, "profiler": "none", "profile_stack": False,
        "experimental_provenance": False, "annotate": "auto", "autograd_nvtx": False, "gc": "off",
    }  # fmt: skip


@pytest.mark.parametrize("field", SIZES_AND_COUNTS)
def test_sizes_and_counts_begin_at_one_and_end_below_2_to_the_31(field):
    fields = TARGET if field == "max_steps" else {}
    for number in (1, 2**31 - 1):
        if field != "max_steps" or number > 1:  # a target has 20 steps at least
            assert RunConfig.of(**fields | {field: number}).value(field) == number
    for number, message in ((0, "must be at least 1"), (2**31, "must be below 2147483648")):
        with pytest.raises(UsageError, match=f"--{field.replace('_', '-')} {number}: {message}"):
            RunConfig.of(**fields | {field: number})


@pytest.mark.parametrize(
    ("field", "last"), [("warmup_steps", 2**31 - 1), ("seed", 2**63 - 1)]
)  # a seed is an int64, a count of steps an int32
def test_numbers_that_may_be_zero_end_where_pytorch_does(field, last):
    assert [RunConfig.of(**{field: number}).value(field) for number in (0, 1, last)] == [0, 1, last]
    for number in (-1, last + 1):
        with pytest.raises(UsageError, match=f"--{field.replace('_', '-')} {number}: must be 0 or more, and below"):
            RunConfig.of(**{field: number})


@pytest.mark.parametrize("field", ["model_size", "attention", "sdpa_backend", "pass_type", "precision", "optimizer",
                                   "compile", "compile_mode", "parallel", "profiler", "annotate", "gc"])  # fmt: skip
def test_a_word_that_is_no_choice_is_refused(field):
    with pytest.raises(UsageError, match=f"^--{field.replace('_', '-')} odd: choose from "):
        RunConfig.of(**{field: "odd"})


@pytest.mark.parametrize("device", ["cpu0", "cuda:x", "xcuda", "cuda:1 ", "auto:1", ""])
def test_a_device_that_is_none_is_refused(device):
    with pytest.raises(UsageError, match="choose auto, cpu, cuda or cuda:N"):
        RunConfig.of(device=device)


@pytest.mark.parametrize(
    "fields",
    [
        {"device": "cuda:12"},
        {"attention": "sdpa", "sdpa_backend": "flash"},
        {"attention": "sdpa"},
        {"optimizer": "adamw-foreach", "pass_type": "train"},
        {"checkpoint": True},
        {"checkpoint": True, "pass_type": "train"},
        {"profile_stack": True, "profiler": "torch"},
        {"autograd_nvtx": True},
        {"autograd_nvtx": True, "profiler": "nsys", "device": "cuda"},
        {"device": "cpu", "precision": "bf16"},
        {"device": "cpu", "precision": "fp16"},
        {"device": "cpu", "attention": "sdpa", "sdpa_backend": "flash"},
        {"device": "cpu", "attention": "sdpa", "sdpa_backend": "math"},
        {"device": "cuda", "precision": "tf32"},
        {"d_model": 33},
        {"num_heads": 3},
        {"d_model": 6, "num_heads": 3},
        {"target_ci": 1e-9, "max_time": 1e-9},
        {"target_ci": 0.999, "max_steps": 20},
        {"target_ci": 0.01, "measure_steps": 20, "max_steps": 20},
        {"target_ci": 0.01, "measure_steps": 21, "max_steps": 21},
        PROVENANCE,
        PROVENANCE | {"compile": "block", "warmup_steps": 1, "annotate": "on"},
    ],
)
def test_what_works_is_taken_as_it_was_asked_for(fields):
    config = RunConfig.of(**fields)
    assert {name: config.value(name) for name in fields} == fields


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"compile": "off"}, "needs --compile model or --compile block"),
        ({"profiler": "none"}, "needs --profiler torch"),
        ({"profiler": "nsys"}, "needs --profiler torch"),
        ({"annotate": "off"}, "needs module ranges: drop --annotate off"),
        ({"warmup_steps": 0}, "needs --warmup-steps 1 or more"),
    ],
)
def test_provenance_needs_each_thing_that_it_is_made_of(change, message):
    with pytest.raises(UsageError, match=f"^--experimental-provenance {message}"):
        RunConfig.of(**PROVENANCE | change)
    assert RunConfig.of(**PROVENANCE | change | {"experimental_provenance": False})  # which alone asks for it


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"profile_stack": True, "profiler": "nsys"}, "--profile-stack needs --profiler torch"),
        ({"optimizer": "adamw-foreach"}, "--optimizer adamw-foreach needs --pass-type train"),
        ({"target_ci": 0.01, "profiler": "nsys"}, "drop --profiler nsys"),
        ({"target_ci": -0.01}, "must be above 0"),
        ({"target_ci": 1.01}, "must be above 0 and below 100%"),
        ({"target_ci": 0.01, "max_time": -1.0}, "--max-time -1.0: must be above 0 seconds"),
        ({"target_ci": 0.01, "max_time": float("nan")}, "--max-time nan: must be above 0 seconds"),
        ({"target_ci": 0.01, "measure_steps": 21, "max_steps": 20}, "measures at least 21 steps"),
        ({"d_model": 9, "num_heads": 3}, "heads of odd width 3"),
        ({"model_size": "tiny", "num_heads": 128}, "heads of odd width 1"),
    ],
)
def test_neighbours_of_what_works_are_refused(fields, message):
    with pytest.raises(UsageError) as refused:
        RunConfig.of(**fields)
    assert message in str(refused.value)


def test_the_fewest_steps_of_a_target_are_those_of_its_interval_or_more():
    """GIVEN a target THEN 20 steps are the fewest, more where more are asked for; 10,000 the most, or the fewest"""
    found = [Measurement(measure_steps=n, target_ci=0.01) for n in (19, 20, 21, 9_999, 10_000, 10_001)]
    assert [(c.fewest_steps, c.most_steps) for c in found] == [
        (20, 10_000), (20, 10_000), (21, 10_000), (9_999, 10_000), (10_000, 10_000), (10_001, 10_001),
    ]  # fmt: skip


def test_flags_name_what_differs_and_nothing_else():
    assert RunConfig.of(batch_size=2, checkpoint=True, device="cpu").flags() == [
        "--batch-size", "2", "--checkpoint", "--device", "cpu",
    ]  # fmt: skip


def test_a_recording_of_memory_measures_two_steps_unless_it_is_told_otherwise():
    """GIVEN --profiler memory THEN 2 steps where none are asked for; the flags of any number say what gives it again"""
    for asked, steps, flags in (({}, 2, []), ({"measure_steps": 10}, 10, ["--measure-steps", "10"])):
        config = RunConfig.of(profiler="memory", **asked)
        assert config.measurement.measure_steps == steps
        assert config.flags() == [*flags, "--profiler", "memory"]


@pytest.mark.parametrize(
    ("fields", "group"), [({}, 0), ({"checkpoint": True}, 1), ({"checkpoint_every": 3}, 3),
                          ({"checkpoint": True, "checkpoint_every": 1}, 1)],
)  # fmt: skip
def test_a_checkpoint_of_each_block_is_a_group_of_one(fields, group):
    assert RunConfig.of(**fields).step.checkpoint_group == group


@pytest.mark.parametrize(("size", "device", "context"), [("tiny", "cuda", 128), ("small", "cpu", 512),
                                                         ("10B", "cuda", 512)])  # fmt: skip
def test_the_context_goes_by_the_size_and_not_by_the_device(size, device, context):
    resolved = RunConfig.of(model_size=size).resolved(device)
    assert resolved.transformer.model_size == size
    assert (resolved.step.context_length, resolved.step.tokens) == (context, 4 * context)


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"compile": "model"}, "--parallel fsdp runs eagerly: leave out --compile model"),
        ({"precision": "fp16"}, "--parallel fsdp has no scaler of gradients"),
        ({"profiler": "memory"}, "--parallel fsdp needs --profiler torch or none: memory records one process"),
        ({"profiler": "nsys"}, "--parallel fsdp needs --profiler torch or none: nsys records one process"),
        ({"target_ci": 0.01}, "all ranks take the same steps: choose --measure-steps, not --target-ci"),
    ],
    ids=["compiled", "fp16", "memory", "nsys", "a target"],
)
def test_what_ranks_cannot_share_is_refused(fields, words):
    RunConfig.of(**fields)
    with pytest.raises(UsageError, match=words):
        RunConfig.of(parallel="fsdp", **fields)


def test_a_model_of_ones_own_is_not_shared():
    with pytest.raises(UsageError, match="--parallel ddp shares perfkit's own Transformer: start a script"):
        RunConfig(workload=Own(name="mine"), step=Step(parallel="ddp"))
    assert RunConfig.of(parallel="ddp", precision="fp16").step.parallel == "ddp"
