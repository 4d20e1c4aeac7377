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
    return subprocess.run(
        command, cwd=cwd, env=ENVIRON, capture_output=True, text=True, timeout=120, check=False, preexec_fn=lower
    )


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
    """512 GiB of attention scores, where the process may have 8."""
    # GIVEN a model and activations that fit easily
    shape = ["--num-layers", "1", "--d-model", "64", "--num-heads", "32", "--d-ff", "64", "--vocab-size", "10"]
    sizes = ["--context-length", "8192", "--batch-size", "64", "--num-threads", "1"]

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
    assert saved.failure.requested == 64 * 32 * 8192 * 8192 * 4
    assert saved.failure.available is not None
    assert saved.failure.available < 8 * GIB
    last = done.stderr.strip().splitlines()[-1]
    assert "an allocation of 512.0 GiB failed" in last
    assert last.endswith(f"try --attention sdpa or --batch-size 1 (record saved in traces/{folder.name})") or (
        "try --attention sdpa or --context-length" in last
    )


def test_ctrl_c_in_the_measured_steps_saves_the_samples(tmp_path):
    # GIVEN steps of some milliseconds
    flags = ["--num-layers", "2", "--context-length", "128", "--batch-size", "2", "--num-threads", "1"]
    command = [sys.executable, "-m", "perfkit", "run", *flags, "--warmup-steps", "1", "--measure-steps", "100000"]
    process = subprocess.Popen(
        command, cwd=tmp_path, env=ENVIRON, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )

    # WHEN
    try:
        assert process.stderr is not None
        for line in process.stderr:
            if line.startswith("measured steps"):
                break
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(timeout=0.5)
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=60)
    finally:
        process.kill()
        process.wait()

    # THEN
    (folder,) = (tmp_path / "traces").iterdir()
    saved = record.load(folder)
    assert process.returncode == 130
    assert "Traceback" not in err
    assert (saved.status, len(saved.warmup)) == ("interrupted", 1)
    assert 0 < len(saved.steps) < 100_000
    assert re.fullmatch(
        rf"perfkit: interrupted in measured step \d+, \w+; {len(saved.steps)} of 100000 measured steps saved in"
        rf" traces/{folder.name}\n",
        err,
    )
    assert f"{len(saved.steps)}" in out
