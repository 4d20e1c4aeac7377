"""The command as a process: help, start-up, exit codes, signals, and a real allocation failure."""

from __future__ import annotations

import dataclasses
import functools
import json
import os
import pty
import re
import resource
import signal
import subprocess
import sys
import tomllib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from perfkit import cli, signals
from perfkit.commands.inputs.flags import RunFlags
from perfkit.commands.run import RunOptions
from perfkit.schema import record
from tests.runs import QUICK_FLAGS, saved

SAMPLE = Path(__file__).parents[1] / "traces" / "samples" / "tiny_train_cpu"

GIB = 2**30
ENVIRON = {**os.environ, "OMP_NUM_THREADS": "1", "COLUMNS": "200", "CUDA_VISIBLE_DEVICES": ""}


def perfkit(*arguments: str, cwd: Path, module: str = "perfkit", limit: int | None = None):
    """Run perfkit in a process of its own; `limit` is for its data segment, in bytes."""

    def lower() -> None:
        if limit is not None:
            resource.setrlimit(resource.RLIMIT_DATA, (limit, resource.getrlimit(resource.RLIMIT_DATA)[1]))

    command = [sys.executable, "-m", module, *arguments]
    return subprocess.run(command, cwd=cwd, env=ENVIRON, capture_output=True, text=True, check=False, preexec_fn=lower)


def helped(capsys: pytest.CaptureFixture[str], arguments: Sequence[str]) -> str:
    assert cli.main(arguments) == 0
    out, err = capsys.readouterr()
    assert err == ""
    return out


def test_help_names_the_commands(capsys):
    out = helped(capsys, ["--help"])
    for name in ("run", "analyze", "doctor", "--debug"):
        assert re.search(rf"\b{name}\b" if name[0] != "-" else name, out)


def test_a_shell_completes_names_that_only_the_program_knows(capsys):
    """GIVEN words with an empty last one, as a shell passes them THEN pictures, not the refusal of an empty word"""
    out = helped(capsys, ["__complete", "analyze", "x", "--plot", ""])
    assert {"icicle", "roofline", "wall_time"} <= set(out.split())
    assert "wall_time" in helped(capsys, ["__complete", "analyze", "x", "--table", "wall"]).split()


def test_zsh_registers_what_it_evaluates(capsys):
    assert cli.main(["completion", "zsh"]) == 0
    out = capsys.readouterr().out
    assert out.rstrip().endswith("\ncompdef _cyclopts_perfkit perfkit")
    assert "_cyclopts_perfkit()" in out


@pytest.mark.parametrize("shell", ["bash", "zsh"])
def test_a_shell_gets_what_completes_the_commands(shell, capsys):
    out = helped(capsys, ["completion", shell])
    assert "__complete" in out
    assert all(name in out for name in ("analyze", "compare", "--plot"))


def test_help_shows_no_default_where_nothing_is_chosen(capsys):
    """GIVEN flags of no, many or one value WHEN help is read THEN only the one value has a default"""
    shown = helped(capsys, ["analyze", "--help"])
    assert "[default: 20]" in shown
    assert not re.search(r"default: (\(|None)", shown)


def test_no_arguments_are_a_request_for_help(capsys):
    assert "run" in helped(capsys, [])


def test_the_version_is_that_of_the_package(capsys):
    assert re.fullmatch(r"\d+\.\d+\.\S+\n", helped(capsys, ["--version"]))


@pytest.mark.parametrize("owner", [RunFlags, RunOptions])
def test_help_lists_every_field_with_its_description_and_default(capsys, owner):
    # WHEN
    out = helped(capsys, ["run", "--help"])

    # THEN
    for field in dataclasses.fields(owner):
        flag = "--" + field.name.replace("_", "-")
        found = re.search(rf"^│ {flag} (.*?)(?=^│ --|^╰)", out, re.MULTILINE | re.DOTALL)
        assert found, flag
        assert re.search(r"[a-z]{3,}.*\.", found[1], re.DOTALL), f"{flag} has no description"
        if field.default not in (None, ()):
            assert "[default:" in re.sub(r"[\s│]+", " ", found[1]), flag


