"""Arrays that cannot be meant are refused by name and place, before anything is sent."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from harness import Connect, Proxy, Server, matrix

from oscillink_client import BatchItem, Client

Y = matrix(6, 3)


def holed(value: float) -> Any:
    array = Y.astype(np.float64)
    array[4, 1] = value
    return array


@pytest.mark.parametrize(
    ("problem", "kind", "reason"),
    [
        ({"Y": Y[0]}, ValueError, r"Y has shape \(3,\), expected 2 dimensions.*Y\[None, :\]"),
        ({"Y": Y[None]}, ValueError, r"Y has shape \(1, 6, 3\), expected 2 dimensions$"),
        ({"Y": holed(np.nan)}, ValueError, r"Y\[4, 1\] is nan, not a finite number"),
        ({"Y": holed(-np.inf)}, ValueError, r"Y\[4, 1\] is -inf, not a finite number"),
        ({"Y": holed(1e300)}, ValueError, r"Y\[4, 1\] is 1e\+300, too large for float32"),
        ({"Y": [[1, 2], [3]]}, ValueError, r"Y: .*inhomogeneous"),
        ({"Y": [[1, None]]}, TypeError, "Y: expected real numbers, got object"),
        ({"Y": Y.astype(complex)}, TypeError, "Y: expected real numbers, got complex128"),
        ({"Y": [["a"]]}, TypeError, "Y: expected real numbers, got <U1"),
        ({"psi": Y[:1]}, ValueError, r"psi has shape \(1, 3\), expected 1 dim.*psi\[0\]"),
        ({"psi": 1.0}, ValueError, r"psi has shape \(\)"),
        ({"psi": [1, np.nan, 0]}, ValueError, r"psi\[1\] is nan"),
        ({"gates": np.ones((6, 1))}, ValueError, r"gates has shape \(6, 1\)"),
        ({"chain": [0.5, 1]}, TypeError, "chain: expected row numbers, got float64"),
        ({"chain": [[0, 1]]}, ValueError, "chain has shape"),
        ({"chain": [0, 1], "chain_weights": ["x"]}, TypeError, "chain_weights: expected real"),
    ],
)
def test_what_makes_no_sense(
    connect: Connect, proxy: Proxy, problem: Any, kind: type[Exception], reason: str
) -> None:
    client = connect("ok_x", proxy.url)
    problem = {"Y": Y, **problem}
    with pytest.raises(kind, match=f"^{reason}"):
        client.settle(**problem)
    with pytest.raises(kind, match=f"^{reason}"):
        client.submit(**problem)
    with pytest.raises(kind, match=f"^item 1: {reason}"):
        client.submit_batch([BatchItem(Y), BatchItem(**problem)])
    assert proxy.requests == []


@pytest.mark.parametrize("kind", [np.int8, np.uint64, np.int64, np.bool_, np.longdouble])
def test_numbers_of_every_kind(client: Client, kind: type[np.generic]) -> None:
    numbers = (np.arange(12).reshape(4, 3) % 2).astype(kind)
    expected = client.settle(numbers.astype(np.float32), psi=[1.0, 0.0, 1.0]).state_sig
    assert client.settle(numbers, psi=[1, 0, 1]).state_sig == expected
    # Views of another layout.
    assert client.settle(numbers[::-1][::-1], psi=(1, 0, 1)).state_sig == expected


def test_what_knows_how_to_become_an_array(client: Client, server: Server) -> None:
    class Tensor:
        def __array__(self, dtype: Any = None, copy: Any = None) -> Any:
            return Y

    assert client.settle(Tensor()).state_sig == client.settle(Y).state_sig
