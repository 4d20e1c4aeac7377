"""Whether the callables of `--model` and `--input` take their arguments: `python -m perfkit.workload.arguments`.

For processes that must not load PyTorch (perfkit.launch.callables runs it). Reads JSON on standard input, a list of
[flag, callable, {name: value}]; prints what is wrong in one line, or nothing. Nothing is built.
"""

from __future__ import annotations

import contextlib
import sys
from typing import Any

import msgspec

from perfkit.errors import UsageError
from perfkit.workload.built import check_arguments

if __name__ == "__main__":
    asked = msgspec.json.decode(sys.stdin.buffer.read(), type=list[tuple[str, str, dict[str, Any]]])
    try:
        with contextlib.redirect_stdout(sys.stderr):  # what the user's modules print as they are imported
            check_arguments(asked)
    except UsageError as error:
        sys.stdout.write(str(error))
