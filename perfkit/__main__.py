"""`python -m perfkit ...` is `perfkit ...`."""

import sys

try:
    from perfkit import signals
except KeyboardInterrupt:  # before there is a handler
    sys.stderr.write("perfkit: interrupted by SIGINT\n")
    sys.exit(130)


def main(*before: str) -> int:
    """Run the command line, with `before` in front of what was typed, and return its exit code."""
    signals.install()  # now, because ctrl-C may come while the rest loads
    from perfkit import streams
    from perfkit.errors import OutOfMemoryError, UsageError, naming_out_of_memory

    if not streams.settle():
        print("perfkit: standard output is closed: redirect it, to /dev/null if to nowhere", file=sys.stderr)
        return UsageError.exit_code
    try:
        with naming_out_of_memory():
            from perfkit import cli
    except OutOfMemoryError as error:
        print(f"perfkit: {error}", file=sys.stderr)
        return error.exit_code
    return cli.main([*before, *sys.argv[1:]])


if __name__ == "__main__":
    sys.exit(main())
