"""Which host ranges are the steps (rule 16 of docs/attribution.md): the profiler's, perfkit's, or users' own.

Where neither torch.profiler nor perfkit wrote steps, the outermost ranges that repeat serve as steps, if their words
say so, or if they all have one name and hold nearly everything that is launched.
"""

from __future__ import annotations

import re
from collections import Counter
from enum import Enum

import msgspec
import numpy as np

from perfkit.analysis.attribution.intervals import NONE, Bools, Forest, Ints, last_at_or_before, nearest, strictly_above
from perfkit.regex import Regex
from perfkit.schema.range_names import RangeName
from perfkit.trace.columns import HostKind

_PROFILER_STEP = Regex(r"ProfilerStep#\d+")

_STEP_WORDS = frozenset(
    re.findall(r"\w+", "step steps iteration iterations iter iters batch minibatch epoch train training decode prefill")
)
"""A range with one of these words is a step, if it has none of `_OTHER_WORDS`."""
_ENGINE_STEP = frozenset(("execute", "context", "generation"))
"""The words of vLLM's range round an engine step: `execute_context_0(0)_generation_16(16)`
(vllm/v1/worker/gpu_worker.py, annotate_profile)."""
_OTHER_WORDS = frozenset(
    # parts of a model; phases of a step; what stands between steps; library calls
    re.findall(
        r"\w+",
        """
        layer layers block blocks module modules attn attention mlp ffn moe expert experts norm conv linear embed
        embedding embeddings head heads encoder decoder enc dec vae
        backward bwd loss optimizer optim opt grad grads gradient gradients clip scheduler lr scaler
        data dataloader loader load loading fetch get next prefetch wait copy transfer collate sampler prepare prep
        preprocess image images jpeg video audio log logging save checkpoint sync synchronize barrier hook callback
        nccl allreduce reduce gather scatter broadcast send recv gemm matmul kernel
        """,
    )
)
_FORWARD = frozenset(("forward", "fwd"))
_BACKWARD = frozenset(("backward", "bwd"))

_NOT_USERS = Regex(
    r"nccl:|gloo:|ucc:|mpi:|xccl:|hccl:|Optimizer\.|enumerate\(DataLoader\)|DistributedDataParallel"
    r"|record_param_comms|Torch-Compiled Region|## Call CompiledFxGraph|CompiledFunction|TorchDynamo|AOTDispatcher"
    r"|Pregraph|perfkit[.:]|nn\.Module: "
)
"""Ranges that torch opens by itself; so do C++ libraries, whose names have a namespace (`::`)."""

