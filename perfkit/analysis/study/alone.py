"""Attention alone: over head widths and sequence lengths, and a function of one's own beside PyTorch's.

`perfkit attention` measures it, where it is there. What its scores need follows from their shape in any case.
"""

from __future__ import annotations

from dataclasses import replace

from perfkit.analysis.study.question import Answer, Question, Results, Row, Scope, UnansweredError, table_of
from perfkit.schema import units
from perfkit.schema.report import Report
from perfkit.schema.table import Column

BATCH, WIDTHS, CONTEXTS = 8, (16, 32, 64, 128), (256, 1024, 4096, 8192, 16384)
"""Of the course's grid: no heads, so that the scores have the shape batch x context x context."""
PRECISIONS = ("fp32", "bf16")
"""In which a function of one's own is compared."""
_SENTENCES = 3
"""Of a report of attention that its answer repeats: where memory ends, what the scores cost, what is faster."""
_MATRICES = 3
"""Scores, their softmax and a gradient of that shape, which backward holds at once: it needs at least so many."""


def _grid(scope: Scope, results: Results) -> Answer:
    why = ""
    try:
        measured = results.attention("grid")
    except UnansweredError as error:
        measured, why = None, f" ({error})"
    if measured is not None:
        return _of_report(measured)
    rows: list[Row] = []
    for width in WIDTHS:
        for context in scope.contexts or CONTEXTS:
            inputs, scores = 3 * BATCH * context * width * 4, BATCH * context**2 * 4
            least = inputs + _MATRICES * scores
            fits = scope.memory is None or least <= scope.memory
            rows.append(
                {"width": width, "context": context, "forward_flops": 4 * BATCH * context**2 * width,
                 "backward_flops": 8 * BATCH * context**2 * width, "kept_bytes": inputs + scores,
                 "least_bytes": least, "outcome": "not measured" if fits else "out of memory, predicted"}
            )  # fmt: skip
    columns = (
        Column("width", "", "count", "head width"), Column("context", "", "count"),
        Column("forward_flops", "FLOP", "flops", "forward"), Column("backward_flops", "FLOP", "flops", "backward"),
        Column("kept_bytes", "B", "bytes", "kept for backward", scale="bytes"),
        Column("least_bytes", "B", "bytes", "needs at least", scale="bytes"), Column("outcome"),
    )  # fmt: skip
    notes = (
        "kept: q, k, v and the softmax of the scores, fp32; at least: with three matrices of scores, as backward has",
    )
    table = table_of("study_attention", f"Attention alone, batch {BATCH}, no heads", columns, rows, notes)
    large = next((row for row in rows if "memory" in row["outcome"]), rows[-1])
    ends = "the first without room" if "memory" in large["outcome"] else "the largest"
    sentence = (
        f"by the formula, for this was not measured{why}: what attention keeps grows with the square of the context:"
        f" {BATCH} x context^2 x 4 B for its softmax, {units.size(BATCH * large['context'] ** 2 * 4)} at"
        f" {large['context']:,}, whatever the head's width; {ends}, width {large['width']} x context"
        f" {large['context']:,}, needs at least {units.size(large['least_bytes'])}"
        + (f" of {units.size(scope.memory)}" if scope.memory else "")
        + "; a fused kernel keeps none of it"
    )
    return Answer(
        sentence=sentence,
        advice="perfkit attention",
        tables=(table,),
        sure="derived",
    )


def _own(scope: Scope, results: Results) -> Answer:
    measured = {name: found for name in PRECISIONS if (found := results.attention(name)) is not None}
    if measured:
        each = {name: _of_report(found) for name, found in measured.items()}
        return Answer(
            sentence="; ".join(f"in {name} {answer.sentence}" for name, answer in each.items()),
            advice=next(iter(each.values())).advice,
            tables=tuple(
                replace(table, name=f"{table.name}_{name}") for name, answer in each.items() for table in answer.tables
            ),
        )
    return Answer(
        sentence=(
            "no function was named, so nothing was measured: a fused attention wins where the scores no longer fit into"
            f" caches, {BATCH} x context^2 x 4 B, {units.size(BATCH * 1024**2 * 4)} at context 1,024, and saves as much"
            + ("" if scope.on_gpu else "; Triton's kernels run on a GPU alone")
        ),
        advice="perfkit study own-attention --function pkg:attention",
        sure="derived",
    )


def _of_report(measured: Report) -> Answer:
    """The first sentences of a report, and its tables."""
    said = measured.findings[:_SENTENCES]
    return Answer(
        sentence="; ".join(finding.what for finding in said) or measured.title,
        advice=next((f"perfkit attention with {finding.advice}" for finding in said if finding.advice), ""),
        tables=measured.seen_by("people").tables,
    )


ALONE = Question(
    number=15,
    word="attention",
    asks="Attention alone, over head widths and sequence lengths: times, memory before backward, where memory ends?",
    needs=lambda _: [],
    answer=_grid,
    on_gpu="context 16,384 is within reach, and rows that run out of memory have their accounting",
)
OWN = Question(
    number=17,
    word="own-attention",
    asks="How does a user's own attention compare with PyTorch's, over contexts and widths, bf16 and fp32?",
    needs=lambda _: [],
    answer=_own,
    on_gpu="functions in Triton run, forward and backward",
)
