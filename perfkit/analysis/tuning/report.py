"""Trials of changes -> the report: what to do first, then each change, then what was not applied and why."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import pandas as pd

from perfkit.analysis.tuning import choice, larger_batch
from perfkit.analysis.tuning.candidates import Unapplied
from perfkit.analysis.tuning.choice import Clock, Trial
from perfkit.analysis.tuning.equality import Equality, spelled
from perfkit.schema import units
from perfkit.schema.config import RunConfig
from perfkit.schema.finding import Cost, Evidence, Finding, Rule
from perfkit.schema.parts.workloads import Own
from perfkit.schema.report import Report
from perfkit.schema.table import Column, Table

TUNED = Rule("tuned", "comparison", "the change to make, with its gain, or that there is none", read="first")
TUNED_COMMAND = Rule("tuned-command", "comparison", "the command line with the changes to make", read="first")
LARGER_BATCH = Rule("larger-batch", "comparison", "what a larger batch brings, which is another computation")
REFUSED_CHANGE = Rule("refused-change", "comparison", "a change that computes something else")
UNDECIDED_CHANGE = Rule("undecided-change", "comparison", "a change that is not shown to be faster or slower")
UNTRIED_CHANGES = Rule("untried-changes", "comparison", "changes for which there was no time, or not enough")
DISTURBED_TRIALS = Rule("disturbed-trials", "comparison", "other programs took part in what was measured")
_OPEN = ("inconclusive", "undecided")
"""Verdicts of what was measured and says nothing yet."""
_BUSY = 1.0
"""Load, less this process's own, per CPU, above which times are uncertain."""


@dataclass(frozen=True, slots=True)
class Tuned:
    """What was tried of one run."""

    trials: tuple[Trial, ...]
    together: Trial | None
    unapplied: tuple[Unapplied, ...]
    command: str
    """The command line of the recommended change; of the run as it is where there is none."""
    clock: Clock
    budget_s: float
    used_s: float
    loads: tuple[float, float]
    """Load averages of a minute at the beginning and the end."""
    cpus: int
    advised: bool = True
    """Whether any finding advises anything."""
    needed_s: float = 0.0
    """What all processes would take."""
    interrupted: bool = False
    """Whether a signal ended it."""
    config: RunConfig = field(default_factory=RunConfig)
    """What was tuned."""

    @property
    def recommended(self) -> Trial | None:
        """The change to make."""
        return choice.recommended(self.trials, self.together)

    @property
    def all(self) -> tuple[Trial, ...]:
        """Each alone, then the best together."""
        return (*self.trials, *([self.together] if self.together else []))


_COLUMNS = (
    Column("change", whole=True),
    Column("verdict"),
    Column("original_s", "s", "time", "original", scale="time"),
    Column("time_s", "s", "time", "with it", scale="time"),
    Column("gain", "1", "share"),
    Column("predicted", "1", "share", spare=True),
    Column("processes", "", "count", spare=True),
    Column("gain_low", "1", "share", "95% low", spare=True),
    Column("gain_high", "1", "share", "95% high", spare=True),
    Column("memory_bytes", "B", "bytes", "memory", spare=True),
    Column("loss_differs", title="losses", spare=True),
    Column("gradient_differs", title="gradients", spare=True),
    Column("said", title="remark"),
    Column("times", "", "count", audience="scripts"),
    Column("advised_by", audience="scripts"),
    Column("loss_difference", "1", "share", audience="scripts"),
    Column("loss_limit", "1", "share", audience="scripts"),
    Column("gradient_difference", "1", "share", audience="scripts"),
    Column("gradient_limit", "1", "share", audience="scripts"),
)


def report(tuned: Tuned, title: str) -> Report:
    """The sentences, the changes that were tried, and those that were not applied."""
    best, larger = tuned.recommended, choice.larger_batch(tuned.trials)
    summary = {
        "recommended": None if best is None else best.candidate.name,
        "command": tuned.command,
        "gain": None if best is None else best.gain[0],
        "larger_batch": None if larger is None else larger.candidate.name,
        "clock": tuned.clock,
        "budget_s": tuned.budget_s,
        "used_s": tuned.used_s,
        "load_before": tuned.loads[0],
        "load_after": tuned.loads[1],
    }
    tables = [_changes(tuned)] if tuned.all else []
    tables += [_not_applied(tuned.unapplied)] if tuned.unapplied else []
    return Report(title, summary, tables, tuple(_findings(tuned)), "changes")


