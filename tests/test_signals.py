"""What a signal does while perfkit loads, works and saves. The signals are real, the clock is not."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator

import pytest

from perfkit import signals
from perfkit.signals import Interrupted, held, raised


class Clock:
    """A clock that stands still until it is set, in seconds."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture(name="clock")
def _clock() -> Clock:
    return Clock()


@pytest.fixture
def _taken(clock: Clock) -> Iterator[None]:
    with signals.installed(clock):
        yield


taken = pytest.mark.usefixtures("_taken")


def send(number: signal.Signals) -> None:
    os.kill(os.getpid(), number)


@taken
@pytest.mark.parametrize("number", signals.TAKEN)
def test_each_of_them_is_raised_with_its_name(number):
    with pytest.raises(Interrupted, match=f"interrupted by {number.name}") as caught, raised():
        send(number)
    assert signals.by(caught.value) == signals.first() == number


def test_exit_codes_are_those_of_a_shell():
    assert [signals.exit_code(number) for number in signals.TAKEN] == [130, 143, 129]


@taken
def test_saving_is_never_cut_short():
    # GIVEN
    def save() -> None:
        with raised():
            with held():
                send(signal.SIGTERM)
                with held():
                    done.append("inner")
                done.append("outer")
            done.append("beyond")

    done: list[str] = []

    # WHEN
    with pytest.raises(Interrupted):
        save()

    # THEN
    assert done == ["inner", "outer"]


@taken
def test_what_may_be_cut_short_while_saving_is_marked_so():
    """GIVEN a signal that waits WHEN something begins that may take long THEN it is cut short, and the rest is not"""
    done: list[str] = []
    with held():
        send(signal.SIGTERM)
        with pytest.raises(Interrupted), raised():
            done.append("measured")
        done.append("saved")
    assert done == ["saved"]


@taken
def test_two_at_once_are_one_request(clock):
    """GIVEN timeout(1), which signals the process and its group THEN what cleans up is not met by the second"""
    clock.now = 5.0
    done = []
    with raised():
        try:
            send(signal.SIGTERM)
        except KeyboardInterrupt:
            clock.now = 5.9
            with raised():
                send(signal.SIGTERM)
                send(signal.SIGINT)
            done.append("cleaned up")
    assert done == ["cleaned up"]
    assert signals.first() == signal.SIGTERM


@taken
def test_a_later_one_cuts_short_only_what_may_take_long(clock):
    # GIVEN
    def save_and_trace() -> None:
        try:
            send(signal.SIGTERM)
        except KeyboardInterrupt:
            clock.now = 6.0
            send(signal.SIGHUP)
            done.append("saved")
            with raised():
                done.append("traced")

    done: list[str] = []
    clock.now = 5.0

    # WHEN
    with raised(), pytest.raises(Interrupted) as caught:
        save_and_trace()

    # THEN it ends by the first
    assert done == ["saved"]
    assert signals.by(caught.value) == signal.SIGTERM


@taken
@pytest.mark.parametrize(("again", "done"), [(False, ["began", "traced"]), (True, ["began"])])
def test_what_is_worth_waiting_for_is_cut_short_by_a_second_one_alone(clock, again, done):
    # GIVEN
    def trace() -> None:
        with held():
            clock.now = 5.0
            send(signal.SIGTERM)
            with signals.patient():
                did.append("began")
                if again:
                    clock.now = 6.0
                    send(signal.SIGHUP)
                did.append("traced")

    did: list[str] = []

    # WHEN
    with raised(), pytest.raises(Interrupted, match="SIGTERM"):
        trace()

    # THEN
    assert did == done


@taken
def test_whatever_fails_after_one_is_its_doing(clock):
    def fail() -> None:
        with held(), signals.blamed():
            send(signal.SIGTERM)
            raise AssertionError("half made")

    with raised(), pytest.raises(Interrupted, match="SIGTERM") as caught:
        fail()
    assert isinstance(caught.value.__cause__, AssertionError)


def test_without_one_a_failure_is_what_it_is():
    with pytest.raises(AssertionError, match="made"), signals.blamed():
        raise AssertionError("half made")


def test_what_is_ignored_or_handled_is_left_alone():
    # GIVEN
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, lambda *_: handled.append("theirs"))
    handled: list[str] = []

    # WHEN
    try:
        with signals.installed(), raised():
            send(signal.SIGHUP)
            send(signal.SIGTERM)
        kept = signal.getsignal(signal.SIGHUP)
    finally:
        signal.signal(signal.SIGHUP, signal.SIG_DFL)
        signal.signal(signal.SIGTERM, signal.SIG_DFL)

    # THEN
    assert (handled, kept, signals.first()) == (["theirs"], signal.SIG_IGN, None)


def test_handlers_are_given_back():
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    with signals.installed():
        assert signal.getsignal(signal.SIGTERM) is signals._handle
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL


@taken
def test_one_that_a_callback_swallows_is_not_lost(capfd):
    # GIVEN
    class Swallows:
        def __del__(self) -> None:
            send(signal.SIGTERM)

    # WHEN
    with raised():
        Swallows()
        with pytest.raises(Interrupted) as caught:
            signals.check()

    # THEN
    assert signals.by(caught.value) == signal.SIGTERM
    assert capfd.readouterr().err == ""


@taken
def test_other_threads_change_nothing():
    def work() -> None:
        with held():
            entered.set()
            done.wait(60)

    entered, done = threading.Event(), threading.Event()
    thread = threading.Thread(target=work)
    thread.start()
    entered.wait(60)
    try:
        with pytest.raises(Interrupted), raised():
            send(signal.SIGTERM)
    finally:
        done.set()
        thread.join()


def test_pythons_own_ctrl_c_can_be_put_off_and_leaves_nothing_behind():
    """GIVEN no handler, as where perfkit is imported WHEN ctrl-C is put off THEN it is raised, once"""
    with held():
        signals.put_off(signal.SIGINT)
        with pytest.raises(Interrupted):
            signals.check()
        signals.check()
    with raised():
        signals.check()


ENDING = """
import os, signal, sys
from perfkit import __main__, cli

class Late:  # Python takes modules apart after it has given signals back to the system
    def __del__(self, kill=os.kill, me=os.getpid(), number=signal.SIGHUP):
        kill(me, number)

def command(arguments):
    try:
        if sys.argv[1] == "True":
            os.kill(os.getpid(), signal.SIGTERM)
        return 0
    except KeyboardInterrupt:
        return 143

late = Late()
cli.main = command
sys.modules["perfkit.signals"].raised().__enter__()
sys.exit(__main__.main())
"""


@pytest.mark.parametrize(("first", "code"), [(True, 143), (False, 0)])
def test_while_python_ends_the_exit_code_is_decided(first, code):
    """GIVEN a run that SIGTERM ended, or that went well WHEN SIGHUP meets Python's own end THEN it changes nothing"""
    done = subprocess.run([sys.executable, "-c", ENDING, str(first)], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (code, "")


LOADING = """
import os, signal, sys
from perfkit import signals
signals.install()
try:
    os.kill(os.getpid(), int(sys.argv[1]))
except BaseException:
    print("raised")
print("went on")
"""


@pytest.mark.parametrize("number", signals.TAKEN)
def test_while_modules_load_it_is_the_end_at_once(number):
    done = subprocess.run(
        [sys.executable, "-c", LOADING, str(int(number))], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout) == (128 + number, "")
    assert done.stderr == f"perfkit: interrupted by {number.name}\n"
