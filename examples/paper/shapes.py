"""Section 5: the shape of a loss in the two-class view, where y is the true class's probability."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.polynomial import Polynomial


def two_class_loss(params: Mapping[str, float]) -> Polynomial:
    """Return equation (1) for x = (1, 0) and outputs (y, 1 − y), a cubic in y."""
    t0, t1, t2, t3, t4, t5, t6, t7 = (params[f"theta_{i}"] for i in range(8))

    def bracket(x: float, y: Polynomial) -> Polynomial:
        u, w = y - t1, x - t0
        terms: Polynomial = (
            t2 * u
            + t3 / 2 * u**2
            + t4 / 6 * u**3
            + t5 * w * u
            + t6 / 2 * w * u**2
            + t7 / 2 * w**2 * u
        )
        return terms

    y = Polynomial([0.0, 1.0])
    loss: Polynomial = -(bracket(1.0, y) + bracket(0.0, 1 - y)) / 2
    return loss


def slope_at_certainty(params: Mapping[str, float]) -> float:
    """Return dL/dy at y = 1; the paper reads a positive one as regularisation."""
    return float(two_class_loss(params).deriv()(1.0))


def position_of_minimum(params: Mapping[str, float]) -> float:
    """Return the y in [0, 1] where the loss is least."""
    loss = two_class_loss(params)
    turning = loss.deriv().roots()
    inside = turning[(np.abs(turning.imag) < 1e-9) & (turning.real > 0) & (turning.real < 1)]
    return float(min((*inside.real, 0.0, 1.0), key=loss))
