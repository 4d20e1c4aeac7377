"""No advice tells people to do what they have done: each is asked for in a run that has it, and in one without it."""

from __future__ import annotations

import dataclasses

import pytest

from perfkit.analysis.noise import advice
from perfkit.analysis.noise.advice import ADVICE, Situation
from perfkit.analysis.noise.causes import Cause
from perfkit.analysis.noise.enough import finding
from perfkit.schema.parts.workloads import Own
from tests.analysis.noisy import explained, longer, quiet_steps, record
from tests.runs import ENVIRONMENT, quick


def situation(environment=None, **flags) -> Situation:
    changed = dataclasses.replace(ENVIRONMENT, **(environment or {}))
    return Situation(record(quiet_steps(5), config=quick(**flags), environment=changed), period=8)


MALLOC = {"MALLOC_TRIM_THRESHOLD_": "4294967296", "MALLOC_MMAP_THRESHOLD_": "4294967296"}
CASES = {
    "threads, preempted": (Cause.PREEMPTED, "--num-threads", {"num_threads": 2}, {"num_threads": 1}),
    "threads, throttled": (Cause.THROTTLED, "--num-threads", {"num_threads": 2}, {"num_threads": 1}),
    "threads, too many": ("too many threads", "--num-threads", {"num_threads": 8}, {"num_threads": 1}),
    "pinned": (Cause.PREEMPTED, "taskset", {"cpus_online": 2}, {"cpus_online": 8}),
    "one CPU": (Cause.PREEMPTED, "taskset", {"cpu_count": 2}, {"cpu_count": 1}),
    "governor": (Cause.CPU_TIME, "cpupower", {"governor": "schedutil"}, {"governor": "performance"}),
    "no governor to choose": (Cause.CPU_TIME, "cpupower", {"governor": None}, {"governor": "none"}),
    "trim": (Cause.FAULTS, "MALLOC_TRIM", {"variables": {}}, {"variables": MALLOC}),
    "one of two": (
        Cause.FAULTS, "MALLOC_TRIM", {"variables": {"MALLOC_MMAP_THRESHOLD_": MALLOC["MALLOC_MMAP_THRESHOLD_"]}},
        {"variables": {"MALLOC_TRIM_THRESHOLD_": MALLOC["MALLOC_TRIM_THRESHOLD_"]}},
    ),
    "recompiles": (Cause.COMPILE, "TORCH_LOGS", {"variables": {}}, {"variables": {"TORCH_LOGS": "recompiles"}}),
    "segments": (
        Cause.ALLOCATION, "expandable_segments", {"variables": {"PYTORCH_CUDA_ALLOC_CONF": "backend:native"}},
        {"variables": {"PYTORCH_CUDA_ALLOC_CONF": "backend:native,expandable_segments:True"}},
    ),
    "segments, new name": (
        Cause.ALLOCATION, "expandable_segments", {"variables": {}},
        {"variables": {"PYTORCH_ALLOC_CONF": "expandable_segments:True"}},
    ),
}  # fmt: skip
"""Cause, a word of the advice, an environment in which it helps, and one that has it already."""
FLAGS = {
    "gc off": (Cause.GC, "--gc off", {"gc": "on"}, {"gc": "off"}),
    "gc by hand": (
        Cause.GC,
        "--profiler torch --profile-stack",
        {"gc": "off"},
        {"profiler": "torch", "profile_stack": True},
    ),
    "gc left alone": (Cause.GC, "gc.collect()", {"gc": "off"}, {"gc": "on"}),
    "warm-up, allocator": (Cause.ALLOCATION, "--warmup-steps 2", {"warmup_steps": 1}, {"warmup_steps": 2}),
    "profiler, asleep": (Cause.WAITING, "--profiler torch", {}, {"profiler": "torch"}),
    "profiler, period": (Cause.PERIODIC, "--profiler torch", {}, {"profiler": "torch"}),
    "profiler, unexplained": ("unexplained step", "--profiler torch", {}, {"profiler": "torch"}),
    "profiler, faults": (Cause.FAULTS, "--profiler torch", {}, {"profiler": "torch"}),
    "checkpoint": ("spill", "--checkpoint", {}, {"checkpoint": True}),
    "nothing to recompute": ("spill", "--checkpoint", {}, {"pass_type": "forward"}),
    "batch": ("spill", "--batch-size 2", {"batch_size": 4}, {"batch_size": 1}),
    "context": ("spill", "--context-length 8", {}, {"context_length": 1}),
    "collector": (Cause.PERIODIC, "the garbage collector", {"gc": "on"}, {"gc": "off"}),
}
"""The same, of a configuration."""


