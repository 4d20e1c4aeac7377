"""Command names; argv -> one command -> exit code. The only place that turns an error into text."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

from cyclopts import App, CycloptsError, Parameter

from perfkit import __version__
from perfkit.errors import PerfkitError, UsageError, naming_out_of_memory

EXIT_USAGE = 2
EXIT_INTERRUPTED = 130

_EPILOGUE = "Add --debug to any command for the traceback behind an error."


def build_app() -> App:
    """The command line. Commands are named by path and imported when called, so that help stays fast."""
    app = App(
        name="perfkit",
        help="Where each millisecond of a PyTorch step went, and why.",
        help_epilogue=_EPILOGUE,
        version=__version__,
        default_parameter=Parameter(negative=(), consume_multiple=True),
        help_format="plaintext",
        result_action="return_value",
        suppress_keyboard_interrupt=False,
    )
    app.command("perfkit.commands.run:execute", name="run", help="Measure one configuration, plainly or profiled.")
    app.command("perfkit.commands.sweep:execute", name="sweep", help="Measure a grid of configurations.")
    app.command("perfkit.commands.analyze:execute", name="analyze", help="Tables from a trace or a run's folder.")
    app.command("perfkit.commands.compare:execute", name="compare", help="Is B faster or slower than A, and how sure.")
    app.command("perfkit.commands.doctor:execute", name="doctor", help="What this machine can measure.")
    return app


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code.

    0; 1 for a bug or a full disk; 2 for a bad request; 3 out of memory; of `compare --fail-on` 4 for a failure and 5
    where the measurements cannot tell; 130 interrupted.
    """
    arguments = list(sys.argv[1:] if argv is None else argv)
    debug = "--debug" in arguments
    if debug:
        arguments.remove("--debug")
    try:
        with naming_out_of_memory():
            code = build_app()(_checked(arguments), exit_on_error=False, print_error=True)
        sys.stdout.flush()
    except CycloptsError as error:
        _raise_if(debug, error)
        return EXIT_USAGE
    except PerfkitError as error:
        _raise_if(debug, error)
        print(f"perfkit: {error}", file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt as error:
        _raise_if(debug, error)
        print("perfkit: interrupted", file=sys.stderr)
        return EXIT_INTERRUPTED
    except BrokenPipeError:
        # The reader (head, less) has gone. Point stdout elsewhere, or Python complains while it shuts down.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except OSError as error:  # a full disk, a stream that went away
        _raise_if(debug, error)
        place = f"{error.filename}: " if error.filename else "cannot write: "
        print(f"perfkit: {place}{error.strerror or error}", file=sys.stderr)
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except SystemExit as error:
        if isinstance(error.__context__, BrokenPipeError):  # of rich, which wrote the help
            return 0
        raise
    return code if isinstance(code, int) else 0


def _checked(arguments: Sequence[str]) -> list[str]:
    """The arguments, with the ~ of `--option=~/path` spelled out, as few shells do; an empty one is no path."""
    for index, argument in enumerate(arguments):
        is_empty = not argument or (argument.startswith("--") and argument.endswith("="))
        if is_empty and "--run" not in arguments[max(index - 2, 0) : index]:  # two texts of flags, which may be none
            option = argument.rstrip("=") or arguments[max(index - 1, 0)]
            what = f"{option} ''" if option.startswith("-") else "''"
            raise UsageError(f"{what}: is empty; give it a value, or leave it out")
        if "\0" in argument:
            raise UsageError(f"{argument!a}: no value has a zero byte in it")
    parts = [argument.partition("=~/") for argument in arguments]
    home = os.path.join(os.path.expanduser("~"), "")  # noqa: PTH111,PTH118 - a text, whatever the home is
    return [name + ("=" + home if mark and name.startswith("--") else mark) + rest for name, mark, rest in parts]


def _raise_if(debug: bool, error: BaseException) -> None:
    if debug:
        raise error


if __name__ == "__main__":
    sys.exit(main())
