"""What schemathesis has to know about this API beyond its OpenAPI document.

A schema cannot say that the rows of a matrix have one length, or that a vector fits it: requests
that are meant to be accepted are made to fit before they are sent. Those that are meant to be
refused stay as they are, and no check is left out.
"""

from __future__ import annotations

import io
import itertools
import json
import os
import threading
from pathlib import Path
from typing import Any

import numpy as np
import schemathesis
from hypothesis import strategies as st
from schemathesis.openapi.checks import RejectedPositiveData, UseAfterFree
from schemathesis.transport.serialization import Binary

NDJSON = "application/x-ndjson"
ADMIN = "/v1/admin"
FILTERED = {f"{ADMIN}/jobs/cancel", f"{ADMIN}/jobs/retry"}
FILTERS_OF_A_KEY = ("status", "kind", "since")
FILTERS = ("key_id", "queue", "kind", "status", "created_before")
CHAINS = {"/v1/chain/receipt", "/v1/jobs/chain"}

_serial = itertools.count()
_lock = threading.Lock()


@st.composite
def _matrices(draw: st.DrawFn) -> np.ndarray[Any, Any]:
    n, d, seed = draw(st.integers(2, 9)), draw(st.integers(1, 5)), draw(st.integers(0, 1 << 30))
    kind = draw(st.sampled_from(["<f4", "<f8", "<f2", ">f4"]))
    rows = np.random.default_rng(seed).standard_normal((n, d)).astype(kind)
    return np.asfortranarray(rows) if draw(st.booleans()) else rows


def _npy(Y: np.ndarray[Any, Any]) -> bytes:
    out = io.BytesIO()
    np.save(out, Y, allow_pickle=False)
    return out.getvalue()


def _npz(Y: np.ndarray[Any, Any]) -> bytes:
    out = io.BytesIO()
    np.savez_compressed(out, Y=Y, psi=Y[0], chain=np.arange(min(3, len(Y))))
    return out.getvalue()


schemathesis.openapi.media_type("application/x-npy", _matrices().map(_npy))
schemathesis.openapi.media_type("application/zip", _matrices().map(_npz))


@schemathesis.serializer(NDJSON)
def _lines(_: schemathesis.SerializationContext, value: Any) -> bytes:
    """The line that was generated, as it is."""
    return value if isinstance(value, bytes) else json.dumps(value).encode() + b"\n"


@schemathesis.deserializer(NDJSON)
def _answer(_: schemathesis.DeserializationContext, response: schemathesis.Response) -> Any:
    """The answer to the one line that is sent, for the document's schema of an answer."""
    (line,) = response.content.splitlines()
    return json.loads(line)


@schemathesis.hook
def before_call(_: Any, case: schemathesis.Case, kwargs: dict[str, Any]) -> None:
    body = case.body if isinstance(case.body, dict) else {}
    if str(body.get("callback_url")).startswith("https://"):
        # Nobody is to be called.
        body["callback_url"] = "https://hooks.invalid/"
    if case.meta is None or not case.meta.generation.mode.is_positive:
        return
    if case.headers and "Idempotency-Key" in case.headers:
        # A key stands for one request; two different ones are refused, as they should be.
        case.headers["Idempotency-Key"] = f"fuzz-{os.getpid()}-{next(_serial)}"
    # Only the service makes cursors.
    (case.query or {}).pop("cursor", None)
    if case.operation.path == f"{ADMIN}/jobs" and case.query is not None:
        # Either a key, perhaps with more, or a queue.
        for name in FILTERS_OF_A_KEY if "key_id" not in case.query else ["queue"]:
            case.query.pop(name, None)
        if "key_id" not in case.query:
            case.query.setdefault("queue", "settle")
    _make_fit(case)
    # Valid before and after; schemathesis takes bytes in the place of a binary string for invalid.
    case._sync_validated_hashes()


