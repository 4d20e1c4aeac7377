"""Files of measured peaks: what is written reads back, and what is none is named as such."""

from __future__ import annotations

import json
import statistics
from pathlib import Path

import pytest

from perfkit.errors import UsageError
from perfkit.schema import ceilings
from tests.measured_peaks import a_cpu, an_h100, product


def test_what_is_saved_reads_back(tmp_path: Path):
    full = an_h100(skipped={"fp8": "no such kernel"}, matmul={"int8": product(0.1, 0.3, cpu_share=0.5)})
    ceilings.save(full, tmp_path / "of" / "mine.json")
    assert ceilings.load(tmp_path / "of" / "mine.json") == full
    assert [file.name for file in (tmp_path / "of").iterdir()] == ["mine.json"]
    assert (tmp_path / "of").stat().st_mode & 0o777 == 0o700


def test_the_rate_is_that_of_the_median_sample():
    """GIVEN five times of 2e9 FLOPs, one far off WHEN asked THEN the median of 10 ms counts, and the CV shows it"""
    times = (0.010, 0.011, 0.009, 0.010, 0.5)
    timing = product(*times)
    assert timing.per_second == pytest.approx(2e9 / 0.010)
    assert timing.cv == pytest.approx(statistics.stdev(times) / (0.54 / 5))
    assert product(0.01).cv == 0


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"kind": "perfkit.run"}, "holds something else"),
        ({"kind": None}, "not readable"),
        ({"format_version": 2}, "its format is 2, and this perfkit reads up to 1"),
        ({"format_version": 0}, "its format is 0"),
        ({"matmul": {"fp31": {"size": 1, "work": 1, "samples_s": [1]}}}, "fp31"),
        ({"matmul": {"fp32": {"size": 1, "work": 1, "samples_s": []}}}, "samples_s"),
        ({"matmul": {"fp32": {"size": 1, "work": 1, "samples_s": [0]}}}, "samples_s"),
        ({"copy": {"size": 1, "work": 1e30, "samples_s": [1]}}, "beyond"),
    ],
)
def test_what_is_no_such_file_is_refused_with_what_to_do(tmp_path: Path, change, said):
    file = tmp_path / "peaks.json"
    ceilings.save(a_cpu(), file)
    file.write_text(json.dumps(json.loads(file.read_text()) | change))
    with pytest.raises(UsageError, match="doctor --measure-peaks") as error:
        ceilings.load(file)
    assert said in str(error.value)
    assert str(file) in str(error.value)


@pytest.mark.parametrize("content", [b"", b"{", b"\xff\xfe", b"[]", b"[" * 100_000])
def test_damage_is_refused(tmp_path: Path, content):
    (tmp_path / "peaks.json").write_bytes(content)
    with pytest.raises(UsageError, match="not readable as measured peaks"):
        ceilings.load(tmp_path / "peaks.json")


def test_a_missing_file_says_how_to_make_it(tmp_path: Path):
    with pytest.raises(UsageError, match=r"No such file.*doctor --measure-peaks writes it"):
        ceilings.load(tmp_path / "none.json")


def test_where_it_cannot_be_saved_it_says_so_and_leaves_nothing(tmp_path: Path):
    """GIVEN a folder where the file should be WHEN saved THEN one sentence, and no half of a file"""
    (tmp_path / "peaks.json").mkdir()
    with pytest.raises(UsageError, match=r"cannot be saved: Is a directory; choose another --peaks-file"):
        ceilings.save(a_cpu(), tmp_path / "peaks.json")
    assert [file.name for file in tmp_path.iterdir()] == ["peaks.json"]


@pytest.mark.parametrize(
    ("device", "threads", "name"),
    [
        ("NVIDIA H100 80GB HBM3", None, "nvidia-h100-80gb-hbm3.json"),
        ("Intel(R) Xeon(R) Platinum 8480C", 96, "intel-r-xeon-r-platinum-8480c-96-threads.json"),
        ("../../etc/passwd", None, "etc-passwd.json"),
        ("é", 2, "unnamed-2-threads.json"),
    ],
)
def test_the_name_of_the_file_is_the_device(device, threads, name):
    assert ceilings.file_name(device, threads) == name
    assert len(ceilings.file_name("x" * 1000)) < 120
