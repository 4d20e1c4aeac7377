"""Question, and what stands on both sides of it: the runs that it needs, and the answer that they give."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeAlias

import pandas as pd

from perfkit.analysis.explained.reading import RENAMED, Edition
from perfkit.errors import InterruptedRunError, PerfkitError
from perfkit.schema import units
from perfkit.schema.config import RunConfig
from perfkit.schema.finding import Finding, Rule, Sure
from perfkit.schema.page.pictures import Picture
from perfkit.schema.parts.measurement import MEASURED_STEPS, Measurement
from perfkit.schema.record import RunRecord
from perfkit.schema.report import Report
from perfkit.schema.sweep import key_of
from perfkit.schema.table import Column, Table

Row: TypeAlias = dict[str, Any]
"""A row of a table, by column; what is missing is not there."""
PLAIN_OUTCOMES = ("ok", "spilled")
"""Outcomes of runs that were measured to their end."""


_WARMUP, _STEPS = Measurement().warmup_steps, Measurement().measure_steps
"""The usual numbers; recordings of memory have fewer steps."""


class UnansweredError(PerfkitError):
    """A question has no answer, because a run that it needs has no result. The message says why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Scope:
    """What a study is about: models, shapes and the machine."""

    sizes: tuple[str, ...] = ("tiny",)
    """As they were asked for: of the course's edition."""
    contexts: tuple[int, ...] = ()
    """Tokens in a sequence, where a question is about several; empty: each question's own."""
    batch_size: int = 4
    device: str = "cpu"
    """Resolved: cpu, cuda or cuda:N."""
    memory: int | None = None
    """Bytes that are free on the device; None where they are not known."""
    num_threads: int | None = None
    edition: Edition = "2025"

    @property
    def on_gpu(self) -> bool:
        """Whether there is one."""
        return self.device != "cpu"

    def config(self, size: str, context: int | None = None, **fields: Any) -> RunConfig:
        """The configuration of a run of one of the sizes. `fields` are as of `RunConfig.of`.

        A context that is the size's own is left out: so the run is the same as that of a question which names none.
        """
        name = RENAMED[self.edition].get(size, size)
        own = RunConfig.of(model_size=name).resolved(self.device).step.context_length
        return RunConfig.of(
            model_size=name,
            context_length=None if context == own else context,
            batch_size=self.batch_size,
            device=self.device,
            num_threads=self.num_threads,
            **fields,
        )

    def resolved(self, config: RunConfig) -> RunConfig:
        """With nothing left to guess."""
        return config.resolved(self.device)


@dataclass(frozen=True, slots=True, kw_only=True)
class Taken:
    """What became of one run."""

    config: RunConfig
    """As it was asked for."""
    outcome: str
    """ok, spilled, oom, predicted-oom, timeout, host-killed, error, interrupted, or skipped: no room in the budget."""
    record: RunRecord | None = None
    folder: str = ""
    """Of its files; empty where it has none."""
    why: str = ""
    """Of an outcome that is not ok."""
    seconds: float | None = None
    """The whole process took so long; of a run that was skipped, as predicted."""
    predicted_bytes: int | None = None
    """Peak in tensors by the formula."""
    tables: Callable[[str, str | None], Table | None] = lambda _name, _phase: None
    """A table of its trace or its memory by name, of one phase or of all."""
    pictures: Callable[[str], Picture | None] = lambda _: None
    """A picture of it by name."""

    @property
    def measured(self) -> RunRecord | None:
        """Its record, where it was measured to its end."""
        return self.record if self.outcome in PLAIN_OUTCOMES else None

    def table(self, name: str, phase: str | None = None) -> Table:
        """A table that must be there. Raises UnansweredError where it is not."""
        found = self.tables(name, phase)
        if found is None:
            raise UnansweredError(f"{named(self.config)} has no table {name}: {self.why or 'its file does not tell'}")
        return found


