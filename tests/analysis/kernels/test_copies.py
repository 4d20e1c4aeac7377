"""Copies by name: as Kineto writes them for CUDA and ROCm, and as perfkit's reader of nsys exports does."""

from __future__ import annotations

import pytest

from perfkit.analysis.kernels.copies import direction, host_memory


@pytest.mark.parametrize(
    ("name", "category", "memory"),
    [
        ("Memcpy HtoD (Pageable -> Device)", "host to device", "pageable"),
        ("Memcpy HtoD (Pinned -> Device)", "host to device", "pinned"),
        ("Memcpy DtoH (Device -> Pinned)", "device to host", "pinned"),
        ("Memcpy DtoH (Device -> Pageable)", "device to host", "pageable"),
        ("Memcpy DtoD (Device -> Device)", "device to device", None),
        ("Memcpy PtoP (Device -> Device)", "device to device", None),
        ("Memcpy DtoA (Device -> Array)", "device to device", None),
        ("Memcpy HtoA (Pinned -> Array)", "host to device", "pinned"),
        ("Memcpy AtoH (Array -> Unknown)", "device to host", None),
        ("Memcpy HtoD (unified) (Managed -> Managed)", "host to device", None),
        ("Memcpy HtoH (Pageable -> Pinned)", "copy", "pageable"),
        ("Memcpy HtoD (Host -> Device)", "host to device", None),  # ROCm
        ("CopyDeviceToHost", "device to host", None),
        ("hipMemcpyHostToDevice", "host to device", None),
        ("Memcpy HtoD", "host to device", None),
        ("Memcpy unknown (Pageable -> Device)", "host to device", "pageable"),
        ("Memcpy unknown (Device -> Device)", "device to device", None),
        ("Memcpy unknown (Unknown -> Device)", "copy", None),
        ("Memcpy", "copy", None),
        ("", "copy", None),
    ],
)
def test_copies_by_name(name: str, category: str, memory: str | None) -> None:
    assert (direction(name), host_memory(name)) == (category, memory)
