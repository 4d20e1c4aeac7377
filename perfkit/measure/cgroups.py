"""What this process's control groups (a container, a batch job) allow. Linux, versions 1 and 2."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

_FILES = {1: ("memory.limit_in_bytes", "memory.usage_in_bytes"), 2: ("memory.max", "memory.current")}
_NO_LIMIT = 2**60
"""Version 1 has no word for "unlimited": it shows the largest possible number of pages."""
_CACHE = re.compile(r"^(?:total_)?(inactive_file|active_file) (\d+)$", re.MULTILINE)


def headroom(root: Path = Path("/sys/fs/cgroup"), own: Path = Path("/proc/self/cgroup")) -> int | None:
    """Bytes until the tightest limit of this process's groups and their parents; None if there is no limit.

    The page cache does not count as used: the kernel drops cached files when memory is needed.
    """
    groups = _groups(root, own, "memory")
    left = [free for folder, version in groups if (free := _left(folder, version)) is not None]
    return min(left, default=None)


def cpu_quotas(root: Path = Path("/sys/fs/cgroup"), own: Path = Path("/proc/self/cgroup")) -> list[Path]:
    """The `cpu.stat` of each of this process's groups (and their parents) that has a CPU quota.

    Without a quota, version 2 has `cpu.max` = "max 100000", and version 1 has `cpu.cfs_quota_us` = -1.
    """
    files = []
    for folder, version in _groups(root, own, "cpu"):
        try:
            limit = (folder / ("cpu.cfs_quota_us" if version == 1 else "cpu.max")).read_text()
        except OSError:
            continue
        if limit.split()[0] not in ("max", "-1"):
            files.append(folder / "cpu.stat")
    return files


def _groups(root: Path, own: Path, controller: str) -> Iterator[tuple[Path, int]]:
    """The folders of the groups that count this process's use of something, with their version."""
    try:
        lines = own.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if controllers and controller not in controllers.split(","):
            continue
        base, version = (root / controller, 1) if controllers else (root, 2)
        inside = PurePosixPath(path.lstrip("/"))
        for part in (inside, *inside.parents):  # a container often sees its own group as the root
            yield base / part, version


def _left(folder: Path, version: int) -> int | None:
    try:
        limit, used = ((folder / name).read_text().strip() for name in _FILES[version])
        cached = {name: int(size) for name, size in _CACHE.findall((folder / "memory.stat").read_text())}
    except OSError:
        return None
    if limit == "max" or int(limit) >= _NO_LIMIT:
        return None
    return max(0, int(limit) - int(used) + sum(cached.values()))
