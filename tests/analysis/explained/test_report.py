"""What a table is said to mean."""

from __future__ import annotations

import pytest

from perfkit.analysis.explained import card
from perfkit.analysis.explained.reading import Defaults, read
from perfkit.analysis.explained.report import report
from perfkit.schema.report import Report
from tests.analysis.explained import published


def _report(text: str, device: str, **defaults: object) -> Report:
    return report(read(text, Defaults(**defaults)), card.named(device), "table")  # type: ignore[arg-type]


def test_the_first_sentence_says_what_the_slow_row_costs_and_why():
    # WHEN
    found = _report(published.LAPTOP, "RTX 4090 Laptop GPU")

    # THEN
    first, second = found.findings
    for part in ("large", "17.80 s", "2.127 s to 2.372 s", "20.1 GiB", "16.0 GiB", "4.6 GiB", "small and medium"):
        assert part in first.what
    assert first.cost.ns == pytest.approx(15.428e9, rel=1e-3)
    assert first.advice == "--batch-size 2 or --context-length 256"
    assert "xl 34.8 GiB, 2.7B 40.0 GiB" in second.what


def test_changes_are_those_with_which_both_models_would_fit():
    # WHEN
    tables = _report(published.LAPTOP, "RTX 4090 Laptop GPU").tables
    [changes] = [table for table in tables if table.name == "changes"]

    # THEN
    frame = changes.frame
    of_large = frame[frame["row"] == "large forward-backward"]
    assert {"--batch-size 2", "--context-length 256", "--checkpoint"} <= set(of_large["change"])
    assert (of_large[["needs_bytes", "own_bytes"]].max() < 0.9 * 16 * 2**30).all()
    assert frame[frame["row"] == "xl forward-backward"]["change"].iloc[0] == "--pass-type forward"


@pytest.mark.parametrize(
    ("text", "device", "says"),
    [
        (published.H100, "H100 80GB HBM3", "TF32 was on"),
        (published.A100, "A100-SXM4-40GB", "the card has more memory, or the model keeps less"),
        (published.RTX_5090, "RTX 5090", "which nothing here explains"),
        (published.B200, "B200", "wait"),
        ("model,time_ms\nsmall,100\nmedium,340\n", "RTX 4090", "nothing needs an explanation"),
        ("model,time_ms\nsmall,100\nmedium,9000\n", "RTX 4090", "something else slows it"),
        ("model,time_ms,dtype\nsmall,0.5,bf16\n", "RTX 4090", "that the card can do in bf16"),
    ],
)
def test_every_reading_has_its_sentence(text: str, device: str, says: str):
    assert any(says in finding.what for finding in _report(text, device).findings)
