"""The origin of compiled kernels, in a trace's metadata."""

from __future__ import annotations

from perfkit.schema.provenance import CompiledGraph, KernelCall, Provenance, read


def test_graphs_are_read_with_their_calls_in_order():
    # GIVEN
    calls = [{"kernel": "extern_kernels.mm", "modules": ["attn.q_proj"]}, {"kernel": "cpp_fused_0", "modules": []}]

    # WHEN
    found = read({"graphs": {"fx1": {"backward": True, "calls": calls}}})

    # THEN
    called = KernelCall("extern_kernels.mm", ("attn.q_proj",)), KernelCall("cpp_fused_0", ())
    assert found == Provenance({"fx1": CompiledGraph(backward=True, calls=called)}, problem="")


def test_what_cannot_be_read_is_a_problem_and_no_failure():
    found = read({"graphs": {"fx1": {"backward": "yes", "calls": []}}})
    assert found.graphs == {}
    assert "cannot be read" in found.problem
    assert "fx1" not in found.graphs
