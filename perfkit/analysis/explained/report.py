"""A judged table of times as a report: what explains it, first; then each row beside what it should be."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence

import pandas as pd

from perfkit.analysis.costs.hardware.model import SLACK, above_fp32
from perfkit.analysis.explained.card import Card
from perfkit.analysis.explained.judging import Judged, Need, judge, launch_bound, layer_time
from perfkit.analysis.explained.reading import Row
from perfkit.analysis.memory import fit, written_out
from perfkit.schema import units
from perfkit.schema.config import RunConfig
from perfkit.schema.finding import Cost, Finding, Rule
from perfkit.schema.report import Report
from perfkit.schema.table import Column, Table

_NAMES = 3
"""Rows that a sentence names."""
_LEAST = 32
"""Tokens to which a context is halved at most."""

_COLUMNS = (
    Column("name", title="model"),
    Column("parameters", "params", "params"),
    Column("context_length", "", "count", "context", spare=True),
    Column("batch_size", "", "count", "batch", spare=True),
    Column("part", title="pass"),
    Column("flops", "FLOP", "flops", "FLOPs", spare=True),
    Column("time_s", "s", "time", "time"),
    Column("expected_s", "s", "time", "expected"),
    Column("flops_per_s", "/s", "rate", "FLOP/s"),
    Column("of_peak", "1", "share", "of peak", spare=True),
    Column("needs_bytes", "B", "bytes", "needs", scale="bytes"),
    Column("own_bytes", "B", "bytes", "perfkit's", scale="bytes", spare=True),
    Column("said", title="reading"),
)


def report(rows: Sequence[Row], card: Card, title: str) -> Report:
    """The sentences, the rows, and for those that do not fit the changes with which they would."""
    judged = judge(rows, card)
    tables = [_rows_table(judged, card)]
    lacking = [one for one in judged if one.need.beyond]
    if lacking:
        tables.append(_changes_table(lacking))
    summary = {"device": card.name, "memory_bytes": card.memory, "rows": len(rows), "lost_s": _lost(judged)}
    return Report(title, summary, tables, findings=tuple(_findings(judged, card)))


def _lost(judged: Sequence[Judged]) -> float:
    return sum(one.lost for one in judged if one.said in ("spilled", "slow"))


def _rows_table(judged: Sequence[Judged], card: Card) -> Table:
    records = [
        {
            "name": one.row.name,
            "parameters": one.row.config.transformer.parameters,
            "context_length": one.row.config.step.context_length,
            "batch_size": one.row.config.step.batch_size,
            "part": one.row.part,
            "flops": one.flops,
            "time_s": one.row.seconds,
            "expected_s": one.expected[1] if one.expected else None,
            "flops_per_s": one.rate,
            "of_peak": one.rate / one.peak if one.rate and one.peak else None,
            "needs_bytes": one.need.tensors,
            "own_bytes": one.own.tensors,
            "said": one.said,
        }
        for one in judged
    ]
    of_card = f" on {card.name}, {units.size(card.memory)}" if card.memory and card.name else ""
    notes = (
        "expected: at the lowest rate of the other rows of the same pass, precision, context and batch that fit",
        "needs: tensors at the peak of a model whose operations are written out, as such tables are mostly of;"
        " perfkit's: of perfkit's own block, which keeps less (docs/explain.md)",
        *([] if card.memory else ["neither --device nor --memory is given: no row is judged by its memory"]),
    )
    frame = pd.DataFrame(records, columns=[column.name for column in _COLUMNS])
    frame = frame.astype({"time_s": float, "expected_s": float, "flops_per_s": float, "of_peak": float})
    return Table("rows", f"What the table says{of_card}", _COLUMNS, frame, notes)


def _changes_table(lacking: Sequence[Judged]) -> Table:
    """Of each row that does not fit, the least changes with which it does: of both models, by flags of perfkit."""
    records = []
    for one in lacking:
        where = f"{one.row.name} {one.row.part}"
        records += [_change(where, flags, needed) for flags, needed in _shorter(one)]
        assert one.need.memory is not None, "only rows with a need beyond their memory"
        for proposal in fit.proposals(one.row.config, one.need.memory, count=3):
            if not any(word in proposal.command for word in ("--model-size", "--d-model", "--num-layers", "--d-ff")):
                own = proposal.prediction.peak_bytes
                records.append({"row": where, "change": proposal.command, "needs_bytes": None, "own_bytes": own})
    columns = (
        Column("row"), Column("change", whole=True), Column("needs_bytes", "B", "bytes", "needs", scale="bytes"),
        Column("own_bytes", "B", "bytes", "perfkit's", scale="bytes"),
    )  # fmt: skip
    frame = pd.DataFrame(records, columns=[column.name for column in columns])
    frame = frame.drop_duplicates(["row", "change"]).astype({"needs_bytes": float, "own_bytes": float})
    return Table("changes", "What fits, with which flags", columns, frame, pinned=len(frame))


def _change(where: str, flags: str, config: RunConfig) -> dict[str, object]:
    own = fit.predict(config).peak_bytes
    return {"row": where, "change": flags, "needs_bytes": written_out.peak(config), "own_bytes": own}


def _shorter(one: Judged) -> Iterator[tuple[str, RunConfig]]:
    """The context halved until it fits, the batch, and both; only where the written-out model then fits clearly."""
    step = one.row.config.step
    assert step.context_length is not None, "rows are resolved"
    contexts = [step.context_length >> by for by in range(9) if step.context_length >> by >= _LEAST]
    batches = [step.batch_size >> by for by in range(9) if step.batch_size >> by]
    least: list[tuple[int, int]] = []
    memory = one.need.memory
    for by in sorted(itertools.product(range(len(contexts)), range(len(batches))), key=lambda pair: (sum(pair), pair)):
        if not any(by) or any(known[0] <= by[0] and known[1] <= by[1] for known in least):
            continue
        changed = one.row.config.changed(context_length=contexts[by[0]], batch_size=batches[by[1]])
        if Need(written_out.peak(changed), memory).verdict == "fits":
            least.append(by)
            flags = [f"--context-length {contexts[by[0]]}"] * (by[0] > 0) + [f"--batch-size {batches[by[1]]}"] * (
                by[1] > 0
            )
            yield " ".join(flags), changed
    forward = one.row.config.changed(pass_type="forward")
    if not least and one.row.part != "forward" and Need(written_out.peak(forward), memory).verdict == "fits":
        yield "--pass-type forward", forward


TABLE_AS_EXPECTED = Rule("table-as-expected", "sweep", "nothing in a table needs an explanation")


def _findings(judged: Sequence[Judged], card: Card) -> Iterator[Finding]:
    """What explains the table, the most time first."""
    found = [*_spilled(judged), *_slow(judged), *_above_peak(judged, card), *_launch_bound(judged)]
    found += [*_out_of_memory(judged), *_unexplained(judged), *_doubts(judged)]
    if not found:
        spread = [one.rate for one in judged if one.rate]
        text = (
            f"nothing needs an explanation: {units.many(len(judged), 'row is', 'rows are')} within what others ask for"
        )
        if spread:
            text += f", at {_rate(min(spread))} to {_rate(max(spread))}"
        found = [Finding(TABLE_AS_EXPECTED, text, sure="derived")]
    yield from found


TABLE_SPILLED = Rule(
    "table-spilled", "sweep", "a row of a table needs more memory than there is, did not fail, and is far too slow"
)


def _spilled(judged: Sequence[Judged]) -> Iterator[Finding]:
    for one in judged:
        if one.said != "spilled":
            continue
        others = [other.row.name for other in judged if other is not one and other.said == "as expected" and other.rate]
        has, gone = units.size(one.need.memory or 0), units.size(one.need.beyond)
        text = (
            f"{_label(one)} takes {_slower(one)} at the rate of {_listed(others)}: it needs"
            f" {units.size(one.need.tensors)} for tensors and {units.size(one.need.whole - one.need.tensors)} for CUDA,"
            f" the card has {has}, and it did not fail: at least {gone} lay in the system's memory, across the bus"
        )
        if one.own.verdict == "borderline":
            text += (
                f". perfkit's own block would need {units.size(one.own.tensors)}, which is borderline: the table is of"
                " a model that keeps more, or that one spills too"
            )
        advice = " or ".join(itertools.islice((flags for flags, _ in _shorter(one)), 2)) or "a smaller model"
        yield Finding(TABLE_SPILLED, text, _cost(one), advice=advice, sure="derived", where=one.row.name)


TABLE_SLOW = Rule("table-slow", "sweep", "a row of a table is far too slow, and memory does not explain it")


def _slow(judged: Sequence[Judged]) -> Iterator[Finding]:
    for one in judged:
        if one.said == "slow":
            fits = "its memory fits" if one.need.verdict == "fits" else "whether its memory fits is not known"
            text = f"{_label(one)} takes {_slower(one)} at the rate of the others, and {fits}: something else slows it"
            advice = "perfkit run --profiler torch with its flags, then perfkit analyze"
            yield Finding(TABLE_SLOW, text, _cost(one), advice=advice, sure="derived", where=one.row.name)


TABLE_ABOVE_PEAK = Rule("table-above-peak", "sweep", "a row of a table is faster than its card can be in its precision")


def _above_peak(judged: Sequence[Judged], card: Card) -> Iterator[Finding]:
    fast = [one for one in judged if one.rate and one.peak and one.rate > SLACK * one.peak]
    if not fast or card.hardware is None:
        return
    fastest = max(fast, key=lambda one: one.rate or 0.0)
    assert fastest.rate is not None, "chosen for its rate"
    precision = fastest.row.config.step.precision
    why = above_fp32(card.hardware, fastest.rate) if precision == "fp32" else ""
    if not why:
        why = f"{_rate(fastest.rate)} is more than the {_rate(fastest.peak or 0.0)} that the card can do in {precision}"
    text = f"{_listed([_label(one) for one in fast])}: {why}"
    advice = "--precision tf32 for this table" if "TF32 was on" in why else "check the times, the shapes and the card"
    yield Finding(TABLE_ABOVE_PEAK, text, advice=advice, sure="derived")


TABLE_LAUNCH_BOUND = Rule(
    "table-launch-bound", "sweep", "rows of a table take the same time a block, whatever its width"
)


def _launch_bound(judged: Sequence[Judged]) -> Iterator[Finding]:
    for group in launch_bound([one.row for one in judged]):
        times = sorted(map(layer_time, group))
        widths = sorted({row.config.transformer.shape.d_model for row in group})
        one = group[0]
        text = (
            f"{_listed([row.name for row in group])} ({one.part}, batch {one.config.step.batch_size} x context"
            f" {one.config.step.context_length}) take {units.duration(times[0])} to {units.duration(times[-1])} a block"
            f" at widths of {widths[0]:,} to {widths[-1]:,}: the GPU waits for the host that launches its kernels"
        )
        advice = "--compile model, a larger batch or context, or CUDA graphs"
        yield Finding(TABLE_LAUNCH_BOUND, text, advice=advice, sure="derived")


TABLE_TOO_LARGE = Rule("table-too-large", "sweep", "rows of a table that failed need more memory than there is")


def _out_of_memory(judged: Sequence[Judged]) -> Iterator[Finding]:
    failed = [one for one in judged if one.said == "out of memory" and one.need.memory]
    if failed:
        needs = ", ".join(f"{one.row.name} {units.size(one.need.tensors)}" for one in failed)
        memory = failed[0].need.memory or 0
        text = f"out of memory, as predicted for {units.size(memory)}: {needs} for tensors alone"
        lasting = {one.row.name: least for one in failed if (least := _least(one)) >= fit.FITS_BELOW * memory}
        if lasting:
            each = ", ".join(f"{units.size(size)} of {name}" for name, size in lasting.items())
            text += f". No batch or context helps where parameters and what belongs to them fill it: {each}"
        yield Finding(TABLE_TOO_LARGE, text, sure="derived")


def _least(one: Judged) -> int:
    """Parameters, and their gradients and Adam's moments where the pass has them: whatever batch and context are."""
    each = {"forward": 4, "forward-backward": 8, "backward": 8, "train": 16}[one.row.part]
    return each * one.row.config.transformer.parameters


