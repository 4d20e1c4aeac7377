"""Loading NumPy and pandas for commands that only read."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

SHOWN = "print(json.dumps(['pyarrow' in sys.modules, os.environ.get('OPENBLAS_NUM_THREADS')]))"
THREADS = "len(os.listdir('/proc/self/task'))"


def seen(script: str, **environment: str) -> object:
    code = f"import json, os, sys; from perfkit import lean; {script}"
    environ = {name: value for name, value in os.environ.items() if not name.endswith("_NUM_THREADS")} | environment
    done = subprocess.run([sys.executable, "-c", code], env=environ, capture_output=True, text=True, check=True)
    return json.loads(done.stdout)


def test_pandas_is_loaded_without_pyarrow_which_can_be_loaded_afterwards() -> None:
    script = f"lean.load(); import pandas; {SHOWN}"
    assert seen(script) == [False, None]
    assert seen("lean.load(); import pyarrow.parquet as pq; print(json.dumps(pq.__name__))") == "pyarrow.parquet"


def test_what_is_loaded_stays_as_it_is() -> None:
    """GIVEN pyarrow, or pandas with it WHEN loading THEN neither is taken away"""
    assert seen(f"import pandas; lean.load(); {SHOWN}") == [True, None]
    assert seen("import pyarrow; lean.load(); import pandas; print(json.dumps(sys.modules['pyarrow'] is pyarrow))")


def test_threads_for_matrices_that_were_asked_for_stay() -> None:
    assert seen(f"lean.load(); {SHOWN}", OPENBLAS_NUM_THREADS="2") == [False, "2"]


@pytest.mark.skipif((os.cpu_count() or 1) < 2 or sys.platform != "linux", reason="needs two cores, and /proc")
def test_numpy_starts_no_threads() -> None:
    assert seen(f"lean.load(); print({THREADS})") == 1
    assert seen(f"import numpy; print({THREADS})") != 1


@pytest.mark.parametrize(
    ("flags", "loads"),
    [([], False), (["--workers", "2"], False), (["--scheduler", "tcp://x:1"], True), (["--scheduler=tcp://x:1"], True)],
)
def test_pandas_has_pyarrow_where_other_processes_send_tables(flags: list[str], loads: bool) -> None:
    """GIVEN processes whose pandas has pyarrow THEN this one's has it, too: else it could not load what they send"""
    script = f"from perfkit import cli; cli.main(['analyze', 'a.json', *{flags}, '--nothing']); import pandas; {SHOWN}"
    assert seen(script) == [loads, None]


def test_tables_are_the_same_without_pyarrow() -> None:
    """GIVEN names as text, one of them missing WHEN grouped, searched and written THEN as pandas with pyarrow does"""
    script = (
        "import pandas as pd; frame = pd.DataFrame({'name': ['b', 'a', None, 'b'], 'ns': [1, 2, 3, 4]});"
        "sums = frame.groupby('name', dropna=False)['ns'].sum(); print(json.dumps([sums.to_json(), frame.to_csv(),"
        " str(frame.dtypes), frame['name'].str.startswith('a').tolist(), frame.sort_values('name').to_json()]))"
    )
    assert seen(f"lean.load(); {script}") == seen(script)
