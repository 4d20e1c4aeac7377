"""Nsight Systems reports (.nsys-rep): only nsys itself can read them, so it is asked to export them first."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from perfkit.errors import UsageError

REPORT_MAGIC = b"NVIDIA Tegra Profiler Report"
"""How a .nsys-rep (and the older .qdrep) begins."""

_LIMIT_SECONDS = 3600


@contextmanager
def exported(report: Path, source: str) -> Iterator[Path]:
    """The report as an sqlite file: the one beside it if it is not older, else one made for the occasion."""
    beside = report.with_suffix(".sqlite")
    if beside.is_file() and is_fresh(beside, report):
        yield beside
        return
    if beside.is_file() and shutil.which("nsys") is None:
        raise UsageError(
            f"{source} is newer than {beside.name} beside it, and there is no nsys here to export it again:"
            f" install it (scripts/install-nsys), or pass {beside.name} if it is of this report"
        )
    with tempfile.TemporaryDirectory(prefix="perfkit-nsys-") as folder:
        target = Path(folder) / "report.sqlite"
        export(report, target, source)
        yield target


def is_fresh(database: Path, report: Path) -> bool:
    """Whether an export is not older than the report it was made of."""
    return database.stat().st_mtime >= report.stat().st_mtime


def export(report: Path, target: Path, source: str) -> None:
    """Have nsys write the report as an sqlite file. Raises UsageError where it cannot."""
    nsys = shutil.which("nsys")
    if nsys is None:
        raise UsageError(
            f"{source} is a report that only nsys can read, and there is none here: install it (scripts/install-nsys),"
            f" or run `nsys export -t sqlite` on it where it was recorded and pass the .sqlite"
        )
    command = [nsys, "export", "-t", "sqlite", "--force-overwrite=true", "-o", str(target), str(report.absolute())]
    try:
        done = subprocess.run(
            command, capture_output=True, stdin=subprocess.DEVNULL, timeout=_LIMIT_SECONDS, check=False
        )
    except subprocess.TimeoutExpired as error:
        raise UsageError(f"{source}: nsys export did not end within {_LIMIT_SECONDS} s: export it by hand") from error
    if done.returncode or not target.is_file():
        lines = (done.stderr + done.stdout).decode("utf-8", "replace").strip().splitlines()
        said = " ".join(line.strip() for line in lines if line.strip())[:200]
        raise UsageError(
            f"{source}: nsys export failed ({said or f'exit code {done.returncode}'});"
            " a report of a newer nsys than the one here has to be exported by that one"
        )
