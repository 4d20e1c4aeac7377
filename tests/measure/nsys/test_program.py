"""What nsys can do, and the command line made of it."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError
from pathlib import Path

import pytest

from perfkit.errors import UsageError
from perfkit.measure.nsys import program as nsys_program
from perfkit.measure.nsys.process import MARK
from perfkit.measure.nsys.program import Nsys, pair_problem, prepare, profile_command

OLD_HELP = """
	-t, --trace=

	   Possible values are 'cuda', 'nvtx', 'cublas', 'cublas-verbose', 'osrt' or 'none'.

	-s, --sample=
	-c, --capture-range=
	-p, --nvtx-capture=
	-o, --output=
"""  # noqa: E101 - nsys indents by tabs
WHOLE = Nsys("/opt/nsys", (2024, 5, 1))
"""It has every option, as far as is known."""


def _options(command: list[str]) -> dict[str, str]:
    return dict(part.split("=", 1) for part in command[2:])


def test_a_run_on_a_cpu():
    command = profile_command(WHOLE, "cpu", "here/report.nsys-rep")
    assert command[:2] == ["/opt/nsys", "profile"]
    assert _options(command) == {
        "--trace": "nvtx,osrt",
        "--sample": "none",
        "--cpuctxsw": "none",
        "--capture-range": "nvtx",
        "--nvtx-capture": "measure@perfkit",
        "--capture-range-end": "stop",
        "--force-overwrite": "true",
        "--output": "here/report.nsys-rep",
    }


def test_a_run_on_a_gpu_has_kernels_libraries_and_the_nodes_of_graphs():
    options = _options(profile_command(WHOLE, "cuda:1"))
    assert options["--trace"] == "cuda,nvtx,osrt,cublas,cudnn"
    assert options["--cuda-graph-trace"] == "node"
    assert "--output" not in options
    assert _options(profile_command(WHOLE, "cpu", "50%/r"))["--output"] == "50%%/r"
    assert "--force-overwrite" not in options


def test_options_that_this_nsys_lacks_are_not_passed():
    # GIVEN one that cannot end a capture without ending the application
    old = Nsys("nsys", (2021, 1), OLD_HELP)

    # WHEN
    options = _options(profile_command(old, "cuda", "r"))

    # THEN everything is recorded, warm-up too
    assert options == {"--trace": "cuda,nvtx,osrt,cublas", "--sample": "none", "--output": "r"}


@pytest.mark.parametrize(
    ("nsys", "nvtx", "works"),
    [
        ((2022, 4, 2, 1), "0.2.11", True),
        ((2022, 4, 2, 1), "0.2.12", False),
        ((2023, 4, 4), "0.2.17", False),
        ((2023, 4, 4), "0.3", False),
        ((2024, 1), "0.2.17", True),
        ((2022, 4), None, True),
        ((), "0.2.17", True),
    ],
)
def test_the_pair_that_records_no_range_is_known(nsys, nvtx, works):
    problem = pair_problem(Nsys("nsys", nsys), nvtx)
    assert (problem is None) == works
    if problem is not None:
        assert problem.startswith(
            f"nsys {'.'.join(map(str, nsys))} records no ranges of nvtx {nvtx}: pip install nvtx=="
        )


def _install(folder: Path, script: str) -> str:
    path = folder / "nsys"
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    return str(path)


def test_version_and_help_are_what_it_says(tmp_path, monkeypatch):
    # GIVEN an nsys that must not be recorded itself
    script = (
        'case "$1" in --version) echo "NVIDIA Nsight Systems version 2022.4.2.1-df9881f";; *) echo "$NSYS_X$*";; esac'
    )
    path = _install(tmp_path, script)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    monkeypatch.setenv("NSYS_X", "injected")

    # THEN
    nsys = nsys_program.find()
    assert nsys == Nsys(path, (2022, 4, 2, 1), "profile --help\n")
    assert (nsys.version_text, nsys.has("--help"), nsys.has("--hel")) == ("2022.4.2.1", True, False)


def test_an_nsys_that_says_nothing_is_taken_to_have_everything(tmp_path):
    nsys = nsys_program.find(_install(tmp_path, "exit 1"))
    assert nsys is not None
    assert (nsys.version, nsys.has("--anything")) == ((), True)


def test_no_nsys(monkeypatch):
    monkeypatch.setenv("PATH", "/nowhere")
    assert nsys_program.find() is None


@pytest.mark.parametrize(
    ("name", "under"),
    [("NSYS_PROFILING_SESSION_ID", True), ("NVTX_INJECTION64_PATH", True), ("NSYS_OTHER", False)],
)
def test_nsys_is_known_by_what_it_sets(monkeypatch, name, under):
    for one in ("NSYS_PROFILING_SESSION_ID", "NVTX_INJECTION64_PATH"):
        monkeypatch.delenv(one, raising=False)
    monkeypatch.setenv(name, "")
    assert nsys_program.under_nsys() is under


@pytest.mark.parametrize(("option", "known"), [("--trace", True), ("--trac", False), ("-trace", False),
                                               ("cublas", True), ("cublas-verbose", True), ("verbose", False),
                                               ("--capture-range", True), ("--capture-range-end", False)])  # fmt: skip
def test_an_option_is_known_by_its_whole_name(option, known):
    assert Nsys("nsys", (), OLD_HELP).has(option) is known


@pytest.mark.parametrize(
    ("said", "version"),
    [("version 2024.5", (2024, 5)), ("v 2024", ()), ("1 2022.4.2.1-df 2023.1", (2022, 4, 2, 1)), ("12022.4", ())],
)
def test_a_version_begins_with_a_year(tmp_path, said, version):
    found = nsys_program.find(_install(tmp_path, f"echo '{said}'"))
    assert found is not None
    assert (found.version, found.version_text) == (version, ".".join(map(str, version)))


def test_an_nsys_that_cannot_be_started_or_does_not_answer_says_nothing(tmp_path):
    assert nsys_program.find(str(tmp_path / "none")) == Nsys(str(tmp_path / "none"), ())
    assert nsys_program.find(_install(tmp_path, "exec sleep 60"), 0.01) == Nsys(str(tmp_path / "nsys"), ())


@pytest.mark.parametrize("nsys", [(2023, 9, 9), (2024,), (2024, 0, 9)])
@pytest.mark.parametrize(("nvtx", "works"), [("0.2.11", True), ("0.2.12", False), ("0.2.12.1", False), ("1.0", False)])
def test_the_pair_is_judged_at_its_first_versions(nsys, nvtx, works):
    assert (pair_problem(Nsys("nsys", nsys), nvtx) is None) is works


def test_the_version_of_nvtx_is_that_of_its_package():
    def missing(name: str) -> str:
        raise PackageNotFoundError(name)

    assert nsys_program.nvtx_version({"nvtx": "0.2.11"}.__getitem__) == "0.2.11"
    assert nsys_program.nvtx_version(missing) is None


OLD = Nsys("/opt/nsys", (2022, 4, 2))


@pytest.mark.parametrize(
    ("found", "nvtx", "message"),
    [
        (None, "0.2.11", "nsys is not on PATH; install Nsight Systems (scripts/install-nsys"),
        (OLD, "0.2.12", "nsys 2022.4.2 records no ranges of nvtx 0.2.12: pip install nvtx==0.2.11"),
    ],
)
def test_what_cannot_work_is_refused_first(found, nvtx, message):
    with pytest.raises(UsageError) as caught:
        prepare(lambda: found, lambda: nvtx)
    assert message in str(caught.value)


def test_ranges_that_are_switched_off_are_refused(monkeypatch):
    monkeypatch.setenv("NVTX_DISABLE", "1")
    with pytest.raises(UsageError, match="NVTX_DISABLE is set"):
        prepare()


def test_nsys_is_not_started_under_nsys(monkeypatch):
    monkeypatch.setenv("NSYS_PROFILING_SESSION_ID", "1")
    with pytest.raises(UsageError, match="starts nsys itself"):
        prepare()


def test_the_process_that_nsys_records_measures_itself(monkeypatch):
    monkeypatch.setenv("NSYS_PROFILING_SESSION_ID", "1")
    monkeypatch.setenv(MARK, "of this recording")
    assert prepare() is None


def test_what_works_here_is_the_nsys_to_use(monkeypatch):
    for name in ("NSYS_PROFILING_SESSION_ID", "NVTX_INJECTION64_PATH", "NVTX_DISABLE"):
        monkeypatch.delenv(name, raising=False)
    assert prepare(lambda: OLD, lambda: "0.2.11") is OLD
    monkeypatch.setenv("NVTX_DISABLE", "")  # set to nothing is not set
    assert prepare(lambda: OLD, lambda: "0.2.11") is OLD
