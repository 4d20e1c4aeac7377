"""A short run of scripts/kill-runs, and that it sees what it is there to see."""

from __future__ import annotations

import dataclasses
import json
import os
import signal
import subprocess
from pathlib import Path
from typing import Any

import pytest

from perfkit.errors import UsageError
from perfkit.schema import record, sweep
from perfkit.schema.record import Failure, RunRecord
from scripts.kills import main as kills
from scripts.kills.commands import COMMANDS, Broken, check_files
from scripts.kills.main import Ended, Kill
from tests import runs, sweeps

COMMAND = {command.name: command for command in COMMANDS}
TERMINATED = Kill(signal.SIGTERM, "process", announced=1, after_s=0.0)
LAST = "perfkit: interrupted by SIGTERM in measured step 2, loss; 1 of 40 measured steps saved in traces/a\n"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "several"),
    [
        ("run", [Kill(signal.SIGTERM, "group", announced=2, after_s=0.0, again=(signal.SIGTERM, 0.0))]),
        ("torch", [Kill(signal.SIGHUP, "process", announced=2, after_s=0.0)]),
        ("brief", [Kill(signal.SIGTERM, "process", announced=2, after_s=0.0)]),
        ("sweep", [Kill(signal.SIGKILL, "process", announced=1, after_s=0.0), None]),
        ("compare", [Kill(signal.SIGINT, "job", announced=1, after_s=0.0)]),
    ],
)
def test_a_command_that_is_ended_loses_nothing(tmp_path, name, several):
    """GIVEN a command that has finished something WHEN it is ended THEN that is kept; a sweep is complete when resumed

    Each kill waits for what it is to come after, however long that takes on this machine.
    """
    for kill in several:
        _, _, after = kills.killed_once(COMMAND[name], tmp_path, kill)
    assert after >= 1
    if name == "sweep":
        assert after == COMMAND[name].all_of_them


def saved(folder: Path, **changes: Any) -> RunRecord:
    """A run of one step that SIGTERM ended, in its folder."""
    failure = Failure(phase="measured step 2, loss", message="interrupted", signal="SIGTERM")
    made = runs.saved(**{"status": "interrupted", "steps": (runs.sample(),), "failure": failure, **changes})
    (folder / "traces" / "a").mkdir(parents=True)
    record.save(made, folder / "traces" / "a")
    return made


def judged(folder: Path, code: int = 143, said: str = LAST, kill: Kill = TERMINATED, **changes: Any) -> int:
    ended = dataclasses.replace(Ended(code, said, killed=True, announced=1, announced_then=1), **changes)
    return kills.check(COMMAND["run"], folder, kill, ended, before=0)


def test_a_kill_comes_when_it_is_to_come():
    """GIVEN from the start, as work begins, or after two steps THEN what is said decides; a bar has its own total"""
    moments = [None, 0, 2]
    kinds = [dataclasses.replace(TERMINATED, announced=moment) for moment in moments]
    for said, come in [
        ("tiny: 16.7K parameters (32/64/1/2)", [True, False, False]),
        ("(32/64/2/2) warm-up steps 0/3", [True, True, False]),
        ("warm-up steps 3/3, measured steps 1/2", [True, True, False]),
        ("warm-up steps 3/3, measured steps 2/2", [True, True, True]),
    ]:
        assert [kills._has_come(COMMAND["brief"], kill, said) for kill in kinds] == come


def test_a_run_that_kept_all_is_right(tmp_path):
    saved(tmp_path)
    assert judged(tmp_path) == 1


def test_a_process_that_is_named_again_has_not_ended():
    said = "process 1 of 4: A.1\nprocess 1 of 4: A.1, 10 s so far\n"
    assert [COMMAND["compare"].announced(text) for text in ("", said, said + "process 2 of 4: B.1\n")] == [0, 0, 1]


@pytest.mark.parametrize(
    ("ended", "message"),
    [
        ({"announced": 2}, "2 were announced as finished, and 1 are kept"),
        ({"code": 1}, "the exit code should be 143"),
        ({"code": 0}, "it went on as if nothing had happened"),
        ({"code": -15, "said": "measured steps, 40\n"}, "it did not handle the signal"),
        ({"said": "Traceback (most recent call last):\n" + LAST}, "a traceback"),
        ({"said": LAST + LAST}, "the last line should say"),
        ({"said": "saved\n"}, "the last line should say"),
        ({"said": LAST.replace("SIGTERM", "SIGINT")}, "the last line should say"),
    ],
)
def test_an_end_that_is_wrong_is_found(tmp_path, ended, message):
    saved(tmp_path)
    with pytest.raises(Broken, match=message):
        judged(tmp_path, **ended)


@pytest.mark.parametrize(
    "changes",
    [
        {"status": "ok", "failure": None},
        {"failure": Failure(phase="model", message="interrupted", signal="SIGINT")},
    ],
)
def test_a_record_that_says_something_else_is_found(tmp_path, changes):
    saved(tmp_path, **changes)
    with pytest.raises(Broken, match="the record says"):
        judged(tmp_path)


def test_a_lost_run_is_found_but_by_sigkill(tmp_path):
    with pytest.raises(Broken, match="1 were announced as finished, and 0 are kept"):
        judged(tmp_path)
    assert judged(tmp_path, -9, kill=dataclasses.replace(TERMINATED, number=signal.SIGKILL)) == 0


def test_a_signal_before_perfkit_has_begun_is_pythons_own(tmp_path):
    assert judged(tmp_path, -15, "", announced=0) == 0
    by_ctrl_c = dataclasses.replace(TERMINATED, number=signal.SIGINT)
    start = 'Traceback (most recent call last):\n  File "/site/perfkit/__init__.py", line 6\nKeyboardInterrupt\n'
    assert judged(tmp_path, -2, start, kill=by_ctrl_c, announced=0) == 0
    with pytest.raises(Broken, match="it did not handle the signal"):
        judged(tmp_path, -2, start.replace("__init__", "cli"), kill=by_ctrl_c, announced=0)
    with pytest.raises(Broken, match="it did not handle the signal"):
        judged(tmp_path, -15, "building the model\n", announced=0)


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("a/record.json", b'{"kind": "perfkit.run"'),
        ("a/x.pt.trace.json.gz", b"\x1f\x8b"),
        ("a/modules.json", b"{"),
        ("a/record.json.part", b""),
        ("a/unfinished.json.gz", b""),
        ("core", b""),
        ("sweep.csv", b"half"),
    ],
)
def test_a_file_that_cannot_be_read_is_found(tmp_path, name, data):
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "x.log").touch()
    check_files(tmp_path, drafts=False)
    (tmp_path / name).write_bytes(data)
    with pytest.raises((Broken, UsageError, EOFError, json.JSONDecodeError)):
        check_files(tmp_path, drafts=False)


def test_a_result_that_is_none_is_found(tmp_path):
    row = sweeps.row(runs.quick(), outcome="error", message="interrupted")
    (tmp_path / "sweep.csv").write_text(sweep.header_line() + sweep.to_line(row))
    with pytest.raises(Broken, match="results that are none"):
        COMMAND["sweep"].kept(tmp_path)


def test_a_process_that_is_left_is_found():
    environment = os.environ | {kills._MARK: "left"}
    command = ["sh", "-c", "echo; read line"]
    with subprocess.Popen(command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as child:
        assert child.stdout is not None
        child.stdout.readline()  # only now is its environment sure to be there
        with pytest.raises(Broken, match="processes are left"):
            kills.check_left("left", gone_s=0.1)