def _findings(tuned: Tuned) -> Iterator[Finding]:
    best = tuned.recommended
    if best is None:
        yield Finding(TUNED, _nothing(tuned), advice="")
    else:
        yield _worth(TUNED, best, sentence(best))
        yield Finding(TUNED_COMMAND, f"run it as: {tuned.command}")
    larger = choice.larger_batch(tuned.trials)
    if larger is not None:
        yield _worth(LARGER_BATCH, larger, of_batch(larger, tuned.config))
    for trial in tuned.all:
        if trial.verdict == "refused":
            assert trial.equality is not None
            yield Finding(REFUSED_CHANGE, f"{trial.candidate.name} is refused: {trial.equality.why}", sure="measured")
    for trial in tuned.all:
        if trial.verdict in _OPEN and trial.row is not None:
            text = f"not shown either way by {units.many(trial.row.n_b, 'process', 'processes')}: {sentence(trial)}"
            advice = "" if trial.untried or tuned.interrupted else "more --repeats"
            yield Finding(UNDECIDED_CHANGE, text, advice=advice, sure="measured")
    short = [trial.candidate.name + (f" ({trial.untried})" if trial.row else "")
             for trial in tuned.all if trial.untried or trial.verdict == "not tried"]  # fmt: skip
    if short:
        why = "a signal ended it" if tuned.interrupted else "for want of time"
        minutes = math.ceil(max(tuned.needed_s, tuned.budget_s + 1) / 60)
        text = f"not tried, or with fewer processes, {why}: {', '.join(short)}"
        yield Finding(UNTRIED_CHANGES, text, advice="" if tuned.interrupted else f"--budget {minutes}m")
    if max(tuned.loads) > tuned.cpus + _BUSY:
        text = (
            f"this machine was busy (load {tuned.loads[0]:.1f} before, {tuned.loads[1]:.1f} after, on"
            f" {units.many(tuned.cpus, 'CPU', 'CPUs')}): intervals are wider"
        )
        yield Finding(DISTURBED_TRIALS, text, advice="" if tuned.clock == "cpu" else "a quiet machine, or --clock cpu")


def _worth(rule: Rule, trial: Trial, text: str) -> Finding:
    assert trial.row is not None, "only what was measured is worth it"
    cost = Cost(round((trial.row.a_s - trial.row.b_s) * 1e9), trial.gain[0])
    return Finding(rule, text, cost, (Evidence("changes", {"change": trial.candidate.name}),), sure="measured")


def of_batch(trial: Trial, config: RunConfig) -> str:
    """`--batch-size 8: a batch of 8 in place of 4 brings 18% more tokens a second, memory +40%; it changes ...`."""
    assert trial.equality is not None, "it was looked at"
    times, rows = trial.candidate.times, larger_batch.rows_of(config)
    what = f"a batch of {times} times the rows" if rows is None else f"a batch of {times * rows} in place of {rows}"
    counted = "rows" if isinstance(config.workload, Own) else "tokens"
    more, low, high = (f"{100 * (1 / (1 - gain) - 1):.0f}" for gain in trial.gain)
    share = trial.candidate.predicted
    predicted = "no prediction" if share is None else f"predicted {100 * (1 / (1 - share) - 1):.0f}%"
    memory = "" if trial.memory_share is None else f", memory {100 * trial.memory_share:+.0f}%"
    if config.step.pass_type == "forward":
        means = f"a step is of {times} times the {counted}"
    else:
        means = f"it changes training: gradients of {times} times the {counted}, not the same trajectory"
    return (
        f"{trial.candidate.name}: {what} brings {more}% more {counted} a second (95%: {low} to {high}; {predicted})"
        f"{memory}; {means} ({_of_repeated(trial.equality)})"
    )


def _of_repeated(equality: Equality) -> str:
    if not equality.compared:
        return "its rows are others, so that no loss can be compared"
    return f"the original's rows, repeated: {_apart(equality)}"


def _apart(equality: Equality) -> str:
    return f"losses differ by up to {spelled(equality.loss)}, gradients by {spelled(equality.gradient)}"


