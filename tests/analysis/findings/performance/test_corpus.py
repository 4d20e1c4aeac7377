"""Which rules speak of traces that other projects recorded, each judged by eye: docs/findings.md has the judgements."""

from __future__ import annotations
