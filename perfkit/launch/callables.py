"""Whether callables that a command line names take their arguments, found by a process that builds nothing."""

from __future__ import annotations

import subprocess
import sys

import msgspec

from perfkit.errors import UsageError
from perfkit.schema.config import RunConfig
from perfkit.schema.parts.workloads import Own, arguments_of

_PATIENCE_S = 120


def check(config: RunConfig, python: str = sys.executable, patience_s: float = _PATIENCE_S) -> None:
    """Raise UsageError, in one line, where `--model` or `--input` is not there, or does not take its arguments.

    `python` is the interpreter that asks, within a time limit in seconds; where it cannot say, the run itself will.
    """
    own = config.workload
    if not isinstance(own, Own) or own.model is None or own.input is None:
        return
    asked = [
        ("--model", own.model, arguments_of(own.model_arg)),
        ("--input", own.input, arguments_of(own.input_arg)),
    ]
    command = [python, "-m", "perfkit.workload.arguments"]
    try:
        done = subprocess.run(
            command, input=msgspec.json.encode(asked), capture_output=True, timeout=patience_s, check=True
        )
    except (subprocess.SubprocessError, OSError):
        return
    if done.stdout:
        raise UsageError(" ".join(done.stdout.decode(errors="replace").split()))
