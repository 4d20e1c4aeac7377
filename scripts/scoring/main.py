"""Plant performance faults, and print whether perfkit names them, how well it knows their cost, and false alarms."""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import sys
import tempfile
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import torch

from perfkit.schema import units
from scripts.scoring.judging import ALARMS, CEILING, EFFECT, ERROR, FIRST, Judged, Score, judge, score, topics_of_rules
from scripts.scoring.measuring import Measured, Plan, measure, played
from tests.planted.program import accepted_rules, all_pairs, all_programs

SOURCES = ("cpu", "cuda", "built")
BUSY = 0.5
"""A load average above which other programs take part in what is timed."""


def main(arguments: list[str] | None = None) -> int:
    """Measure and judge; 0 where the score is as good as it is asked to be, else 1."""
    options = _parser().parse_args(arguments)
    fields = ("repeats", "rounds", "steps", "recorded", "stacks")
    plan = Plan(**{field: getattr(options, field) for field in fields})
    accepted, topics = accepted_rules(), topics_of_rules()
    with tempfile.TemporaryDirectory() as scratch:
        folder = options.keep or Path(scratch)
        folder.mkdir(parents=True, exist_ok=True)
        chosen = list(_chosen(options.source, options.only, plan, folder))
        if missing := sorted(set(options.only or ()) - {name for _, name, _, _ in chosen}):
            sys.exit(f"scoreboard: {', '.join(missing)}: no such fault is made for this source; see --list")
        if options.list:
            print("\n".join(f"{source:5}  {name:26}  {wrong}" for source, name, wrong, _ in chosen))
            return 0
        if (load := os.getloadavg()[0]) > BUSY:
            print(f"scoreboard: this machine is busy (load {load:.1f}): wait, or gains will be noise", file=sys.stderr)
        judged = []
        for number, (source, name, _, run) in enumerate(chosen, 1):
            print(f"{number}/{len(chosen)} {name} ({source})", file=sys.stderr)
            judged.append(judge(run(), accepted[name], topics))
            if options.verbose:
                print("\n".join(told(judged[-1])), file=sys.stderr)
    found = score(judged)
    if options.output is not None:
        options.output.write_text(json.dumps(as_data(judged, found), indent=1))
    print("\n".join([*table(judged), "", *summary(judged, found)]))
    return 0 if found.passed else 1


def _parser() -> argparse.ArgumentParser:
    usual = Plan()
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--source", nargs="+", choices=SOURCES, help="default: cpu and built, and cuda with a GPU")
    parser.add_argument("--only", nargs="+", metavar="NAME", help="these faults only")
    parser.add_argument("--list", action="store_true", help="print the faults, and measure nothing")
    parser.add_argument("--repeats", type=int, default=usual.repeats, help="pairs of processes (default: %(default)s)")
    parser.add_argument("--rounds", type=int, default=usual.rounds, help="turns of each twin (default: %(default)s)")
    parser.add_argument("--steps", type=int, default=usual.steps, help="steps of a turn (default: %(default)s)")
    parser.add_argument("--recorded", type=int, default=usual.recorded, help="steps recorded (default: %(default)s)")
    parser.add_argument("--stacks", action="store_true", help="record Python stacks too (perfkit's default is not to)")
    parser.add_argument("--keep", type=Path, metavar="FOLDER", help="keep the recordings there")
    parser.add_argument("--output", type=Path, metavar="FILE", help="write everything as JSON")
    parser.add_argument("--verbose", action="store_true", help="print the findings of every recording")
    return parser


def _chosen(
    sources: list[str] | None, only: list[str] | None, plan: Plan, folder: Path
) -> Iterator[tuple[str, str, str, Callable[[], Measured]]]:
    """(source, name, what is wrong, what measures it) of each fault that was asked for."""
    sources = sources or ["cpu", "built", *(["cuda"] if torch.cuda.is_available() else [])]
    for device in (source for source in ("cpu", "cuda") if source in sources):
        for one in all_programs():
            if device in one.devices and (only is None or one.name in only):
                yield device, one.name, one.wrong, partial(measure, one, device, plan, folder)
    for pair in all_pairs() if "built" in sources else ():
        if only is None or pair.name in only:
            yield "built", pair.name, pair.wrong, partial(played, pair, folder)


