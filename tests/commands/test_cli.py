"""The command as a process: help, start-up, exit codes, signals, and a real allocation failure."""

from __future__ import annotations

import dataclasses
import os
import re
import resource
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from perfkit import cli
from perfkit.commands.run import RunOptions
from perfkit.schema import record
from perfkit.schema.config import RunConfig
from tests.runs import QUICK_FLAGS

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


def test_no_arguments_are_a_request_for_help(capsys):
    assert "run" in helped(capsys, [])


def test_the_version_is_that_of_the_package(capsys):
    assert re.fullmatch(r"\d+\.\d+\.\S+\n", helped(capsys, ["--version"]))


@pytest.mark.parametrize("owner", [RunConfig, RunOptions])
def test_help_lists_every_field_with_its_description_and_default(capsys, owner):
    # WHEN
    out = helped(capsys, ["run", "--help"])

    # THEN
    for field in dataclasses.fields(owner):
        flag = "--" + field.name.replace("_", "-")
        found = re.search(rf"^│ {flag} (.*?)(?=^│ --|^╰)", out, re.MULTILINE | re.DOTALL)
        assert found, flag
        assert re.search(r"[a-z]{3,}.*\.", found[1], re.DOTALL), f"{flag} has no description"
        if field.default is not None:
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


@pytest.mark.parametrize("module", ["perfkit", "perfkit.run"])
def test_ctrl_c_while_the_program_loads_is_one_line(tmp_path, module):
    """GIVEN ctrl-C in the middle of the imports, as a module that raises it THEN no traceback"""
    (tmp_path / "cyclopts.py").write_text("raise KeyboardInterrupt\n")
    environ = ENVIRON | {"PYTHONPATH": os.pathsep.join([str(tmp_path), ENVIRON.get("PYTHONPATH", "")])}
    done = subprocess.run([sys.executable, "-m", module], cwd=tmp_path, env=environ, capture_output=True, text=True,
                          check=False)  # fmt: skip
    assert (done.returncode, done.stderr) == (130, "perfkit: interrupted\n")


def test_a_run_by_module_leaves_its_folder_where_asked(tmp_path):
    # WHEN
    done = perfkit(*QUICK_FLAGS, "--measure-steps", "1", "--warmup-steps", "0", "--traces-dir", "here",
                   cwd=tmp_path, module="perfkit.run")  # fmt: skip

    # THEN
    assert (done.returncode, done.stderr.count("Traceback")) == (0, 0)
    (folder,) = (tmp_path / "here").iterdir()
    assert record.load(folder).environment.argv[-2:] == ("--traces-dir", "here")


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


COMPUTES_UNTIL_CTRL_C = """
import sys
from perfkit import cli
from perfkit.workload.step import Workload
step, begun = Workload.step, 0
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
Workload.step = endless
sys.exit(cli.main(sys.argv[1:]))
"""
"""perfkit, whose fourth step stays in its backward: ctrl-C may come as late as it likes, and meets that."""


def test_ctrl_c_in_the_measured_steps_saves_the_samples(tmp_path):
    # GIVEN
    flags = [*QUICK_FLAGS, "--warmup-steps", "1", "--measure-steps", "100000"]
    command = [sys.executable, "-c", COMPUTES_UNTIL_CTRL_C, "run", *flags]
    process = subprocess.Popen(
        command, cwd=tmp_path, env=ENVIRON, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )

    # WHEN
    try:
        assert process.stderr is not None
        assert any(line == "here\n" for line in process.stderr)
        process.send_signal(signal.SIGINT)
        out, err = process.communicate()
    finally:
        process.kill()
        process.wait()

    # THEN
    (folder,) = (tmp_path / "traces").iterdir()
    saved = record.load(folder)
    assert process.returncode == 130
    assert (saved.status, len(saved.warmup), len(saved.steps)) == ("interrupted", 1, 2)
    assert err == (
        f"perfkit: interrupted in measured step 3, backward; 2 of 100000 measured steps saved in traces/{folder.name}\n"
    )
    assert "n = 2" in out
