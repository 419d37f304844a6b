"""The asynchronous client."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable
from datetime import datetime
from types import TracebackType
from typing import TYPE_CHECKING, Callable, TypeVar, cast

import anyio
import httpx
import numpy.typing as npt

from . import _calls as calls
from ._calls import Call, Page
from ._encode import ArrayName, BatchItem, JobKind, Solve
from ._retry import Program, Programs, RetryPolicy, Sleep
from ._sse import SILENCE_S, Event, Follow
from ._transport import Target
from .models import (
    Answer,
    Array,
    BatchLine,
    CallbackSecret,
    Job,
    Key,
    LedgerRow,
    RotatedKey,
    Usage,
)

if TYPE_CHECKING:
    from typing_extensions import Self, Unpack

T = TypeVar("T")


class AsyncClient:
    """A key's view of a server. One event loop's; many tasks may share it.

    `timeout` is the longest silence of a connection in seconds. `http` is a client of your own (its
    proxies, certificates, limits), which you close yourself.
    """

    def __init__(
        self,
        base_url: str,
        api_key: str,
        *,
        timeout: float = 60.0,
        retries: RetryPolicy | None = None,
        http: httpx.AsyncClient | None = None,
    ) -> None:
        self._target = Target(base_url, api_key, timeout)
        self._programs = Programs(retries or RetryPolicy())
        self._owns_http = http is None
        self._http = httpx.AsyncClient() if http is None else http

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Closes the connections."""
        if self._owns_http:
            await self._http.aclose()

    def __repr__(self) -> str:
        return f"AsyncClient({self._target!r})"

    async def settle(
        self,
        Y: npt.ArrayLike,
        *,
        idempotency_key: str | None = None,
        **problem: Unpack[Solve],
    ) -> Answer:
        """Settles, with receipt, bundle, chain receipt and arrays as asked."""
        return await self._send(calls.solve("settle", Y, problem, idempotency_key))

    async def receipt(
        self,
        Y: npt.ArrayLike,
        *,
        idempotency_key: str | None = None,
        **problem: Unpack[Solve],
    ) -> Answer:
        """The receipt alone."""
        return await self._send(calls.solve("receipt", Y, problem, idempotency_key))

    async def bundle(
        self,
        Y: npt.ArrayLike,
        *,
        idempotency_key: str | None = None,
        **problem: Unpack[Solve],
    ) -> Answer:
        """The bundle alone; `bundle_k` says how many rows."""
        return await self._send(calls.solve("bundle", Y, problem, idempotency_key))

    async def chain_receipt(
        self,
        Y: npt.ArrayLike,
        *,
        idempotency_key: str | None = None,
        **problem: Unpack[Solve],
    ) -> Answer:
        """The chain receipt alone; `chain` is required."""
        return await self._send(calls.solve("chain_receipt", Y, problem, idempotency_key))

    async def diffusion(
        self,
        Y: npt.ArrayLike,
        *,
        idempotency_key: str | None = None,
        **problem: Unpack[Solve],
    ) -> Answer:
        """Settles behind diffusion gates (pro, enterprise)."""
        return await self._send(calls.solve("diffusion", Y, problem, idempotency_key))

    async def settle_array(
        self,
        Y: npt.ArrayLike,
        name: ArrayName = "u",
        *,
        idempotency_key: str | None = None,
        **problem: Unpack[Solve],
    ) -> Array:
        """Settles and gives one array alone, sent as npy."""
        return await self._send(calls.settle_array(Y, name, problem, idempotency_key))

    async def submit(
        self,
        Y: npt.ArrayLike,
        *,
        kind: JobKind = "settle",
        custom_id: str | None = None,
        callback_url: str | None = None,
        idempotency_key: str | None = None,
        **problem: Unpack[Solve],
    ) -> Job:
        """Makes a durable job. `callback_url` is told of its end; see `verify_webhook`."""
        call = calls.submit(
            kind,
            Y,
            problem,
            custom_id=custom_id,
            callback_url=callback_url,
            idempotency_key=idempotency_key,
        )
        return await self._send(call)

    async def submit_batch(
        self, items: Iterable[BatchItem], *, idempotency_key: str | None = None
    ) -> list[BatchLine]:
        """Makes many jobs in one request. An item at fault costs itself only: see its `error`."""
        return await self._send(calls.submit_batch(items, idempotency_key))

    async def get(self, job_id: str) -> Job:
        """The job as it is, with its result once done."""
        return await self._send(calls.get(job_id))

    async def wait(self, job_id: str, timeout: float = 600.0) -> Job:
        """The job once it has ended, whether well or not; `WaitTimeout` after `timeout` seconds."""
        return await self._run(self._programs.wait(job_id, timeout))

    async def result(self, job_id: str) -> Answer:
        """The answer of a job that is done."""
        return await self._send(calls.result(job_id))

    async def array(self, job_id: str, name: ArrayName = "u") -> Array:
        """One array of a job that is done."""
        return await self._send(calls.array(job_id, name))

    async def arrays(
        self, job_id: str, names: Iterable[ArrayName] = ("u", "ustar", "gates")
    ) -> dict[str, Array]:
        """Arrays of a job that is done, by name."""
        return {name: await self.array(job_id, name) for name in names}

    async def cancel(self, job_id: str) -> Job:
        """Cancels: at once when queued, at the next check point when running."""
        return await self._send(calls.cancel(job_id))

    def jobs(
        self,
        *,
        status: str | None = None,
        kind: JobKind | None = None,
        since: datetime | str | None = None,
        page_size: int = 100,
    ) -> AsyncIterator[Job]:
        """The key's jobs, newest first; pages are fetched as they are needed."""
        return self._pages(
            lambda cursor: calls.jobs(
                cursor, status=status, kind=kind, since=since, page_size=page_size
            )
        )

    async def usage(self) -> Usage:
        """The key's window and month."""
        return await self._send(calls.usage())

    def ledger(self, *, page_size: int = 100) -> AsyncIterator[LedgerRow]:
        """Ledger rows, newest first; see `verify_ledger`."""
        return self._pages(lambda cursor: calls.ledger(cursor, page_size))

    async def key(self) -> Key:
        """The key's tier, features and limits."""
        return await self._send(calls.key())

    async def rotate_key(
        self, *, overlap_seconds: int | None = None, idempotency_key: str | None = None
    ) -> RotatedKey:
        """A new secret. This client goes on with the old one, which works for the overlap."""
        return await self._send(calls.rotate_key(overlap_seconds, idempotency_key))

    async def callback_secret(self) -> CallbackSecret:
        """The secret that signs the key's callbacks."""
        return await self._send(calls.callback_secret())

    async def rotate_callback_secret(
        self, *, overlap_seconds: int | None = None, idempotency_key: str | None = None
    ) -> CallbackSecret:
        """A new secret for callbacks; both sign for the overlap."""
        return await self._send(calls.rotate_callback_secret(overlap_seconds, idempotency_key))

    async def redeliver_callback(self, job_id: str, *, idempotency_key: str | None = None) -> Job:
        """Has the job's callback delivered once more, under the same `webhook-id`."""
        return await self._send(calls.redeliver_callback(job_id, idempotency_key))

    async def stream(
        self, job_id: str, *, last_event_id: str | None = None
    ) -> AsyncIterator[Event]:
        """The job's states as they come, until its end. A lost connection is taken up again after
        the last event; `last_event_id` does so across programs."""
        follow = Follow(job_id, last_event_id, self._programs.pacer())
        while True:
            request = self._target.request(self._http, follow.call(), SILENCE_S)
            try:
                response = await self._http.send(request, stream=True)
                try:
                    if follow.refused(response):
                        await response.aread()
                        follow.failed(response)
                    else:
                        async for chunk in response.aiter_bytes():
                            for event in follow.feed(chunk):
                                yield event
                finally:
                    await response.aclose()
            except httpx.RequestError as error:
                follow.failed(error)
            if follow.ended:
                return
            await anyio.sleep(follow.pause())

    async def _pages(self, page_at: Callable[[str | None], Call[Page[T]]]) -> AsyncIterator[T]:
        cursor = None
        while True:
            page = await self._send(page_at(cursor))
            for item in page.items:
                yield item
            cursor = page.next_cursor
            if cursor is None:
                return

    async def _send(self, call: Call[T]) -> T:
        return await self._run(self._programs.perform(call))

    async def _run(self, program: Program[T]) -> T:
        try:
            step = next(program)
            while True:
                if isinstance(step, Sleep):
                    await anyio.sleep(step.seconds)
                    step = program.send(None)
                    continue
                try:
                    response = await self._http.send(self._target.request(self._http, step.call))
                except httpx.RequestError as error:
                    step = program.throw(error)
                else:
                    step = program.send(response)
        except StopIteration as stop:
            return cast(T, stop.value)
