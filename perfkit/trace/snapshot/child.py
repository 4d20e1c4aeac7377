"""Run a function in a process of its own, with limits on memory and time.

A malicious pickle cannot call code, but a few bytes of one can ask for any amount of memory, for hours of hashing, or
nest so deep that the interpreter's stack ends. Only a process contains that. A fork starts in 10 ms. Where there is
none (Windows), the function runs in this process, without limits.
"""

from __future__ import annotations

import faulthandler
import os
import pickle
import signal
import sys
import tempfile
import warnings
from collections.abc import Callable
from multiprocessing import Pipe
from multiprocessing.connection import Connection
from pathlib import Path
from typing import IO, Any, NoReturn, TypeVar

from perfkit.errors import UsageError

if sys.platform != "win32":
    import resource

T = TypeVar("T")

Tell = Callable[[int], None]

_ENDED = {
    "SIGXCPU": "takes too long to load",
    "SIGSEGV": "nests too deep",
    "SIGKILL": "takes too much memory: free some, or record fewer events",
}


class EndedError(UsageError):
    """The process ended without a result."""


def isolated(work: Callable[[Tell, bool], T], tell: Tell, *, memory: int, seconds: int) -> T:
    """Return `work(tell, True)`, as it is in a process with at most `memory` bytes more, and so much processor time.

    The second argument says that nothing else runs in the process. Raises EndedError, or the UsageError that `work`
    raises.
    """
    if sys.platform == "win32":
        return work(tell, False)
    with tempfile.TemporaryFile() as result:
        ours, theirs = Pipe(duplex=False)
        with warnings.catch_warnings():  # of locks that other threads hold: none is taken there
            warnings.simplefilter("ignore", DeprecationWarning)
            pid = os.fork()
        if not pid:
            ours.close()
            _run(work, theirs, result, memory, seconds)
        theirs.close()
        ended = False
        try:
            with ours:
                message = _last_message(ours, tell)
            ended = True
        finally:
            if not ended:
                os.kill(pid, signal.SIGKILL)
            _, status = os.waitpid(pid, 0)
        if message is not None:
            raise EndedError(message)
        if status:
            raise EndedError(_why(os.waitstatus_to_exitcode(status)))
        result.seek(0)
        made: T = pickle.load(result)
        return made


def _last_message(pipe: Connection, tell: Tell) -> str | None:
    """Pass on how far it is; return what is wrong, if anything."""
    while True:
        try:
            message = pipe.recv()
        except EOFError:
            return None
        if isinstance(message, str):
            return message
        tell(message)


def _why(code: int) -> str:
    name = signal.Signals(-code).name if code < 0 else ""
    return _ENDED.get(name, f"cannot be loaded ({name or f'exit status {code}'})")


def _run(work: Callable[[Tell, bool], Any], pipe: Connection, result: IO[bytes], memory: int, seconds: int) -> NoReturn:
    """The child: never returns into the code that forked it."""
    code = 1
    try:
        faulthandler.disable()
        os.dup2(os.open(os.devnull, os.O_WRONLY), 2)  # what the interpreter says of a pickle that breaks it
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        _limit(resource.RLIMIT_AS, _size() + memory)
        _limit(resource.RLIMIT_CPU, seconds)
        _limit(resource.RLIMIT_CORE, 0)
        try:
            pickle.dump(work(pipe.send, True), result, protocol=5)
            result.flush()
            code = 0
        except UsageError as error:
            pipe.send(str(error))
        except MemoryError:
            pipe.send(_ENDED["SIGKILL"])
    finally:
        os._exit(code)


def _size() -> int:
    """Bytes of address space that this process has."""
    try:
        return int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    except OSError:
        return 1 << 40


def _limit(what: int, most: int) -> None:
    _, hard = resource.getrlimit(what)
    most = most if hard == resource.RLIM_INFINITY else min(most, hard)
    resource.setrlimit(what, (most, hard))
