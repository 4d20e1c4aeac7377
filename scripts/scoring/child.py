"""One side of a planted program in a process of its own: python -m scripts.scoring.child NAME fault|healthy DEVICE.

It builds the program and warms it up, says so, and then does what each line of its input asks for, answering with a
line each: `time STEPS` gives the seconds of a step, `record STEPS STACKS FILE` too, and leaves a trace in the file.
"""

from __future__ import annotations

import sys
from pathlib import Path

from tests.planted.program import program
from tests.planted.running import Running


def main() -> None:
    name, side, device = sys.argv[1:]
    running = Running(program(name).build, side == "fault", device)
    print("ready", flush=True)
    for line in sys.stdin:
        what, steps, *rest = line.rstrip("\n").split(" ", 3)
        if what == "time":
            seconds = running.seconds_per_step(int(steps))
        else:
            stacks, file = rest
            seconds = running.record(Path(file), int(steps), stacks=stacks == "stacks")
        print(repr(seconds), flush=True)


if __name__ == "__main__":
    main()
