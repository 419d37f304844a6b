"""Work that is answered at once, by both clients."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy.typing as npt

from . import _calls as calls
from ._async import AsyncConnection
from ._encode import ArrayName, JobKind, Solve, array_names
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
        return self._answer("settle", Y, problem, idempotency_key, wait)

    def receipt(
        self,
        Y: npt.ArrayLike,
        *,
        idempotency_key: str | None = None,
        **problem: Unpack[Solve],
    ) -> Answer:
        """The receipt alone."""
        return self._answer("receipt", Y, problem, idempotency_key)

    def bundle(
        self,
        Y: npt.ArrayLike,
        *,
        idempotency_key: str | None = None,
        **problem: Unpack[Solve],
    ) -> Answer:
        """The bundle alone; `bundle_k` says how many rows."""
        return self._answer("bundle", Y, problem, idempotency_key)

    def chain_receipt(
        self,
        Y: npt.ArrayLike,
        *,
        wait: float | None = None,
        idempotency_key: str | None = None,
        **problem: Unpack[Solve],
    ) -> Answer:
        """The chain receipt alone; `chain` is required. `wait` as with `settle`."""
        return self._answer("chain_receipt", Y, problem, idempotency_key, wait)

    def diffusion(
        self,
        Y: npt.ArrayLike,
        *,
        wait: float | None = None,
        idempotency_key: str | None = None,
        **problem: Unpack[Solve],
    ) -> Answer:
        """Settles behind diffusion gates (pro, enterprise). `wait` as with `settle`."""
        return self._answer("diffusion", Y, problem, idempotency_key, wait)

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
        program = self._programs.answer(got, [name], WAIT_S if wait is None else wait)
        answer = self._finish(got, program, keep=idempotency_key is not None)
        return answer.arrays[name]

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

    def _answer(
        self,
        operation: str,
        Y: npt.ArrayLike,
        problem: Solve,
        key: str | None,
        wait: float | None = None,
    ) -> Answer:
        names = array_names(problem)
        problem = {**problem, "arrays": names or None}
        got = self._send(calls.solve(operation, Y, problem, key, wait))
        if not isinstance(got, Job):
            return got
        program = self._programs.answer(got, names, WAIT_S if wait is None else wait)
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
        return await self._answer("settle", Y, problem, idempotency_key, wait)

    async def receipt(
        self,
        Y: npt.ArrayLike,
        *,
        idempotency_key: str | None = None,
        **problem: Unpack[Solve],
    ) -> Answer:
        """The receipt alone."""
        return await self._answer("receipt", Y, problem, idempotency_key)

    async def bundle(
        self,
        Y: npt.ArrayLike,
        *,
        idempotency_key: str | None = None,
        **problem: Unpack[Solve],
    ) -> Answer:
        """The bundle alone; `bundle_k` says how many rows."""
        return await self._answer("bundle", Y, problem, idempotency_key)

    async def chain_receipt(
        self,
        Y: npt.ArrayLike,
        *,
        wait: float | None = None,
        idempotency_key: str | None = None,
        **problem: Unpack[Solve],
    ) -> Answer:
        """The chain receipt alone; `chain` is required. `wait` as with `settle`."""
        return await self._answer("chain_receipt", Y, problem, idempotency_key, wait)

    async def diffusion(
        self,
        Y: npt.ArrayLike,
        *,
        wait: float | None = None,
        idempotency_key: str | None = None,
        **problem: Unpack[Solve],
    ) -> Answer:
        """Settles behind diffusion gates (pro, enterprise). `wait` as with `settle`."""
        return await self._answer("diffusion", Y, problem, idempotency_key, wait)

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
        program = self._programs.answer(got, [name], WAIT_S if wait is None else wait)
        answer = await self._finish(got, program, keep=idempotency_key is not None)
        return answer.arrays[name]

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
        self,
        operation: str,
        Y: npt.ArrayLike,
        problem: Solve,
        key: str | None,
        wait: float | None = None,
    ) -> Answer:
        names = array_names(problem)
        problem = {**problem, "arrays": names or None}
        got = await self._send(calls.solve(operation, Y, problem, key, wait))
        if not isinstance(got, Job):
            return got
        program = self._programs.answer(got, names, WAIT_S if wait is None else wait)
        return await self._finish(got, program, keep=key is not None)
