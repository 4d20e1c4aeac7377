"""scripts/record-samples: small runs that perfkit records itself, without anything that identifies the machine.

It writes record.json and one .pt.trace.json.gz, each below 300 kB, to traces/samples/<name>/. It removes from them:

* the host's name, from the record, from the trace's metadata and from the trace's file name (`sample_1.1.pt...`);
* files that it does not keep, from the record: TensorBoard puts the host's name into theirs;
* paths: the options that name files, the trace's own `traceName`, and all environment variables;
* the operating system's build (`Linux` stays).

The CPU's model, versions, process ids and all times stay. It is an error if the remaining text still contains the
host's name, the user's name or a folder in use. Times in the trace are never parsed, so they keep every digit.
"""

from __future__ import annotations

import argparse
import dataclasses
import getpass
import gzip
import platform
import re
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from perfkit.schema import record as records
from perfkit.schema.record import RunRecord

ROOT = Path(__file__).resolve().parents[1]
FOLDER = ROOT / "traces" / "samples"
LIMIT = 300_000
"""Largest size of a file, in bytes."""
TRIES = 5
"""Number of recordings; the fastest is kept, because a sample should not show other load on the machine."""
TRACE_NAME = "sample_1.1.pt.trace.json.gz"
"""A name of torch's form, <worker>.<ns>.pt.trace.json.gz, so that TensorBoard finds the trace."""

SAMPLES: dict[str, tuple[str, ...]] = {
    "tiny_train_cpu": (
        "--model-size", "tiny", "--num-layers", "2", "--d-model", "64", "--d-ff", "256", "--num-heads", "2",
        "--vocab-size", "1000", "--batch-size", "2", "--context-length", "32", "--pass-type", "train",
        "--profiler", "torch", "--warmup-steps", "2", "--measure-steps", "2", "--device", "cpu", "--num-threads", "1",
    ),
}  # fmt: skip

_PATH_OPTIONS = ("--traces-dir", "--output")
_HOST_NAME = re.compile(rb'"host_name":\s*"[^"]*"')
_TRACE_PATH = re.compile(rb'"traceName":\s*"[^"]*"')


class SampleError(Exception):
    """A sample cannot be kept; the message says why."""


def main(argv: Sequence[str] | None = None) -> int:
    """Record the named samples, or all of them, and replace the old ones."""
    parser = argparse.ArgumentParser(
        prog="scripts/record-samples", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"default: all ({', '.join(SAMPLES)})")
    parser.add_argument("--out", type=Path, default=FOLDER, help="default: traces/samples")
    chosen = parser.parse_args(argv)
    for name in chosen.names or SAMPLES:
        if name not in SAMPLES:
            print(f"record-samples: {name}: choose from {', '.join(SAMPLES)}", file=sys.stderr)
            return 2
        try:
            record(name, chosen.out / name)
        except SampleError as error:
            print(f"record-samples: {name}: {error}", file=sys.stderr)
            return 1
    return 0


def record(name: str, folder: Path) -> None:
    """Record one sample into `folder`, which then holds nothing else."""
    measured, trace = min((_recorded(name) for _ in range(TRIES)), key=lambda made: _step_time(made[0]))
    folder.mkdir(parents=True, exist_ok=True)
    for old in folder.iterdir():
        old.unlink()
    records.save(stripped_record(measured), folder)
    (folder / TRACE_NAME).write_bytes(gzip.compress(stripped_trace(trace), 9, mtime=0))
    check(folder)
    for file in sorted(folder.iterdir()):
        shown = file.relative_to(ROOT) if file.is_relative_to(ROOT) else file
        print(f"{shown}  {file.stat().st_size / 1000:.1f} kB")


def _recorded(name: str) -> tuple[RunRecord, bytes]:
    """One run: its record, and the text of its trace."""
    with tempfile.TemporaryDirectory() as scratch:
        command = [sys.executable, "-m", "perfkit.run", *SAMPLES[name], "--overhead", "off", "--traces-dir", scratch]
        done = subprocess.run(command, cwd=ROOT, check=False, capture_output=True, text=True)
        if done.returncode:
            raise SampleError(f"perfkit run ended with {done.returncode}: {done.stderr.strip()}")
        [run] = Path(scratch).iterdir()
        measured = records.load(run)
        return measured, gzip.decompress((run / measured.artifacts["trace"]).read_bytes())


def _step_time(measured: RunRecord) -> float:
    return sum(step.wall_s for step in measured.steps)


def stripped_record(measured: RunRecord) -> RunRecord:
    """The record without host, paths and environment variables."""
    where = dataclasses.replace(
        measured.environment,
        hostname="sample",
        os=platform.system(),
        argv=_without_paths(measured.environment.argv),
        variables={},
    )
    return dataclasses.replace(measured, environment=where, artifacts={"trace": TRACE_NAME})


def _without_paths(argv: Sequence[str]) -> tuple[str, ...]:
    follows = ("", *argv[:-1])
    return tuple(
        word for word, before in zip(argv, follows, strict=True) if not {word, before}.intersection(_PATH_OPTIONS)
    )


def stripped_trace(text: bytes) -> bytes:
    """The trace's text without the host's name and its path; everything else byte for byte."""
    return _TRACE_PATH.sub(b'"traceName": "sample"', _HOST_NAME.sub(b'"host_name": "sample"', text))


def check(folder: Path) -> None:
    """Raise SampleError if a file is too large or still says where it was made."""
    telling = {platform.node(), str(ROOT), str(Path.home()), tempfile.gettempdir(), getpass.getuser()}
    for file in folder.iterdir():
        data = file.read_bytes()
        if len(data) > LIMIT:
            raise SampleError(f"{file.name} has {len(data):,} bytes, more than {LIMIT:,}")
        text = gzip.decompress(data) if file.suffix == ".gz" else data
        for word in telling:
            if re.search(rb"(?<![A-Za-z0-9])" + re.escape(word.encode()) + rb"(?![A-Za-z0-9])", text):
                raise SampleError(f"{file.name} still holds {word!r}")
