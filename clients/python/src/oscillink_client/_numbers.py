"""Arrays as they travel. What the service would refuse is refused here, with its name and place,
before much is sent."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

Numbers = npt.NDArray[Any]

DIMENSIONS = {"Y": 2, "psi": 1, "gates": 1, "chain": 1, "chain_weights": 1}
HINTS = {
    ("Y", 1): "; one row of it is Y[None, :]",
    ("psi", 2): "; one row of it is psi[0]",
}


def floats(name: str, value: npt.ArrayLike) -> Numbers:
    """float16 stays, the rest becomes float32, which the service computes with."""
    given = _array(name, value)
    if given.dtype.kind not in "fiub":
        raise TypeError(f"{name}: expected real numbers, got {given.dtype}")
    wanted = np.dtype("<f2" if given.dtype == np.float16 else "<f4")
    with np.errstate(over="ignore"):
        array = np.ascontiguousarray(given, dtype=wanted)
    finite = np.isfinite(array)
    if not finite.all():
        place = tuple(int(i) for i in np.argwhere(~finite)[0])
        found, where = given[place], ", ".join(map(str, place))
        why = "too large for float32" if np.isfinite(found) else "not a finite number"
        raise ValueError(f"{name}[{where}] is {found}, {why}")
    return array


def row_numbers(value: npt.ArrayLike) -> Numbers:
    """A chain."""
    rows = _array("chain", value)
    if rows.dtype.kind not in "iu":
        raise TypeError(f"chain: expected row numbers, got {rows.dtype}")
    return np.ascontiguousarray(rows, dtype="<i8")


def _array(name: str, value: npt.ArrayLike) -> Numbers:
    try:
        array = np.asarray(value)
    except (TypeError, ValueError) as error:
        # Rows of different lengths, tensors of another device.
        raise type(error)(f"{name}: {error}") from error
    expected = DIMENSIONS[name]
    if array.ndim != expected:
        hint = HINTS.get((name, array.ndim), "")
        raise ValueError(f"{name} has shape {array.shape}, expected {expected} dimensions{hint}")
    return array
