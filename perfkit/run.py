"""`python -m perfkit.run ...` is `perfkit run ...`: the form that `nsys profile` is given."""

import sys

from perfkit.__main__ import main

if __name__ == "__main__":
    sys.exit(main("run"))