def _make_fit(case: schemathesis.Case) -> None:
    if not isinstance(case.body, dict):
        return
    if case.operation.path.startswith(ADMIN):
        _make_fit_for_operators(case.operation.path, case.body)
        return
    chain = case.operation.path in CHAINS or case.body.get("kind") == "chain"
    if case.media_type == "multipart/form-data":
        Y = np.arange(6, dtype="<f4").reshape(3, 2)
        case.body["Y"] = Binary(_npy(Y))
        if chain and not isinstance(case.body.get("params"), dict):
            case.body["params"] = {}
        if isinstance(case.body.get("params"), dict):
            _fit(case.body["params"], *Y.shape, chain)
    elif isinstance(case.body.get("Y"), list):
        width = min(map(len, case.body["Y"]))
        case.body["Y"] = [row[:width] for row in case.body["Y"]]
        if len(case.body["Y"]) == 1:
            # A chain needs two.
            case.body["Y"] *= 2
        _fit(case.body, len(case.body["Y"]), width, chain)


def _make_fit_for_operators(path: str, body: dict[str, Any]) -> None:
    body.pop("cursor", None)
    if body.get("all") is True:
        for name in FILTERS:
            body.pop(name, None)
    elif path in FILTERED and not any(body.get(name) for name in FILTERS):
        body["all"] = True
    # The longest is no shorter than the shortest, which may have been set before.
    body.pop("min_backoff_ms", None)
    body.pop("max_backoff_ms", None)
    _write_integers_as_such(body)


def _write_integers_as_such(body: dict[str, Any]) -> None:
    """`1.0` is an integer for JSON Schema, but not for the parser of operators' documents."""
    for name, value in body.items():
        if isinstance(value, dict):
            _write_integers_as_such(value)
        elif isinstance(value, float) and value.is_integer():
            body[name] = int(value)


def _fit(body: dict[str, Any], n: int, d: int, needs_chain: bool) -> None:
    """Vectors as long as they have to be, and nothing that excludes something else."""
    if needs_chain and body.get("chain") is None:
        body["chain"] = [0, n - 1]
    if isinstance(body.get("psi"), list):
        body["psi"] = _as_long(body["psi"], d)
    if isinstance(body.get("gates"), list):
        body["gates"] = _as_long(body["gates"], n)
        if body.get("diffusion") is not None:
            del body["gates"]
    chain = body.get("chain")
    if isinstance(chain, list):
        # No row twice in a row.
        body["chain"] = [place % n for place in range(len(chain))]
    if not isinstance(chain, list):
        body.pop("chain_weights", None)
    elif isinstance(body.get("chain_weights"), list):
        body["chain_weights"] = _as_long(body["chain_weights"], len(chain) - 1)


def _as_long(values: list[Any], length: int) -> list[Any]:
    return (values + [0.0] * length)[:length]


@schemathesis.hook
def filter_failure(
    _: Any, failure: schemathesis.core.failures.Failure, case: Any, response: schemathesis.Response
) -> bool:
    """False drops: numbers that single precision cannot compute with may be refused, and a job that
    was cancelled can still be looked at."""
    if isinstance(failure, UseAfterFree):
        return not case.operation.path.startswith("/v1/jobs/")
    return not (isinstance(failure, RejectedPositiveData) and _is_beyond_float32(response.text))


def _is_beyond_float32(text: str) -> bool:
    return "overflows float32" in text or "too ill-conditioned to solve in float32" in text


@schemathesis.check
def lines_of_a_batch(_: Any, response: schemathesis.Response, case: schemathesis.Case) -> None:
    """A batch is answered with 200 whatever its lines are: each line says what became of it."""
    if (
        case.media_type != NDJSON
        or response.status_code != 200
        or response.request.method != "POST"
    ):
        return
    assert case.meta is not None
    (line,) = [json.loads(line) for line in response.content.splitlines()]
    accepted = line["status"] == 202
    assert line["status"] < 500, line
    assert accepted == ("job_id" in line) == ("error" not in line), line
    if case.meta.generation.mode.is_positive:
        assert accepted or _is_beyond_float32(response.text), line
    _note(f"batch line {line['status']}")


@schemathesis.hook
def after_call(_: Any, case: schemathesis.Case, response: schemathesis.Response) -> None:
    _note("cases")
    _note(f"{case.operation.label} {response.status_code}")


def _note(what: str) -> None:
    """One line each, for the program that has started this one to count."""
    with _lock, Path(os.environ.get("FUZZ_COUNTS", os.devnull)).open("a") as file:
        file.write(f"{what}\n")
