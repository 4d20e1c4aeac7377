"""`perfkit explain` as a user meets it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from perfkit import cli
from tests.analysis.explained import published


@pytest.fixture
def table(tmp_path: Path) -> Path:
    path = tmp_path / "results.md"
    path.write_text(published.LAPTOP)
    return path


def test_the_sentence_comes_before_the_table(table: Path, capsys: pytest.CaptureFixture[str]):
    # WHEN
    code = cli.main(["explain", str(table), "--device", "RTX 4090 Laptop GPU"])

    # THEN
    out, err = capsys.readouterr()
    assert (code, err) == (0, "")
    assert out.startswith("large (forward-backward) takes 17.80 s, 7.5 times the")
    assert out.index("spilled") > out.index("What the table says")


def test_json_has_raw_numbers(table: Path, capsys: pytest.CaptureFixture[str]):
    # WHEN
    cli.main(["explain", str(table), "--memory", "16GB", "--format", "json"])

    # THEN
    document = json.loads(capsys.readouterr().out)
    rows = document["tables"]["rows"]["rows"]
    assert [row["said"] for row in rows] == ["as expected"] * 2 + ["spilled"] + ["out of memory"] * 2
    assert document["summary"]["memory_bytes"] == 16 * 2**30


@pytest.mark.parametrize(
    ("content", "flags", "says"),
    [
        (None, (), "No such file"),
        (b"\xff\xfe\x00a", (), "no text"),
        (b"model,speed\nsmall,1\n", (), "no column of times"),
        (b"model,time_ms\nsmall,1\n", ("--device", "abacus"), "no such card is known"),
        (b"model,time_ms\nsmall,1\n", ("--memory", "much"), "not a size of memory"),
        (b"model,time_ms\nsmall,1\n", ("--context-length", "0"), "must be 1 or more"),
    ],
)
def test_a_mistake_is_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], content: bytes | None, flags: tuple[str, ...], says: str
):
    # GIVEN
    path = tmp_path / "t.csv"
    if content is not None:
        path.write_bytes(content)

    # WHEN
    code = cli.main(["explain", str(path), *flags])

    # THEN
    out, err = capsys.readouterr()
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert says in err
