"""Memory limits of containers and batch jobs, read from hand-made trees of control groups."""

from __future__ import annotations

from pathlib import Path

import pytest

from perfkit.measure.cgroups import cpu_quotas, headroom

GIB = 2**30
V1_UNLIMITED = 9223372036854771712


def group(folder: Path, limit: int | str, used: int, *, version: int = 2, stat: str = "") -> None:
    folder.mkdir(parents=True, exist_ok=True)
    names = ("memory.max", "memory.current") if version == 2 else ("memory.limit_in_bytes", "memory.usage_in_bytes")
    for name, value in zip(names, (limit, used), strict=True):
        (folder / name).write_text(f"{value}\n")
    (folder / "memory.stat").write_text(f"anon 5\n{stat}")


@pytest.fixture
def own(tmp_path: Path) -> Path:
    """What /proc/self/cgroup says: version 2, group /job/step."""
    file = tmp_path / "own"
    file.write_text("0::/job/step\n")
    return file


def test_the_tightest_of_a_group_and_its_parents_counts(tmp_path, own):
    # GIVEN
    group(tmp_path, "max", 50 * GIB)
    group(tmp_path / "job", 10 * GIB, 7 * GIB)
    group(tmp_path / "job/step", 8 * GIB, 1 * GIB)

    # THEN
    assert headroom(tmp_path, own) == 3 * GIB


def test_cached_files_do_not_count_as_used(tmp_path, own):
    # GIVEN a job that has read 6 GiB of files
    stat = f"inactive_file {4 * GIB}\nactive_file {2 * GIB}\nfile {6 * GIB}\nslab_reclaimable 9\n"
    group(tmp_path / "job/step", 8 * GIB, 7 * GIB, stat=stat)

    # THEN
    assert headroom(tmp_path, own) == 7 * GIB


def test_a_container_sees_its_own_group_as_the_root(tmp_path):
    # GIVEN
    own = tmp_path / "own"
    own.write_text("0::/\n")
    group(tmp_path, 4 * GIB, 1 * GIB)

    # THEN
    assert headroom(tmp_path, own) == 3 * GIB


def test_version_1_has_a_tree_of_its_own_for_memory(tmp_path):
    # GIVEN
    own = tmp_path / "own"
    own.write_text("7:cpu,cpuacct:/job\n4:memory:/job\n1:name=systemd:/\n0::/\n")
    stat = f"inactive_file 1\nactive_file 2\ntotal_inactive_file {1 * GIB}\ntotal_active_file 0\n"
    group(tmp_path / "memory", V1_UNLIMITED, 30 * GIB, version=1)
    group(tmp_path / "memory/job", 6 * GIB, 2 * GIB, version=1, stat=stat)
    group(tmp_path / "cpu/job", 1, 1, version=1)

    # THEN
    assert headroom(tmp_path, own) == 5 * GIB


def test_a_group_over_its_limit_has_nothing_left(tmp_path, own):
    group(tmp_path / "job/step", 1 * GIB, 2 * GIB)
    assert headroom(tmp_path, own) == 0


@pytest.mark.parametrize("limit", ["max", V1_UNLIMITED])
def test_no_limit_is_none(tmp_path, own, limit):
    group(tmp_path / "job/step", limit, 2 * GIB)
    assert headroom(tmp_path, own) is None


def test_no_groups_are_no_limit(tmp_path, own):
    assert headroom(tmp_path / "nothing", own) is None
    assert headroom(tmp_path, tmp_path / "nothing") is None


@pytest.mark.parametrize(
    ("line", "base", "name", "limited", "unlimited"),
    [
        ("0::/job/step", "", "cpu.max", "150000 100000", "max 100000"),
        ("4:cpu,cpuacct:/job/step", "cpu", "cpu.cfs_quota_us", "150000", "-1"),
    ],
    ids=["version 2", "version 1"],
)
def test_quotas_are_those_of_a_group_and_its_parents(tmp_path, line, base, name, limited, unlimited):
    # GIVEN a limit on the job and none on its step
    own = tmp_path / "own"
    own.write_text(f"9:memory:/elsewhere\n{line}\n")
    for folder, limit in (("job", limited), ("job/step", unlimited)):
        (tmp_path / base / folder).mkdir(parents=True, exist_ok=True)
        (tmp_path / base / folder / name).write_text(limit + "\n")

    # THEN
    assert cpu_quotas(tmp_path, own) == [tmp_path / base / "job" / "cpu.stat"]
    assert cpu_quotas(tmp_path, tmp_path / "missing") == []
