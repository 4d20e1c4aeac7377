"""`perfkit doctor` in one process: what it prints of what it finds."""

from __future__ import annotations

from pathlib import Path

import pytest

from perfkit import cli
from perfkit.analysis.costs.hardware.measured import default_path, measured_peaks
from perfkit.measure.doctor import NO_GPU, Ability
from perfkit.schema import ceilings
from perfkit.schema.finding import Finding
from tests.measured_peaks import a_cpu, product


def test_what_is_lacking_comes_first_then_everything(capsys):
    """GIVEN a machine without a GPU WHEN examined THEN a line says what that means, and the table has every ability"""
    lacking = Ability("gpu", "no", "no driver", Finding(NO_GPU, "gpu: everything runs on the CPU"))
    assert cli.main(["doctor"], examine=lambda: [Ability("python", "yes", "3.11"), lacking]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[:3] == ["gpu: everything runs on the CPU", "", "What this machine can measure"]
    assert [line.split() for line in lines[-2:]] == [["python", "yes", "3.11"], ["gpu", "no", "no", "driver"]]


def measuring(found):
    """Stands for the measurement; keeps what it was asked for."""

    def measure(device, threads, on_stage):
        measure.asked = (device, threads)  # type: ignore[attr-defined]
        on_stage("fp32 matrix products")
        return found

    return measure


def test_measured_peaks_are_shown_and_saved_where_the_analysis_looks(capsys, tmp_path, monkeypatch):
    """GIVEN a CPU of 200 GFLOP/s WHEN its peaks are measured THEN they are printed, and found again by its name"""
    monkeypatch.setenv("PERFKIT_CACHE_DIR", str(tmp_path))
    measure = measuring(a_cpu())
    assert cli.main(["doctor", "--measure-peaks"], measure=measure) == 0
    out, err = capsys.readouterr()
    assert "Matrix products on AMD EPYC, 2 threads" in out
    assert "measured GFLOP/s" in out
    assert f"saved in {default_path('AMD EPYC', 2)}" in out
    assert "fp32 matrix products" in err
    assert measure.asked == ("auto", None)
    assert measured_peaks("AMD EPYC", threads=2).peak("fp32").flops_per_s == pytest.approx(200e9)


def test_the_file_the_device_and_the_threads_can_be_chosen(capsys, tmp_path):
    measure, path = measuring(a_cpu()), tmp_path / "mine.json"
    flags = ["--device", "cpu", "--num-threads", "4", "--peaks-file", str(path)]
    assert cli.main(["doctor", "--measure-peaks", *flags], measure=measure) == 0
    assert measure.asked == ("cpu", 4)
    assert ceilings.load(path) == a_cpu()


def test_what_was_measured_is_shown_even_where_it_cannot_be_saved(capsys, tmp_path: Path):
    (tmp_path / "taken").mkdir()
    flags = ["doctor", "--measure-peaks", "--peaks-file", str(tmp_path / "taken")]
    assert cli.main(flags, measure=measuring(a_cpu(copy=product(0.01, 0.02)))) == 2
    out, err = capsys.readouterr()
    assert "times of copies varied by" in out.splitlines()[0]
    assert "Copies within its memory" in out
    assert "cannot be saved" in err


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (["--device", "cpu"], "need --measure-peaks"),
        (["--num-threads", "2"], "need --measure-peaks"),
        (["--peaks-file", "x"], "need --measure-peaks"),
        (["--measure-peaks", "--device", "tpu"], "choose auto, cpu, cuda or cuda:N"),
        (["--measure-peaks", "--num-threads", "0"], "--num-threads"),
    ],
)
def test_flags_that_cannot_work_are_refused(capsys, flags, said):
    assert cli.main(["doctor", *flags], measure=measuring(a_cpu())) == 2
    assert said in capsys.readouterr().err
