"""What the first steps of a run computed, as a small file: by it another run is known to compute the same."""

from __future__ import annotations

import json
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, cast, get_args

import numpy as np
import numpy.typing as npt

from perfkit.errors import UsageError

FILE = "computed.npz"
KIND = "computed"
"""The kind of this artifact in a record."""

Arithmetic = Literal["fp64", "fp32", "tf32", "bf16", "fp16"]

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Computed:
    """Of each of S steps: the loss, and of each of P gradients its norm and some of its numbers, K in all.

    A run without backward has outputs in place of gradients, and no loss.
    """

    losses: Floats
    """(S,); nan without a loss."""
    norms: Floats
    """(S, P)."""
    samples: Floats
    """(S, K), those of the first gradient first."""
    sizes: npt.NDArray[np.int64]
    """(P,): how many of the K are each gradient's."""
    names: tuple[str, ...]
    """(P,): the parameters' paths."""
    precision: Arithmetic
    """What it was computed in: that of autocast or of matmuls, else that of the weights."""
    batch: tuple[tuple[int, ...], ...] = ()
    """Shapes of the tensors that the model is given, and perfkit's own loss."""


def save(computed: Computed, folder: Path) -> None:
    """Write it into a run's folder. Raises UsageError where the folder cannot be written."""
    path = folder / FILE
    try:
        with path.open("wb") as stream:
            np.savez_compressed(
                stream,
                losses=computed.losses,
                norms=computed.norms,
                samples=computed.samples,
                sizes=computed.sizes,
                names=np.array(computed.names, dtype=np.str_),
                precision=np.array(computed.precision),
                batch=np.array(json.dumps(computed.batch)),
            )
    except OSError as error:
        raise UsageError(f"{path}: cannot be saved: {error.strerror}; choose another --traces-dir") from error


def load(folder: Path) -> Computed:
    """Read it from a run's folder. Raises UsageError where it cannot be read."""
    path = folder / FILE
    try:
        with np.load(path, allow_pickle=False) as held:
            names = tuple(held["names"].tolist())
            precision = str(held["precision"])
            if precision not in get_args(Arithmetic):
                raise ValueError(f"precision {precision!r}")
            batch = tuple(map(tuple, json.loads(str(held["batch"]))))
            numbers = (held["losses"], held["norms"], held["samples"], held["sizes"])
            return Computed(*numbers, names, cast("Arithmetic", precision), batch)
    except OSError as error:
        raise UsageError(f"{path}: {error.strerror or error}") from error
    except (KeyError, ValueError, EOFError, zipfile.BadZipFile) as error:
        raise UsageError(f"{path}: not what perfkit saves of results ({error})") from error