_BRACKETED = Regex(r"\[[^\[\]]*\]|\([^()]*\)|\{[^{}]*\}|<[^<>]*>")
_WORD = Regex(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+")
_NUMBER = Regex(r"\d+")

_NEARLY_ALL = 0.9
"""Share of what is launched from the first range to the last, which lies in ranges that serve as steps for their name
alone. Where only a part of the step has a range, the rest of it is launched outside."""


class StepSource(Enum):
    """Where the steps come from."""

    PROFILER = "profiler"
    """torch.profiler's `ProfilerStep#`."""
    PERFKIT = "perfkit"
    """perfkit's own step ranges."""
    NAMED = "named ranges"
    """Ranges of the user whose words say so: `train_step 3`."""
    REPEATED = "repeated ranges"
    """Ranges of the user that all have one name and hold nearly everything that is launched."""
    NONE = "none"

    @property
    def is_certain(self) -> bool:
        """Whether there are steps that were written as such."""
        return self in (StepSource.PROFILER, StepSource.PERFKIT)

    @property
    def is_named(self) -> bool:
        """Whether there are steps that are called so: these are no modules."""
        return self.is_certain or self is StepSource.NAMED


class HostColumns(msgspec.Struct, frozen=True):
    """Host ranges in the forest's order."""

    names: tuple[str, ...]
    forest: Forest
    name: Ints
    kind: Ints
    thread: Ints
    process: Ints
    start: Ints
    end: Ints
    nests: Bools
    """False for ranges across threads, which are no thread's steps."""


def find_steps(host: HostColumns, own_names: dict[int, RangeName]) -> tuple[Bools, StepSource]:
    """Rows that are steps, and why they are. `own_names`: name index -> parsed name, of perfkit's own ranges."""
    annotation = (host.kind == HostKind.ANNOTATION) & host.nests
    is_step = annotation & _having(host, [i for i, name in enumerate(host.names) if _PROFILER_STEP.fullmatch(name)])
    if is_step.any():
        return is_step, StepSource.PROFILER
    is_step = _having(host, [index for index, own in own_names.items() if own.kind == "step"])
    if is_step.any():
        return is_step, StepSource.PERFKIT
    return _from_ranges(host, annotation)


def _having(host: HostColumns, indices: list[int]) -> Bools:
    flags = np.zeros(len(host.names), dtype=bool)
    flags[indices] = True
    return flags[host.name] if len(host.name) else np.zeros(0, dtype=bool)


def _from_ranges(host: HostColumns, annotation: Bools) -> tuple[Bools, StepSource]:
    """The outermost of the users' ranges that repeat, on one thread of each process, where they are steps."""
    outermost, names = _outermost_that_repeat(host, np.flatnonzero(annotation))
    words = {index: _words(host.names[index]) for index in names}
    for source, choose in ((StepSource.NAMED, _named), (StepSource.REPEATED, _repeated)):
        is_step = np.zeros(len(annotation), dtype=bool)
        for process in np.unique(host.process[outermost]).tolist():
            is_step[choose(host, outermost[host.process[outermost] == process], words)] = True
        if is_step.any():
            return is_step, source
    return np.zeros(len(annotation), dtype=bool), StepSource.NONE


def _outermost_that_repeat(host: HostColumns, rows: Ints) -> tuple[Ints, list[int]]:
    """Of some rows those of users' ranges that repeat on their thread, in no other that does; and their names."""
    used = np.unique(host.name[rows]).tolist()
    texts = {index: spelled(host.names[index]) for index in used if _is_users(host.names[index])}
    numbers = {text: number for number, text in enumerate(dict.fromkeys(texts.values()))}
    text_of = np.full(len(host.names) + 1, NONE, dtype=np.int64)
    text_of[list(texts)] = [numbers[text] for text in texts.values()]
    text = text_of[host.name[rows]]
    rows, text = rows[text != NONE], text[text != NONE]
    _, place, counts = np.unique(np.stack((host.thread[rows], text)), axis=1, return_inverse=True, return_counts=True)
    repeats = np.zeros(len(host.name), dtype=bool)
    repeats[rows[counts[place.reshape(-1)] > 1]] = True
    around = strictly_above(host.forest.parent, nearest(host.forest.parent, repeats)) if len(rows) else host.name
    outermost = np.flatnonzero(repeats & (around == NONE)) if len(rows) else rows
    return outermost, np.unique(host.name[outermost]).tolist()


def _is_users(name: str) -> bool:
    return "::" not in name and not _NOT_USERS.match(name)


def spelled(name: str) -> str:
    """A name with a star for each number and for each bracket: what the ranges of several steps have in common."""
    plain = _BRACKETED.sub("*", name)
    return _NUMBER.sub("*", plain if _WORD.search(plain) else name)


def _named(host: HostColumns, rows: Ints, words: dict[int, frozenset[str]]) -> Ints:
    """The ranges whose words say that they are steps, unless backward stands beside them: a step holds it."""
    called = _of_busiest_thread(host, rows[_having(host, [i for i, has in words.items() if _says_step(has)])[rows]])
    beside = rows[_having(host, [i for i, has in words.items() if has & _BACKWARD])[rows]]
    return called[:0] if np.isin(host.thread[beside], host.thread[called]).any() else called


def _repeated(host: HostColumns, rows: Ints, words: dict[int, frozenset[str]]) -> Ints:
    """The ranges of one thread, where all have one name, which no part of a step has, and hold nearly everything."""
    rows = rows[np.isin(host.name[rows], [i for i, has in words.items() if not has & _OTHER_WORDS])]
    rows = _of_busiest_thread(host, rows)
    alike = len(np.unique(host.name[rows])) == 1
    return rows if alike and _hold_nearly_all(host, rows) else rows[:0]


def _words(name: str) -> frozenset[str]:
    plain = _BRACKETED.sub(" ", name)
    return frozenset(word.lower() for word in _WORD.findall(plain) or _WORD.findall(name))


def _says_step(words: frozenset[str]) -> bool:
    return bool(words & _STEP_WORDS or words >= _ENGINE_STEP) and not words & (_OTHER_WORDS | _FORWARD)


def _of_busiest_thread(host: HostColumns, rows: Ints) -> Ints:
    """Rows of the thread with most time in them; of those that launch anything, where some do."""
    if not len(rows):
        return rows
    launches = np.isin(host.thread[rows], host.thread[host.kind == HostKind.RUNTIME])
    rows = rows[launches] if launches.any() else rows
    time: Counter[int] = Counter()
    for thread, duration in zip(host.thread[rows].tolist(), (host.end - host.start)[rows].tolist(), strict=True):
        time[thread] += duration
    return rows[host.thread[rows] == time.most_common(1)[0][0]]


def _hold_nearly_all(host: HostColumns, steps: Ints) -> bool:
    """Whether they hold nearly all calls of their process (without any, operators) between the first and the last."""
    here = (
        (host.process == host.process[steps[0]])
        & (host.start >= host.start[steps].min())
        & (host.start < host.end[steps].max())
    )
    work = np.flatnonzero(here & (host.kind == HostKind.RUNTIME))
    work = work if len(work) else np.flatnonzero(here & (host.kind == HostKind.OP))
    nothing = np.zeros(len(steps), dtype=np.int64)
    step = last_at_or_before(nothing, host.start[steps], np.zeros(len(work), dtype=np.int64), host.start[work])
    inside = host.start[work] < host.end[steps][step]
    return bool(inside.sum() >= _NEARLY_ALL * len(work))
