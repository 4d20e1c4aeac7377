"""Runs `nsys profile` to its end, or ends it; none of its processes is ever left running.

nsys starts an agent in another session, which outlives nsys and keeps spinning if `nsys profile` is killed. So an
environment variable, which child processes inherit, marks every process so that it can be found. A keeper
(perfkit.launch.keeper) ends them all if this process itself is killed.
"""

from __future__ import annotations

import contextlib
import os
import re
import selectors
import signal
import subprocess
import time
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import psutil

from perfkit import signals
from perfkit.errors import UsageError
from perfkit.launch import keeper

PATIENCE_S = 120.0
"""nsys counts as hung if it writes nothing and the application uses no CPU for this many seconds."""
MARK = "PERFKIT_NSYS_RECORDING"
"""An environment variable that marks every process of a recording."""
LAST_WORDS_S = 30.0
"""The same limit after a signal, when the run saves its record and nsys its report."""

_BUSY_SHARE = 0.01
"""An application that uses a smaller share of one CPU than this counts as idle."""
_GRACE_S = 5.0
"""Seconds nsys's agent may take to end after nsys."""
_POLL_S = 0.1
_KEPT_CHARACTERS = 4000
_OF_NSYS = re.compile(
    r"(Capture range (started|ended) in the application\.|Generating '.*'$|Generated:?$|Processing events\.*"
    r"|Collecting data\.*|\[\d/\d\] \[[^]]*\] \S*?\.(nsys-rep|qdrep|sqlite)|\s+/.*\.(nsys-rep|qdrep|qdstrm|sqlite)$)"
)
"""What nsys itself says on standard output; what follows a bar that has no line end yet is the application's."""
_AGENT_LOST = "Connection to Agent lost"
"""nsys's own words, on standard error, before it ends with exit code 0, and without a report, whatever ran in it."""
_ERROR = "perfkit: "
"""Prefix of the inner run's error line, which is not passed on, because the caller reports it."""


@dataclass(frozen=True, slots=True)
class Ended:
    """How a recording ended."""

    exit_code: int | None
    """Exit code; nsys returns the application's. None if nsys had to be stopped."""
    said: str
    """The last line on nsys's standard output."""
    complaint: str
    """The last line on standard error, from nsys or the application."""
    error: str
    """The error that the inner run reported, "" if none."""
    problem: str
    """Why nsys had to be stopped, "" if it ended by itself."""
    interrupted: signal.Signals | None
    """The signal that arrived and was passed on; None if none did."""
    lost: str = ""
    """What nsys said of its agent's end, which it does not survive; "" if nothing."""


def run(
    command: Sequence[str],
    hear: Callable[[str], None],
    *,
    patience_s: float = PATIENCE_S,
    last_words_s: float = LAST_WORDS_S,
    grace_s: float = _GRACE_S,
    used_seconds: Callable[[str], float] | None = None,
    hear_output: Callable[[str], None] = lambda _: None,
) -> Ended:
    """Run `command`, nsys and its application; `hear` gets every line on its standard error.

    `hear_output` gets every line on its standard output that is not nsys's own.

    A signal (KeyboardInterrupt) goes to the application: the run saves its results, and nsys its report. A second
    signal or a hang ends everything; `used_seconds` returns the CPU time of all marked processes. Raises UsageError if
    nsys cannot be started.
    """
    mark = uuid.uuid4().hex
    with signals.held():
        try:
            watch = _Watch(mark, patience_s, used_seconds or _used_seconds)
            ended = _attended(_started(command, mark, grace_s), hear, hear_output, watch, last_words_s)
        finally:
            _end_all(mark)
    if ended.exit_code == keeper.NOT_FOUND:
        why = ended.complaint.removeprefix(f"{command[0]}: ")
        raise UsageError(f"{command[0]} cannot be started: {why}; reinstall Nsight Systems")
    return ended


def _started(command: Sequence[str], mark: str, grace_s: float) -> subprocess.Popen[bytes]:
    # A separate session: otherwise a signal to perfkit's group (ctrl-C) would make nsys drop its report.
    return subprocess.Popen(
        keeper.kept(command, grace_s),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=os.environ | {MARK: mark},
        start_new_session=True,
    )


@dataclass(slots=True)
class _Watch:
    """Tells a hang from work that takes long."""

    mark: str
    patience_s: float
    used_seconds: Callable[[str], float]
    now: Callable[[], float] = time.monotonic
    last_sign: float = field(init=False)
    used_s: float = 0.0

    def __post_init__(self) -> None:
        self.sign()

    def sign(self) -> None:
        self.last_sign = self.now()

    def is_stuck(self) -> bool:
        if self.now() - self.last_sign < self.patience_s:
            return False
        used = self.used_seconds(self.mark)
        busy = used - self.used_s > _BUSY_SHARE * self.patience_s
        self.used_s = used
        if busy:
            self.sign()
        return not busy


