"""How the synchronous client sends."""

from __future__ import annotations

import copy
import time
from collections.abc import Iterator
from contextlib import suppress
from types import TracebackType
from typing import TYPE_CHECKING, Any, Callable, TypeVar, cast

import httpx

from . import _calls as calls
from ._calls import Call, Page
from ._limits import RateLimit, limits_of
from ._retry import ABANDON_S, Program, Programs, RetryPolicy, Sleep
from ._transport import Target
from .models import Job

if TYPE_CHECKING:
    from typing_extensions import Self

T = TypeVar("T")


class Connection:
    """A server, a key, and the connections between.

    `base_url` and `api_key` come from `OSCILLINK_SERVER` and `OSCILLINK_API_KEY` when left out.
    `timeout` is the longest silence of a connection in seconds. `http` is a client of your own (its
    proxies, certificates, limits), which you close yourself.
    """

    def __init__(
        self,
        base_url: str | None = None,
        api_key: str | None = None,
        *,
        timeout: float = 60.0,
        retries: RetryPolicy | None = None,
        http: httpx.Client | None = None,
    ) -> None:
        self._target = Target.of(base_url, api_key, timeout)
        self._programs = Programs(retries or RetryPolicy())
        self._rate_limits: dict[str, RateLimit] = {}
        self._owns_http = http is None
        self._http = httpx.Client() if http is None else http

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Closes the connections."""
        if self._owns_http:
            self._http.close()

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._target})"

    def with_options(
        self,
        *,
        api_key: str | None = None,
        timeout: float | None = None,
        retries: RetryPolicy | None = None,
    ) -> Self:
        """A client with other options over the same connections, which stay this client's to
        close."""
        other, target = copy.copy(self), self._target
        other._target = Target.of(
            target.base_url,
            target.api_key if api_key is None else api_key,
            target.timeout if timeout is None else timeout,
        )
        other._rate_limits = {}
        other._owns_http = False
        if retries is not None:
            other._programs = Programs(retries)
        return other

    @property
    def rate_limits(self) -> dict[str, RateLimit]:
        """What is left of each limit, by name, as answers have last told."""
        return dict(self._rate_limits)

    def _pages(self, page_at: Callable[[str | None], Call[Page[T]]]) -> Iterator[T]:
        cursor = None
        while True:
            page = self._send(page_at(cursor))
            yield from page.items
            cursor = page.next_cursor
            if cursor is None:
                return

    def _send(self, call: Call[T]) -> T:
        return self._run(self._programs.perform(call))

    def _run(self, program: Program[T]) -> T:
        try:
            step = next(program)
            while True:
                if isinstance(step, Sleep):
                    time.sleep(step.seconds)
                    step = program.send(None)
                    continue
                try:
                    response = self._once(step.call)
                except httpx.RequestError as error:
                    step = program.throw(error)
                else:
                    step = program.send(response)
        except StopIteration as stop:
            return cast(T, stop.value)

    def _once(self, call: Call[Any]) -> httpx.Response:
        response = self._http.send(self._target.request(self._http, call))
        self._rate_limits = {**self._rate_limits, **limits_of(response.headers)}
        return response

    def _finish(self, job: Job, program: Program[T], *, keep: bool) -> T:
        """Runs `program`, which waits for `job`. A job that nobody else knows of ends with it."""
        try:
            return self._run(program)
        except KeyboardInterrupt:
            if not keep:
                with suppress(httpx.HTTPError):
                    self.with_options(timeout=ABANDON_S)._once(calls.cancel(job))
            raise
