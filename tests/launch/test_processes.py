"""Children that end in every way there is. `sh -c` as the wrapper stands in for perfkit where it can."""

from __future__ import annotations

import functools
import itertools
import os
import signal
import subprocess
import sys
import threading
import time
import tracemalloc
from pathlib import Path

import pytest

from perfkit import signals
from perfkit.errors import UsageError
from perfkit.launch import processes
from perfkit.launch.processes import run_child
from perfkit.schema import record
from perfkit.schema.campaign import Finished
from tests import runs

CONFIG = runs.quick(warmup_steps=1, measure_steps=2)


def run_shell(script: str, folder: Path, **options):
    """A child that runs a script in place of perfkit; `$@` is the command it is given."""
    return run_child(CONFIG, folder, wrapper=("sh", "-c", script, "sh"), **options)


PATIENCE_S = 120
"""Until something that takes milliseconds must have happened, however busy the machine: only a failure waits for it."""


def is_alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):  # the latter where it ends between open and read
        return False


def eventually_gone(pids: list[int]) -> bool:
    deadline = time.monotonic() + PATIENCE_S
    while any(map(is_alive, pids)) and time.monotonic() < deadline:
        time.sleep(0.01)
    return not any(map(is_alive, pids))


def pids_in(file: Path, count: int) -> list[int]:
    deadline = time.monotonic() + PATIENCE_S
    while time.monotonic() < deadline:
        if file.exists() and len(pids := file.read_text().split()) == count:
            return [int(pid) for pid in pids]
        time.sleep(0.01)
    raise AssertionError(f"{file} never held {count} pids")


FAMILY = "echo $$ >> '{pids}'; setsid sh -c 'echo $$ >> \"{pids}\"; sleep 300' & sleep 300"
"""A child with a child of its own in another session, as nsys has them."""


def test_a_child_measures_and_leaves_its_record(tmp_path):
    # WHEN
    finished = run_child(CONFIG, tmp_path / "runs" / "one")

    # THEN
    assert (finished.outcome, finished.exit_code, finished.signal) == ("ok", 0, None)
    assert finished.record == record.load(tmp_path / "runs" / "one")
    assert finished.record.config == CONFIG
    assert len(finished.record.steps) == 2
    assert [path.name for path in (tmp_path / "runs").iterdir()] == ["one"]  # no log where all went well


@pytest.mark.parametrize(
    ("script", "outcome", "exit_code", "number"),
    [
        ("exit 3", "oom", 3, None),
        ("exit 130", "interrupted", 130, None),
        ("exit 143", "interrupted", 143, None),
        ("exit 129", "interrupted", 129, None),
        ("exit 2", "error", 2, None),
        ("exit 0", "error", 0, None),  # no record
        ("kill -KILL $$", "host-killed", None, signal.SIGKILL),
        ("kill -SEGV $$", "error", None, signal.SIGSEGV),
        ("kill -INT $$", "error", None, signal.SIGINT),
    ],
)
def test_each_end_has_its_outcome(tmp_path, script, outcome, exit_code, number):
    finished = run_shell(script, tmp_path / "run")
    assert (finished.outcome, finished.exit_code, finished.signal) == (outcome, exit_code, number)
    assert finished.record is None


def test_what_a_failed_child_said_is_kept(tmp_path):
    # WHEN
    finished = run_shell("echo table; seq 5000; echo 'perfkit: --gc maybe: no' >&2; exit 2", tmp_path / "run")

    # THEN
    assert finished.last_words == "--gc maybe: no"
    assert len(finished.stderr_tail) == 4000
    assert (tmp_path / "run.log").read_text().startswith("table\n1\n")


def test_what_a_child_said_before_ctrl_c_is_kept(tmp_path):
    """GIVEN a child that hangs, and told why WHEN the user gives up THEN what it said is there to be read"""
    sender = signal_when_born(tmp_path / "pids", signal.SIGINT)
    with signals.installed(), signals.raised(), pytest.raises(KeyboardInterrupt):
        run_shell(f"echo waiting for a lock; echo $$ >> '{tmp_path}/pids'; exec sleep 300", tmp_path / "run")
    sender.join()
    assert (tmp_path / "run.log").read_text() == "waiting for a lock\n"


def test_much_that_a_child_said_is_not_held_twice(tmp_path):
    tracemalloc.start()
    try:
        run_shell("head -c 32000000 /dev/zero; exit 1", tmp_path / "run")
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert (tmp_path / "run.log").stat().st_size == 32_000_000
    assert peak < 8_000_000


def test_what_a_child_says_is_known_on_a_full_disk(tmp_path):
    """GIVEN a place for the log that takes nothing WHEN a child says so THEN its words are known all the same"""
    (tmp_path / "run.log").symlink_to("/dev/full")
    finished = run_shell("echo 'perfkit: record.json: No space left on device' >&2; exit 2", tmp_path / "run")
    assert finished.last_words == "record.json: No space left on device"
    assert finished.disk_full