@pytest.mark.parametrize("arguments", [["--help"], ["run", "--help"], ["run", "--no-such-flag"]])
def test_help_and_mistakes_do_not_import_torch(tmp_path, arguments):
    # GIVEN
    script = (
        "import sys; from perfkit import cli; code = cli.main(sys.argv[1:]);"
        "assert not {'torch', 'scipy'} & set(sys.modules); sys.exit(code)"
    )

    # WHEN
    done = subprocess.run(
        [sys.executable, "-c", script, *arguments], cwd=tmp_path, capture_output=True, text=True, check=False
    )

    # THEN
    assert done.returncode == (2 if "--no-such-flag" in arguments else 0)
    assert "Traceback" not in done.stderr


def test_the_module_run_is_the_command_run(tmp_path):
    # WHEN
    by_module = perfkit("--help", cwd=tmp_path, module="perfkit.run")
    by_command = perfkit("run", "--help", cwd=tmp_path)

    # THEN
    assert (by_module.returncode, by_module.stdout) == (0, by_command.stdout)
    assert "--model-size" in by_module.stdout


@pytest.mark.parametrize("number", signals.TAKEN)
@pytest.mark.parametrize("module", ["perfkit", "perfkit.run"])
def test_a_signal_while_the_program_loads_is_one_line(tmp_path, module, number):
    """GIVEN a signal in the middle of the imports, which make what they like of an exception THEN one line"""
    meets_it = (
        f"import os\ntry:\n    os.kill(os.getpid(), {int(number)})\nexcept BaseException:\n    raise ImportError\n"
    )
    (tmp_path / "cyclopts.py").write_text(meets_it)
    environ = ENVIRON | {"PYTHONPATH": os.pathsep.join([str(tmp_path), ENVIRON.get("PYTHONPATH", "")])}
    done = subprocess.run([sys.executable, "-m", module], cwd=tmp_path, env=environ, capture_output=True, text=True,
                          check=False)  # fmt: skip
    assert (done.returncode, done.stderr) == (128 + number, f"perfkit: interrupted by {number.name}\n")


def test_a_run_by_module_leaves_its_folder_where_asked(tmp_path):
    # WHEN
    done = perfkit(*QUICK_FLAGS, "--measure-steps", "1", "--warmup-steps", "0", "--traces-dir", "here",
                   cwd=tmp_path, module="perfkit.run")  # fmt: skip

    # THEN
    assert (done.returncode, done.stderr.count("Traceback")) == (0, 0)
    (folder,) = (tmp_path / "here").iterdir()
    argv = record.load(folder).environment.argv
    assert (argv[0], *argv[-2:]) == ("run", "--traces-dir", "here")


def test_a_real_allocation_failure_is_a_result(tmp_path):
    """32 GiB of attention scores, where the process may have 8."""
    # GIVEN a model and activations that fit easily: of some MiB each
    shape = ["--num-layers", "1", "--d-model", "16", "--num-heads", "8", "--d-ff", "16", "--vocab-size", "10"]
    sizes = ["--context-length", "8192", "--batch-size", "16", "--num-threads", "1"]

    # WHEN
    done = perfkit("run", *shape, *sizes, cwd=tmp_path, limit=8 * GIB)

    # THEN
    assert done.returncode == 3
    assert "Traceback" not in done.stderr
    (folder,) = (tmp_path / "traces").iterdir()
    saved = record.load(folder)
    assert (saved.status, saved.steps, saved.warmup) == ("oom", (), ())
    assert saved.failure is not None
    assert saved.failure.phase == "warm-up step 1, forward"
    assert saved.failure.requested == 16 * 8 * 8192 * 8192 * 4
    assert saved.failure.available is not None
    assert saved.failure.available < 8 * GIB
    last = done.stderr.strip().splitlines()[-1]
    assert "an allocation of 32.0 GiB failed" in last
    assert "; try --attention sdpa or --" in last  # or what, is a question of how much memory is free here
    assert last.endswith(f" (record saved in traces/{folder.name})")


