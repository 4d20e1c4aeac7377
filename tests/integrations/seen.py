"""What a training leaves behind, and what its trace has in each step: read without perfkit."""

from __future__ import annotations

import gzip
import json
from collections import Counter
from pathlib import Path
from typing import Any

from torch import nn

from tests.measure.own.state import state

TRAINING, EVALUATION = "a training batch", "an evaluation batch"
"""Ranges that the models of the tests open."""
HOOKS = ("hook", "class", "_compiled_call_impl", "attributes")


def hooks(model: nn.Module) -> dict[Any, Any]:
    """All hooks, of modules and global, without what a framework keeps on its models."""
    return {
        key: value
        for key, value in state(model).items()
        if not isinstance(key, tuple) or any(word in str(key[-1]) for word in HOOKS)
    }


def is_watched(model: nn.Module) -> bool:
    return bool(model._forward_pre_hooks)


def in_steps(folder: Path, *, outside: str) -> list[Counter[str]]:
    """How often each range is in each step of the trace, some of it at least; `outside` is in no step but there."""
    [file] = folder.glob("*.pt.trace.json.gz")
    events = [e for e in json.loads(gzip.decompress(file.read_bytes()))["traceEvents"] if e.get("ph") == "X"]
    steps = sorted((e["ts"], e["ts"] + e["dur"]) for e in events if e["name"].startswith("ProfilerStep#"))
    assert any(event["name"] == outside for event in events)
    return [
        Counter(e["name"].split("#")[0] for e in events if e["ts"] < end and e["ts"] + e["dur"] > begin)
        for begin, end in steps
    ]
