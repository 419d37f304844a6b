"""Every request of the API: how it is made, and how its answer is read. Nothing is sent here."""

from __future__ import annotations

import io
import uuid
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Callable, Generic, TypeVar, Union
from urllib.parse import quote

import httpx
import numpy as np
import numpy.typing as npt

from . import _encode as encode
from ._decode import decode, decode_json, parse_json
from .account_models import CallbackSecret, Key, LedgerRow, RotatedKey, Usage
from .errors import UnexpectedAnswer
from .models import Answer, Array, BatchLine, Job

T = TypeVar("T")

SOLVES = {
    "settle": "/v1/settle",
    "receipt": "/v1/receipt",
    "bundle": "/v1/bundle",
    "chain_receipt": "/v1/chain/receipt",
    "diffusion": "/v1/settle/diffusion",
}
"""Synchronous operations."""

OPERATIONS: Mapping[encode.JobKind, str] = {
    "settle": "settle",
    "diffusion": "diffusion",
    "chain": "chain_receipt",
}
"""Those that answer as a kind of job does."""

LONGEST_HOLD_S = 30
"""How long an answer may be held back: shorter than what proxies allow a silent connection."""

JobRef = Union[str, Job]
"""A job, or its id."""


@dataclass(frozen=True)
class Call(Generic[T]):
    """A request that may be sent again without harm, and the meaning of its answer."""

    method: str
    path: str
    read: Callable[[httpx.Response], T]
    query: Mapping[str, str] = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)
    content: bytes | None = None
    held_s: float = 0.0
    """How long the service may hold the answer back, beyond what it needs for it."""


@dataclass(frozen=True)
class Page(Generic[T]):
    items: list[T]
    next_cursor: str | None


def _json(kind: type[T]) -> Callable[[httpx.Response], T]:
    return lambda response: decode_json(kind, response.content)


def _page(kind: type[T]) -> Callable[[httpx.Response], Page[T]]:
    def read(response: httpx.Response) -> Page[T]:
        document = parse_json(response.content)
        if not isinstance(document, dict) or not isinstance(document.get("items"), list):
            raise UnexpectedAnswer("the answer is not a list")
        items = [decode(kind, item) for item in document["items"]]
        return Page(items, document.get("next_cursor"))

    return read


def _npy(response: httpx.Response) -> Array:
    if response.headers.get("content-type") != "application/x-npy":
        raise UnexpectedAnswer("the answer is not an npy array")
    try:
        array: Array = np.load(io.BytesIO(response.content), allow_pickle=False)
    except (ValueError, EOFError) as error:
        raise UnexpectedAnswer(f"the answer is not an npy array: {error}") from error
    return array


def _or_job(read: Callable[[httpx.Response], T]) -> Callable[[httpx.Response], T | Job]:
    """The answer, or the job that the work has become."""
    return lambda response: (
        decode_json(Job, response.content) if response.status_code == 202 else read(response)
    )


def _once(idempotency_key: str | None) -> dict[str, str]:
    """Made here, once a call, so that every sending of the request carries the same key."""
    key = uuid.uuid4().hex if idempotency_key is None else idempotency_key
    if not (0 < len(key) <= 255 and key.isascii() and key.isprintable() and " " not in key):
        raise ValueError("idempotency_key: expected 1 to 255 visible ASCII characters")
    return {"Idempotency-Key": key}


def solve(
    operation: str,
    Y: npt.ArrayLike,
    problem: encode.Solve,
    idempotency_key: str | None,
    wait_s: float | None = None,
) -> Call[Answer | Job]:
    """With `wait_s`, work that is too large to be answered at once may become a job."""
    problem = encode.diffused(problem) if operation == "diffusion" else problem
    read = _or_job(_json(Answer))
    return _solve(SOLVES[operation], Y, problem, idempotency_key, read, wait_s=wait_s)


def settle_array(
    Y: npt.ArrayLike,
    name: encode.ArrayName,
    problem: encode.Solve,
    idempotency_key: str | None,
    wait_s: float | None = None,
) -> Call[Array | Job]:
    problem = {**problem, "arrays": [name], "include_receipt": False}
    extra = {"Accept": "application/x-npy, application/problem+json"}
    read = _or_job(_npy)
    return _solve(SOLVES["settle"], Y, problem, idempotency_key, read, extra, wait_s=wait_s)


def submit(
    kind: encode.JobKind,
    Y: npt.ArrayLike,
    problem: encode.Solve,
    *,
    custom_id: str | None,
    callback_url: str | None,
    idempotency_key: str | None,
) -> Call[Job]:
    problem = encode.diffused(problem) if kind == "diffusion" else problem
    named = {"custom_id": custom_id, "callback_url": callback_url}
    query = {name: value for name, value in named.items() if value is not None}
    path = f"/v1/jobs/{_segment(kind)}"
    return _solve(path, Y, problem, idempotency_key, _json(Job), query=query)