COMPUTES_UNTIL_SIGNALLED = """
import sys
from perfkit import cli
from perfkit.workload.step import TransformerWorkload
step, begun = TransformerWorkload.step, 0
def endless(self, on_phase):
    global begun
    begun += 1
    def told(phase):
        on_phase(phase)
        if begun == 4 and phase == "backward":
            print("here", file=sys.stderr, flush=True)
            while True:
                self.model(self.tokens)
    step(self, told)
TransformerWorkload.step = endless
sys.exit(cli.main(sys.argv[1:]))
"""
"""perfkit, whose fourth step stays in its backward: a signal may come as late as it likes, and meets that."""


COMPUTING = (
    sys.executable, "-c", COMPUTES_UNTIL_SIGNALLED,
    "run", *QUICK_FLAGS, "--device", "cpu", "--warmup-steps", "1", "--measure-steps", "100000",
)  # fmt: skip


@contextmanager
def computing(folder: Path, *arguments: str, **streams: Any) -> Iterator[subprocess.Popen[str]]:
    """A perfkit that is in the middle of its third measured step."""
    streams = {"stdout": subprocess.PIPE} | streams
    with subprocess.Popen(
        [*COMPUTING, *arguments], cwd=folder, env=ENVIRON, stderr=subprocess.PIPE, text=True, **streams
    ) as process:
        try:
            assert process.stderr is not None
            assert any(line == "here\n" for line in process.stderr)
            yield process
        finally:
            process.kill()


def only_record(folder: Path) -> record.RunRecord:
    (run,) = (folder / "traces").iterdir()
    return record.load(run)


@pytest.mark.parametrize("number", signals.TAKEN)
def test_a_signal_in_the_measured_steps_saves_the_samples(tmp_path, number):
    # WHEN it comes as batch systems send it: to the process, and to its group
    with computing(tmp_path) as process:
        process.send_signal(number)
        process.send_signal(number)
        out, err = process.communicate()

    # THEN
    (folder,) = (tmp_path / "traces").iterdir()
    saved = record.load(folder)
    assert process.returncode == 128 + number
    assert (saved.status, len(saved.warmup), len(saved.steps)) == ("interrupted", 1, 2)
    assert saved.failure is not None
    assert saved.failure.signal == number.name
    assert err == (
        f"perfkit: interrupted by {number.name} in measured step 3, backward;"
        f" 2 of 100000 measured steps saved in traces/{folder.name}\n"
    )
    assert "(2 steps, 1 warm-up)" in out


def test_a_signal_under_the_profiler_saves_samples_and_trace(tmp_path):
    # WHEN
    with computing(tmp_path, "--profiler", "torch", "--overhead", "off") as process:
        process.send_signal(signal.SIGTERM)
        _, err = process.communicate()

    # THEN
    saved = only_record(tmp_path)
    assert process.returncode == 143
    assert (saved.status, len(saved.steps), list(saved.artifacts)) == ("interrupted", 2, ["trace", "tensorboard"])
    assert err.splitlines()[-1].startswith("perfkit: interrupted by SIGTERM in measured step 3, backward; 2 of 100000")
    assert "Traceback" not in err


def test_what_is_ignored_from_the_start_stays_ignored(tmp_path):
    """GIVEN nohup, which has SIGHUP ignored WHEN one comes, and SIGTERM after it THEN the second ends the run"""
    ignore = functools.partial(signal.signal, signal.SIGHUP, signal.SIG_IGN)
    with computing(tmp_path, preexec_fn=ignore) as process:
        process.send_signal(signal.SIGHUP)
        process.send_signal(signal.SIGTERM)
        process.communicate()
    assert process.returncode == 143
    failure = only_record(tmp_path).failure
    assert failure is not None
    assert failure.signal == "SIGTERM"


