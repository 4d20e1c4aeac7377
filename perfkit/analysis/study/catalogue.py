"""The questions, in order: a new one is a file's constant and a line here."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from perfkit.analysis.study import alone, gains, kernels, large, memory, pieces, ranks, times, warmup
from perfkit.analysis.study.question import Question, Row, Scope, table_of
from perfkit.errors import UsageError, did_you_mean
from perfkit.schema.config import RunConfig
from perfkit.schema.report import Report
from perfkit.schema.sweep import key_of
from perfkit.schema.table import Column

QUESTIONS: tuple[Question, ...] = (
    times.PHASES,
    warmup.WARMUP,
    times.AGREEMENT,
    kernels.TOP_KERNEL,
    kernels.BESIDES,
    kernels.MIX,
    kernels.SOFTMAX,
    gains.PRECISION,
    memory.TIMELINE,
    memory.CONTEXTS,
    memory.RESIDUAL,
    pieces.LARGEST,
    pieces.SAVED,
    pieces.CHECKPOINTS,
    alone.ALONE,
    gains.COMPILATION,
    alone.OWN,
    ranks.PARALLEL,
    ranks.SHARDED,
    large.LARGE,
)
ALL = "all"
WORDS = (*(question.word for question in QUESTIONS), *(question.name for question in QUESTIONS), ALL)
"""What the command line takes."""


def chosen(names: Sequence[str]) -> list[Question]:
    """The questions of these names, each once, in order: Q7, 7, its word, or all. Raises UsageError for others."""
    numbers = {number for name in names for number in _numbers(name)}
    return [question for question in QUESTIONS if question.number in numbers]


def _numbers(name: str) -> Iterator[int]:
    text = name.strip().lower()
    if text == ALL:
        yield from (question.number for question in QUESTIONS)
        return
    number = re.fullmatch(r"q?(\d+)", text)
    found = next(
        (one.number for one in QUESTIONS if one.word == text or (number and one.number == int(number[1]))), None
    )
    if found is None:
        words = [question.word for question in QUESTIONS]
        meant = "" if number else did_you_mean(text, words)
        raise UsageError(f"{name}: no such question{meant}; choose Q1 to Q{len(QUESTIONS)}, all, or {', '.join(words)}")
    yield found


def needs(questions: Sequence[Question], scope: Scope) -> dict[str, RunConfig]:
    """The runs of several questions by key, each once."""
    return {key_of(config): config for question in questions for config in question.needs(scope)}


def listing(scope: Scope) -> Report:
    """All questions with how many runs each takes."""
    rows: list[Row] = [
        {"question": one.name, "word": one.word, "asks": one.asks, "runs": len(needs([one], scope))}
        for one in QUESTIONS
    ]
    columns = (Column("question"), Column("word", whole=True), Column("asks", whole=True), Column("runs", "", "count"))
    notes = ("runs: for one model size; the same run of two questions is made once",)
    table = table_of("questions", "The questions", columns, rows, notes)
    return Report("questions", {"questions": len(rows)}, (table,))
