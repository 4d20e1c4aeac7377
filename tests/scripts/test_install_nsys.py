"""scripts/install-nsys with a make-believe nsys and apt: what it does with each nsys that is there."""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / "scripts" / "install-nsys"

NSYS = """#!/bin/sh
case "$1" in
  --version) echo "NVIDIA Nsight Systems version {version}-abc" ;;
  profile) [ {works} = yes ] && echo x >probe.nsys-rep && echo x >probe.sqlite ;;
esac
"""
APT = """#!/bin/sh
echo "$@" >>{log}
case "$*" in
  *download*) cp {packages}/*.deb . ;;
esac
"""
NEWEST = "2023.4.4.54"


def program(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    path.chmod(0o755)
    return path


def nsys(path: Path, version: str, works: bool = True) -> Path:
    return program(path, NSYS.format(version=version, works="yes" if works else "no"))


class Machine:
    """A PATH of its own in front of the system's, and folders for what the script installs."""

    def __init__(self, folder: Path) -> None:
        self.bin, self.home, self.link = folder / "bin", folder / "home", folder / "local" / "nsys"
        self.packages, self.log = folder / "packages", folder / "apt.log"
        self.link.parent.mkdir()
        self.packages.mkdir()
        program(self.bin / "apt-get", APT.format(log=self.log, packages=self.packages))

    def install(self, *flags: str) -> subprocess.CompletedProcess[str]:
        environ = {
            "PATH": os.pathsep.join((str(self.link.parent), str(self.bin), os.defpath, "/usr/sbin:/sbin")),
            "PERFKIT_NSYS_HOME": str(self.home), "PERFKIT_NSYS_LINK": str(self.link),
        }  # fmt: skip
        command = ["bash", str(SCRIPT), *flags]
        return subprocess.run(
            command, env=environ, capture_output=True, text=True, stdin=subprocess.DEVNULL, check=False, timeout=120
        )


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


@pytest.mark.parametrize("version", [NEWEST, "2024.1.1.59", "2025.5.2.266"])
def test_a_recent_nsys_that_works_is_left_alone(machine, version):
    nsys(machine.bin / "nsys", version)
    done = machine.install()
    assert (done.returncode, done.stdout) == (
        0,
        f"install-nsys: nsys {version} is installed and works: nothing to do\n",
    )
    assert not machine.log.exists()


@pytest.mark.parametrize("version", ["2022.4.2.1", "2023.4.3.9"])
def test_an_older_nsys_stays_where_the_newest_cannot_be_had(machine, version):
    """GIVEN an older nsys that works, and no package of a newer one WHEN run THEN the old one stays"""
    nsys(machine.bin / "nsys", version)
    done = machine.install()
    assert done.returncode == 0
    assert done.stdout.endswith(f"install-nsys: nsys {version} is installed and works: it stays\n")
    assert not machine.link.exists()
    assert not machine.home.exists() or not list(machine.home.iterdir())


@pytest.mark.parametrize(("works", "code"), [(True, 0), (False, 1)])
def test_check_only_says(machine, works, code):
    nsys(machine.bin / "nsys", "2022.4.2.1", works)
    done = machine.install("--check")
    assert done.returncode == code
    assert ("nsys 2022.4.2.1 works" in done.stdout) == works
    assert ("run scripts/install-nsys" in done.stderr) != works
    assert not machine.log.exists()


def test_an_unknown_option_is_refused(machine):
    done = machine.install("--newer")
    assert (done.returncode, "unknown option --newer" in done.stderr) == (2, True)


def packaged(machine: Machine, folder: Path, works: bool) -> None:
    """Both packages as Debian 13 has them: the importer is elsewhere than the launcher, and a link leads astray."""
    target = folder / "target/usr/lib/x86_64-linux-gnu/nsight-systems/target-linux-x64"
    nsys(target / "nsys", NEWEST, works)
    host = folder / "host/usr/lib/nsight-systems/host-linux-x64"
    program(host / "QdstrmImporter", "#!/bin/sh\n")
    (host / "libssh.so.4").symlink_to("../../x86_64-linux-gnu/libssh.so.4")
    program(folder / "host/usr/share/doc/nsight-systems/UserGuide/index.html", "")
    for name in ("target", "host"):
        (folder / name / "DEBIAN").mkdir()
        (folder / name / "DEBIAN" / "control").write_text(
            f"Package: {name}\nVersion: 1\nArchitecture: all\nMaintainer: x <x@x>\nDescription: x\n"
        )
        package = str(machine.packages / f"{name}.deb")
        subprocess.run(["dpkg-deb", "--build", str(folder / name), package], check=True, capture_output=True)


def _is_older_debian() -> bool:
    release = platform.freedesktop_os_release() if Path("/etc/os-release").exists() else {}
    return release.get("ID") == "debian" and release.get("VERSION_CODENAME") != "trixie"


@pytest.mark.skipif(
    not _is_older_debian() or os.geteuid() != 0 or shutil.which("dpkg-deb") is None,
    reason="the newest package is unpacked by root, on Debian before 13",
)
class TestUnpacking:
    """The newest package in a folder of its own."""

    def test_it_comes_first_on_path(self, machine, tmp_path):
        """GIVEN an old nsys, and packages of the newest WHEN run THEN launcher and importer are beside each other"""
        nsys(machine.bin / "nsys", "2022.4.2.1")
        packaged(machine, tmp_path / "tree", works=True)
        done = machine.install()
        assert done.returncode == 0, done.stderr
        assert done.stdout.endswith(f"install-nsys: nsys {NEWEST} works\n")
        assert sorted(path.name for path in (machine.home / "2023.4.4").iterdir()) == [
            "host-linux-x64",
            "target-linux-x64",
        ]
        assert machine.link.resolve() == machine.home / "2023.4.4/target-linux-x64/nsys"
        assert machine.install().stdout.endswith("nothing to do\n")

    def test_one_that_does_not_work_leaves_nothing(self, machine, tmp_path):
        nsys(machine.bin / "nsys", "2022.4.2.1")
        packaged(machine, tmp_path / "tree", works=False)
        done = machine.install()
        assert done.returncode == 0
        assert "it does not work here" in done.stderr
        assert list(machine.home.iterdir()) == []
        assert not machine.link.exists()

    def test_a_program_of_the_users_is_not_replaced(self, machine, tmp_path):
        nsys(machine.link, "2022.4.2.1")
        packaged(machine, tmp_path / "tree", works=True)
        done = machine.install()
        assert (done.returncode, "is not this script's: it stays" in done.stderr) == (0, True)
        assert not machine.link.is_symlink()