def test_a_signal_that_met_the_reader_too_is_told_all_the_same(tmp_path):
    """GIVEN a pipeline, as `perfkit run | tee log` WHEN ctrl-C ends all of it THEN the code and the line say so"""
    reading, writing = os.pipe()
    with computing(tmp_path, stdout=writing) as process:
        os.close(reading)
        os.close(writing)
        process.send_signal(signal.SIGINT)
        _, err = process.communicate()
    assert process.returncode == 130
    assert err.splitlines()[-1].startswith("perfkit: interrupted by SIGINT in measured step 3, backward; 2 of 100000")
    assert "Traceback" not in err
    assert len(only_record(tmp_path).steps) == 2


SHOWS_HALF = """
import os, signal, sys
from perfkit import cli
from perfkit.commands.console import show
def half(*_, **__):
    try:
        os.kill(os.getpid(), signal.SIGTERM)
    except KeyboardInterrupt:
        print("half a table")
        raise eval(sys.argv[1]) from None
show.write = half
sys.exit(cli.main(["analyze", sys.argv[2]]))
"""


@pytest.mark.parametrize(
    ("error", "told"),
    [
        ("Interrupted()", ""),
        ("BrokenPipeError()", ""),
        ("OSError(5, 'no terminal')", ""),
        ("ImportError()", ""),
        ("AssertionError()", ""),
        ("UsageError('t.md: cannot be written')", "; t.md: cannot be written"),
        ("InterruptedRunError(signal.SIGTERM, '; 2 steps saved')", "; 2 steps saved"),
    ],
)
def test_whatever_comes_of_a_signal_and_a_reader_that_is_gone_it_is_the_end_by_that_signal(tmp_path, error, told):
    """GIVEN half a table that nobody reads WHEN a signal comes, as itself or as what it becomes THEN one line"""
    folder = tmp_path / "run"
    folder.mkdir()
    record.save(saved(), folder)
    script = f"from perfkit.errors import *\nfrom perfkit.signals import Interrupted\n{SHOWS_HALF}"
    reading, writing = os.pipe()
    os.close(reading)
    environ = {name: value for name, value in ENVIRON.items() if name != "PYTHONUNBUFFERED"}
    done = subprocess.run([sys.executable, "-c", script, error, str(folder)], cwd=tmp_path, env=environ, text=True,
                          stdout=writing, stderr=subprocess.PIPE, check=False)  # fmt: skip
    os.close(writing)
    assert (done.returncode, done.stderr) == (143, f"perfkit: interrupted by SIGTERM{told}\n")


def test_a_terminal_that_closes_loses_no_step(tmp_path):
    """GIVEN a run in a terminal WHEN the terminal closes, so that nothing can be said any more THEN all is saved"""
    # GIVEN
    pid, terminal = pty.fork()
    if not pid:
        os.chdir(tmp_path)
        os.execve(COMPUTING[0], COMPUTING, ENVIRON)
    said = b""
    while b"here" not in said:
        said += os.read(terminal, 1000)

    # WHEN
    os.close(terminal)
    _, status = os.waitpid(pid, 0)

    # THEN
    saved = only_record(tmp_path)
    assert os.waitstatus_to_exitcode(status) == 129
    assert (saved.status, len(saved.steps)) == ("interrupted", 2)
    assert saved.failure is not None
    assert saved.failure.signal == "SIGHUP"


# --- empty paths ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "what"),
    [
        (["run", "--output="], "--output ''"),
        (["run", "--output", ""], "--output ''"),
        (["run", "--folder", ""], "--folder ''"),
        (["run", "--traces-dir="], "--traces-dir ''"),
        (["analyze", "t", "--modules", ""], "--modules ''"),
        (["analyze", "t", "--capture", ""], "--capture ''"),
        (["analyze", ""], "''"),
        (["compare", "a", ""], "''"),
        (["sweep", "--output", ""], "--output ''"),
        (["sweep", "--tables", "a.md", ""], "''"),
        (["sweep", "--plot="], "--plot ''"),
    ],
)
def test_an_empty_path_is_not_the_present_folder(
    capsys: pytest.CaptureFixture[str], arguments: list[str], what: str
) -> None:
    assert cli.main(arguments) == 2
    assert capsys.readouterr().err == f"perfkit: {what} is empty: give it a value, or leave it out\n"