TABLE_UNEXPLAINED = Rule("table-unexplained", "sweep", "a row of a table failed for memory though it should fit")


def _unexplained(judged: Sequence[Judged]) -> Iterator[Finding]:
    for one in judged:
        if one.said == "oom unexplained":
            text = (
                f"{_label(one)} failed for memory, which nothing here explains: it needs"
                f" {units.size(one.need.tensors)} for tensors, and the card has {units.size(one.need.memory or 0)}"
            )
            advice = "nvidia-smi for others on the card; --pass-type train if the step had an optimizer"
            yield Finding(TABLE_UNEXPLAINED, text, advice=advice, sure="guessed", where=one.row.name)


TABLE_DOUBT = Rule("table-doubt", "sweep", "a row of a table needs more memory than there is, and is as fast as others")


def _doubts(judged: Sequence[Judged]) -> Iterator[Finding]:
    for one in judged:
        if one.said == "more than there is" and one.need.memory:
            text = (
                f"{_label(one)} needs {units.size(one.need.tensors)} for tensors and"
                f" {units.size(one.need.whole - one.need.tensors)} for CUDA, {units.size(one.need.memory)} are there,"
                " and its time is as expected: the card has more memory, or the model keeps less"
            )
            yield Finding(TABLE_DOUBT, text, sure="derived", where=one.row.name)


def _slower(one: Judged) -> str:
    assert one.expected is not None, "a row is slow beside others"
    assert one.row.seconds is not None, "and has a time"
    low, high = one.expected
    seconds = units.duration(high) if high < 1.005 * low else f"{units.duration(low)} to {units.duration(high)}"
    times = one.row.seconds / high
    return (
        f"{units.duration(one.row.seconds)}, {units.significant(times, 2)} times the {seconds} that its"
        f" {units.rate(one.flops)}FLOP ask for"
    )


def _cost(one: Judged) -> Cost:
    return Cost(round(one.lost * 1e9), one.lost / one.row.seconds) if one.row.seconds else Cost()


def _label(one: Judged) -> str:
    return f"{one.row.name} ({one.row.part})"


def _listed(names: Sequence[str]) -> str:
    unique = list(dict.fromkeys(names))
    if len(unique) > _NAMES:
        return ", ".join(unique[:_NAMES]) + f" and {len(unique) - _NAMES} more"
    return " and ".join(filter(None, (", ".join(unique[:-1]), *unique[-1:])))


def _rate(flops_per_s: float) -> str:
    return f"{units.rate(flops_per_s)}FLOP/s"
