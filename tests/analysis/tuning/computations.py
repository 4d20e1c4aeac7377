"""What steps computed, made by hand."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from perfkit.schema.computed import Computed


def computed(
    losses: Sequence[float] = (2.0, 1.0), weight: Sequence[float] = (3.0, 4.0), bias: float = 12.0, **more: Any
) -> Computed:
    """Two steps with gradients of a weight of two numbers and a bias of one, whole: norms 5 and 12, in all 13."""
    norms = [[math.hypot(*weight), abs(bias)]] * len(losses)
    samples = [[*weight, bias]] * len(losses)
    fields: dict[str, Any] = {
        "sizes": np.array([2, 1]),
        "names": ("weight", "bias"),
        "precision": "fp32",
        "batch": ((4, 2),),
    }
    return Computed(np.array(losses), np.array(norms), np.array(samples), **(fields | more))
