"""When a request is sent again, and after what pause."""

from __future__ import annotations

import random
import time
from collections.abc import Generator, Iterable
from dataclasses import dataclass, replace
from typing import Any, Callable, TypeVar, Union

import httpx

from . import _calls as calls
from ._calls import LONGEST_HOLD_S, Call, JobRef
from ._encode import ArrayName
from .errors import (
    ApiError,
    ConnectionFailed,
    JobFailed,
    OscillinkError,
    UnexpectedAnswer,
    WaitTimeout,
    error_of,
)
from .models import Answer, Array, Job

T = TypeVar("T")

ABANDON_S = 5.0
"""How long a caller that has given up is kept for the cancelling of its job."""


@dataclass(frozen=True)
class RetryPolicy:
    """When requests are sent again, always with the same idempotency key.

    That is after 408, 429, 502 to 504, 409 while one of that key is under way, or no answer. Pauses
    double, are shortened by chance, and are never shorter than the answer's `Retry-After`.
    """

    attempts: int = 5
    """Sendings in all; 1 for no retries."""
    first_delay_s: float = 0.2
    max_delay_s: float = 5.0
    total_s: float = 60.0
    """A retry that would begin later than this after the first failure is not made."""

    def __post_init__(self) -> None:
        if self.attempts < 1 or min(self.first_delay_s, self.max_delay_s, self.total_s) < 0:
            raise ValueError("attempts must be 1 or more, and times not negative")


@dataclass(frozen=True)
class Send:
    """To be answered with the response, or the error that there was instead."""

    call: Call[Any]


@dataclass(frozen=True)
class Sleep:
    seconds: float


Program = Generator[Union[Send, Sleep], Union[httpx.Response, None], T]
"""What to do, step by step, for whoever can send and sleep: one for threads, one for async."""


class Pacer:
    """Counts failures in a row and decides on the pause after each."""

    def __init__(
        self, policy: RetryPolicy, chance: random.Random, clock: Callable[[], float]
    ) -> None:
        self._policy, self._chance, self._clock = policy, chance, clock
        self._failures = 0
        self._began = 0.0

    def succeeded(self) -> None:
        """Begins to count anew."""
        self._failures = 0

    def after(self, failure: OscillinkError) -> float:
        """Seconds until the next attempt; raises `failure` if there is none."""
        policy = self._policy
        if self._failures == 0:
            self._began = self._clock()
        self._failures += 1
        asked = failure.retry_after if isinstance(failure, ApiError) else None
        final = isinstance(failure, ApiError) and not failure.retryable
        step = min(policy.max_delay_s, policy.first_delay_s * 2.0 ** min(self._failures - 1, 30))
        pause = step * self._chance.uniform(0.5, 1.0)
        if asked is not None:
            # Everyone was told the same time: not all should come at once.
            pause += asked
        late = self._clock() + pause - self._began > policy.total_s
        if final or late or self._failures >= policy.attempts:
            raise failure
        return pause


class Programs:
    """Programs over calls."""

    def __init__(
        self,
        policy: RetryPolicy,
        chance: random.Random | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._policy, self._clock = policy, clock
        # Spreads retries; nothing secret comes of it.
        self._chance = chance or random.Random()  # noqa: S311

    def pacer(self) -> Pacer:
        return Pacer(self._policy, self._chance, self._clock)

    def perform(self, call: Call[T]) -> Program[T]:
        """Sends until there is an answer that counts."""
        pacer = self.pacer()
        while True:
            failure: OscillinkError
            try:
                response = yield Send(call)
            except httpx.RequestError as error:
                failure = connection_failed(call, error)
            else:
                assert response is not None, "a Send is answered with a response"
                if response.is_success:
                    return _read(call, response)
                failure = error_of(response)
            yield Sleep(pacer.after(failure))

    def wait(self, ref: JobRef, timeout: float) -> Program[Job]:
        """Looks, each look held by the service, until the job has ended."""
        deadline = self._clock() + timeout
        job: Job | None = None
        while job is None or not job.ended:
            began = self._clock()
            if job is not None and began >= deadline:
                raise WaitTimeout(job, timeout)
            hold = int(max(0.0, min(LONGEST_HOLD_S, deadline - began)))
            try:
                job = yield from self.perform(calls.get(ref, hold))
            except ConnectionFailed as failure:
                # All connections are in use, by other waits for example: nothing has gone wrong.
                busy = isinstance(failure.__cause__, httpx.PoolTimeout)
                if not busy or (job is None and self._clock() >= deadline):
                    raise
                continue
            now = self._clock()
            # A server that is stopping answers at once.
            early = hold == 0 or now - began < hold
            if early and now < deadline and not job.ended:
                yield Sleep(min(0.5, deadline - now))
        return job

    def answer(self, job: Job, names: Iterable[ArrayName], timeout: float) -> Program[Answer]:
        """The answer of a job once it is done, with the arrays that were asked for."""
        job = yield from self.wait(job, timeout)
        answer = job.result
        if job.status == "done" and answer is None:
            answer = yield from self.perform(calls.result(job))
        if answer is None:
            raise JobFailed(job)
        arrays: dict[str, Array] = {}
        for name in names:
            arrays[name] = yield from self.perform(calls.array(job, name))
        return replace(answer, arrays=arrays)


def connection_failed(call: Call[Any], error: httpx.RequestError) -> ConnectionFailed:
    """The error, with its cause."""
    request: httpx.Request | None = getattr(error, "_request", None)
    where = str(request.url.copy_with(query=None)) if request else call.path
    what = ": ".join(filter(None, (type(error).__name__, str(error))))
    failure = ConnectionFailed(f"{call.method} {where}: {what}")
    failure.__cause__ = error
    return failure


def _read(call: Call[T], response: httpx.Response) -> T:
    try:
        return call.read(response)
    except UnexpectedAnswer as error:
        told = [str(response.status_code), response.headers.get("content-type", "of no type")]
        told += filter(None, [response.headers.get("x-request-id")])
        raise UnexpectedAnswer(f"{call.method} {call.path}: {error} ({', '.join(told)})") from error
