"""Every nsys of this machine: live tests record with each, since an old one is the fallback of a new one."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from perfkit.measure.nsys import program
from perfkit.measure.nsys.program import Nsys


def installed() -> list[Nsys]:
    """Every different nsys on PATH that records this nvtx, the first as a shell would find it."""
    candidates = (Path(folder) / "nsys" for folder in os.get_exec_path())
    programs = {path.resolve(): path for path in candidates if os.access(path, os.X_OK)}
    found = filter(None, (program.find(str(path)) for path in programs))
    return [nsys for nsys in found if program.pair_problem(nsys, program.nvtx_version()) is None]


def first_on_path(nsys: Path, folder: Path) -> dict[str, str]:
    """The environment in which `nsys` is this one."""
    (folder / "bin").mkdir()
    (folder / "bin" / "nsys").symlink_to(nsys.resolve())
    return {**os.environ, "PATH": f"{folder / 'bin'}{os.pathsep}{os.environ['PATH']}"}


def each_nsys() -> list[object]:
    """Parameters of a fixture that is called once for each."""
    found = installed()
    if not found:
        return [pytest.param(None, marks=pytest.mark.skip(reason="no nsys that records: scripts/install-nsys"))]
    return [pytest.param(Path(nsys.path), id=nsys.version_text) for nsys in found]
