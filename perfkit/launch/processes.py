"""Runs one configuration in a fresh `perfkit run` within a time limit, and returns its outcome."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO

import psutil

from perfkit import signals
from perfkit.errors import OutOfMemoryError, UsageError, says_out_of_memory
from perfkit.launch import keeper
from perfkit.schema import record
from perfkit.schema.campaign import Finished, Outcome
from perfkit.schema.config import RunConfig
from perfkit.schema.own_files import RECORD_FILE
from perfkit.schema.record import RunRecord

_TAIL_BYTES = 4000
_KEEPER_S = 20.0
"""Seconds the keeper may take to kill its processes."""
LAST_WORDS_S = 10.0
"""Seconds a child may take to save its results after a signal. Batch systems wait about 30 s."""
_INTERRUPTED = tuple(map(signals.exit_code, signals.TAKEN))


def run_child(
    config: RunConfig,
    folder: Path,
    *,
    timeout_s: float | None = None,
    wrapper: Sequence[str] = (),
    extra: Sequence[str] = (),
    environment: Mapping[str, str] | None = None,
    last_words_s: float = LAST_WORDS_S,
) -> Finished:
    """Run one configuration in `folder`, which must be empty or absent, and wait for its end.

    wrapper: put before the command (`nsys profile ...`). extra: more flags of `perfkit run`. environment: variables
    added to this process's own. Unless the run succeeds, its output is saved in `<folder>.log`.

    A signal (KeyboardInterrupt) is passed on to the run, which has `last_words_s` to save its record; then the signal
    is raised again. If the run finished all the same, by its exit code or record, its result is returned, and the
    signal is deferred until the caller has handled the result (perfkit.signals.held).

    Nothing outlives this call or this process: every process started is killed on timeout, on a second signal, and
    when this process dies, even by SIGKILL. The kernel ties this last case to the calling thread; since that thread
    waits here, any thread may call.
    """
    command = [*wrapper, sys.executable, "-m", "perfkit.run", *config.flags(), "--folder", str(folder), *extra]
    log = folder.with_name(folder.name + ".log")
    began = time.monotonic()
    is_its_own = not (folder / RECORD_FILE).exists()
    try:
        log.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UsageError(f"{log}: cannot be written: {error.strerror}; choose another place") from error
    # In memory, because a child's message about a full disk could not be written to that disk.
    finished = None
    with signals.held(), os.fdopen(os.memfd_create("log"), "r+b") as said:
        try:
            status, interruption = _run_kept(command, said.fileno(), timeout_s, environment, last_words_s)
            saved = _record(folder) if is_its_own else None
            finished = _finished(status, time.monotonic() - began, _tail(said), saved, interrupted=bool(interruption))
        finally:  # also after a second signal, which the child may have caused
            if finished is None or finished.outcome != "ok":
                _keep(said, log)
        return _returned(finished, interruption)


def _returned(finished: Finished, interruption: KeyboardInterrupt | None) -> Finished:
    """Return a finished result and defer the signal; raise the signal at once if there is no result."""
    if interruption is not None:
        if finished.outcome not in ("ok", "oom"):
            raise interruption
        signals.put_off(signals.by(interruption))
    return finished


def _run_kept(
    command: Sequence[str],
    sink: int,
    timeout_s: float | None,
    environment: Mapping[str, str] | None,
    last_words_s: float,
) -> tuple[int | None, KeyboardInterrupt | None]:
    """Return the exit code (negative: the signal; None: timeout), and the interruption, if there was one."""
    # In its own session: a signal to this process's group reaches only this process, which decides what to do.
    process = subprocess.Popen(
        keeper.kept(command),
        stdin=subprocess.DEVNULL,
        stdout=sink,
        stderr=subprocess.STDOUT,
        env={**os.environ, **(environment or {})},
        start_new_session=True,
    )
    try:
        with signals.raised():
            return process.wait(timeout_s), None
    except subprocess.TimeoutExpired:
        return None, None
    except KeyboardInterrupt as interruption:
        return _last_words(process, signals.by(interruption), last_words_s), interruption
    finally:
        _end(process)


def _last_words(process: subprocess.Popen[bytes], number: signal.Signals, wait_s: float) -> int | None:
    """Pass a signal on to the keeper's child and return its exit code; None on a timeout or a second signal."""
    with suppress(psutil.Error, subprocess.TimeoutExpired, KeyboardInterrupt):
        children = psutil.Process(process.pid).children()
        for child in children:
            child.send_signal(number)
        if children:  # otherwise the command has not started
            with signals.raised():
                return process.wait(wait_s)
    return None


def _end(process: subprocess.Popen[bytes]) -> None:
    """Kill all remaining processes: the keeper kills its tree; killing the group covers a keeper that was killed."""
    if process.poll() is None:
        process.send_signal(keeper.END)
        with suppress(subprocess.TimeoutExpired):
            process.wait(_KEEPER_S)
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def _finished(
    status: int | None, wall_s: float, tail: str, saved: RunRecord | None, *, interrupted: bool = False
) -> Finished:
    """Classify how a run ended. `interrupted`: a signal to this process, passed on, ended it."""
    outcome = _outcome(status, saved)
    if outcome == "error" and saved is None and _ended_for_want_of_memory(tail):
        outcome = "oom"
    if interrupted or outcome == "interrupted":
        outcome = _saved(saved) or outcome
    return Finished(
        outcome=outcome,
        exit_code=status if status is not None and status >= 0 else None,
        signal=-status if status is not None and status < 0 else None,
        wall_s=wall_s,
        stderr_tail=tail,
        record=saved,
    )


def _outcome(status: int | None, saved: RunRecord | None) -> Outcome:
    if status is None:
        return "timeout"
    if status == -signal.SIGKILL:
        return "host-killed"
    if status == OutOfMemoryError.exit_code:
        return "oom"
    if status in _INTERRUPTED:
        return "interrupted"
    return "ok" if status == 0 and saved is not None else "error"


def _ended_for_want_of_memory(tail: str) -> bool:
    """Whether a library's last line reports out of memory. perfkit's own message has its own exit code."""
    last = tail.rstrip().rpartition("\n")[2]
    return not last.startswith("perfkit: ") and says_out_of_memory(last)


def _saved(saved: RunRecord | None) -> Outcome | None:
    """The status in the record of a process that a signal reached after its last save, or while it made a report.

    None if the record is incomplete: under a profiler it is written before the trace and again after it.
    """
    if saved is None or saved.status == "interrupted":
        return None
    has_all = saved.config.measurement.profiler == "none" or "trace" in saved.artifacts
    return saved.status if has_all else None


def _tail(stream: BinaryIO) -> str:
    size = stream.seek(0, os.SEEK_END)
    stream.seek(max(0, size - _TAIL_BYTES))
    return stream.read(_TAIL_BYTES).decode(errors="replace")


def _keep(said: BinaryIO, log: Path) -> None:
    with suppress(OSError), log.open("wb") as sink:
        said.seek(0)
        shutil.copyfileobj(said, sink)  # does not copy the whole log in memory


def _record(folder: Path) -> RunRecord | None:
    """The record that the process saved; None if there is none, or if a kill left it incomplete."""
    if not (folder / RECORD_FILE).is_file():
        return None
    try:
        return record.load(folder)
    except UsageError:
        return None