def _solve(
    path: str,
    Y: npt.ArrayLike,
    problem: encode.Solve,
    idempotency_key: str | None,
    read: Callable[[httpx.Response], T],
    headers: Mapping[str, str] | None = None,
    query: Mapping[str, str] | None = None,
    wait_s: float | None = None,
) -> Call[T]:
    content, media = encode.body(Y, problem)
    held_s = int(min(LONGEST_HOLD_S, wait_s or 0))
    preferred = f"respond-async, wait={held_s}" if held_s > 0 else "respond-async"
    return Call(
        "POST",
        path,
        read,
        {**encode.query(problem), **(query or {})},
        {
            "Content-Type": media,
            **_once(idempotency_key),
            **({} if wait_s is None else {"Prefer": preferred}),
            **(headers or {}),
        },
        content,
        held_s,
    )


def submit_batch(lines: Iterable[bytes], idempotency_key: str | None) -> Call[list[BatchLine]]:
    def read(response: httpx.Response) -> list[BatchLine]:
        return [decode_json(BatchLine, line) for line in response.iter_lines() if line]

    headers = {"Content-Type": "application/x-ndjson", **_once(idempotency_key)}
    return Call("POST", "/v1/jobs/batch", read, headers=headers, content=b"".join(lines))


def get(job: JobRef, wait_s: int = 0) -> Call[Job]:
    query = {"wait": str(wait_s)} if wait_s else {}
    return Call("GET", _job(job), _json(Job), query, held_s=wait_s)


def events(job: JobRef, last_event_id: str | None) -> Call[None]:
    headers = {"Accept": "text/event-stream"}
    if last_event_id is not None:
        headers["Last-Event-ID"] = last_event_id
    return Call("GET", _job(job, "/events"), lambda _: None, headers=headers)


def result(job: JobRef) -> Call[Answer]:
    return Call("GET", _job(job, "/result"), _json(Answer))


def array(job: JobRef, name: encode.ArrayName) -> Call[Array]:
    return Call("GET", _job(job, "/result"), _npy, {"array": name})


def cancel(job: JobRef) -> Call[Job]:
    return Call("DELETE", _job(job), _json(Job))


def jobs(
    cursor: str | None,
    *,
    status: str | None,
    kind: str | None,
    since: datetime | str | None,
    page_size: int,
) -> Call[Page[Job]]:
    # A time without a zone is one of here.
    moment = since.astimezone().isoformat() if isinstance(since, datetime) else since
    named = {"status": status, "kind": kind, "since": moment}
    return Call("GET", "/v1/jobs", _page(Job), _listed(named, cursor, page_size))


def ledger(cursor: str | None, page_size: int) -> Call[Page[LedgerRow]]:
    return Call("GET", "/v1/usage/ledger", _page(LedgerRow), _listed({}, cursor, page_size))


def usage() -> Call[Usage]:
    return Call("GET", "/v1/usage", _json(Usage))


def key() -> Call[Key]:
    return Call("GET", "/v1/keys/self", _json(Key))


def rotate_key(overlap_seconds: int | None, idempotency_key: str | None) -> Call[RotatedKey]:
    return _rotate("/v1/keys/self/rotate", RotatedKey, overlap_seconds, idempotency_key)


def callback_secret() -> Call[CallbackSecret]:
    return Call("GET", "/v1/keys/self/callback-secret", _json(CallbackSecret))


def rotate_callback_secret(
    overlap_seconds: int | None, idempotency_key: str | None
) -> Call[CallbackSecret]:
    path = "/v1/keys/self/callback-secret/rotate"
    return _rotate(path, CallbackSecret, overlap_seconds, idempotency_key)


def redeliver_callback(job: JobRef, idempotency_key: str | None) -> Call[Job]:
    path = _job(job, "/callback/redeliver")
    return Call("POST", path, _json(Job), headers=_once(idempotency_key))


def _rotate(
    path: str, kind: type[T], overlap_seconds: int | None, idempotency_key: str | None
) -> Call[T]:
    query = {} if overlap_seconds is None else {"overlap_seconds": str(overlap_seconds)}
    return Call("POST", path, _json(kind), query, _once(idempotency_key))


def _listed(named: Mapping[str, Any], cursor: str | None, page_size: int) -> dict[str, str]:
    query = {name: str(value) for name, value in named.items() if value is not None}
    query["limit"] = str(page_size)
    if cursor is not None:
        query["cursor"] = cursor
    return query


def _job(job: JobRef, rest: str = "") -> str:
    return f"/v1/jobs/{_segment(id_of(job))}{rest}"


def id_of(job: JobRef) -> str:
    """Its id."""
    return job.job_id if isinstance(job, Job) else job


def _segment(text: str) -> str:
    if not text or text in (".", ".."):
        raise ValueError(f"{text!r} is not an id")
    return quote(text, safe="")
