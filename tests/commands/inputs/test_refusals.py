"""What the argument parser refuses, as the command line prints it."""

from __future__ import annotations

import pytest

from perfkit import cli


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ("analyze t.json --plot", "--plot needs a value; see perfkit analyze --help"),
        ("compare --run a", "--run needs 2 values, and has 1; see perfkit compare --help"),
        ("run --batch-size", "--batch-size needs a value; see perfkit run --help"),
        ("run --batch-size x", "--batch-size x: must be a whole number; see perfkit run --help"),
        ("run --batch-size 1 --batch-size 2", "--batch-size is given twice: leave one out; see perfkit run --help"),
        ("run --profiler foo", "--profiler foo: choose from none, torch, nsys, memory"),
        ("analyze t.json --by layr", "--by layr: there is no such choice (did you mean layer?)"),
        ("analyze t.json --format markdown", "--format markdown: there is no such choice (did you mean md?)"),
        ("analyze t.json --format latex", "--format latex: choose from table, json, csv, md"),
        ("run --profiler text", "--profiler text: choose from none, torch, nsys, memory"),
        ("anlyze t.json", "anlyze t.json: there is no such command (did you mean analyze?)"),
        ("run --bacth-size 1", "--bacth-size: there is no such flag (did you mean --batch-size?)"),
        ("analyze t.json --fromat json", "--fromat: there is no such flag (did you mean --format?)"),
        (
            "run train.py --epochs 3",
            "--epochs: there is no such flag, and a script's own go after --; see perfkit run --help",
        ),
        ("doctor --bogus", "--bogus: there is no such flag; see perfkit doctor --help"),
        ("run --results-batch 4", "--results-batch 4: needs --save-results on, and 1 sequence or more"),
        (
            "run --save-results on --results-batch 0",
            "--results-batch 0: needs --save-results on, and 1 sequence or more",
        ),
        ("run extra", "extra: there is no such script: name a file, or a module after -m"),
        ("doctor extra", "extra: no flag before it takes it: leave it out, or add the flag; see perfkit doctor --help"),
        ("report", "PATH is missing: name one; see perfkit report --help"),
        ("completion", "SHELL is missing: name one; see perfkit completion --help"),
    ],
)
def test_what_the_parser_refuses_is_one_line_that_says_what_to_do(capsys, arguments, says):
    """GIVEN arguments that the parser refuses WHEN run THEN one line, as of every user's error, and no box"""
    assert cli.main(arguments.split()) == 2
    assert capsys.readouterr().err == f"perfkit: {says}\n"


def test_an_unknown_command_is_answered_with_the_known_ones(capsys):
    assert cli.main(["frob"]) == 2
    assert capsys.readouterr().err.startswith("perfkit: frob: there is no such command; choose from run, sweep, ")
