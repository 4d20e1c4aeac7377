"""Nsight Systems reports (.nsys-rep): only nsys can read them, so perfkit has nsys export them first."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from perfkit.errors import UsageError
from perfkit.schema.progress import Progress

REPORT_MAGIC = b"NVIDIA Tegra Profiler Report"
"""First bytes of a .nsys-rep (and of the older .qdrep)."""
SQLITE_MAGIC = b"SQLite format 3\0"
"""First bytes of what is exported."""

_LIMIT_S = 3600
_POLL_S = 0.2


@contextmanager
def exported(report: Path, source: str, progress: Progress | None = None) -> Iterator[Path]:
    """The report as an sqlite file: the one beside it if that is not older, else a temporary export."""
    beside = report.with_suffix(".sqlite")
    if beside.is_file() and is_fresh(beside, report):
        yield beside
        return
    if beside.is_file() and shutil.which("nsys") is None:
        raise UsageError(
            f"{source} is newer than {beside.name} beside it, and nsys is not installed here to export it again:"
            f" install it (scripts/install-nsys), or pass {beside.name} if it was made from this report"
        )
    with tempfile.TemporaryDirectory(prefix="perfkit-nsys-") as folder:
        target = Path(folder) / "report.sqlite"
        export(report, target, source, progress)
        yield target


def is_fresh(database: Path, report: Path) -> bool:
    """Whether an export is no older than its report."""
    return database.stat().st_mtime >= report.stat().st_mtime


def export(report: Path, target: Path, source: str, progress: Progress | None = None) -> None:
    """Have nsys write the report as an sqlite file. Raises UsageError if nsys cannot.

    `progress` is called with the bytes written so far and None, because the total is not known.
    """
    nsys = shutil.which("nsys")
    if nsys is None:
        raise UsageError(
            f"{source} is a report that only nsys can read, but there is none here: install it (scripts/install-nsys),"
            f" or run `nsys export -t sqlite` on it where it was recorded and pass the .sqlite"
        )
    command = [nsys, "export", "-t", "sqlite", "--force-overwrite=true", "-o", str(target), str(report.absolute())]
    code, said = _ran(command, target, source, progress)
    if code or not target.is_file():
        raise UsageError(
            f"{source}: nsys export failed ({said or f'exit code {code}'});"
            " export a report of a newer nsys with that version"
        )


def _ran(
    command: list[str],
    target: Path,
    source: str,
    progress: Progress | None,
    *,
    limit_s: float = _LIMIT_S,
    poll_s: float = _POLL_S,
) -> tuple[int, str]:
    """Exit code, and the output on both streams as one line."""
    until = time.monotonic() + limit_s
    with subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        try:
            while time.monotonic() < until:
                try:
                    said, complained = process.communicate(timeout=poll_s)
                except subprocess.TimeoutExpired:
                    if progress and target.is_file():
                        progress(target.stat().st_size, None)
                    continue
                lines = (complained + said).decode("utf-8", "replace").split("\n")
                return process.returncode, " ".join(line.strip() for line in lines if line.strip())[:200]
        finally:
            process.kill()  # ctrl-C or a timeout
    raise UsageError(
        f"{source}: nsys export did not end within {limit_s:g} s: run nsys export yourself and pass the .sqlite"
    )
