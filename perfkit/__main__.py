"""`python -m perfkit ...` is `perfkit ...`."""

import atexit
import contextlib
import gc
import os
import sys
from typing import NoReturn

try:
    from perfkit import signals
except KeyboardInterrupt:  # before there is a handler
    sys.stderr.write("perfkit: interrupted by SIGINT\n")
    sys.exit(130)


def program() -> int:
    """Run perfkit as the program that this process is: what `perfkit` and `python -m perfkit` call.

    What is registered first is called last at the end of Python. Whoever registered something before, as coverage
    does, is not passed over: then the process ends as any does.
    """
    codes: list[int] = []
    if not atexit._ncallbacks():
        atexit.register(_end, codes)
    codes.append(main())
    return codes[0]


def _end(codes: list[int]) -> None:
    """End the process without taking pandas, NumPy and pyarrow apart object by object, which takes 25 ms.

    By now threads have ended and all else that is called at the end of Python was called. Not after an exception, and
    not where torch is loaded, whose profilers and process groups finish only when C++ takes its objects apart.
    """
    if not codes or "torch" in sys.modules:
        return
    try:
        for stream in (sys.stdout, sys.stderr):
            if stream is not None:  # it is closed from the beginning
                stream.flush()
    except OSError:  # for Python to say
        return
    os._exit(codes[0])


def main(*before: str) -> int:
    """Run the command line, with `before` in front of what was typed, and return its exit code."""
    sys.argv[1:1] = before  # a record says what was run by this
    gc.disable()  # what is loaded stays: cli has it looked through no more once the command is there
    signals.install()  # now, because ctrl-C may come while the rest loads
    from perfkit import streams
    from perfkit.errors import OutOfMemoryError, UsageError, naming_out_of_memory

    if not streams.settle():
        print("perfkit: standard output is closed: redirect it to a file or to /dev/null", file=sys.stderr)
        return UsageError.exit_code
    try:
        with naming_out_of_memory():
            from perfkit import cli
    except OutOfMemoryError as error:
        print(f"perfkit: {error}", file=sys.stderr)
        return _left(error.exit_code)
    try:
        code = cli.main(sys.argv[1:])
    finally:
        signals.ignored()
    gc.freeze()  # and is not looked through at the end either
    return _left(code) if code == OutOfMemoryError.exit_code else code


def _left(code: int) -> NoReturn:
    """Leave now: without memory libraries crash while the interpreter takes them apart, and the code is lost."""
    with contextlib.suppress(OSError):
        sys.stdout.flush()
    os._exit(code)


if __name__ == "__main__":
    sys.exit(program())