def test_a_wrapper_that_does_not_exist_is_an_error_with_its_name(tmp_path):
    finished = run_child(CONFIG, tmp_path / "run", wrapper=["no-such-nsys", "profile"])
    assert (finished.outcome, finished.exit_code) == ("error", 127)
    assert finished.last_words == "no-such-nsys: No such file or directory"


def test_the_command_asks_for_the_configuration(tmp_path):
    # WHEN
    finished = run_shell('echo "$@"; echo "$MARK"; exit 1', tmp_path / "run", extra=["--top", "3"],
                         environment={"MARK": "here"})  # fmt: skip

    # THEN
    command, mark = finished.stderr_tail.splitlines()
    flags = " ".join(CONFIG.flags())
    assert command == f"{sys.executable} -m perfkit.run {flags} --folder {tmp_path / 'run'} --top 3"
    assert mark == "here"


def test_time_is_up_for_the_whole_family(tmp_path):
    """GIVEN a child with a grandchild in a session of its own WHEN the time is up THEN neither is left"""
    for timeout_s in (1.0, 10.0, 100.0):  # the first within which this machine brings both of them up
        pids = tmp_path / f"pids-{timeout_s}"
        pids.touch()
        finished = run_shell(FAMILY.format(pids=pids), tmp_path / "run", timeout_s=timeout_s)
        assert (finished.outcome, finished.exit_code, finished.signal) == ("timeout", None, None)
        born = [int(pid) for pid in pids.read_text().split()]
        assert eventually_gone(born)
        if len(born) == 2:
            break
    assert len(born) == 2


def test_what_a_child_leaves_behind_ends_with_it(tmp_path):
    """GIVEN a child that ends by itself WHEN a process it started stays THEN that one is killed too"""
    run_shell(f"setsid sleep 300 & echo $! >> '{tmp_path}/pids'; exit 1", tmp_path / "run")
    assert eventually_gone(pids_in(tmp_path / "pids", 1))


PARENT = """
import sys, threading
from pathlib import Path
from perfkit.launch import processes
from perfkit.launch.processes import run_child
from perfkit.schema.config import RunConfig
def go():
    run_child(RunConfig(), Path(sys.argv[1]), wrapper=("sh", "-c", sys.argv[2], "sh"))
if sys.argv[3] == "thread":
    thread = threading.Thread(target=go, daemon=True)
    thread.start()
    thread.join()
else:
    go()
"""


SAVES = "trap 'sleep 0.3; echo saved; exit 9' {name}; echo $$ >> '{pids}'; while :; do sleep 0.05; done"
"""A child that takes a moment to save what it has."""


def signal_when_born(pids: Path, *numbers: signal.Signals, count: int = 1) -> threading.Thread:
    """Sends this process signals, one after the other, when a child is there."""

    def send() -> None:
        pids_in(pids, count)
        for number in numbers:
            os.kill(os.getpid(), number)
            time.sleep(0.1)

    thread = threading.Thread(target=send, daemon=True)
    thread.start()
    return thread


@pytest.mark.parametrize("number", signals.TAKEN)
def test_a_signal_is_passed_on_and_the_child_has_time_to_save(tmp_path, number):
    """GIVEN a child WHEN its parent is signalled, which a group's signal does too THEN the child saves, and ends"""
    pids = tmp_path / "pids"
    sender = signal_when_born(pids, number)
    with signals.installed(), signals.raised(), pytest.raises(signals.Interrupted) as caught:
        run_shell(SAVES.format(name=number.name.removeprefix("SIG"), pids=pids), tmp_path / "run")
    sender.join()
    assert signals.by(caught.value) == number
    assert (tmp_path / "run.log").read_text() == "saved\n"
    assert eventually_gone(pids_in(pids, 1))


@pytest.mark.parametrize("number", signals.TAKEN)
def test_a_signal_to_every_process_of_a_job_leaves_the_child_its_time(tmp_path, number):
    """GIVEN a child WHEN all are signalled at once, as systemd and Slurm do, the keeper too THEN the child saves"""
    name = number.name.removeprefix("SIG")
    script = SAVES.format(name=name, pids=tmp_path / "pids").replace("trap", f"kill -{name} $PPID; trap")
    sender = signal_when_born(tmp_path / "pids", number)
    with signals.installed(), signals.raised(), pytest.raises(signals.Interrupted):
        run_shell(script, tmp_path / "run")
    sender.join()
    assert (tmp_path / "run.log").read_text() == "saved\n"


