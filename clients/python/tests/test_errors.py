"""What goes wrong, as the service says it and as it can be handled."""

from __future__ import annotations

import pickle
import re
from datetime import datetime, timezone
from typing import Any

import numpy as np
import pytest
from harness import ROOT, Connect, Server, matrix

import oscillink_client
from oscillink_client import (
    Client,
    IdempotencyMismatch,
    InvalidRequest,
    KeyInactive,
    NotFound,
    QuotaExceeded,
    TierRequired,
    TooLarge,
    Unauthorized,
)
from oscillink_client.errors import TYPES


def test_errors_are_what_the_service_says(connect: Connect, server: Server) -> None:
    client = connect(server.new_key())
    with pytest.raises(InvalidRequest) as caught:
        client.settle(matrix(4, 2), psi=[1.0, 2.0, 3.0], lamG=-1)
    error = caught.value
    assert (error.status, error.type) == (400, "urn:oscillink:problem:invalid-request")
    assert "params.lamG" in [field.field for field in error.errors]
    assert error.request_id
    # Whatever is at fault is told once.
    assert error.detail in str(error)
    for field in error.errors:
        assert str(error).count(field.detail) == 1
    # As a pool of processes does with it.
    again = pickle.loads(pickle.dumps(error))  # noqa: S301
    assert type(again) is InvalidRequest
    assert (str(again), vars(again)) == (str(error), vars(error))
    with pytest.raises(NotFound):
        client.get("job_0000000000000000000000")
    with pytest.raises(NotFound):
        client.get("../keys/self")
    with pytest.raises(Unauthorized):
        connect("ok_" + "0" * 43).usage()
    with pytest.raises(TierRequired):
        connect(server.new_key("free")).diffusion(matrix(4, 2))
    with pytest.raises(TooLarge):
        connect(server.new_key("free")).submit(matrix(1_001, 2))
    suspended = server.admin("POST", "/keys", json={"name": "s", "tier": "enterprise"})
    with pytest.raises(KeyInactive):
        connect(suspended["api_key"]).usage()


def test_every_type_of_error_has_a_class() -> None:
    listed = (ROOT / "docs/api.md").read_text().split("## Errors")[1].split("## ")[0]
    assert set(re.findall(r"^\| `([a-z-]+)` \|", listed, re.MULTILINE)) == set(TYPES)
    for kind in TYPES.values():
        assert getattr(oscillink_client, kind.__name__) is kind


def test_a_quota_that_is_used_up_is_not_waited_for(connect: Connect, server: Server) -> None:
    client = connect(server.new_key(monthly_units=100))
    client.settle(matrix(20, 4))
    with pytest.raises(QuotaExceeded) as caught:
        client.settle(matrix(20, 4))
    # Longer than any retry waits.
    assert caught.value.retry_after is not None
    assert caught.value.retry_after > 60 or datetime.now(timezone.utc).day >= 28


def test_idempotency_keys_of_the_caller(client: Client) -> None:
    Y = matrix(5, 2)
    first = client.submit(Y, idempotency_key="mine")
    assert client.submit(Y, idempotency_key="mine").job_id == first.job_id
    assert client.submit(Y).job_id != first.job_id
    with pytest.raises(IdempotencyMismatch):
        client.submit(Y, psi=Y[0], idempotency_key="mine")


def test_what_cannot_be_meant_is_refused_before_it_is_sent(client: Client) -> None:
    anything: Any = client
    with pytest.raises(TypeError, match="lamX"):
        anything.settle(matrix(3, 2), lamX=1)
    with pytest.raises(TypeError, match="real numbers"):
        client.settle(np.array([["a", "b"]]))
    with pytest.raises(TypeError, match="row numbers"):
        anything.settle(matrix(3, 2), chain=[0.5, 1])
    with pytest.raises(ValueError, match="not an id"):
        client.get("..")
