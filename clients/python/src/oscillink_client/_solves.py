"""Work that is answered at once, by both clients."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy.typing as npt

from . import _calls as calls
from ._async import AsyncConnection
from ._calls import Call
from ._encode import ArrayName, JobKind, Solve
from ._sync import Connection
from .models import Answer, Array, Job

if TYPE_CHECKING:
    from typing_extensions import Unpack

WAIT_S = 600.0
"""For a job that was not asked for."""


class Solves(Connection):
    """Work for a client that waits."""

    def settle(
        self,
        Y: npt.ArrayLike,
        *,
        wait: float | None = None,
        idempotency_key: str | None = None,
        **problem: Unpack[Solve],
    ) -> Answer:
        """Settles, with receipt, bundle, chain receipt and arrays as asked.

        Work that is too large to be answered at once is `TooLarge`. With `wait` it becomes a job
        instead, whose answer is waited for so many seconds: `WaitTimeout` has the job, which goes
        on, `JobFailed` one that ended otherwise. Interrupted or cancelled meanwhile, the call
        cancels the job, unless an `idempotency_key` was given to come back with.
        """
        call = calls.solve("settle", Y, problem, idempotency_key, wait)
        return self._answer(call, wait, idempotency_key)

    def receipt(
        self,
        Y: npt.ArrayLike,
        *,
        idempotency_key: str | None = None,
        **problem: Unpack[Solve],
    ) -> Answer:
        """The receipt alone."""
        call = calls.solve("receipt", Y, problem, idempotency_key)
        return self._answer(call, None, idempotency_key)

    def bundle(
        self,
        Y: npt.ArrayLike,
        *,
        idempotency_key: str | None = None,
        **problem: Unpack[Solve],
    ) -> Answer:
        """The bundle alone; `bundle_k` says how many rows."""
        call = calls.solve("bundle", Y, problem, idempotency_key)
        return self._answer(call, None, idempotency_key)

    def chain_receipt(
        self,
        Y: npt.ArrayLike,
        *,
        wait: float | None = None,
        idempotency_key: str | None = None,
        **problem: Unpack[Solve],
    ) -> Answer:
        """The chain receipt alone; `chain` is required. `wait` as with `settle`."""
        call = calls.solve("chain_receipt", Y, problem, idempotency_key, wait)
        return self._answer(call, wait, idempotency_key)

    def diffusion(
        self,
        Y: npt.ArrayLike,
        *,
        wait: float | None = None,
        idempotency_key: str | None = None,
        **problem: Unpack[Solve],
    ) -> Answer:
        """Settles behind diffusion gates (pro, enterprise). `wait` as with `settle`."""
        call = calls.solve("diffusion", Y, problem, idempotency_key, wait)
        return self._answer(call, wait, idempotency_key)

    def settle_array(
        self,
        Y: npt.ArrayLike,
        name: ArrayName = "u",
        *,
        wait: float | None = None,
        idempotency_key: str | None = None,
        **problem: Unpack[Solve],
    ) -> Array:
        """Settles and gives one array alone, sent as npy. `wait` as with `settle`."""
        got = self._send(calls.settle_array(Y, name, problem, idempotency_key, wait))
        if not isinstance(got, Job):
            return got
        program = self._programs.array(got, name, WAIT_S if wait is None else wait)
        return self._finish(got, program, keep=idempotency_key is not None)

    def settle_or_submit(
        self,
        Y: npt.ArrayLike,
        *,
        kind: JobKind = "settle",
        idempotency_key: str | None = None,
        **problem: Unpack[Solve],
    ) -> Answer | Job:
        """The answer of what is small enough to be answered at once, else the job that it has
        become (`Prefer: respond-async`)."""
        return self._send(calls.solve(calls.OPERATIONS[kind], Y, problem, idempotency_key, 0))

    def _answer(self, call: Call[Answer | Job], wait: float | None, key: str | None) -> Answer:
        got = self._send(call)
        if not isinstance(got, Job):
            return got
        program = self._programs.answer(got, WAIT_S if wait is None else wait)
        return self._finish(got, program, keep=key is not None)


class AsyncSolves(AsyncConnection):
    """As `Solves`, for one event loop."""

    async def settle(
        self,
        Y: npt.ArrayLike,
        *,
        wait: float | None = None,
        idempotency_key: str | None = None,
        **problem: Unpack[Solve],
    ) -> Answer:
        """Settles, with receipt, bundle, chain receipt and arrays as asked.

        Work that is too large to be answered at once is `TooLarge`. With `wait` it becomes a job
        instead, whose answer is waited for so many seconds: `WaitTimeout` has the job, which goes
        on, `JobFailed` one that ended otherwise. Interrupted or cancelled meanwhile, the call
        cancels the job, unless an `idempotency_key` was given to come back with.
        """
        call = calls.solve("settle", Y, problem, idempotency_key, wait)
        return await self._answer(call, wait, idempotency_key)

    async def receipt(
        self,
        Y: npt.ArrayLike,
        *,
        idempotency_key: str | None = None,
        **problem: Unpack[Solve],
    ) -> Answer:
        """The receipt alone."""
        call = calls.solve("receipt", Y, problem, idempotency_key)
        return await self._answer(call, None, idempotency_key)

    async def bundle(
        self,
        Y: npt.ArrayLike,
        *,
        idempotency_key: str | None = None,
        **problem: Unpack[Solve],
    ) -> Answer:
        """The bundle alone; `bundle_k` says how many rows."""
        call = calls.solve("bundle", Y, problem, idempotency_key)
        return await self._answer(call, None, idempotency_key)

    async def chain_receipt(
        self,
        Y: npt.ArrayLike,
        *,
        wait: float | None = None,
        idempotency_key: str | None = None,
        **problem: Unpack[Solve],
    ) -> Answer:
        """The chain receipt alone; `chain` is required. `wait` as with `settle`."""
        call = calls.solve("chain_receipt", Y, problem, idempotency_key, wait)
        return await self._answer(call, wait, idempotency_key)

    async def diffusion(
        self,
        Y: npt.ArrayLike,
        *,
        wait: float | None = None,
        idempotency_key: str | None = None,
        **problem: Unpack[Solve],
    ) -> Answer:
        """Settles behind diffusion gates (pro, enterprise). `wait` as with `settle`."""
        call = calls.solve("diffusion", Y, problem, idempotency_key, wait)
        return await self._answer(call, wait, idempotency_key)

    async def settle_array(
        self,
        Y: npt.ArrayLike,
        name: ArrayName = "u",
        *,
        wait: float | None = None,
        idempotency_key: str | None = None,
        **problem: Unpack[Solve],
    ) -> Array:
        """Settles and gives one array alone, sent as npy. `wait` as with `settle`."""
        got = await self._send(calls.settle_array(Y, name, problem, idempotency_key, wait))
        if not isinstance(got, Job):
            return got
        program = self._programs.array(got, name, WAIT_S if wait is None else wait)
        return await self._finish(got, program, keep=idempotency_key is not None)

    async def settle_or_submit(
        self,
        Y: npt.ArrayLike,
        *,
        kind: JobKind = "settle",
        idempotency_key: str | None = None,
        **problem: Unpack[Solve],
    ) -> Answer | Job:
        """The answer of what is small enough to be answered at once, else the job that it has
        become (`Prefer: respond-async`)."""
        return await self._send(calls.solve(calls.OPERATIONS[kind], Y, problem, idempotency_key, 0))

    async def _answer(
        self, call: Call[Answer | Job], wait: float | None, key: str | None
    ) -> Answer:
        got = await self._send(call)
        if not isinstance(got, Job):
            return got
        program = self._programs.answer(got, WAIT_S if wait is None else wait)
        return await self._finish(got, program, keep=key is not None)
