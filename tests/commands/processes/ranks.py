"""Starts a job of two ranks by torchrun, with gloo."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from tests.runs import QUICK_FLAGS

RANKS = 2


def torchrun(*flags: str, program: Path | None = None) -> subprocess.CompletedProcess[str]:
    """`torchrun ... -m perfkit.run FLAGS` of the quick model, or a program that calls it, until its end."""
    started = ["-m", "perfkit.run"] if program is None else [str(program)]
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(RANKS), *started,
               *QUICK_FLAGS, "--device", "cpu", "--warmup-steps", "1", *flags]  # fmt: skip
    environment = os.environ | {"GLOO_SOCKET_IFNAME": "lo", "OMP_NUM_THREADS": "1"}
    environment.pop("NO_COLOR", None)
    return subprocess.run(command, capture_output=True, text=True, timeout=150, env=environment, check=False)
