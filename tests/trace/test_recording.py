"""What the files of a tool can tell, and what is not claimed of one that says nothing."""

from __future__ import annotations

import dataclasses

import pytest

from perfkit.trace.recording import Capabilities, Recording, Tool, Versions


@pytest.mark.parametrize("tool", Tool)
def test_every_tool_has_its_capabilities(tool: Tool) -> None:
    assert isinstance(Recording(tool).capabilities, Capabilities)


def test_what_each_tool_can_tell() -> None:
    """GIVEN the two tools THEN Kineto can tell everything, nsys when kernels ran and how they were launched"""
    kineto, nsys = (dataclasses.asdict(Recording(tool).capabilities) for tool in (Tool.KINETO, Tool.NSYS))
    assert set(kineto.values()) == {True}
    assert [name for name, can in nsys.items() if can] == ["geometry"]


def test_a_file_that_says_nothing() -> None:
    said = Recording(Tool.KINETO)
    assert said.versions == Versions("", "", "", "", "")
    assert (said.devices, said.rank, said.world_size, said.options, said.own) == ((), None, None, (), None)
    assert (said.log, said.whole_graphs, said.newer_report) == ((), None, "")
