"""What the process says that asks callables for their arguments."""

from __future__ import annotations

import json
import subprocess
import sys


def test_what_is_wrong_is_one_line_and_nothing_is_called():
    """GIVEN a callable that takes `x`, one that is not there, and one that fits THEN a line each, or none"""
    said = [
        subprocess.run(
            [sys.executable, "-m", "perfkit.workload.arguments"], input=json.dumps([["--model", spec, arguments]]),
            capture_output=True, text=True, check=True,
        ).stdout
        for spec, arguments in (
            ("bisect:insort", {"b": 1}), ("bisect:no_such", {}), ("textwrap:dedent", {"text": "a"}),
        )
    ]  # fmt: skip
    assert said[0].startswith("--model bisect:insort: ")
    assert said[1].startswith("--model bisect:no_such: AttributeError: ")
    assert said[2] == ""
