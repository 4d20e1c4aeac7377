"""Loads NumPy and pandas in less time, for a process that only reads and prints."""

from __future__ import annotations

import importlib
import os
import sys

_THREADS = "OPENBLAS_NUM_THREADS"


def load() -> None:
    """Load NumPy without threads for matrices, and pandas without pyarrow: a quarter less processor time.

    pandas loads pyarrow, where there is one, for columns of text. perfkit's tables are small and need none, and what
    reads Parquet or Arrow loads pyarrow itself, as it can afterwards. Not for a process that runs other people's code.
    """
    if "numpy" not in sys.modules:
        given = os.environ.get(_THREADS)
        os.environ.setdefault(_THREADS, "1")
        try:
            importlib.import_module("numpy")
        finally:  # as it was, for processes that this one starts
            if given is None:
                del os.environ[_THREADS]
    if not {"pandas", "pyarrow"} & sys.modules.keys():
        sys.modules["pyarrow"] = None  # type: ignore[assignment] # not to be found, says Python's reference of import
        try:
            importlib.import_module("pandas")
        finally:
            del sys.modules["pyarrow"]


def dask_setup(_worker: object) -> None:
    """What Dask calls in a worker of this machine that is to load this module first."""
    load()
