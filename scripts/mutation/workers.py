"""Workers: each has a copy of the tree, in which one file at a time is changed, and a server that runs tests there."""

from __future__ import annotations

import ast
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

FOLDERS = ("perfkit", "tests", "scripts", "docs", "traces/samples")
SERVER = Path(__file__).with_name("server.py")
NAMESPACES = ("--map-root-user", "--mount", "--pid", "--fork", "--mount-proc", "--kill-child")
SETTINGS_TAKEN_AWAY = ("PYTEST_ADDOPTS", "XDG_CACHE_HOME", "XDG_CONFIG_HOME", "PYTHONDONTWRITEBYTECODE")


@dataclass(frozen=True, slots=True)
class Request:
    """Tests to run in one process."""

    files: Sequence[str]
    tests: Sequence[str] = ()
    """The tests, in the order in which they run."""
    left_out: Sequence[str] = ()
    limits: dict[str, float] = field(default_factory=dict)
    """Test -> seconds that it may take; other tests have `limit`."""
    limit: float = 600.0
    stop: bool = True
    """Stop at the first failure."""
    coverage: str | None = None
    """Settings of coverage.py, if it measures the run."""
    memory: int = 8 * 2**30
    """Limit of the address space, in bytes."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """The outcome of a request."""

    outcome: str
    """passed, failed, timeout or crashed."""
    test: str
    """The first test that failed, or the one that was running."""
    reason: str
    tests: dict[str, tuple[str, float]]
    """Test -> passed, failed or skipped, and seconds."""
    fixtures: dict[str, list[str]]
    """Test -> its fixtures, if the run was measured."""
    imported: list[str]
    """Files of tests/ that were loaded, if the run was measured."""
    seconds: float


class WorkerError(Exception):
    """A server ended unexpectedly."""


class Worker:
    """A copy of `root` below `home`, and a server for it."""

    def __init__(self, root: Path, home: Path, corpus: str | None) -> None:
        self.home = home.resolve()
        self.tree = self.home / "tree"
        self._mutants = 0
        copy_tree(root, self.tree)
        (self.home / "home").mkdir()
        environment = {name: value for name, value in os.environ.items() if name not in SETTINGS_TAKEN_AWAY}
        environment |= {
            "PYTHONPATH": f"{self.home / 'coverage'}{os.pathsep}{self.tree}",
            "HOME": str(self.home / "home"),
            "TMPDIR": str(self.home / "tmp"),
            "PERFKIT_CACHE_DIR": str(self.home / "tmp" / "cache"),
            "TORCHINDUCTOR_CACHE_DIR": str(self.home / "compiled"),
        }
        if corpus is not None:
            environment["PERFKIT_TRACE_CORPUS"] = corpus
        command = [sys.executable, "-P", str(SERVER), str(self.home)]
        (self.home / "tmp").mkdir()
        self._process = subprocess.Popen(
            [*_namespaces(), *command], cwd=self.tree, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            text=True, bufsize=1, start_new_session=True,
        )  # fmt: skip
        said = self._ask(imports_of(root))
        self.protected: bool = said["alone"] and said["protected"]
        """Whether a mutant cannot affect other processes and files."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End the server and all processes under it."""
        self._process.kill()
        self._process.wait()

    def run(self, request: Request) -> Outcome:
        """Run tests on the tree as it is."""
        said = self._ask({name: getattr(request, name) for name in Request.__slots__})
        tests = {test: (outcome, seconds) for test, (outcome, seconds) in said.pop("tests").items()}
        return Outcome(tests=tests, **said)

    def change(self, file: str, source: bytes) -> None:
        """Write one file of the tree.

        Python reuses compiled code if the source has the same size and the same modification time in seconds. Each
        version gets a modification time of its own, so that its compiled code is never used for another version.
        """
        path = self.tree / file
        path.write_bytes(source)
        self._mutants += 1
        os.utime(path, (self._mutants, self._mutants))

    def _ask(self, request: Any) -> Any:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        try:
            self._process.stdin.write(json.dumps(request) + "\n")
            answer = self._process.stdout.readline()
        except BrokenPipeError:
            answer = ""
        if not answer:
            raise WorkerError(f"the server of {self.home} ended (see {self.home / 'log'})")
        return json.loads(answer)


def copy_tree(root: Path, target: Path) -> None:
    """Copy what the tests need from a working tree as it is now, committed or not, without compiled files."""
    ignored = shutil.ignore_patterns("__pycache__", "*.pyc", ".*_cache", ".hypothesis")
    target.mkdir(parents=True)
    for folder in FOLDERS:
        if (root / folder).is_dir():
            shutil.copytree(root / folder, target / folder, ignore=ignored)
    for file in root.iterdir():
        if file.is_file() and file.name != ".git":
            shutil.copy2(file, target)


def imports_of(root: Path) -> list[str]:
    """The other packages' modules that perfkit and its tests import; a server imports them once for all mutants."""
    names = {"pytest"}
    for file in sorted((root / "perfkit").rglob("*.py")) + sorted((root / "tests").rglob("*.py")):
        for node in ast.walk(ast.parse(file.read_bytes())):
            if isinstance(node, ast.Import):
                names |= {alias.name for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
                names |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
    own = {"perfkit", "tests", "scripts", *sys.stdlib_module_names}
    return sorted(name for name in names if name.split(".")[0] not in own)


def _namespaces() -> list[str]:
    """The command that runs a process in its own PID and mount namespaces; empty if the system has no such command."""
    unshare = shutil.which("unshare")
    if unshare is None:
        return []
    tried = subprocess.run([unshare, *NAMESPACES, "true"], capture_output=True, check=False)
    return [unshare, *NAMESPACES] if tried.returncode == 0 else []