@pytest.mark.parametrize(("key", "word", "helps", "done"), CASES.values(), ids=CASES)
def test_an_environment_that_has_it_is_not_told(key, word, helps, done):
    assert word in advice.against(key, situation(helps))
    assert word not in advice.against(key, situation(done))


@pytest.mark.parametrize(("key", "word", "helps", "done"), FLAGS.values(), ids=FLAGS)
def test_a_configuration_that_has_it_is_not_told(key, word, helps, done):
    assert word in advice.against(key, situation(**helps))
    assert word not in advice.against(key, situation(**done))


def test_threads_are_a_cpu_runs():
    """GIVEN a run on a GPU with 8 threads THEN threads and malloc are not what slows it"""
    made = situation({"num_threads": 8})
    on_gpu = Situation(dataclasses.replace(made.record, config=made.record.config.resolved("cuda")))
    assert "--num-threads" not in advice.against(Cause.PREEMPTED, on_gpu)
    assert "MALLOC" not in advice.against(Cause.FAULTS, on_gpu)


def test_nothing_left_to_try_is_no_advice():
    assert advice.against("too many threads", situation({"num_threads": 1})) == ""
    assert advice.against("unexplained step", situation(profiler="torch")) == ""


def test_texts_are_joined_as_people_do():
    assert advice.against(Cause.STEAL, situation()).count(" or ") == 1
    assert advice.against(Cause.OTHERS, situation()) == (
        "another --device, or to end the other processes (nvidia-smi lists them)"
    )
    assert advice.against(Cause.PREEMPTED, situation({"num_threads": 2})) == (
        "a quiet machine, taskset to keep the run on CPUs of its own, or --num-threads 1"
    )


def test_every_cause_and_every_such_finding_has_something_to_try_in_a_plain_run():
    for cause in Cause:
        assert advice.against(cause, situation({"num_threads": 2}))
    assert set(ADVICE) - set(Cause) == {"unexplained step", "too many threads", "drift", "autocorrelation", "spill"}


@pytest.mark.parametrize(("threads", "told"), [(1, False), (2, True)])
def test_a_run_of_one_thread_is_not_told_to_use_one(threads, told):
    """GIVEN a preempted step, on one thread or two WHEN reported THEN --num-threads 1 is advised to the second only"""
    steps = quiet_steps()
    steps[12] = longer(steps[12], 0.08, main_delay_s=0.08)
    environment = dataclasses.replace(ENVIRONMENT, num_threads=threads)
    found = explained(record(steps, environment=environment))
    assert any("--num-threads 1" in finding.advice for finding in found.findings) == told


@pytest.mark.parametrize(("model", "flags"), [("mine:net", True), (None, False)])
def test_a_loop_that_no_command_measures_is_told_what_to_write_in_it(model, flags):
    """GIVEN a module that --model names, or a loop or script of somebody's THEN only the first is told of flags of a
    run: a script is refused --num-threads, and a loop has no command line"""
    made = situation({"num_threads": 2}, warmup_steps=1, gc="on")
    config = dataclasses.replace(
        made.record.config, workload=Own(name="Net", model=model, input=model and "mine:batch")
    )
    own = Situation(dataclasses.replace(made.record, config=config, steps=tuple(quiet_steps(12, cv=0.05))), slow=2)
    said = "; ".join([*(advice.against(key, own) for key in ADVICE), finding(own.record).advice])
    assert ("--num-threads 1" in said) == ("--gc off" in said) == ("--repeats" in said) == flags
    assert ("torch.set_num_threads(1)" in said) == (not flags)
    assert ("active=" in said and "warmup=3 (of a script --warmup-steps 3)" in said) == (not flags)