def test_flags_of_a_side_may_be_none(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["compare", "--run", "", "--no-such-flag"]) == 2
    assert "--no-such-flag" in capsys.readouterr().err


def test_a_home_behind_an_equals_sign(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/nowhere")
    assert cli.main(["run", "--output=~/x.csv"]) == 2
    assert capsys.readouterr().err == "perfkit: /nowhere/x.csv: there is no directory /nowhere: create it first\n"


def test_a_zero_byte_is_in_no_path(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["run", "--output", "a\0.csv"]) == 2
    assert capsys.readouterr().err == "perfkit: 'a\\x00.csv' contains a zero byte: remove it\n"


# --- want of memory ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "advises"),
    [
        ("analyze t.json", True),
        ("doctor", False),
        ("run --repeats 2", False),
        ("analyze t.json --table kernel_summary", False),
    ],
)
def test_where_memory_does_not_suffice_what_takes_less_is_advised(arguments: str, advises: bool) -> None:
    advice = "; for a large trace, --table kernel_summary needs the least" if advises else ""
    assert cli._memory_advice(arguments.split()) == advice


PLACES = [*filter(None, [os.environ.get("PYTHONPATH")])]


def analyzed(folder: Path, before: str = "", arguments: str = "analyze t.json") -> subprocess.CompletedProcess[bytes]:
    """What a shell makes of perfkit where a folder has modules that are found before all others."""
    places = os.pathsep.join([str(folder), *PLACES])
    command = ["bash", "-c", f"{before} {sys.executable} -m perfkit {arguments}"]
    return subprocess.run(command, cwd=folder, env={**ENVIRON, "PYTHONPATH": places}, capture_output=True, check=False)


@pytest.fixture
def trace(tmp_path: Path) -> Path:
    """A kernel."""
    event = {"ph": "X", "cat": "kernel", "name": "k", "pid": 0, "tid": 7, "ts": 10, "dur": 4, "args": {"stream": 7}}
    (tmp_path / "t.json").write_text(json.dumps({"schemaVersion": 1, "traceEvents": [event]}))
    return tmp_path / "t.json"


@pytest.mark.parametrize("module", ["cyclopts", "perfkit.commands.analyze"])
def test_want_of_memory_while_the_program_loads(trace: Path, module: str) -> None:
    """GIVEN a library that cannot be mapped, of the program or of the command THEN one line and exit code 3"""
    hook = trace.parent / "sitecustomize.py"
    hook.write_text(
        "import sys\n"
        "class Full:\n"
        "    def find_spec(self, name, *_):\n"
        f"        if name == {module!r}:\n"
        "            raise ImportError('lib.so: failed to map segment from shared object: Cannot allocate memory')\n"
        "sys.meta_path.insert(0, Full())\n"
    )
    done = analyzed(trace.parent)
    assert (done.returncode, done.stderr.count(b"\n")) == (3, 1)
    assert done.stderr.startswith(b"perfkit: out of memory")


@pytest.mark.parametrize(
    ("arguments", "limited", "code", "says"),
    [
        ("analyze t.json", True, 3, b"perfkit: out of memory (ulimit -v allows "),
        ("--version", True, 0, b""),
        ("analyze t.json", False, 1, b"OpenBLAS error: giving up.\n"),
    ],
)
def test_a_numpy_that_ends_the_process_is_tried_in_another_one(
    trace: Path, arguments: str, limited: bool, code: int, says: bytes
) -> None:
    """GIVEN a limit within which OpenBLAS ends the process that loads it THEN one line and exit code 3

    A limit of 1 TiB, which nothing here meets: a stand-in for numpy ends the process, as numpy does under a small one.
    """
    (trace.parent / "numpy.py").write_text("import os\nos.write(2, b'OpenBLAS error: giving up.\\n')\nos._exit(1)\n")
    limit = f"ulimit -v {2**30};" if limited else ""
    done = analyzed(trace.parent, limit, arguments)
    assert (done.returncode, done.stderr.count(b"\n")) == (code, bool(says))
    assert done.stderr.startswith(says)


