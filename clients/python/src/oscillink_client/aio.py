"""The asynchronous client."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable
from datetime import datetime
from typing import TYPE_CHECKING

import anyio
import anyio.to_thread
import httpx
import numpy.typing as npt

from . import _calls as calls
from ._account import AsyncAccount
from ._batch import Encoded, submit_batch
from ._calls import JobRef
from ._encode import ArrayName, BatchItem, JobKind, Solve
from ._solves import AsyncSolves
from ._sse import SILENCE_S, Event, Follow
from .models import Answer, Array, BatchLine, Job, JobStatus

if TYPE_CHECKING:
    from typing_extensions import Unpack


class AsyncClient(AsyncSolves, AsyncAccount):
    """A key's view of a server. One event loop's; many tasks may share it.

    `base_url` and `api_key` come from `OSCILLINK_SERVER` and `OSCILLINK_API_KEY` when left out.
    `timeout` is the longest silence of a connection in seconds. `http` is a client of your own (its
    proxies, certificates, limits), which you close yourself.
    """

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
        """Makes many jobs, in one request or as few as the limits allow. Every item has its line,
        in order; one that the service refuses costs itself only: see its `error`."""
        # In a thread: a large batch takes seconds, in which others of the event loop go on.
        batch = await anyio.to_thread.run_sync(Encoded.of, list(items))
        return await self._run(submit_batch(self._programs, batch, idempotency_key))

    async def get(self, job: JobRef) -> Job:
        """The job as it is, with its result once done."""
        return await self._send(calls.get(job))

    async def wait(self, job: JobRef, timeout: float = 600.0) -> Job:
        """The job once it has ended, whether well or not; `WaitTimeout` after `timeout` seconds.
        Giving up leaves the job running: see `cancel`."""
        return await self._run(self._programs.wait(job, timeout))

    async def result(self, job: JobRef) -> Answer:
        """The answer of a job that is done."""
        return await self._send(calls.result(job))

    async def array(self, job: JobRef, name: ArrayName = "u") -> Array:
        """One array of a job that is done."""
        return await self._send(calls.array(job, name))

    async def arrays(
        self, job: JobRef, names: Iterable[ArrayName] = ("u", "ustar", "gates")
    ) -> dict[str, Array]:
        """Arrays of a job that is done, by name."""
        return {name: await self.array(job, name) for name in names}

    async def cancel(self, job: JobRef) -> Job:
        """Cancels: at once when queued, at the next check point when running."""
        return await self._send(calls.cancel(job))

    def jobs(
        self,
        *,
        status: JobStatus | None = None,
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

    async def redeliver_callback(self, job: JobRef, *, idempotency_key: str | None = None) -> Job:
        """Has the job's callback delivered once more, under the same `webhook-id`."""
        return await self._send(calls.redeliver_callback(job, idempotency_key))

    async def stream(
        self, job: JobRef, *, last_event_id: str | None = None
    ) -> AsyncIterator[Event]:
        """The job's states as they come, until its end. A lost connection is taken up again after
        the last event; `last_event_id` does so across programs."""
        follow = Follow(job, last_event_id, self._programs.pacer())
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
