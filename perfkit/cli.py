"""The command line: runs the command that argv names and returns its exit code. Only this file prints errors."""

from __future__ import annotations

import gc
import importlib
import os
import resource
import sys
import traceback
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext, suppress
from signal import Signals
from typing import Literal

from cyclopts import App, CycloptsError, Parameter

from perfkit import __version__, lean, signals
from perfkit.errors import InterruptedRunError, PerfkitError, UsageError, naming_out_of_memory
from perfkit.schema.printable import printable

EXIT_USAGE = 2
_COMPLETE = "__complete"
"""What a shell asks for with the words typed so far, of which the last may be empty."""

_READERS = frozenset({"analyze", "compare", "explain", "history", "memory", "report"})
"""Commands that run nobody's code in this process."""

_EPILOGUE = (
    "Add --no-color to any command for plain output (as NO_COLOR in the environment does),"
    " and --debug for the traceback behind an error."
)


def _default(value: object) -> str | None:
    """A default as help shows it: none where nothing is chosen."""
    if value is None or value == ():
        return None
    return " ".join(map(str, value)) if isinstance(value, tuple) else str(value)


def build_app() -> App:
    """The command line. Commands are named by path and imported when called, so that help stays fast."""
    app = App(
        name="perfkit",
        help="Where each millisecond of a PyTorch step went, and why.",
        help_epilogue=_EPILOGUE,
        version=__version__,
        default_parameter=Parameter(negative=(), consume_multiple=True, show_default=_default),
        help_format="plaintext",
        result_action="return_value",
        suppress_keyboard_interrupt=False,
    )
    app.command("perfkit.commands.run:execute", name="run", help="Measure one configuration, plainly or profiled.")
    app.command("perfkit.commands.sweep:execute", name="sweep", help="Measure a grid of configurations.")
    app.command(
        "perfkit.commands.attention:execute", name="attention", help="Measure attention alone over a grid of shapes."
    )
    app.command(
        "perfkit.commands.analyze:execute", name="analyze", help="Show where the time of a trace or a run went."
    )
    app.command(
        "perfkit.commands.memory:execute", name="memory", help="Show what memory was for, from a snapshot or a run."
    )
    app.command(
        "perfkit.commands.compare:execute",
        name="compare",
        help="Say whether B is faster or slower than A, and how certain that is.",
    )
    app.command("perfkit.commands.tune:execute", name="tune", help="Try what findings advise, and say what it brought.")
    app.command(
        "perfkit.commands.report:execute", name="report", help="Write one HTML file with charts and a timeline."
    )
    app.command(
        "perfkit.commands.history:execute", name="history", help="Show the step time of each commit, and its changes."
    )
    app.command(
        "perfkit.commands.explain:execute", name="explain", help="Say what a table of times means, without a GPU."
    )
    app.command(
        "perfkit.commands.study:execute", name="study", help="Answer a question of an investigation, by its number."
    )
    app.command("perfkit.commands.doctor:execute", name="doctor", help="Show what this machine can measure.")

    @app.command(name="completion", help="Print what a shell needs to complete perfkit's commands, flags and names.")
    def completion(shell: Literal["bash", "zsh", "fish"], /) -> int:
        """Print what a shell needs to complete commands, flags, pictures, tables and folders of runs.

        Example: eval "$(perfkit completion bash)"
        """
        print(app.generate_completion(shell=shell))
        if shell == "zsh":  # without it the script is for a file that zsh loads by itself, and eval registers nothing
            print("compdef _cyclopts_perfkit perfkit")
        return 0

    return app


def main(argv: Sequence[str] | None = None, **seams: object) -> int:
    """Run one command and return its exit code. `seams` are arguments of the command that are not flags, for tests.

    0 for success; 1 for a bug or a full disk; 2 for a bad request; 3 for out of memory; from `compare --fail-on`, 4 for
    a failure and 5 if the measurements cannot tell; after a signal, 128 plus its number.
    """
    with signals.installed():
        code = _run(argv, seams)
        if signals.first() is not None:
            _let_go_of_streams()
    return code


def _run(argv: Sequence[str] | None, seams: dict[str, object]) -> int:
    arguments, script_arguments = _parted(sys.argv[1:] if argv is None else argv)
    if script_arguments:
        seams = {**seams, "arguments": tuple(script_arguments)}
    debug, plain = (flag in arguments for flag in ("--debug", "--no-color"))
    arguments = [argument for argument in arguments if argument not in ("--debug", "--no-color")]
    try:
        if arguments[:1] == [_COMPLETE]:
            build_app()(arguments)
            sys.stdout.flush()
            return 0
        with _no_color() if plain else nullcontext(), naming_out_of_memory(_memory_advice(arguments)):
            _try_numpy(arguments)
            if _only_reads(arguments):
                lean.load()
            command, bound, _ = build_app().parse_args(_checked(arguments), exit_on_error=False, print_error=False)
            if not gc.isenabled():  # off since __main__: what has been loaded is never garbage
                gc.freeze()
                gc.enable()
            with signals.raised(), signals.blamed():  # only here: the lines above load the command's modules
                code = command(*bound.args, **bound.kwargs, **seams)
                sys.stdout.flush()
                signals.check()
    except CycloptsError as error:
        _raise_if(debug, error)
        from perfkit.commands.inputs.refusals import refusal

        _tell(refusal(error))
        return EXIT_USAGE
    except PerfkitError as error:
        _raise_if(debug, error)
        _tell(str(error))
        return error.exit_code
    except KeyboardInterrupt as error:
        if debug:  # if it were raised, Python would end itself by SIGINT
            traceback.print_exc()
        return _interrupted(signals.by(error), error.__cause__)
    except OSError as error:
        _raise_if(debug and not isinstance(error, BrokenPipeError), error)
        return _stream_failed(error)
    except SystemExit as error:
        if isinstance(error.__context__, BrokenPipeError):  # rich raised it while it wrote the help
            return 0
        raise
    return code if isinstance(code, int) else 0


