"""The tables of scripts/false-claims: how often equal sides are called different and absent patterns are named."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

import numpy as np

from perfkit.analysis.statistics import welch
from scripts.false_claims import drift, patterns, sizes

PAIRS = (
    (2, 2), (3, 3), (4, 4), (5, 5), (10, 10), (20, 20), (2, 3), (2, 4), (2, 5), (2, 10), (2, 20), (3, 4), (3, 5),
    (3, 10), (3, 20), (4, 5), (4, 10), (4, 20), (5, 6), (5, 10), (5, 20), (10, 20),
)  # fmt: skip
DESIGNS = ((2, 2), (3, 3), (5, 5), (10, 10), (2, 5), (4, 5), (5, 10))


def main(argv: Sequence[str] | None = None) -> int:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--trials", type=int, default=20_000, help="trials for each number (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="default: %(default)s")
    parser.add_argument("--only", nargs="+", choices=TABLES, default=list(TABLES), help="these tables only")
    options = parser.parse_args(argv)
    for place, name in enumerate(options.only):
        print("\n" * (place > 0), end="")
        TABLES[name](options.trials, options.seed)
    return 0


def _by_size(trials: int, seed: int) -> None:
    """Print the table by size; each cell has plain Welch first, then perfkit's intervals."""
    print("Equal sides called different, %: plain Welch -> perfkit; any: the worst of 5 ratios of spreads, 1/4 to 4.")
    print("power: how often the detectable difference that one comparison prints is found by the next.")
    print(f"{'n':8}" + "".join(f"{noise:>14}{'any':>14}" for noise in sizes.NOISE) + f"{'detectable':>16}{'power':>14}")
    tests = (sizes.plain, welch.welch)
    for n_a, n_b in PAIRS:
        cells = []
        for noise in sizes.NOISE:
            shares = [
                [sizes.claims(test, *sizes.groups(np.random.default_rng(seed), n_a, n_b, noise, ratio, trials))
                 for ratio in sizes.RATIOS]
                for test in tests
            ]  # fmt: skip
            chosen = [of[0] for of in shares], [max(of) for of in shares]
            cells += [f"{' -> '.join(f'{100 * share:.1f}' for share in of):>14}" for of in chosen]
        powers = [sizes.power(test, np.random.default_rng(seed), n_a, n_b) for test in tests]
        cells.append(f"{' -> '.join(f'{printed:.2f}' for printed, _ in powers):>16}")
        cells.append(f"{' -> '.join(f'{100 * power:.0f}' for _, power in powers):>14}")
        print(f"{f'{n_a}, {n_b}':8}" + "".join(cells), flush=True)


def _by_order(trials: int, seed: int) -> None:
    print(f"Equal sides called different, %, while something drifts by {', '.join(map(str, drift.SIZES))} standard")
    print("deviations of a process over the comparison (the worst of these).")
    print(f"{'n':8}{'order':22}" + "".join(f"{kind:>13}" for kind in drift.DRIFTS))
    for n_a, n_b in DESIGNS:
        generator = np.random.default_rng(seed)
        taken, refused = drift.any_order(generator, n_a, n_b)
        designs = {
            "all of A, then of B": drift.blocks(n_a, n_b),
            "random, refused": refused,
            "random, interleaved": taken,
        }
        if n_a == n_b:
            designs["rounds (--run)"] = drift.rounds(generator, n_a)
        for name, orders in designs.items():
            shares = drift.worst(generator, orders, trials)
            print(f"{f'{n_a}, {n_b}':8}{name:22}" + "".join(f"{100 * share:13.1f}" for _, share in shares), flush=True)


def _patterns(trials: int, seed: int) -> None:
    print("Series of n independent or correlated steps at a CV of 5%: a period named / several speeds named, %.")
    print(f"{'n':8}" + "".join(f"{noise:>16}" for noise in patterns.NOISE))
    for n in patterns.SIZES:
        shares = [patterns.named(np.random.default_rng(seed), n, noise, trials) for noise in patterns.NOISE]
        print(f"{n:<8}" + "".join(f"{f'{100 * a:.1f} / {100 * b:.1f}':>16}" for a, b in shares), flush=True)


TABLES = {"sizes": _by_size, "order": _by_order, "patterns": _patterns}
