"""`python -m perfkit ...` is `perfkit ...`."""

import sys

from perfkit.cli import main

if __name__ == "__main__":
    sys.exit(main())
