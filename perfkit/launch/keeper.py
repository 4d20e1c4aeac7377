"""Stands between perfkit and a measured process, so that none is ever left behind.

    python -I keeper.py PARENT_PID GRACE_S COMMAND...      (a script, standard library only, so that it starts fast)

It starts COMMAND, sleeps until that ends, and ends the same way (same exit code, or by the same signal). What COMMAND
leaves behind has GRACE_S to end by itself, and is killed then. When its parent dies, however that happens, or tells it
to end (END), it kills COMMAND with everything COMMAND started. Other signals it leaves to its parent, and to COMMAND:
who ends a batch job, or a service, signals every process of it, and each is to save what it has.

Why a process and not `preexec_fn`: code between fork and exec is unsafe in a parent that has threads (Python's
subprocess documentation), and a parent-death signal reaches the one child only. nsys, torch.compile's workers and data
loaders have children of their own, in sessions of their own; as a subreaper (prctl(2)) this process stays an ancestor
of all of them.
"""

from __future__ import annotations

import ctypes
import os
import resource
import signal
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import NoReturn

_PR_SET_PDEATHSIG = 1
_PR_SET_CHILD_SUBREAPER = 36
"""Both from linux/prctl.h."""
END = signal.SIGUSR1
"""Nobody sends this one to all processes of a job."""
NOT_FOUND = 127
"""What it exits with, like a shell, where COMMAND cannot be started; why is its last line on stderr."""
_LEFT_ALONE = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_KILL_ROUNDS = 200
_ROUND_S = 0.01


def kept(command: Sequence[str], grace_s: float = 0.0) -> list[str]:
    """The command line that runs `command` for this process, and leaves nothing of it behind."""
    return [sys.executable, "-I", "-S", __file__, str(os.getpid()), str(grace_s), *command]


def main(parent: int, grace_s: float, command: list[str]) -> NoReturn:
    """Run a command, and end as it ends."""
    libc = ctypes.CDLL(None, use_errno=True)
    signal.signal(END, _end_all)
    default = [number for number in _LEFT_ALONE if signal.getsignal(number) != signal.SIG_IGN]  # as nohup has it
    for number in _LEFT_ALONE:
        signal.signal(number, signal.SIG_IGN)
    libc.prctl(_PR_SET_CHILD_SUBREAPER, 1)
    libc.prctl(_PR_SET_PDEATHSIG, END)
    if os.getppid() != parent:  # it died before the signal was asked for
        os._exit(1)
    keeper = os.getpid()
    signal.pthread_sigmask(signal.SIG_BLOCK, _LEFT_ALONE)  # else one to the child, now, would be ignored there too
    child = os.fork()
    if child == 0:
        _become(command, libc, keeper, default)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, _LEFT_ALONE)
    status = _wait_for(child)
    _wait_for_the_rest(grace_s)
    _kill_descendants()
    _end_like(status)


def _become(command: list[str], libc: ctypes.CDLL, keeper: int, default: list[signal.Signals]) -> NoReturn:
    for number in (*default, signal.SIGPIPE, signal.SIGXFSZ):
        signal.signal(number, signal.SIG_DFL)  # what is ignored here (the last two by Python) would be there too
    signal.pthread_sigmask(signal.SIG_UNBLOCK, _LEFT_ALONE)
    libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)  # should the keeper itself be killed
    if os.getppid() != keeper:
        os._exit(1)
    try:
        os.execvp(command[0], command)
    except OSError as error:
        os.write(2, f"{command[0]}: {error.strerror}\n".encode())
        os._exit(NOT_FOUND)


def _wait_for(child: int) -> int:
    """Its wait status. Orphans that end meanwhile are reaped too."""
    while True:
        pid, status = os.wait()
        if pid == child:
            return status


class Processes:
    """Those of this machine: who is below whom, and the end of them."""

    def __init__(self, proc: Path = Path("/proc")) -> None:
        self._proc = proc

    def below(self, ancestor: int) -> list[int]:
        """Living processes below `ancestor`, in any session."""
        children: dict[int, list[int]] = {}
        for pid, parent in self.parents():
            children.setdefault(parent, []).append(pid)
        descendants: list[int] = []
        waiting = [ancestor]
        while waiting:
            below = children.get(waiting.pop(), [])
            descendants += below
            waiting += below
        return descendants

    def parents(self) -> Iterator[tuple[int, int]]:
        """(process, its parent) for every process that is not a zombie."""
        for folder in self._proc.iterdir():
            if not folder.name.isdigit():
                continue
            try:
                text = (folder / "stat").read_text(errors="replace")
            except OSError:  # it ended
                continue
            state, parent = text.rpartition(")")[2].split()[:2]  # the name before it may hold anything
            if state not in "ZX":
                yield int(folder.name), int(parent)

    def kill(self, pid: int) -> None:
        """End one, or nothing where it has ended."""
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)

    def reap(self) -> None:
        """Take the exit status of every child that has ended."""
        try:
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass
        except ChildProcessError:
            return


_ALL = Processes()


def _wait_for_the_rest(grace_s: float, processes: Processes = _ALL) -> None:
    until = time.monotonic() + grace_s
    while time.monotonic() < until and processes.below(os.getpid()):
        time.sleep(_ROUND_S)
        processes.reap()


def _end_all(number: int, _frame: object) -> NoReturn:
    """Handles the order to end: from a parent that waits, or from the kernel when the parent is gone."""
    _kill_descendants()
    os._exit(128 + number)


def _kill_descendants(processes: Processes = _ALL) -> None:
    """Until none is left: one that was being born may be seen in the next round only."""
    for _ in range(_KILL_ROUNDS):
        descendants = processes.below(os.getpid())
        for pid in descendants:
            processes.kill(pid)
        processes.reap()
        if not descendants:
            return
        time.sleep(_ROUND_S)


def _end_like(status: int) -> NoReturn:
    if os.WIFSIGNALED(status):
        number = os.WTERMSIG(status)
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))  # the command's own core is the useful one
        if number != signal.SIGKILL:
            signal.signal(number, signal.SIG_DFL)
        os.kill(os.getpid(), number)
    os._exit(os.waitstatus_to_exitcode(status) & 0xFF)


if __name__ == "__main__":
    main(int(sys.argv[1]), float(sys.argv[2]), sys.argv[3:])