class _Stream:
    """One output stream of nsys, split into lines; progress bars rewrite a line with carriage returns."""

    def __init__(self, pipe: int, hear: Callable[[str], None]) -> None:
        self.pipe = pipe
        self.hear = hear
        self.rest = ""
        os.set_blocking(pipe, False)

    def read(self) -> bool:
        """Read the available data; False at the end of the stream."""
        data = os.read(self.pipe, 1 << 16)
        lines = (self.rest + data.decode("utf-8", "replace")).replace("\r", "\n").split("\n")
        self.rest = lines.pop()[-_KEPT_CHARACTERS:]
        for line in lines:
            self.hear(line)
        if not data and self.rest:
            self.hear(self.rest)
            self.rest = ""
        return bool(data)


class _Listener:
    """Reads both output streams of nsys at once."""

    def __init__(
        self,
        process: subprocess.Popen[bytes],
        hear: Callable[[str], None],
        hear_output: Callable[[str], None] = lambda _: None,
    ) -> None:
        self.said = self.complaint = self.error = self.lost = ""
        self.pass_lines_on = True
        self._hear, self._hear_output = hear, hear_output
        self._selector = selectors.DefaultSelector()
        for pipe, receiver in ((process.stdout, self._keep), (process.stderr, self._pass_on)):
            assert pipe is not None
            self._selector.register(pipe, selectors.EVENT_READ, _Stream(pipe.fileno(), receiver))

    def _keep(self, line: str) -> None:
        self.said = line.strip() or self.said
        said = _OF_NSYS.match(line)
        if said is None or said.end() < len(line):
            self._hear_output(line if said is None else line[said.end() :])

    def _pass_on(self, line: str) -> None:
        if line.startswith(_ERROR):
            self.error = line.removeprefix(_ERROR)
            return
        self.complaint = line.strip() or self.complaint
        if line.startswith(_AGENT_LOST):
            self.lost = self.complaint
        if self.pass_lines_on:
            self._hear(line)

    def listen(self, wait_s: float) -> bool:
        """Wait for output and pass it on; return whether there was any."""
        if not self._selector.get_map():
            time.sleep(wait_s)
        anything = False
        for key, _ in self._selector.select(wait_s) if self._selector.get_map() else ():
            if key.data.read():
                anything = True
            else:
                self._selector.unregister(key.fileobj)
        return anything


def _attended(
    process: subprocess.Popen[bytes],
    hear: Callable[[str], None],
    hear_output: Callable[[str], None],
    watch: _Watch,
    last_words_s: float,
) -> Ended:
    listener = _Listener(process, hear, hear_output)
    interrupted: signal.Signals | None = None
    running, problem = True, ""
    while running and not problem:
        try:
            with signals.raised():
                running = process.poll() is None
                if listener.listen(_POLL_S if running else 0):
                    watch.sign()
                elif running and watch.is_stuck():
                    problem = _stuck(watch, interrupted)
        except KeyboardInterrupt as error:
            if interrupted is not None:
                raise
            if not _interrupt(process, watch.mark, signals.by(error)):
                raise
            interrupted = signals.by(error)
            listener.pass_lines_on = False  # may be a traceback, if ctrl-C hit Python's startup
            watch.patience_s = min(watch.patience_s, last_words_s)
    while listener.listen(0):
        pass
    last_words = listener.said, listener.complaint, listener.error
    return Ended(process.returncode, *last_words, problem, interrupted, listener.lost)


def _interrupt(kept: subprocess.Popen[bytes], mark: str, number: signal.Signals) -> bool:
    """Signal the application, not nsys, which would pass ctrl-C on but drop the last data recorded.

    If nsys has not started the application yet, nsys gets SIGINT. False if nsys itself has not started.
    """
    applications, own = [], []
    for process in _marked(mark):
        with contextlib.suppress(psutil.Error):
            parent = process.parent()
            if process.name().startswith("nsys"):
                own += [process] if process.ppid() == kept.pid else []
            elif parent is not None and parent.name().startswith("nsys"):
                applications.append(process)
    for process in applications or own:
        with contextlib.suppress(psutil.Error):
            process.send_signal(number if applications else signal.SIGINT)
    return bool(applications or own)


def _stuck(watch: _Watch, interrupted: signal.Signals | None) -> str:
    if interrupted is not None:
        return f"nsys did not end within {watch.patience_s:.0f} s of {interrupted.name} and was stopped"
    return (
        f"nsys hung: it did nothing for {watch.patience_s:.0f} s and was stopped; try again,"
        " or measure with --profiler torch"
    )


# --- processes -------------------------------------------------------------------------------------------------


def _marked(mark: str) -> list[psutil.Process]:
    marked = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):  # the process has ended, or access is denied
            if process.environ().get(MARK) == mark:
                marked.append(process)
    return marked


def _used_seconds(mark: str) -> float:
    """CPU time of the application and nsys's importer, without nsys itself, which may be spinning."""
    total = 0.0
    for process in _marked(mark):
        with contextlib.suppress(psutil.Error):
            if not process.name().startswith("nsys"):
                times = process.cpu_times()
                total += times.user + times.system
    return total


def _end_all(mark: str) -> None:
    for _ in range(50):  # some processes may be starting others
        left = _marked(mark)
        if not left:
            return
        for process in left:
            with contextlib.suppress(psutil.Error):
                process.kill()
        psutil.wait_procs(left, timeout=_POLL_S)
