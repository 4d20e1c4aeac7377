"""One configuration in a fresh `perfkit run`, within a time limit, and what became of it."""

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
from perfkit.schema.record import RECORD_FILE, RunRecord

_TAIL_BYTES = 4000
_KEEPER_S = 20.0
"""How long the keeper may take to kill what it keeps."""
LAST_WORDS_S = 10.0
"""How long a child that a signal was passed on to may take to save what it has. Batch systems wait 30 s or so."""
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
    added to this process's own. What it printed is in `<folder>.log` afterwards, unless all went well.

    A signal (KeyboardInterrupt) is passed on to it, and raised again when it has saved its record; what is finished
    all the same, by exit code or record, is returned, with the signal put off until the caller has seen to it
    (perfkit.signals.held). It has `last_words_s` to save.

    Nothing outlives this call or this process: whatever was started is killed when the time is up, when a second
    signal comes, and when this process dies, even by SIGKILL. The kernel ties the last of these to the thread that
    calls; since it waits here, any thread may.
    """
    command = [*wrapper, sys.executable, "-m", "perfkit.run", *config.flags(), "--folder", str(folder), *extra]
    log = folder.with_name(folder.name + ".log")
    began = time.monotonic()
    is_its_own = not (folder / RECORD_FILE).exists()
    try:
        log.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UsageError(f"{log}: cannot be written: {error.strerror}; choose another place") from error
    # In memory, since what a child says of a full disk would not fit on it.
    finished = None
    with signals.held(), os.fdopen(os.memfd_create("log"), "r+b") as said:
        try:
            status, interruption = _run_kept(command, said.fileno(), timeout_s, environment, last_words_s)
            saved = _record(folder) if is_its_own else None
            finished = _finished(status, time.monotonic() - began, _tail(said), saved, interrupted=bool(interruption))
        finally:  # after a second signal too, which the child may have been why
            if finished is None or finished.outcome != "ok":
                _keep(said, log)
        return _returned(finished, interruption)


def _returned(finished: Finished, interruption: KeyboardInterrupt | None) -> Finished:
    """What is measured, with the signal after it; raises the signal at once where there is nothing to tell of."""
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
    """Exit code (negative: the signal), or None where the time was up; and what interrupted it, if anything did."""
    # In its own session, so that a signal to this process's group reaches this process alone, which then decides.
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
    """Pass a signal on to the keeper's child, and give it time to end: its exit code; None after a second one too."""
    with suppress(psutil.Error, subprocess.TimeoutExpired, KeyboardInterrupt):
        children = psutil.Process(process.pid).children()
        for child in children:
            child.send_signal(number)
        if children:  # else it has not begun
            with signals.raised():
                return process.wait(wait_s)
    return None


def _end(process: subprocess.Popen[bytes]) -> None:
    """Kill what may still run. The keeper kills its whole tree; the group is for a keeper that was itself killed."""
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
    """`interrupted`: by a signal to this process, which then ended it."""
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
    """Whether a library's last line says out of memory; perfkit's own message has its own exit code."""
    last = tail.rstrip().rpartition("\n")[2]
    return not last.startswith("perfkit: ") and says_out_of_memory(last)


def _saved(saved: RunRecord | None) -> Outcome | None:
    """What a record says of a process that a signal met later: between the last writing and its end, or in a report.

    None where it has more to save: under a profiler a record is written before the trace, and once more after it.
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
        shutil.copyfileobj(said, sink)  # which takes no memory for it once more


def _record(folder: Path) -> RunRecord | None:
    """What it saved; None where it got to none, or was killed in the middle."""
    if not (folder / RECORD_FILE).is_file():
        return None
    try:
        return record.load(folder)
    except UsageError:
        return None
