"""Supervises a measured process for perfkit, so that no process is ever left behind.

    python -I keeper.py PARENT_PID GRACE_S COMMAND...      (a script, standard library only, so that it starts fast)

The keeper starts COMMAND, waits until it ends, and ends with the same exit code or by the same signal. Processes that
COMMAND leaves behind have GRACE_S to end by themselves; then the keeper kills them. When the keeper's parent dies for
any reason or sends END, the keeper kills COMMAND and everything that COMMAND started. It ignores SIGINT, SIGTERM and
SIGHUP: a batch system or service manager sends them to every process, and the parent and COMMAND handle them.

`preexec_fn` cannot do this: code between fork and exec is unsafe in a parent that has threads (Python's subprocess
documentation), and a parent-death signal reaches only the one child. nsys, torch.compile's workers and data loaders
have children of their own, in separate sessions; as a subreaper (prctl(2)) the keeper stays an ancestor of them all.
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
"""The order to end: a signal that no batch system sends to all processes of a job."""
NOT_FOUND = 127
"""Exit code if COMMAND cannot be started, as in a shell. The last line on stderr gives the reason."""
_LEFT_ALONE = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_KILL_ROUNDS = 200
_ROUND_S = 0.01


def kept(command: Sequence[str], grace_s: float = 0.0) -> list[str]:
    """The command line that runs `command` under a keeper whose parent is this process."""
    return [sys.executable, "-I", "-S", __file__, str(os.getpid()), str(grace_s), *command]


def main(parent: int, grace_s: float, command: list[str]) -> NoReturn:
    """Run a command and end the way it ends."""
    libc = ctypes.CDLL(None, use_errno=True)
    signal.signal(END, _end_all)
    default = [number for number in _LEFT_ALONE if signal.getsignal(number) != signal.SIG_IGN]  # nohup ignores SIGHUP
    for number in _LEFT_ALONE:
        signal.signal(number, signal.SIG_IGN)
    libc.prctl(_PR_SET_CHILD_SUBREAPER, 1)
    libc.prctl(_PR_SET_PDEATHSIG, END)
    if os.getppid() != parent:  # the parent died before prctl was called
        os._exit(1)
    keeper = os.getpid()
    signal.pthread_sigmask(signal.SIG_BLOCK, _LEFT_ALONE)  # until the child stops ignoring them
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
        signal.signal(number, signal.SIG_DFL)  # exec would inherit ignored signals (the last two: by Python)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, _LEFT_ALONE)
    libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)  # in case the keeper itself is killed
    if os.getppid() != keeper:
        os._exit(1)
    try:
        os.execvp(command[0], command)
    except OSError as error:
        os.write(2, f"{command[0]}: {error.strerror}\n".encode())
        os._exit(NOT_FOUND)


def _wait_for(child: int) -> int:
    """Wait for the child and return its wait status. Orphans that end meanwhile are reaped too."""
    while True:
        pid, status = os.wait()
        if pid == child:
            return status


class Processes:
    """Processes of this machine: lists descendants, kills and reaps."""

    def __init__(self, proc: Path = Path("/proc")) -> None:
        self._proc = proc

    def below(self, ancestor: int) -> list[int]:
        """Living descendants of `ancestor`, in any session."""
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
            except OSError:  # the process has ended
                continue
            state, parent = text.rpartition(")")[2].split()[:2]  # the name before it may contain anything
            if state not in "ZX":
                yield int(folder.name), int(parent)

    def kill(self, pid: int) -> None:
        """Kill a process, unless it has ended."""
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
    """Handle END, sent by a waiting parent or, when the parent has died, by the kernel."""
    _kill_descendants()
    os._exit(128 + number)


def _kill_descendants(processes: Processes = _ALL) -> None:
    """Kill descendants in rounds until none is left, since some may be starting others."""
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
