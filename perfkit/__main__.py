"""`python -m perfkit ...` is `perfkit ...`."""

import sys


def main(*before: str) -> int:
    """Run the command line, with `before` in front of what was typed, and return its exit code."""
    try:
        from perfkit import cli  # here, because ctrl-C may come while it loads
    except KeyboardInterrupt:
        print("perfkit: interrupted", file=sys.stderr)
        return 130
    return cli.main([*before, *sys.argv[1:]])


if __name__ == "__main__":
    sys.exit(main())
