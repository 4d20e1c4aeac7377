"""What to try next against noise. Each piece of advice says when it applies: not where the run follows it already.

Conditions look at a run's configuration and environment. What a record does not say (an older one, another system)
does not rule advice out.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

from perfkit.analysis.noise.causes import Cause
from perfkit.schema.config import RunConfig
from perfkit.schema.parts.workloads import Own
from perfkit.schema.record import Environment, RunRecord

MALLOC = {"MALLOC_TRIM_THRESHOLD_": 2**32, "MALLOC_MMAP_THRESHOLD_": 2**32}
"""glibc returns no memory below these sizes in bytes, which are more than a step frees at once (mallopt(3))."""
_ENOUGH_WARMUP = 2
"""More warm-up steps do not help the allocator: gradients and the optimizer's state exist by then."""


@dataclass(frozen=True, slots=True)
class Situation:
    """The facts of a run that advice depends on."""

    record: RunRecord
    slow: int = 1
    """Leading measured steps that were still warming up."""
    period: int = 0
    """Steps from one slow step of a period to the next."""

    @property
    def environment(self) -> Environment:
        """Of the run."""
        return self.record.environment

    @property
    def on_cpu(self) -> bool:
        """Whether the step's own work runs on CPU threads."""
        return self.record.config.step.device == "cpu"

    @property
    def is_free(self) -> bool:
        """Whether the run may have used every CPU of the machine: it was not pinned to some, as far as is known."""
        return self.environment.cpu_count >= (self.environment.cpus_online or 0)

    @property
    def fewer_threads(self) -> int:
        """Half the CPUs, but fewer threads than the run had, and at least one."""
        environment = self.environment
        return max(1, min(environment.num_threads - 1, environment.cpu_count // 2))

    def has_variable(self, name: str, text: str = "") -> bool:
        """Whether an environment variable was set to a value that contains the text."""
        return text in self.environment.variables.get(name, "") if name in self.environment.variables else False


@dataclass(frozen=True, slots=True)
class Advice:
    """One thing to try."""

    text: str | Callable[[Situation], str]
    applies: Callable[[Situation], bool] = lambda _: True

    def say(self, situation: Situation) -> str:
        """In words."""
        return self.text if isinstance(self.text, str) else self.text(situation)


def against(key: Cause | str, situation: Situation) -> str:
    """What to try against a cause, or a finding without one, as `a, b, or c`; empty where nothing applies."""
    *texts, last = [advice.say(situation) for advice in ADVICE[key] if advice.applies(situation)] or [""]
    return written_for(situation.record.config, ", ".join([*texts, f"or {last}" if texts else last]))


def written_for(config: RunConfig, text: str) -> str:
    """Advice as the run's author can follow it: a loop or a script that perfkit only watches is refused flags of the
    step, or has no command line. What has their effect stands in their place."""
    if config.is_watched:
        for flag, instead in _WATCHED.items():
            text = re.sub(flag, instead, text)
    return text


_WATCHED = {
    r"--num-threads (\d+)": r"torch.set_num_threads(\1)",
    r"--measure-steps (\d+)": r"active=\1 (of a script --measure-steps \1)",
    r"--warmup-steps (\d+)": r"warmup=\1 (of a script --warmup-steps \1)",
    r"--gc off": "gc.disable() in the loop and gc.collect() between epochs",
    r"several runs \(--repeats 5\)": "several runs",
    r"--repeats (\d+)": r"\1 such runs",
    r"another --device": "another device",
}
"""Flag, as a pattern -> what has its effect in a loop."""


def _many_threads(situation: Situation) -> bool:
    return situation.on_cpu and situation.environment.num_threads > 1


def _profiled(situation: Situation) -> bool:
    return situation.record.config.measurement.profiler != "none"


def _set_malloc(situation: Situation) -> str:
    unset = [name for name, size in MALLOC.items() if _bytes_of(situation, name) < size]
    settings = " and ".join(f"{name}={MALLOC[name]}" for name in unset)
    return f"{settings} in the environment (memory that is freed then stays resident, up to the process's peak)"


def _bytes_of(situation: Situation, name: str) -> int:
    text = situation.environment.variables.get(name, "")
    return int(text) if text.isascii() and text.isdecimal() else 0


def _smaller(situation: Situation) -> str:
    """The flags that this configuration can still set to make a step need less memory."""
    step = situation.record.config.step
    if isinstance(situation.record.config.workload, Own):
        return "a smaller batch"
    flags = []
    if step.batch_size > 1:
        flags.append(f"--batch-size {step.batch_size // 2}")
    if (step.context_length or 0) > 1:
        flags.append(f"--context-length {(step.context_length or 0) // 2}")
    if not step.checkpoint_group and step.pass_type != "forward":
        flags.append("--checkpoint")
    return " or ".join(flags)


_PROFILE = Advice("--profiler torch, which shows what such a step does", lambda s: not _profiled(s))
_FEWER_THREADS = Advice(lambda s: f"--num-threads {s.fewer_threads}", _many_threads)
_LOCK_CLOCKS = "nvidia-smi --lock-gpu-clocks"

ADVICE: dict[Cause | str, tuple[Advice, ...]] = {
    Cause.GC: (
        Advice("--gc off", lambda s: s.record.config.measurement.gc == "on"),
        Advice(
            "--profiler torch --profile-stack, which shows what calls gc.collect()",
            lambda s: s.record.config.measurement.gc == "off" and not s.record.config.measurement.profile_stack,
        ),
    ),
    Cause.COMPILE: (
        Advice(lambda s: f"--warmup-steps {s.record.config.measurement.warmup_steps + s.slow + 1}"),
        Advice(
            "TORCH_LOGS=recompiles, which prints the reason", lambda s: not s.has_variable("TORCH_LOGS", "recompiles")
        ),
    ),
    Cause.THROTTLED: (
        Advice("a higher CPU limit for the container"),
        _FEWER_THREADS,
    ),
    Cause.STEAL: (Advice("another host or another time: this one gives its CPUs to other virtual machines"),),
    Cause.PREEMPTED: (
        Advice("a quiet machine"),
        Advice("taskset to keep the run on CPUs of its own", lambda s: s.is_free and s.environment.cpu_count > 1),
        _FEWER_THREADS,
    ),
    Cause.FAULTS: (
        Advice(_set_malloc, lambda s: s.on_cpu and any(_bytes_of(s, name) < size for name, size in MALLOC.items())),
        Advice("a profile of what allocates inside the step (--profiler torch)", lambda s: not _profiled(s)),
    ),
    Cause.WAITING: (Advice("--profiler torch, which shows where the step is idle", lambda s: not _profiled(s)),),
    Cause.CPU_TIME: (
        Advice("--repeats 5 (more work recurs at the same steps of every process, a slower CPU does not)"),
        Advice("fixed clocks (cpupower)", lambda s: s.environment.governor not in ("performance", "none")),
        Advice("a machine without neighbours that use its caches and memory"),
    ),
    Cause.ALLOCATION: (
        Advice(f"--warmup-steps {_ENOUGH_WARMUP}", lambda s: s.record.config.measurement.warmup_steps < _ENOUGH_WARMUP),
        Advice(
            "PYTORCH_CUDA_ALLOC_CONF=expandable_segments:True in the environment",
            lambda s: (
                not (
                    s.has_variable("PYTORCH_CUDA_ALLOC_CONF", "expandable_segments:True")
                    or s.has_variable("PYTORCH_ALLOC_CONF", "expandable_segments:True")
                )
            ),
        ),
    ),
    Cause.CLOCK: (Advice(_LOCK_CLOCKS),),
    Cause.POWER: (Advice(f"{_LOCK_CLOCKS}, at a clock that the power limit allows all the time"),),
    Cause.THERMAL: (
        Advice("better cooling"),
        Advice(f"{_LOCK_CLOCKS}, at a clock that the temperature allows all the time"),
    ),
    Cause.OTHERS: (Advice("another --device"), Advice("to end the other processes (nvidia-smi lists them)")),
    Cause.WARMUP: (Advice(lambda s: f"--warmup-steps {s.record.config.measurement.warmup_steps + s.slow}"),),
    Cause.PERIODIC: (
        Advice(lambda s: "to look for " + _periodic(s)),
        _PROFILE,
    ),
    Cause.MODES: (
        Advice("--repeats 5, to see whether other processes have the same speeds"),
        _PROFILE,
    ),
    Cause.FAST: (Advice("to look for work that a fast step skips"), _PROFILE),
    "unexplained step": (_PROFILE,),
    "too many threads": (_FEWER_THREADS,),
    "drift": (
        Advice(lambda s: f"--warmup-steps {2 * s.record.config.measurement.warmup_steps + 5}"),
        Advice("a cooler or quieter machine"),
    ),
    "autocorrelation": (Advice("several runs (--repeats 5) in place of more steps"),),
    "spill": (Advice(_smaller, lambda s: bool(_smaller(s))),),
}
"""Cause, or the name of a finding without one -> what may help."""


def _periodic(situation: Situation) -> str:
    """What often runs every few steps in training programs and can run in this one."""
    collector = ["the garbage collector"] if situation.record.config.measurement.gc == "on" else []
    usual = ", ".join(["logging", "a checkpoint", "an evaluation", "a data loader whose queue runs empty", *collector])
    return f"what runs every {situation.period} steps ({usual})"
