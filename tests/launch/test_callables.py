"""Arguments of callables that a command line names, asked of a process of its own."""

from __future__ import annotations

from perfkit.launch import callables
from tests.runs import quick


def test_of_perfkits_own_model_nothing_is_asked():
    callables.check(quick(), python="no such interpreter")
