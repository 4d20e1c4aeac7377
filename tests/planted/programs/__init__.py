"""One file a fault. Each is a program of its own: `python tests/planted/programs/NAME.py --fault`."""
