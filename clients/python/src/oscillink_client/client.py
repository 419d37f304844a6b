"""The synchronous client."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from contextlib import closing
from datetime import datetime
from typing import TYPE_CHECKING

import httpx
import numpy.typing as npt

from . import _calls as calls
from ._account import Account
from ._batch import Encoded, submit_batch
from ._calls import JobRef
from ._encode import ArrayName, BatchItem, JobKind, Solve
from ._solves import Solves
from ._sse import SILENCE_S, Event, Follow
from .models import Answer, Array, BatchLine, Job, JobStatus

if TYPE_CHECKING:
    from typing_extensions import Unpack


class Client(Solves, Account):
    """A key's view of a server. Safe to share between threads.

    `base_url` and `api_key` come from `OSCILLINK_SERVER` and `OSCILLINK_API_KEY` when left out.
    `timeout` is the longest silence of a connection in seconds. `http` is a client of your own (its
    proxies, certificates, limits), which you close yourself.
    """

    def submit(
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
        return self._send(call)

    def submit_batch(
        self, items: Iterable[BatchItem], *, idempotency_key: str | None = None
    ) -> list[BatchLine]:
        """Makes many jobs, in one request or as few as the limits allow. Every item has its line,
        in order; one that the service refuses costs itself only: see its `error`."""
        return self._run(submit_batch(self._programs, Encoded.of(items), idempotency_key))

    def get(self, job: JobRef) -> Job:
        """The job as it is, with its result once done."""
        return self._send(calls.get(job))

    def wait(self, job: JobRef, timeout: float = 600.0) -> Job:
        """The job once it has ended, whether well or not; `WaitTimeout` after `timeout` seconds.
        Giving up leaves the job running: see `cancel`."""
        return self._run(self._programs.wait(job, timeout))

    def result(self, job: JobRef) -> Answer:
        """The answer of a job that is done."""
        return self._send(calls.result(job))

    def array(self, job: JobRef, name: ArrayName = "u") -> Array:
        """One array of a job that is done."""
        return self._send(calls.array(job, name))

    def arrays(
        self, job: JobRef, names: Iterable[ArrayName] = ("u", "ustar", "gates")
    ) -> dict[str, Array]:
        """Arrays of a job that is done, by name."""
        return {name: self.array(job, name) for name in names}

    def cancel(self, job: JobRef) -> Job:
        """Cancels: at once when queued, at the next check point when running."""
        return self._send(calls.cancel(job))

    def jobs(
        self,
        *,
        status: JobStatus | None = None,
        kind: JobKind | None = None,
        since: datetime | str | None = None,
        page_size: int = 100,
    ) -> Iterator[Job]:
        """The key's jobs, newest first; pages are fetched as they are needed."""
        return self._pages(
            lambda cursor: calls.jobs(
                cursor, status=status, kind=kind, since=since, page_size=page_size
            )
        )

    def redeliver_callback(self, job: JobRef, *, idempotency_key: str | None = None) -> Job:
        """Has the job's callback delivered once more, under the same `webhook-id`."""
        return self._send(calls.redeliver_callback(job, idempotency_key))

    def stream(self, job: JobRef, *, last_event_id: str | None = None) -> Iterator[Event]:
        """The job's states as they come, until its end. A lost connection is taken up again after
        the last event; `last_event_id` does so across programs."""
        follow = Follow(job, last_event_id, self._programs.pacer())
        while True:
            request = self._target.request(self._http, follow.call(), SILENCE_S)
            try:
                response = self._http.send(request, stream=True)
                with closing(response):
                    if follow.refused(response):
                        response.read()
                        follow.failed(response)
                    else:
                        for chunk in response.iter_bytes():
                            yield from follow.feed(chunk)
            except httpx.RequestError as error:
                follow.failed(error)
            if follow.ended:
                return
            time.sleep(follow.pause())
