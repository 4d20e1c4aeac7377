"""The results folder: tables, manifest and archive, written again after each point, so that a crash loses nothing."""

from __future__ import annotations

import dataclasses
import json
import tarfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd

from perfkit.analysis.reports import run as run_report
from perfkit.errors import PerfkitError
from perfkit.render import files
from perfkit.schema import record as records
from perfkit.schema.record import RunRecord
from perfkit.schema.report import Report
from perfkit.schema.table import Column, Table
from scripts.gpu_suite.running import Outcome, run_folder

ARCHIVE = "results.tar.gz"
ARCHIVE_LIMIT = 15_500_000
"""Largest size in bytes, small enough to copy from a machine by most means."""
TRACE_LIMIT = 1_000_000
"""Size in bytes above which a trace gets a remark."""

_OWN = (
    Column("point"),
    Column("attention"),
    Column("compile"),
    Column("checkpoint"),
    Column("optimizer"),
    Column("profiler"),
    Column("kernels", "", "count"),
    Column("unattributed", "1", "share"),
    Column("seconds", "s", "time", "process time"),
    Column("message"),
)
_CONFIG = ("attention", "compile", "checkpoint", "optimizer", "profiler")
_COLUMN_OF = {"model_size": "size"}
_IDENTITY = ("size", "pass_type", "precision")
_FOR_PEOPLE = (
    "point", "size", "pass_type", "precision", "steps", "mean_s", "cv", "median_s", "forward_s", "backward_s",
    "optimizer_s", "tokens_per_s", "peak_memory_bytes", "kernels", "unattributed", "status", "seconds", "message",
)  # fmt: skip


@dataclass(slots=True)
class Results:
    """One results folder. `work` holds the files of the points; it is `out` itself, or a temporary folder."""

    out: Path
    work: Path
    environment: dict[str, Any]
    archive_limit: int = ARCHIVE_LIMIT
    outcomes: list[Outcome] = field(default_factory=list)
    left_out: list[str] = field(default_factory=list)
    """Files that would have made the archive too large."""
    remarks: list[str] = field(default_factory=list)

    def folder(self, name: str) -> Path:
        """The folder of a point's files."""
        return self.work / "runs" / name

    def load(self, name: str) -> RunRecord | None:
        """A point's record; None if it left no readable record."""
        run = run_folder(self.folder(name))
        try:
            return None if run is None else records.load(run)
        except PerfkitError as error:
            self.remark(f"{name}: {error}")
            return None

    def remark(self, text: str) -> None:
        """Add a remark to the manifest, unless it is there already."""
        if text not in self.remarks:
            self.remarks.append(text)

    def write(self, facts: dict[str, Any]) -> None:
        """The tables, the environment and the manifest; `facts` go into the manifest."""
        table = self.table()
        if len(table):
            files.write(self.out / "results.csv", Report("results", {}, (table,)))
            shown = [column for name in _FOR_PEOPLE for column in table.columns if column.name == name]
            for_people = dataclasses.replace(table, columns=tuple(shown))
            files.write(self.out / "results.md", Report("results", {}, (for_people,)))
        _write_json(self.out / "environment.json", self.environment)
        outcomes = [dataclasses.asdict(outcome) for outcome in self.outcomes]
        remarks = {"remarks": self.remarks, "left_out_of_archive": self.left_out}
        _write_json(self.out / "manifest.json", facts | remarks | {"points": outcomes})

    def table(self) -> Table:
        """A table with one row for every run that was tried."""
        rows = [self._row(outcome) for outcome in self.outcomes if outcome.status != "skipped"]
        shown = run_report.result_table([])
        columns = (_OWN[0], *shown.columns, *_OWN[1:])
        frame = pd.DataFrame([row for row in rows if row], columns=[column.name for column in columns])
        whole = {column.name: "Int64" for column in columns if column.kind in ("count", "params", "bytes")}
        return Table("gpu_suite", "GPU suite", columns, frame.astype(whole), (self.machine(), *shown.notes))

    def machine(self) -> str:
        """The machine that the points ran on, in one line."""
        known = self.environment
        device = known["gpu"]["name"] if known["gpu"] else "no GPU"
        driver = (known.get("driver") or {}).get("driver_version")
        parts = {"driver": driver, "torch": known["torch"], "CUDA": known.get("cuda"), "Python": known["python"]}
        return ", ".join([device, *(f"{name} {value}" for name, value in parts.items() if value)])

    def _row(self, outcome: Outcome) -> dict[str, Any]:
        if outcome.flags is None:
            return {}
        asked = {_COLUMN_OF.get(key, key): str(value) for key, value in outcome.flags.items()}
        own = {"point": outcome.name, "seconds": outcome.seconds, "message": outcome.message}
        saved = self.load(outcome.name)
        if saved is None:
            return (
                {key: asked[key] for key in (*_IDENTITY, *_CONFIG) if key in asked} | own | {"status": outcome.status}
            )
        [values] = run_report.result_table([saved]).frame.to_dict("records")
        settings = {name: str(saved.config.value(name)) for name in _CONFIG}
        status = {} if outcome.status == "ok" else {"status": outcome.status}
        measured = {str(key): value for key, value in values.items()}
        return measured | settings | own | self._analysis(outcome.name) | status

    def _analysis(self, name: str) -> dict[str, Any]:
        """What `perfkit analyze` found in a point's trace."""
        try:
            summary = json.loads((self.folder(name) / "analysis.json").read_text())["summary"]
        except (OSError, ValueError, KeyError):
            return {}
        total = summary.get("total_ns")
        share = summary.get("unattributed_ns", 0) / total if total else None
        return {"kernels": summary.get("kernels"), "unattributed": share}

    def note_large_traces(self, name: str) -> None:
        """Remark on traces that are larger than they should be."""
        for trace in self.folder(name).glob("*/*.pt.trace.json*"):
            size = trace.stat().st_size
            if size > TRACE_LIMIT:
                self.remark(f"{name}: its trace has {size / 1e6:.1f} MB, more than {TRACE_LIMIT / 1e6:g} MB")

    def pack(self, facts: dict[str, Any]) -> Path:
        """Write everything into one archive; leave out the largest files if it would be too large."""
        archive = self.out / ARCHIVE
        while True:
            self.write(facts)
            members = self._members()
            _write_archive(archive, members)
            if archive.stat().st_size <= self.archive_limit:
                return archive
            path, name = max(members, key=lambda member: member[0].stat().st_size)
            self.left_out.append(f"{name} ({path.stat().st_size / 1e6:.1f} MB)")

    def _members(self) -> list[tuple[Path, str]]:
        """(file, name in the archive)."""
        top = [path for path in sorted(self.out.iterdir()) if path.is_file() and not path.name.startswith(ARCHIVE)]
        below = [path for path in sorted((self.work / "runs").rglob("*")) if path.is_file()]
        names = [(path, path.name) for path in top] + [(path, str(path.relative_to(self.work))) for path in below]
        left_out = {text.rsplit(" (", 1)[0] for text in self.left_out}
        return [(path, name) for path, name in names if name not in left_out]


def _write_archive(archive: Path, members: Sequence[tuple[Path, str]]) -> None:
    draft = archive.with_suffix(".part")
    with tarfile.open(draft, "w:gz", compresslevel=6) as packed:
        for path, name in members:
            packed.add(path, arcname=f"results/{name}")
    draft.replace(archive)


def _write_json(path: Path, content: dict[str, Any]) -> None:
    path.write_text(json.dumps(content, indent=2) + "\n")
