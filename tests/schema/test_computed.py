"""The file of what steps computed: read as it was written, and refused where it is none."""

from __future__ import annotations

import numpy as np
import pytest

from perfkit.errors import UsageError
from perfkit.schema import computed
from tests.analysis.tuning.computations import computed as made


def test_what_is_saved_is_what_is_read(tmp_path):
    computed.save(made(precision="bf16"), tmp_path)
    found = computed.load(tmp_path)
    assert found.names == ("weight", "bias")
    assert found.precision == "bf16"
    assert found.batch == ((4, 2),)
    for name in ("losses", "norms", "samples", "sizes"):
        np.testing.assert_array_equal(getattr(found, name), getattr(made(), name))


@pytest.mark.parametrize("data", [b"", b"no archive", b"PK\x03\x04 cut short"])
def test_what_is_no_such_file_is_refused(tmp_path, data):
    (tmp_path / computed.FILE).write_bytes(data)
    with pytest.raises(UsageError, match=computed.FILE):
        computed.load(tmp_path)


def test_a_file_that_is_missing_or_of_another_kind_is_refused(tmp_path):
    with pytest.raises(UsageError, match="No such file"):
        computed.load(tmp_path)
    with (tmp_path / computed.FILE).open("wb") as stream:
        np.savez(stream, losses=np.zeros(2))
    with pytest.raises(UsageError, match="not what perfkit saves"):
        computed.load(tmp_path)
