"""scripts/gpu-suite: its list of points, its time budget, and the whole thing rehearsed on a CPU."""

from __future__ import annotations

import csv
import io
import json
import os
import random
import signal
import subprocess
import sys
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from perfkit.errors import UsageError
from perfkit.schema.config import RunConfig
from scripts.gpu_suite import main as suite
from scripts.gpu_suite.points import POINTS, REHEARSAL, Flags, Point, command, runs
from scripts.gpu_suite.results import Results
from scripts.gpu_suite.running import ROOT, Outcome, run_point

NO_GPU = {"gpu": None, "torch": "2", "python": "3"}


def gpu_suite(*arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    argv = [sys.executable, str(ROOT / "scripts" / "gpu-suite"), *arguments]
    return subprocess.run(argv, capture_output=True, text=True, check=False, env=os.environ | variables)


# --- the list of points ------------------------------------------------------------------------------------------


def test_every_point_has_a_name_of_its_own() -> None:
    names = [point.name for point in POINTS]
    assert len(names) == len(set(names))
    assert all(name.replace("-", "").replace("_", "").replace(".", "").isalnum() for name in names), "folder names"


def test_every_run_is_a_valid_configuration() -> None:
    for point in POINTS:
        if point.flags is not None:
            RunConfig.of(**point.flags)  # refuses what cannot work


def test_a_rehearsed_run_is_valid_or_needs_a_gpu() -> None:
    refused = {point.name: why for point in POINTS if (why := refusal(point.used_flags(rehearsal=True)))}
    assert 0 < len(refused) < 10
    assert all("GPU" in why for why in refused.values()), refused


def refusal(flags: Flags | None) -> str:
    """Why a configuration is refused; empty where it is not."""
    try:
        RunConfig.of(**(flags or {}))
    except UsageError as error:
        return str(error)
    return ""


def test_the_passes_sizes_precisions_attentions_and_compile_modes_are_all_there() -> None:
    flags = [point.flags for point in POINTS if point.flags]
    wanted: dict[str, set[Any]] = {
        "model_size": {"small", "medium", "large", "xl", "2.7B", "10B"},
        "pass_type": {"forward", "forward-backward", "train"},
        "precision": {"tf32", "bf16", "fp16"},
        "attention": {"sdpa"},
        "compile": {"block", "model"},
        "checkpoint": {True},
    }
    for name, values in wanted.items():
        assert values <= {f[name] for f in flags if name in f}


def test_arguments_come_from_flags() -> None:
    [point] = runs(model_size="small", pass_type="train", checkpoint=True)
    assert point.name == "small_train_checkpoint"
    assert point.argv("F")[1:] == [
        "-m", "perfkit.run", "--model-size", "small", "--pass-type", "train", "--checkpoint",
        "--traces-dir", "F", "--output", "F/result.json",
    ]  # fmt: skip
    rehearsed = point.argv("F", rehearsal=True)
    assert rehearsed[rehearsed.index("--model-size") + 1] == REHEARSAL["model_size"]


# --- one point ---------------------------------------------------------------------------------------------------


def test_a_command_that_takes_too_long_is_stopped(tmp_path: Path) -> None:
    # GIVEN one that would take an hour, which this test is not given
    point = command("sleeper", 1, "{python}", "-c", "import time; time.sleep(3600)")

    # THEN
    assert run_point(point, tmp_path / "sleeper", 0.5).status == "timeout"


@pytest.mark.parametrize(
    ("code", "flags", "status"), [(3, {"a": 1}, "oom"), (2, {"a": 1}, "refused"), (3, None, "failed")]
)
def test_exit_codes_become_statuses(tmp_path: Path, code: int, flags: dict[str, int] | None, status: str) -> None:
    class Scripted(Point):
        def argv(self, folder: str, *, rehearsal: bool = False) -> list[str]:
            return [sys.executable, "-c", f"import sys; print('why'); sys.exit({code})"]

    outcome = run_point(Scripted(name="p", expected_s=1, flags=flags), tmp_path / "p", 500)  # type: ignore[arg-type]
    assert (outcome.status, outcome.exit_code, outcome.message) == (status, code, "why")


# --- the budget --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("text", "seconds"), [("8m", 480), ("90s", 90), ("45", 45), ("1.5m", 90)])
def test_budgets_are_read(text: str, seconds: float) -> None:
    assert suite._parser().parse_args(["--budget", text]).budget == seconds


def at_once(results: Results, budget: float) -> suite._Suite:
    """A suite whose points end well, and in no time."""
    return suite._Suite(
        results,
        budget,
        io.StringIO(),
        rehearsal=False,
        run_point=lambda point, *_, **__: Outcome(name=point.name, status="ok"),
        now=lambda: 0.0,
        began=0.0,
    )


def test_a_reserved_point_keeps_its_time(tmp_path: Path) -> None:
    """GIVEN too little time for one run of three beside a reserved one THEN it is left out"""
    points = [
        command("first", 40, "x"),
        command("second", 400, "x"),
        command("third", 10, "x"),
        command("tests", 60, "x", reserved=True),
    ]
    (tmp_path / "runs").mkdir()
    results = Results(tmp_path, tmp_path, NO_GPU)
    code = at_once(results, 120).run(points)
    assert code == 0
    assert {o.name: o.status for o in results.outcomes} == {
        "first": "ok", "second": "skipped", "third": "ok", "tests": "ok",
    }  # fmt: skip
    manifest = json.loads((tmp_path / "manifest.json").read_text())
    assert manifest["counts"] == {"ok": 3, "skipped": 1}


def test_time_left_over_goes_to_points_left_out_at_first(tmp_path: Path) -> None:
    points = [command("first", 60, "x"), command("tests", 60, "x", reserved=True)]
    (tmp_path / "runs").mkdir()
    results = Results(tmp_path, tmp_path, NO_GPU)
    at_once(results, 100).run(points)
    assert [outcome.name for outcome in results.outcomes] == ["tests", "first"]


def test_what_would_make_the_archive_too_large_stays_out(tmp_path: Path) -> None:
    (tmp_path / "runs" / "p").mkdir(parents=True)
    noise = random.Random(0)
    for name, size in (("small.gz", 20_000), ("large.gz", 50_000)):
        (tmp_path / "runs" / "p" / name).write_bytes(noise.randbytes(size))
    results = Results(tmp_path, tmp_path, NO_GPU, archive_limit=60_000)
    archive = results.pack({})
    assert archive.stat().st_size <= 60_000
    assert results.left_out == ["runs/p/large.gz (0.1 MB)"]
    with tarfile.open(archive) as packed:
        assert {m.name for m in packed} == {
            "results/environment.json", "results/manifest.json", "results/runs/p/small.gz",
        }  # fmt: skip


# --- the command -------------------------------------------------------------------------------------------------


def test_the_plan_is_shown_without_running_anything() -> None:
    shown = gpu_suite("--dry-run", "--budget", "2m")
    assert shown.returncode == 0
    lines = shown.stdout.splitlines()
    assert len(lines) == len(POINTS) + 1
    assert "small_fwd-bwd" in lines[0]
    assert lines[-2].endswith("junit.xml")
    assert f"of {len(POINTS)} points are expected to fit 2:00" in lines[-1]


def test_an_unknown_point_is_refused() -> None:
    refused = gpu_suite("--only", "small_fwd", "nonsense")
    assert (refused.returncode, refused.stdout) == (2, "")
    assert "--only nonsense: no such point" in refused.stderr


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_without_a_gpu_it_says_so_in_one_line() -> None:
    shown = gpu_suite()
    assert (shown.returncode, shown.stderr) == (0, "")
    [line] = shown.stdout.splitlines()
    assert line.startswith("gpu-suite: nothing to do: PyTorch")


@pytest.mark.slow
def test_earlier_results_are_left_alone(tmp_path: Path) -> None:
    (tmp_path / "runs").mkdir()
    refused = gpu_suite("--cpu-rehearsal", "--out", str(tmp_path), "--only", "doctor")
    assert refused.returncode == 2
    assert "earlier run" in refused.stderr


ALL_THE_TIME_IN_THE_WORLD = suite.Patience(allowance=1000.0, probe_s=1000.0, analyze_s=1000.0)
"""A point may take as long as this machine takes."""


@pytest.fixture
def _sigterm() -> Iterator[None]:
    """The handler of SIGTERM that the suite sets is taken back."""
    before = signal.getsignal(signal.SIGTERM)
    yield
    signal.signal(signal.SIGTERM, before)


@pytest.mark.slow
@pytest.mark.usefixtures("_sigterm")
def test_rehearsal_on_a_cpu(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """GIVEN a good run, one that only a GPU can do and a profiled one THEN all results are in the folder"""
    names = ("small_fwd", "small_fwd-bwd_tf32", "profiled_fwd")
    arguments = ["--cpu-rehearsal", "--budget", "500m", "--out", str(tmp_path), "--only", *names]
    code = suite.main(arguments, ALL_THE_TIME_IN_THE_WORLD)
    said = capsys.readouterr().out
    assert code == 0, said
    assert "2 ok, 1 refused" in said
    assert len([path for path in tmp_path.iterdir() if path.is_file()]) == 6
    rows = {row["point"]: row for row in csv.DictReader((tmp_path / "results.csv").open())}
    assert set(rows) == set(names)
    assert rows["small_fwd"]["status"] == "ok"
    assert float(rows["small_fwd"]["mean_s"]) > 0
    assert rows["small_fwd-bwd_tf32"]["status"] == "refused"
    assert float(rows["profiled_fwd"]["unattributed"]) < 1
    assert "profiled_fwd" in (tmp_path / "results.md").read_text()
    assert json.loads((tmp_path / "environment.json").read_text())["torch"] == str(torch.__version__)
    with tarfile.open(tmp_path / "results.tar.gz") as packed:
        inside = packed.getnames()
    assert sum(name.endswith("record.json") for name in inside) == 2
    assert sum(name.endswith(".pt.trace.json.gz") for name in inside) == 1