@dataclass(frozen=True, slots=True)
class Results:
    """What became of the runs of a study."""

    by_key: Mapping[str, Taken]
    attention: Callable[[str], Report | None] = lambda _: None
    """What is measured of attention alone: `grid`, or a precision for a function of the caller's; None for nothing.

    Raises UnansweredError where it could not be.
    """

    def __getitem__(self, config: RunConfig) -> Taken:
        """What became of one; `not run` where nothing did."""
        return self.by_key.get(key_of(config)) or Taken(config=config, outcome="not run", why="it was not run")

    def record(self, config: RunConfig) -> RunRecord:
        """The record of a run that was measured to its end. Raises UnansweredError where it was not."""
        taken = self[config]
        if taken.measured is None:
            raise UnansweredError(f"{named(config)} has no result ({taken.outcome}): {taken.why}")
        return taken.measured


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """The sentence, what to do next, and what stands behind it."""

    sentence: str
    """With its numbers and their cause."""
    advice: str = ""
    """The next command, fit to follow the word `try`."""
    tables: tuple[Table, ...] = ()
    """The first stands for all."""
    picture: Picture | None = None
    sure: Sure = "measured"
    """Of the sentence."""
    derived: str = ""
    """What follows from something measured by a formula: a sentence of its own, so that each says what it is."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """One question of the catalogue."""

    number: int
    word: str
    """Its short name on the command line."""
    asks: str
    """In our own words."""
    needs: Callable[[Scope], Sequence[RunConfig]]
    """The runs that its answer reads; the same ones for two questions are run once."""
    answer: Callable[[Scope, Results], Answer]
    """Raises UnansweredError where a run has no result without which there is nothing to say."""
    on_gpu: str = ""
    """What a GPU would change, one line, for those who have none."""

    @property
    def name(self) -> str:
        """`Q7`."""
        return f"Q{self.number}"


STUDY_ANSWER = Rule(
    "study-answer", "sweep", "the answer of `perfkit study` to a question, with its numbers", read="first"
)
STUDY_DERIVED = Rule(
    "study-derived", "sweep", "what of an answer follows by a formula from what was measured", read="first"
)
STUDY_UNANSWERED = Rule("study-unanswered", "sweep", "a question has no answer, and why", read="first")
STUDY_SKIPPED = Rule("study-skipped", "sweep", "runs for which the time budget of a study had no room, as predicted")
STUDY_WITHOUT_GPU = Rule("study-without-gpu", "sweep", "what a GPU would change of an answer", read="last")


def answered(
    question: Question, scope: Scope, results: Results, *, others: bool = False
) -> tuple[Report, Picture | None]:
    """The answer as a report, and its picture where it has one.

    others: there are other questions, which an error in this one must not end: it is what the answer says, and the
    summary's `broken` is true. Raises InterruptedRunError in any case.
    """
    taken = [results[config] for config in question.needs(scope)]
    rule, broken = STUDY_UNANSWERED, False
    try:
        answer = question.answer(scope, results)
        rule = STUDY_ANSWER
    except UnansweredError as error:
        answer = Answer(sentence=f"no answer: {error}", advice=_to_go_on(taken))
    except InterruptedRunError:
        raise
    except Exception as error:
        if not others:
            raise
        broken = True
        answer = Answer(sentence=f"no answer: {error}")
        if not isinstance(error, PerfkitError):
            said = f"no answer: perfkit broke with {type(error).__name__}: {error}"
            answer = Answer(sentence=said, advice=f"perfkit study {question.name}, which says where")
    findings = [Finding(rule, answer.sentence, advice=answer.advice, sure=answer.sure)]
    if answer.derived:
        findings.append(Finding(STUDY_DERIVED, f"derived, not measured: {answer.derived}", sure="derived"))
    skipped = [one for one in taken if one.outcome == "skipped"]
    if skipped:
        each = ", ".join(f"{named(one.config)} ({_about(one)})" for one in skipped)
        findings.append(Finding(STUDY_SKIPPED, f"the time budget had no room for {each}", advice="a larger --budget"))
    if question.on_gpu and not scope.on_gpu:
        findings.append(Finding(STUDY_WITHOUT_GPU, f"with a GPU: {question.on_gpu}"))
    summary = {
        "question": question.name,
        "word": question.word,
        "asks": question.asks,
        "sentence": "; ".join(one.what for one in findings[: 1 + bool(answer.derived)]),
        "next": answer.advice,
        "broken": broken,
        "runs": {key_of(one.config): {"outcome": one.outcome, "folder": one.folder} for one in taken},
    }
    report = Report(f"{question.name} {question.word}: {question.asks}", summary, answer.tables, findings)
    return report, answer.picture


def _to_go_on(taken: Sequence[Taken]) -> str:
    """What gives an answer where a run has no result; of a budget that had no room a finding of its own says it."""
    for one in taken:
        if one.outcome in ("oom", "predicted-oom"):
            flags = f"--model-size {one.config.workload.name} --pass-type {one.config.step.pass_type}"
            return f"perfkit run {flags} --fit, which says what fits, or another --model-size or --batch-size"
        if one.outcome in ("error", "host-killed", "timeout"):
            return "the same command again once that is mended: it makes the runs that failed anew"
        if one.outcome == "interrupted":
            return "the same command again: it goes on where it was ended"
    return ""


def _about(one: Taken) -> str:
    return "its time is not known" if one.seconds is None else f"about {units.rough_duration(one.seconds)}"


def named(config: RunConfig) -> str:
    """A run in words: `tiny forward bf16`, what is not usual of it said."""
    step, measurement = config.step, config.measurement
    words = [
        config.workload.name,
        step.pass_type,
        *([f"context {step.context_length}"] if step.context_length else []),
        *([step.precision] if step.precision != "fp32" else []),
        *([f"compile {step.compile}"] if step.compile != "off" else []),
        *([f"{step.parallel} ranks"] if step.parallel != "off" else []),
        *([f"checkpoint every {step.checkpoint_group}"] if step.checkpoint_group else []),
        *([f"{measurement.warmup_steps} warm-up"] if measurement.warmup_steps != _WARMUP else []),
        *(
            [f"{measurement.measure_steps} steps"]
            if measurement.measure_steps not in (_STEPS, MEASURED_STEPS.get(measurement.profiler))
            else []
        ),
        *({"torch": ["profiled"], "memory": ["memory recorded"]}.get(measurement.profiler, [])),
    ]
    return " ".join(words)


def table_of(name: str, title: str, columns: Sequence[Column], rows: Sequence[Row], notes: Sequence[str] = ()) -> Table:
    """A table of rows by column; numbers that are missing are nan."""
    frame = pd.DataFrame(list(rows), columns=[column.name for column in columns])
    numbers = [column.name for column in columns if column.kind != "text"]
    frame = frame.astype(dict.fromkeys(numbers, float))
    if "outcome" in frame and not frame["outcome"].isin(PLAIN_OUTCOMES).all():  # then it says why numbers are missing
        columns = [replace(column, spare=False) if column.name == "outcome" else column for column in columns]
    whole = [name for name in numbers if len(frame) and frame[name].notna().all() and (frame[name] % 1 == 0).all()]
    frame = frame.astype(dict.fromkeys(whole, "int64"))
    return Table(name, title, tuple(columns), frame, tuple(notes))


OUTCOME = Column("outcome", spare=True)
"""Why a row has no number."""


def outcome_of(one: Taken) -> str:
    """The outcome as a cell, with the prediction of a run that was not made."""
    if one.outcome == "skipped":
        return f"skipped, {_about(one)}"
    if one.outcome in ("predicted-oom", "oom") and one.predicted_bytes is not None:
        return f"{one.outcome}, {units.size(one.predicted_bytes)} predicted"
    return one.outcome


def listed(texts: Sequence[str]) -> str:
    """`a, b and c`."""
    return " and ".join(filter(None, (", ".join(texts[:-1]), *texts[-1:])))
