"""Errors that libraries raise for want of memory, under any name, are one of perfkit's."""

from __future__ import annotations

import errno
import re

import numpy as np
import pyarrow as pa
import pytest

from perfkit.errors import OutOfMemoryError, UsageError, naming_out_of_memory


def array_memory_error() -> Exception:
    try:
        np.empty(2**59)
    except MemoryError as error:
        return error
    raise AssertionError("this machine has 4 EiB")


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        array_memory_error(),
        pa.ArrowMemoryError("malloc of size 64 failed"),
        OSError(errno.ENOMEM, "Cannot allocate memory"),
        ImportError("libarrow.so: failed to map segment from shared object"),
        RuntimeError("can't start new thread"),
        RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 64 bytes"),
        SystemError("error return without exception set"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_want_of_memory_has_a_code_of_its_own(error: Exception) -> None:
    """GIVEN what libraries raise, as it is or behind an error of another name THEN one line and exit code 3"""

    def fails() -> None:
        raise error

    def fails_within() -> None:
        try:
            raise error
        except type(error) as cause:
            raise UsageError("t.json cannot be read") from cause

    for load in (fails, fails_within):
        with pytest.raises(OutOfMemoryError) as caught, naming_out_of_memory("; read less"):
            load()
        assert caught.value.exit_code == 3
        assert re.fullmatch(r"out of memory( \(.*\))?: raise the limit or free memory; read less", str(caught.value))


def test_other_failures_keep_their_name() -> None:
    with pytest.raises(ImportError, match="no module"), naming_out_of_memory():
        raise ImportError("no module named x")
    with pytest.raises(UsageError, match=r"out of memory\.json"), naming_out_of_memory():
        raise UsageError("out of memory.json does not exist")
    with pytest.raises(OutOfMemoryError, match="saved"), naming_out_of_memory():
        raise OutOfMemoryError("an allocation failed (record saved)") from MemoryError()