def table(judged: list[Judged]) -> list[str]:
    """A line for each fault."""
    head = (
        "fault",
        "source",
        "step",
        "gain",
        "lowest..highest",
        "place",
        "predicted",
        "error",
        "named first",
        "alarms",
    )
    rows = [head, *map(_row, judged)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(head))]
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]


def _row(one: Judged) -> tuple[str, ...]:
    measured = one.measured
    lowest, highest = min(measured.gains_ns), max(measured.gains_ns)
    place = "no effect" if not one.has_effect else "no rule yet" if not one.accepted else str(one.place or "-")
    return (
        measured.name,
        measured.source,
        _ms(measured.fault.step_ns),
        f"{_ms(measured.gain_ns)} ({units.percent(measured.gain_ns / measured.fault.step_ns)})",
        f"{_ms(lowest)}..{_ms(highest)}",
        place,
        "-" if one.predicted_ns is None else _ms(one.predicted_ns) + (" too low" if one.is_too_low else ""),
        "-" if one.error is None else units.percent(one.error),
        one.found[0].rule if one.found else "-",
        ", ".join(alarm.rule for alarm in one.alarms) or "-",
    )


def summary(judged: list[Judged], found: Score) -> list[str]:
    """The score in sentences, each with what is asked."""
    idle = [one.measured.name for one in judged if not one.has_effect]
    unnamed = [one.measured.name for one in judged if one.has_effect and not one.accepted]
    error = "unknown: no fault was named" if found.error is None else units.percent(found.error)
    lines = [
        "times in ms a step, not recorded; gain: what the healthy twin takes less; predicted: what the finding says",
        f"named first: {found.first} of {found.faults} faults (asked: {units.percent(FIRST)})",
        f"named in the first three: {found.in_three} of {found.faults}",
        f"false alarms: {found.alarmed} of {found.twins} healthy twins (asked: at most {units.percent(ALARMS)})",
        f"median error of predicted gains: {error} (asked: at most {units.percent(ERROR)})",
        f"ceilings more than {units.percent(CEILING)} below the gain: {found.ceilings_too_low} of {found.ceilings}"
        " (asked: none)",
        f"costs that no replay made a ceiling, as far below it: {found.costs_too_low}",
    ]
    if idle:
        lines.append(f"not counted, since they cost less than {units.percent(EFFECT)} here: {', '.join(idle)}")
    if unnamed:
        lines.append(f"not counted, since tests/planted/rules.toml names no rule: {', '.join(unnamed)}")
    return lines


def told(one: Judged) -> list[str]:
    """All findings of a fault's recording, and the false alarms of its twin's."""
    lines = [f"    {place}. {found.rule}: {found.what}" for place, found in enumerate(one.found, 1)]
    return lines + [f"    false alarm: {found.rule}: {found.what}" for found in one.alarms]


def as_data(judged: list[Judged], found: Score) -> dict[str, object]:
    """Everything, for scripts."""
    faults = [
        dataclasses.asdict(one)
        | {"accepted": sorted(one.accepted), "place": one.place, "predicted_ns": one.predicted_ns, "error": one.error}
        | {"gain_ns": one.measured.gain_ns, "counts": one.counts, "ceiling_too_low": one.ceiling_too_low}
        for one in judged
    ]
    data: dict[str, object] = {"score": dataclasses.asdict(found), "faults": faults}
    loaded: dict[str, object] = json.loads(json.dumps(data, default=str))
    return loaded


def _ms(ns: float) -> str:
    return f"{ns / 1e6:.2f}"
