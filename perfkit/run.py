"""`python -m perfkit.run ...` is `perfkit run ...`: the form that `nsys profile` is given."""

import sys

from perfkit.cli import main

if __name__ == "__main__":
    sys.exit(main(["run", *sys.argv[1:]]))
