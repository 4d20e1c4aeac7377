"""Whether two groups of processes were measured under the same conditions, and in what they differ."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import pandas as pd

from perfkit.analysis.runs.processes import NOT_COMPARED, Match, Pair, Process
from perfkit.schema.config import FIELDS, RunConfig
from perfkit.schema.parts.checks import flag
from perfkit.schema.table import Audience, Column, Table

Role = Literal["refused", "work", "method", "compared", "noted"]
"""refused: another machine, version or precision, unless forced; work: the step computes something else;
method: measured in another way; compared: any other flag; noted: differences that rarely matter."""

_DECISIVE = (
    "device_name", "compute_capability", "driver", "cuda", "cudnn", "torch", "cpu_model", "cpu_count", "num_threads",
)  # fmt: skip
"""Fields of the environment that affect times."""
_NOTED = ("hostname", "os", "python", "perfkit", "git_commit")
WORK = (
    "workload", "model_size", "d_model", "d_ff", "num_layers", "num_heads", "vocab_size", "pass_type", "batch_size",
    "context_length",
)  # fmt: skip
_METHOD = ("profiler", "profile_stack", "experimental_provenance", "annotate", "gc")
_SAID_BY_ENVIRONMENT = {"device", "num_threads"}
_REFUSED_FLAG = "precision"
_EXPLAINS = {
    "device": ("device", "device_name", "compute_capability", "driver", "cuda", "cudnn"),
    "num_threads": ("num_threads",),
}
"""Flag -> the fields of the environment that follow from it."""


@dataclass(frozen=True, slots=True)
class Difference:
    """A row of the table of differences: one thing that is not the same in all the processes."""

    what: str
    a: str
    b: str
    role: Role

    def __str__(self) -> str:
        return f"{self.what}: {self.a} against {self.b}"


def differences(match: Match, intended: frozenset[str] = frozenset()) -> list[Difference]:
    """Everything that differs between the two sides of a pair, or within one side where it must not.

    `intended`: flags whose difference was asked for explicitly, by `compare --run`; they are never refused, and
    neither is what follows from them.
    """
    explained = {what for flag in intended for what in _EXPLAINS.get(flag, ())}
    known: dict[Difference, None] = {}  # the same difference in many pairs is one
    for pair in match.pairs:
        for difference in (*_of_environments(pair, explained), *_of_lengths(pair)):
            known.setdefault(difference)
    said = {difference.what for difference in known}
    flags = [
        Difference(_flag(name), _text(a), _text(b), _role(name, intended))
        for name, (a, b) in match.changed.items()
        if name not in _SAID_BY_ENVIRONMENT & said
    ]
    return [*flags, *known]


def unlike(a: RunConfig, b: RunConfig) -> list[Difference]:
    """Flags by which two configurations differ in their work or its measurement, where both name a value."""
    pairs = ((name, a.value(name), b.value(name)) for name in (*WORK, *_METHOD))
    return [
        Difference(_flag(name), _text(of_a), _text(of_b), _role(name, frozenset()))
        for name, of_a, of_b in pairs
        if of_a != of_b and None not in (of_a, of_b)
    ]


def refusals(differences: Sequence[Difference]) -> list[Difference]:
    """Differences that forbid the comparison."""
    return [difference for difference in differences if difference.role == "refused"]


def table(differences: Sequence[Difference]) -> Table:
    """The table of differences, compared flags first."""
    order: tuple[Role, ...] = ("compared", "work", "method", "refused", "noted")
    rows = [
        (difference.what, difference.a, difference.b, "forced" if difference.role == "refused" else difference.role)
        for difference in sorted(differences, key=lambda difference: order.index(difference.role))
    ]
    frame = pd.DataFrame(rows, columns=["what", "a", "b", "role"])
    columns = (Column("what"), Column("a", title="A"), Column("b", title="B"), Column("role"))
    audience: Audience = "everyone" if differences else "scripts"
    return Table("differences", "What differs", columns, frame, pinned=len(frame), audience=audience)


def _of_environments(pair: Pair, explained: set[str]) -> Iterator[Difference]:
    readings: list[tuple[str, Callable[[Process], Any], Role]] = [("device", _kind_of_device, "refused")]
    readings += [(what, _of_environment(what), "refused") for what in _DECISIVE]
    readings += [(what, _of_environment(what), "noted") for what in _NOTED]
    for mapping in ("variables", "libraries"):
        names = sorted({name for process in (*pair.a, *pair.b) for name in getattr(process.environment, mapping)})
        readings += [(name, _of_mapping(mapping, name), "noted") for name in names]
    for what, reading, usual in readings:
        values_a, values_b = ({_text(reading(process)) for process in side} for side in (pair.a, pair.b))
        role: Role = "compared" if what in explained else usual
        if values_a != values_b or (role == "refused" and len(values_a) > 1):
            yield Difference(what, _either(values_a), _either(values_b), role)


def _of_lengths(pair: Pair) -> Iterator[Difference]:
    for what in sorted(NOT_COMPARED):
        values_a, values_b = ({_text(process.config.value(what)) for process in side} for side in (pair.a, pair.b))
        if values_a != values_b:
            yield Difference(_flag(what), _either(values_a), _either(values_b), "noted")


def _role(what: str, intended: frozenset[str]) -> Role:
    if what == _REFUSED_FLAG and what not in intended:
        return "refused"
    if what in WORK:
        return "work"
    return "method" if what in _METHOD else "compared"


def _either(values: set[str]) -> str:
    return " or ".join(sorted(values))


def _of_environment(what: str) -> Callable[[Process], Any]:
    return lambda process: getattr(process.environment, what)


def _of_mapping(mapping: str, name: str) -> Callable[[Process], Any]:
    return lambda process: getattr(process.environment, mapping).get(name)


def _kind_of_device(process: Process) -> str:
    return process.environment.device.partition(":")[0]


def _flag(what: str) -> str:
    return flag(what) if what in FIELDS else what


def _text(value: Any) -> str:
    if value is None:
        return "none"
    return ("on" if value else "off") if isinstance(value, bool) else str(value)