def test_what_is_finished_all_the_same_is_returned_and_the_signal_comes_after(tmp_path):
    """GIVEN a child that is at its end WHEN a signal comes THEN what it measured counts, and the signal too"""
    # GIVEN
    folder, pids = tmp_path / "run", tmp_path / "pids"
    (tmp_path / "kept").mkdir()
    record.save(runs.saved(), tmp_path / "kept")
    script = (
        f"trap 'cp -r \"{tmp_path}/kept\" \"{folder}\"; exit 0' TERM; echo $$ >> '{pids}'; while :; do sleep 0.05; done"
    )
    sender = signal_when_born(pids, signal.SIGTERM)

    def measure() -> None:
        with signals.held():
            finished.append(run_shell(script, folder))

    finished: list[Finished] = []

    # WHEN
    with signals.installed(), signals.raised(), pytest.raises(signals.Interrupted):
        measure()
    sender.join()

    # THEN
    assert (finished[0].outcome, finished[0].record) == ("ok", runs.saved())


SAVED_BEFORE = """
cp -r '{kept}' '{folder}'
trap 'exit 143' TERM
echo $$ >> '{pids}'
while :; do sleep 0.05; done
"""
"""A child that has saved all it measured, and is on its way out."""


@pytest.mark.parametrize("its_own", [True, False])
def test_what_was_saved_before_a_signal_is_finished_if_the_child_saved_it(tmp_path, its_own):
    # GIVEN
    folder, kept, pids = tmp_path / "run", tmp_path / "kept", tmp_path / "pids"
    for place in [kept] if its_own else [kept, folder]:
        place.mkdir()
        record.save(runs.saved(), place)
    sender = signal_when_born(pids, signal.SIGTERM)

    def measure() -> None:
        with signals.held():
            finished.append(run_shell(SAVED_BEFORE.format(kept=kept, folder=folder, pids=pids), folder))

    finished: list[Finished] = []

    # WHEN
    with signals.installed(), signals.raised(), pytest.raises(signals.Interrupted):
        measure()
    sender.join()

    # THEN
    assert [(one.outcome, one.record) for one in finished] == ([("ok", runs.saved())] if its_own else [])
    assert (tmp_path / "run.log").exists() is not its_own


@pytest.mark.parametrize("second", [False, True])
def test_a_child_that_does_not_end_is_killed(tmp_path, second):
    """GIVEN a child that a signal does not end WHEN its time is up, or a second one comes THEN its family is killed"""
    # GIVEN
    far_apart = itertools.count(step=2 * signals.SAME_S).__next__
    pids = tmp_path / "pids"
    sender = signal_when_born(pids, *[signal.SIGTERM] * (2 if second else 1), count=2)

    script = "trap '' TERM INT HUP; " + FAMILY.format(pids=pids)

    # WHEN
    with signals.installed(far_apart), signals.raised(), pytest.raises(signals.Interrupted):
        run_shell(script, tmp_path / "run", last_words_s=3600.0 if second else 0.2)
    sender.join()

    # THEN
    assert eventually_gone(pids_in(pids, 2))


def test_a_signal_before_there_is_a_child_waits_for_none():
    """GIVEN a keeper that has only just started WHEN a signal comes THEN no child is waited for"""
    with subprocess.Popen(["sleep", "300"]) as keeper:
        assert processes._last_words(keeper, signal.SIGTERM, 3600.0) is None
        processes._end(keeper)


def test_a_child_ignores_what_its_parent_ignores(tmp_path):
    """GIVEN nohup WHEN a child is signalled all the same THEN it goes on"""
    parent = [
        sys.executable,
        "-c",
        PARENT,
        str(tmp_path / "run"),
        "kill -HUP $$; echo on > '%s'" % (tmp_path / "on"),
        "main",
    ]
    ignore = functools.partial(signal.signal, signal.SIGHUP, signal.SIG_IGN)
    subprocess.run(parent, preexec_fn=ignore, stderr=subprocess.DEVNULL, timeout=PATIENCE_S, check=False)
    assert (tmp_path / "on").exists()


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize("where", ["main", "thread"])
def test_no_child_outlives_its_parent(tmp_path, number, where):
    """GIVEN a perfkit that waits for a child WHEN it is killed, told to end or interrupted THEN nothing is left"""
    script = FAMILY.format(pids=tmp_path / "pids")
    parent = subprocess.Popen(
        [sys.executable, "-c", PARENT, str(tmp_path / "run"), script, where], stderr=subprocess.DEVNULL
    )
    pids = pids_in(tmp_path / "pids", 2)
    assert all(map(is_alive, pids))
    os.kill(parent.pid, number)
    assert parent.wait(PATIENCE_S) != 0
    assert eventually_gone(pids)


def test_a_killed_keeper_takes_its_child_with_it(tmp_path):
    """GIVEN a child WHEN the process between is killed THEN the child goes too, and it is called killed by the host"""
    kill_parent = f"echo $$ >> '{tmp_path}/pids'; kill -KILL $PPID; sleep 300"
    finished = run_shell(kill_parent, tmp_path / "run")
    assert finished.outcome == "host-killed"
    assert eventually_gone(pids_in(tmp_path / "pids", 1))


def test_a_place_that_cannot_be_written_is_refused(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError, match="cannot be written"):
        run_child(CONFIG, tmp_path / "file" / "run")
