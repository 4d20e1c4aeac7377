"""A server of S3's protocol on this machine: moto, in an environment of its own: it does not resolve beside s3fs."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

PACKAGES = ("moto[s3]==5.2.5", "flask==3.1.3", "flask-cors==6.0.5")
INSTALL_TIMEOUT_S = 60


def python() -> Path:
    """The interpreter of moto's environment, made at first use; without it, or in want of time, the test is skipped."""
    base = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    folder = base / "perfkit" / "tests" / f"moto-{sys.version_info.major}.{sys.version_info.minor}"
    mark = folder / "installed.txt"
    if not mark.is_file() or mark.read_text() != "\n".join(PACKAGES):
        shutil.rmtree(folder, ignore_errors=True)
        try:
            subprocess.run([sys.executable, "-m", "venv", folder], check=True, capture_output=True, timeout=60)
            install = [str(folder / "bin" / "python"), "-m", "pip", "install", "-q", *PACKAGES]
            subprocess.run(install, check=True, capture_output=True, timeout=INSTALL_TIMEOUT_S)
        except (OSError, subprocess.SubprocessError) as error:
            pytest.skip(f"moto cannot be installed: {error}")
        mark.write_text("\n".join(PACKAGES))
    return folder / "bin" / "python"


@contextmanager
def serving() -> Iterator[str]:
    """The address of a server that runs until the body ends."""
    interpreter = python()
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [str(interpreter), "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]
    address = f"http://127.0.0.1:{port}"
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as server:
        try:
            for _ in range(200):
                with suppress(OSError), urllib.request.urlopen(address, timeout=1):
                    break
                time.sleep(0.1)
            else:
                pytest.skip("moto does not answer")
            yield address
        finally:
            server.kill()