def sentence(trial: Trial) -> str:
    """`--optimizer adamw-fused: 9.8 -> 8.1 ms, -17% (95%: 14 to 20; predicted 20%), same losses`."""
    assert trial.row is not None, "measured"
    assert trial.equality is not None, "compared"
    scale, unit = units.time_unit(trial.row.a_s)
    before, after = (units.significant(value * scale, 3) for value in (trial.row.a_s, trial.row.b_s))
    gain, low, high = trial.gain
    share = trial.candidate.predicted
    least = "at least " if trial.candidate.at_least else ""
    predicted = "no prediction" if share is None else f"predicted {least}{100 * share:.0f}%"
    sure = "no interval" if trial.row.welch is None else f"95%: {100 * low:.0f} to {100 * high:.0f}"
    as_many = " for as many rows" if trial.candidate.times > 1 else ""
    return (
        f"{trial.candidate.name}: {before} -> {after} {unit}{as_many}, {-100 * gain:+.0f}%"
        f" ({sure}; {predicted}), {_results(trial.equality)}"
    )


def _results(equality: Equality) -> str:
    if not equality.compared:
        return "another batch"
    if equality.identical:
        return "the same losses and gradients, bit for bit"
    if equality.changes_precision:
        return f"another precision: {_apart(equality)}"
    return f"same losses within rounding ({_apart(equality)})"


def _nothing(tuned: Tuned) -> str:
    if not tuned.trials:
        why = "no finding advises a change that can be tried here" if tuned.advised else "no finding advises a change"
        return f"nothing to recommend: {why}"
    counts: dict[str, int] = {}
    kept = [trial for trial in tuned.all if trial.candidate.times == 1]
    if not kept:
        return "nothing to recommend: only another batch was tried, which is another computation"
    for trial in kept:
        word = {"same": "as fast", **dict.fromkeys(_OPEN, "not shown to be faster")}.get(trial.verdict, trial.verdict)
        counts[word] = counts.get(word, 0) + 1
    said = ", ".join(f"{count} {word}" for word, count in counts.items())
    return f"nothing to recommend: of {units.many(len(kept), 'change', 'changes')} {said}"


def _changes(tuned: Tuned) -> Table:
    frame = pd.DataFrame([_row(trial) for trial in tuned.all], columns=[column.name for column in _COLUMNS])
    numbers = [column.name for column in _COLUMNS if column.kind != "text"]
    frame[numbers] = frame[numbers].apply(pd.to_numeric, errors="coerce").astype(float)
    more_rows = any(trial.candidate.times > 1 for trial in tuned.all)
    what = "CPU time of all threads" if tuned.clock == "cpu" else "wall time"
    notes = (
        f"{what} of a step, geometric mean of processes' medians; verdicts at 5%, adjusted for all changes (Holm)",
        "losses, gradients: largest relative difference in three steps from the same weights; limits from what the"
        " original does with weights nudged by one rounding error (docs/tune.md)",
        "memory: peak less the original's",
        *(["of a larger batch, time and gain are for as many rows as the original's"] if more_rows else []),
    )
    return Table("changes", "What was tried", _COLUMNS, frame, notes, pinned=len(frame))


def _row(trial: Trial) -> dict[str, Any]:
    gain, low, high = trial.gain
    equality = trial.equality
    known = equality is not None and len(equality.loss_limits) > 0
    return {
        "change": trial.candidate.name,
        "verdict": trial.verdict,
        "processes": None if trial.row is None else trial.row.n_b,
        "original_s": None if trial.row is None else trial.row.a_s,
        "time_s": None if trial.row is None else trial.row.b_s,
        "gain": gain,
        "gain_low": low,
        "gain_high": high,
        "predicted": trial.candidate.predicted,
        "memory_bytes": trial.memory_bytes,
        "loss_differs": spelled(equality.loss) if equality is not None and known else "-",
        "gradient_differs": spelled(equality.gradient) if equality is not None and known else "-",
        "said": trial.failed or trial.untried or (equality.why if equality is not None else ""),
        "times": trial.candidate.times,
        "advised_by": " ".join(trial.candidate.rules),
        "loss_difference": equality.loss if equality is not None and known else None,
        "loss_limit": equality.loss_limits.max() if equality is not None and known else None,
        "gradient_difference": equality.gradient if equality is not None and known else None,
        "gradient_limit": equality.gradient_limits.max() if equality is not None and known else None,
    }


def _not_applied(unapplied: Sequence[Unapplied]) -> Table:
    columns = (
        Column("what", title="advised, and not applied"),
        Column("why"),
        Column("rule", title="finding"),
        Column("cost_ns", "ns", "time", "at stake"),
    )
    rows = [(one.what, one.why, one.rule, one.cost_ns) for one in unapplied]
    frame = pd.DataFrame(rows, columns=[column.name for column in columns]).astype({"cost_ns": float})
    return Table("not_applied", "What is advised and was not applied", columns, frame, pinned=len(frame))