def test_no_color_is_for_every_command_and_this_call_alone(monkeypatch, capsys):
    """GIVEN a terminal that is asked for colours WHEN a command is called with --no-color THEN that is plain"""
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("FORCE_COLOR", "1")
    arguments = ["analyze", str(SAMPLE), "--table", "phases"]
    assert cli.main([*arguments, "--no-color"]) == 0
    assert "\x1b[94m" not in capsys.readouterr().out
    assert "NO_COLOR" not in os.environ
    assert cli.main(arguments) == 0
    assert "\x1b[94m" in capsys.readouterr().out


def test_what_was_loaded_is_no_work_for_the_garbage_collector(trace):
    """GIVEN a new process THEN the collector is off while a command loads, and on, past what was loaded, in it"""
    script = (
        "import gc, sys; from perfkit import __main__; from perfkit.commands.console import show;"
        "show.write = lambda *_, **__: print(gc.isenabled(), gc.get_freeze_count() > 50_000);"
        "sys.argv[1:] = ['analyze', sys.argv[1]]; __main__.main()"
    )
    done = subprocess.run([sys.executable, "-c", script, trace], capture_output=True, text=True, check=True)
    assert done.stdout == "True True\n"


ENDS = """
import atexit, os, sys
class Last:
    def __del__(self, write=os.write):
        write(1, b"taken apart\\n")
sys.last = Last()
before = sys.argv[1]
if before == "registered before":
    atexit.register(print, "registered before")
from perfkit import __main__, cli
def command(_):
    atexit.register(print, "registered")
    if before == "torch":
        sys.modules["torch"] = sys
    print("a table" * 10_000)
    return 1 // (before != "an exception") + 6
cli.main = command
code = __main__.program()
print("went on")
sys.exit(code)
"""


@pytest.mark.parametrize(
    ("before", "then", "code"),
    [
        ("nothing", "", 7),
        ("torch", "taken apart\n", 7),
        ("registered before", "registered before\ntaken apart\n", 7),
        ("an exception", "taken apart\n", 1),
    ],
)
def test_the_program_ends_without_taking_modules_apart(before: str, then: str, code: int) -> None:
    """THEN all was written, and called, and the exit code is kept. Where torch is loaded, or another counts on Python's
    own end, Python takes its modules apart."""
    done = subprocess.run(
        [sys.executable, "-c", ENDS, before], env=ENVIRON, capture_output=True, text=True, check=False
    )
    said = "" if before == "an exception" else "went on\n"
    assert (done.returncode, done.stdout) == (code, "a table" * 10_000 + "\n" + said + "registered\n" + then)
    assert ("ZeroDivisionError" in done.stderr) is (before == "an exception")


def test_what_cannot_be_written_at_the_end_is_for_python_to_say() -> None:
    """GIVEN a reader that is gone WHEN a line waits for the end of the process THEN Python's own words and exit code"""
    command = [sys.executable, "-c", ENDS.replace("10_000", "1"), "nothing"]
    reading, writing = os.pipe()
    os.close(reading)
    environ = {name: value for name, value in ENVIRON.items() if name != "PYTHONUNBUFFERED"}
    done = subprocess.run(command, env=environ, stdout=writing, stderr=subprocess.PIPE, text=True, check=False)
    os.close(writing)
    assert done.returncode == 120
    assert "BrokenPipeError" in done.stderr


def test_perfkit_is_the_program_that_ends_so(trace: Path) -> None:
    """`python -m perfkit` and `perfkit` both"""
    hook = "class Last:\n    def __del__(self, write=os.write):\n        write(1, b'taken apart')\n"
    (trace.parent / "sitecustomize.py").write_text(f"import os, sys\n{hook}sys.last = Last()\n")
    done = analyzed(trace.parent, arguments="--version")
    assert re.fullmatch(rb"[0-9.]+\S*\n", done.stdout), done.stderr
    project = tomllib.loads((Path(__file__).parents[1] / "pyproject.toml").read_text())["project"]
    assert project["scripts"] == {"perfkit": "perfkit.__main__:program"}