def _parted(typed: Sequence[str]) -> tuple[list[str], list[str]]:
    """perfkit's arguments, and those after `run ... --`, which are a script's, whatever they are."""
    arguments = list(typed)
    if arguments[:1] != ["run"] or "--" not in arguments:
        return arguments, []
    place = arguments.index("--")
    return arguments[:place], arguments[place + 1 :]


@contextmanager
def _no_color() -> Iterator[None]:
    """Every console of this process and of those that it starts is plain, as https://no-color.org asks for."""
    before = os.environ.get("NO_COLOR")
    os.environ["NO_COLOR"] = "1"
    try:
        yield
    finally:
        os.environ.pop("NO_COLOR")
        if before is not None:
            os.environ["NO_COLOR"] = before


def _stream_failed(error: OSError) -> int:
    """Handle a full disk, and a closed terminal or reader (head, less)."""
    has_reader = not isinstance(error, BrokenPipeError)
    if has_reader:
        _tell((f"{error.filename}: " if error.filename else "cannot write: ") + (error.strerror or str(error)))
    # Point stdout elsewhere; otherwise Python complains while it shuts down.
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return int(has_reader)


def _interrupted(number: Signals, told: BaseException | None) -> int:
    """Print which signal ended the command, and what was saved or what failed at the end."""
    if isinstance(told, InterruptedRunError):
        _tell(str(told))
    else:
        _tell(f"interrupted by {number.name}" + (f"; {told}" if isinstance(told, PerfkitError) else ""))
    return signals.exit_code(number)


def _tell(line: str) -> None:
    with suppress(OSError):  # standard error is closed
        print(f"perfkit: {printable(line)}", file=sys.stderr)


def _let_go_of_streams() -> None:
    """Redirect streams that cannot be written to; otherwise Python changes the exit code when it shuts down."""
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except OSError:
            os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def _only_reads(arguments: Sequence[str]) -> bool:
    """Whether a command reads and prints, without tables from workers whose pandas has pyarrow, which it would need."""
    has_others = any(argument.partition("=")[0] == "--scheduler" for argument in arguments)  # own workers are lean
    return bool(arguments) and arguments[0] in _READERS and not has_others


def _checked(arguments: Sequence[str]) -> list[str]:
    """The arguments, with the ~ of `--option=~/path` expanded, which few shells do. Empty arguments are refused."""
    for index, argument in enumerate(arguments):
        is_empty = not argument or (argument.startswith("--") and argument.endswith("="))
        if is_empty and "--run" not in arguments[max(index - 2, 0) : index]:  # --run takes two, which may be empty
            option = argument.rstrip("=") or arguments[max(index - 1, 0)]
            what = f"{option} ''" if option.startswith("-") else "''"
            raise UsageError(f"{what} is empty: give it a value, or leave it out")
        if "\0" in argument:
            raise UsageError(f"{argument!a} contains a zero byte: remove it")
    parts = [argument.partition("=~/") for argument in arguments]
    home = os.path.join(os.path.expanduser("~"), "")  # noqa: PTH111,PTH118 - a text, whatever the home is
    return [name + ("=" + home if mark and name.startswith("--") else mark) + rest for name, mark, rest in parts]


def _memory_advice(arguments: Sequence[str]) -> str:
    """Advice on how to use less memory, if there is any."""
    reads_it_all = arguments[:1] == ["analyze"] and "kernel_summary" not in arguments
    return "; for a large trace, --table kernel_summary needs the least" if reads_it_all else ""


def _try_numpy(arguments: Sequence[str]) -> None:
    """Raise MemoryError if numpy cannot be loaded.

    Under `ulimit -v` numpy's OpenBLAS may end or crash the process, so a child process tries to load it first.
    """
    is_command = arguments and not arguments[0].startswith("-")
    is_limited = resource.getrlimit(resource.RLIMIT_AS)[0] != resource.RLIM_INFINITY
    if not (is_command and is_limited) or "numpy" in sys.modules:
        return
    child = os.fork()
    if not child:
        silent = os.open(os.devnull, os.O_WRONLY)
        os.dup2(silent, 1)
        os.dup2(silent, 2)
        try:
            importlib.import_module("numpy")
        finally:  # no exception may leave this block in a copy of this process
            os._exit(sys.exception() is not None)
    if os.waitpid(child, 0)[1]:
        raise MemoryError


def _raise_if(debug: bool, error: BaseException) -> None:
    if debug:
        raise error


if __name__ == "__main__":
    sys.exit(main())
