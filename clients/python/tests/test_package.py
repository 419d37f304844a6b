"""What is installed is what was built."""

from __future__ import annotations

import importlib.metadata
import os
import sys
from pathlib import Path

import numpy as np
import pytest

import oscillink_client
from oscillink_client import Answer, Client, Job, UnexpectedAnswer
from oscillink_client._decode import decode


@pytest.mark.skipif(
    os.environ.get("OSCILLINK_CLIENT_WHEEL") != "1", reason="make test-python installs the wheel"
)
def test_the_wheel_is_what_is_tested() -> None:
    folder = Path(oscillink_client.__file__).parent
    assert folder.is_relative_to(sys.prefix)
    assert (folder / "py.typed").is_file()
    names = {path.name for path in importlib.metadata.files("oscillink-client") or []}
    assert "conftest.py" not in names
    license = importlib.metadata.metadata("oscillink-client")["License-Expression"]
    assert license == "Apache-2.0"


def test_every_public_name_is_there_and_documented() -> None:
    for name in oscillink_client.__all__:
        assert hasattr(oscillink_client, name)
    for name in dir(Client):
        if not name.startswith("_"):
            assert getattr(Client, name).__doc__, name
    sync, asynchronous = (
        {name for name in dir(kind) if not name.startswith("_")} - {"close", "aclose"}
        for kind in (Client, oscillink_client.AsyncClient)
    )
    assert sync == asynchronous


META = {
    "N": 1,
    "D": 1,
    "kneighbors_requested": 6,
    "kneighbors_effective": 1,
    "lam": {"G": 1, "C": 0.5, "Q": 4, "P": 0},
    "usage": {"nodes": 1, "node_dim_units": 1},
}


def test_answers_of_a_newer_service_are_read() -> None:
    document = {"state_sig": "s", "timings_ms": {"x": 1}, "meta": META, "new": [1]}
    answer = decode(Answer, {**document, "arrays": {"u": [[1, 2]]}})
    assert answer.receipt is None
    assert answer.meta.lam.G == 1.0
    np.testing.assert_array_equal(answer.arrays["u"], [[1, 2]])


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"state_sig": 3}, "state_sig"),
        ({"meta": {**META, "N": True}}, "meta: N"),
        ({"meta": {}}, "meta: N is missing"),
        ({"timings_ms": {"x": "1"}}, "timings_ms"),
        ({"bundle": {}}, "bundle"),
    ],
)
def test_answers_that_make_no_sense(change: dict[str, object], reason: str) -> None:
    document = {"state_sig": "s", "timings_ms": {"x": 1}, "meta": META, **change}
    with pytest.raises(UnexpectedAnswer, match=reason):
        decode(Answer, document)
    with pytest.raises(UnexpectedAnswer, match="Job"):
        decode(Job, [])
