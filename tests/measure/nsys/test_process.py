"""Running nsys to its end or ending it, with scripts that stand in for it: nothing is left running, ever."""

from __future__ import annotations

import itertools
import os
import signal
import subprocess
import sys
import threading
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from perfkit import signals
from perfkit.errors import UsageError
from perfkit.launch import keeper
from perfkit.measure.nsys import process as nsys_process
from tests.launch.test_processes import eventually_gone, is_alive, pids_in

Script = Callable[..., str]


@pytest.fixture
def script(tmp_path: Path) -> Script:
    """Makes an executable; a process that runs it goes by its name."""

    def make(name: str, text: str, interpreter: str = "/bin/sh") -> str:
        path = tmp_path / name
        path.write_text(f"#!{interpreter}\n{text}\n")
        path.chmod(0o755)
        return str(path)

    return make


@pytest.fixture(autouse=True)
def _nothing_is_left(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    own = uuid.uuid4().hex  # other tests may run beside these
    monkeypatch.setenv("PERFKIT_THIS_TEST", own)
    yield
    mine = [process.pid for process in psutil.process_iter() if _environment(process).get("PERFKIT_THIS_TEST") == own]
    assert eventually_gone([pid for pid in mine if pid != os.getpid()])


def _environment(process: psutil.Process) -> dict[str, str]:
    try:
        return process.environ()
    except psutil.Error:
        return {}


def test_streams_and_exit_code(script):
    # GIVEN a program that writes to both streams, with a progress bar and an error of perfkit's
    nsys = script(
        "nsys",
        "printf 'tables\\n[1/1] 50%%\\r[1/1] 100%% report.nsys-rep'\n"
        "echo measured steps >&2; echo 'perfkit: no such thing' >&2; printf last >&2; exit 3",
    )
    heard: list[str] = []

    # WHEN
    ended = nsys_process.run([nsys, "profile"], heard.append)

    # THEN
    assert heard == ["measured steps", "last"]
    assert (ended.exit_code, ended.said, ended.error) == (3, "[1/1] 100% report.nsys-rep", "no such thing")
    assert ended.complaint == "last"
    assert (ended.problem, ended.interrupted) == ("", None)


def test_a_hang_is_ended_with_all_that_left_its_session(script):
    # GIVEN an nsys that waits forever, and its agent, which is no child of it any more; it works until it has said so
    nsys = script("nsys", "(setsid sleep 300 &)\necho $$ >&2\nexec sleep 300")
    heard: list[str] = []
    used = itertools.count(1)

    # WHEN
    ended = nsys_process.run([nsys], heard.append, patience_s=0.4, used_seconds=lambda mark: 0 if heard else next(used))

    # THEN
    assert ended.exit_code is None
    assert ended.problem.startswith("nsys hung: it did nothing for")
    assert not is_alive(int(heard[0]))


def test_an_application_that_computes_in_silence_does_not_hang(script, tmp_path):
    # GIVEN one that says nothing for several times the patience, and uses a processor all the time
    used = itertools.count(1)

    def asked(mark: str) -> int:
        (count := next(used)) == 4 and (tmp_path / "end").touch()
        return count

    nsys = script("nsys", f"until [ -e '{tmp_path}/end' ]; do sleep 0.05; done; exit 7")

    # WHEN
    ended = nsys_process.run([nsys], lambda line: None, patience_s=0.1, used_seconds=asked)

    # THEN
    assert (ended.exit_code, ended.problem) == (7, "")


@pytest.mark.parametrize(("name", "counts"), [("app", True), ("nsys", False)])
def test_the_processor_time_that_counts_is_the_applications(script, name, counts):
    # GIVEN a process that has computed; nsys's agent may be spinning
    program = script(
        name, "import time\nwhile time.process_time() < 0.3: pass\nprint(flush=True)\ntime.sleep(99)", sys.executable
    )
    marked = os.environ | {"PERFKIT_NSYS_RECORDING": "this"}
    with subprocess.Popen([program], env=marked, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()

        # THEN
        assert (nsys_process._used_seconds("this") >= 0.2) == counts
        assert nsys_process._used_seconds("another") == 0
        process.kill()


def test_what_an_agent_leaves_behind_is_ended_after_a_good_end(script):
    nsys = script("nsys", "(setsid sleep 300 >/dev/null 2>&1 &)\nexit 0")
    assert nsys_process.run([nsys], lambda line: None, grace_s=0.1).exit_code == 0


def _signal_soon(number: int) -> Callable[[str], None]:
    """Hears a line, and sends this process a signal once, which comes between two looks at nsys or in one of them."""

    def hear(line: str) -> None:
        if line == "ready":
            threading.Timer(0.05, os.kill, (os.getpid(), number)).start()

    return hear


@pytest.mark.parametrize("number", signals.TAKEN)
def test_a_signal_reaches_the_application_and_not_nsys(script, tmp_path, number):
    # GIVEN an application that saves something when interrupted, under an nsys that only waits for it
    name = number.name.removeprefix("SIG")
    app = script(
        "app", f"trap 'touch \"{tmp_path}/saved\"; exit 9' {name}\necho ready >&2\nwhile :; do sleep 0.05; done"
    )
    nsys = script(
        "nsys", f"trap 'touch \"{tmp_path}/wrong\"' {name}\n'{app}'; code=$?; echo written; echo late >&2; exit $code"
    )

    # WHEN
    with signals.installed():
        ended = nsys_process.run([nsys], _signal_soon(number))

    # THEN nsys ends by itself, and so writes its report
    assert (ended.exit_code, ended.interrupted, ended.said, ended.problem) == (9, number, "written", "")
    assert (tmp_path / "saved").exists()
    assert not (tmp_path / "wrong").exists()


def test_ctrl_c_that_changes_nothing_ends_everything_after_a_while(script):
    nsys = script("nsys", "trap '' INT\necho ready >&2\nwhile :; do sleep 0.05; done")
    ended = nsys_process.run([nsys], _signal_soon(signal.SIGINT), last_words_s=0.3)
    assert (ended.interrupted, ended.exit_code) == (signal.SIGINT, None)
    assert ended.problem == "nsys did not end within 0 s of SIGINT and was stopped"


@pytest.mark.parametrize(("one", "other"), [("INT", "INT"), ("TERM", "HUP")])
def test_a_second_signal_ends_everything_at_once(script, tmp_path, one, other):
    # GIVEN one that comes when the first has been passed on, and is no repetition of it
    far_apart = itertools.count(step=2 * signals.SAME_S).__next__
    again = f"trap 'echo >>\"{tmp_path}/passed-on\"; kill -{other} {os.getpid()}' {one}"
    application = script("application", f"{again}\necho ready >&2\nwhile :; do sleep 0.05; done")
    nsys = script("nsys", f"{application}\nexit 1")

    # THEN
    with signals.installed(far_apart), pytest.raises(signals.Interrupted) as caught:
        nsys_process.run([nsys], _signal_soon(signal.Signals[f"SIG{one}"]))
    assert caught.value.by == signal.Signals[f"SIG{one}"]
    assert (tmp_path / "passed-on").read_text() == "\n"


def test_being_killed_ends_everything(script, tmp_path):
    # GIVEN a perfkit that runs an nsys with an agent, which is no child of it any more
    note = f'echo $$ >> "{tmp_path}/pids"; sleep 300'
    nsys = script("nsys", f"(setsid sh -c '{note}' &)\n{note}")
    parent = "import sys; from perfkit.measure.nsys.process import run; run(sys.argv[1:], print)"
    with subprocess.Popen([sys.executable, "-c", parent, nsys]) as process:
        pids = pids_in(tmp_path / "pids", 2)
        assert all(map(is_alive, pids))

        # WHEN
        process.kill()

    # THEN
    assert eventually_gone(pids)


def test_ctrl_c_before_there_is_an_nsys_is_ctrl_c(script):
    # GIVEN something that is not nsys yet: what stands between has not become it
    other = script("other", "echo ready >&2\nexec sleep 300")
    with pytest.raises(KeyboardInterrupt):
        nsys_process.run([other], _signal_soon(signal.SIGINT))


def test_a_program_that_is_none(tmp_path):
    with pytest.raises(UsageError, match="cannot be started: No such file or directory; reinstall"):
        nsys_process.run([str(tmp_path / "nsys")], lambda line: None)


def test_of_standard_output_what_is_nsyss_own_is_left_out(script):
    """GIVEN an application's lines between those of nsys WHEN heard THEN they come whole, and in order"""
    lines = [
        "epoch 0", "", "Capture range started in the application.", "  loss 1.5", "Generating '/tmp/r.qdstrm'",
        "[1/1] [====50%] r.nsys-rep", "[1/1] [=99% ] r.nsys-repend", "Generated:", "    /a/r.nsys-rep",
    ]  # fmt: skip
    nsys = script("nsys", f"print({lines!r}, sep='\\n')".replace("[", "*[", 1), sys.executable)
    heard: list[str] = []
    nsys_process.run([nsys], lambda line: None, hear_output=heard.append)
    assert [line for line in heard if line] == ["epoch 0", "  loss 1.5", "end"]


def test_an_agent_that_goes_is_named_though_nsys_ends_well(script):
    lost = "Connection to Agent lost. This is most likely a bug."
    nsys = script("nsys", f"echo '{lost}' >&2; echo 'Please refer to the documentation' >&2")
    ended = nsys_process.run([nsys, "profile"], lambda line: None)
    assert (ended.exit_code, ended.lost) == (0, lost)


def test_a_line_without_end_is_not_kept_whole(script):
    nsys = script("nsys", "import sys\nsys.stdout.write('x' * 5_000_000)\nsys.stdout.flush()", sys.executable)
    assert len(nsys_process.run([nsys], lambda line: None).said) <= 4000


def test_a_listener_says_whether_there_was_anything():
    heard: list[str] = []
    run = [sys.executable, "-c", "import sys; sys.stderr.write('a line\\n'); sys.stdin.read()"]
    pipe = subprocess.PIPE
    with subprocess.Popen(run, stdin=pipe, stdout=pipe, stderr=pipe) as process:
        listener = nsys_process._Listener(process, heard.append)
        assert listener.listen(100.0)  # ends with the line
        assert not listener.listen(0.0)
        process.communicate()
    assert heard == ["a line"]


def test_what_is_started_has_a_session_of_its_own():
    """GIVEN that a signal to perfkit's group, as ctrl-C is, would make nsys drop its report"""
    with nsys_process._started(["sleep", "300"], "mark", 0.0) as process:
        session = os.getsid(process.pid)
        process.send_signal(keeper.END)
    assert session == process.pid
