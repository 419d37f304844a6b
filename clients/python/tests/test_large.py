"""Work that is too large to be answered at once, and callers that give up on it."""

from __future__ import annotations

import asyncio
import math
import pickle
import signal
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import numpy as np
import pytest
from harness import Connect, Proxy, Server, matrix

from oscillink_client import (
    Answer,
    AsyncClient,
    Client,
    Job,
    JobFailed,
    RetryPolicy,
    TooLarge,
    WaitTimeout,
)

LARGE = matrix(200, 4)
SMALL = matrix(20, 4)


def first_job(client: Client) -> Job:
    """The key's job, as soon as it has one."""
    while True:
        for job in client.jobs():
            return job
        time.sleep(0.02)


def test_large_work_is_waited_for(connect: Connect, small: Server) -> None:
    client = connect(small.new_key(), small.url)
    with pytest.raises(TooLarge, match="150 rows"):
        client.settle(LARGE)
    names: Any = iter(["u", "gates"])
    answer = client.settle(LARGE, psi=LARGE[0], bundle_k=3, arrays=names, wait=60)
    jobs = list(client.jobs())
    assert [job.units for job in jobs] == [800]
    assert answer.meta.N == 200
    assert answer.state_sig == client.result(jobs[0]).state_sig
    u = client.settle_array(LARGE, "u", psi=LARGE[0], wait=60)
    np.testing.assert_array_equal(u, client.array(jobs[0]))
    # With its arrays, which jobs give separately.
    assert set(answer.arrays) == {"u", "gates"}
    np.testing.assert_array_equal(u, answer.arrays["u"])
    chain = client.chain_receipt(LARGE, chain=[1, 2, 3], arrays="ustar", wait=60)
    assert chain.chain_receipt is not None
    assert chain.arrays["ustar"].shape == LARGE.shape
    assert client.diffusion(LARGE, wait=math.inf).meta.diffusion is not None
    assert [job.kind for job in client.jobs()] == ["diffusion", "chain", "settle", "settle"]


def test_small_work_is_answered_at_once(connect: Connect, small: Server) -> None:
    client = connect(small.new_key(), small.url)
    assert client.settle(SMALL, wait=60).state_sig == client.settle(SMALL).state_sig
    assert client.settle_array(SMALL, wait=60).shape == SMALL.shape
    assert isinstance(client.settle_or_submit(SMALL), Answer)
    assert list(client.jobs()) == []


def test_an_answer_or_a_job(connect: Connect, small: Server) -> None:
    client = connect(small.new_key(), small.url)
    job = client.settle_or_submit(LARGE, psi=LARGE[0], idempotency_key="mine")
    assert isinstance(job, Job)
    again = client.settle_or_submit(LARGE, psi=LARGE[0], idempotency_key="mine")
    assert isinstance(again, Job)
    assert again.job_id == job.job_id
    assert client.wait(job).answer().meta.N == 200
    for kind, problem in [("chain", {"chain": [0, 1]}), ("diffusion", {})]:
        made = client.settle_or_submit(LARGE, kind=kind, **problem)  # type: ignore[arg-type]
        assert isinstance(made, Job)
        assert made.kind == kind


def test_a_job_that_was_not_asked_for(connect: Connect, small: Server) -> None:
    # Something between asks for it.
    client = connect(small.new_key(), small.url, http={"headers": {"Prefer": "respond-async"}})
    assert client.settle(LARGE).meta.N == 200
    assert client.settle_array(LARGE).shape == LARGE.shape
    assert len(list(client.jobs())) == 2


def test_a_lost_202_makes_one_job(connect: Connect, small: Server) -> None:
    proxy = Proxy(small.url)
    key = small.new_key()
    client = connect(key, proxy.url, retries=RetryPolicy(first_delay_s=0.01))
    proxy.lose = 2
    assert client.settle(LARGE, wait=60).meta.N == 200
    assert [answer[:12] for answer in proxy.lost] == [b"HTTP/1.1 202"] * 2
    assert len(list(connect(key, small.url).jobs())) == 1
    proxy.close()


def test_a_wait_that_is_too_short(connect: Connect, small: Server) -> None:
    client = connect(small.new_key(), small.url)
    with small.paused():
        with pytest.raises(WaitTimeout) as caught:
            client.settle(LARGE, wait=0.2)
        again = pickle.loads(pickle.dumps(caught.value))  # noqa: S301
        assert (str(again), again.job) == (str(caught.value), caught.value.job)
        with pytest.raises(ValueError, match="queued"):
            caught.value.job.answer()
    # The job goes on.
    assert client.wait(caught.value.job).answer().meta.N == 200


def test_a_job_that_fails(connect: Connect, small: Server) -> None:
    client = connect(small.new_key(), small.url)
    with small.paused(), ThreadPoolExecutor(2) as pool:
        waiting = pool.submit(client.settle, LARGE, wait=60)
        client.cancel(first_job(client))
        with pytest.raises(JobFailed, match="ended as cancelled") as caught:
            waiting.result()
        waiting_array = pool.submit(client.settle_array, LARGE, wait=60)
        while (job := first_job(client)).ended:
            time.sleep(0.02)
        client.cancel(job)
        with pytest.raises(JobFailed, match=job.job_id):
            waiting_array.result()
    with pytest.raises(JobFailed):
        caught.value.job.answer()
    again = pickle.loads(pickle.dumps(caught.value))  # noqa: S301
    assert (str(again), again.job.status) == (str(caught.value), "cancelled")


def test_an_interrupted_wait_cancels_its_job(small: Server) -> None:
    # What starts the tests may have had interrupts ignored.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        interrupt_a_wait(small)
    finally:
        signal.signal(signal.SIGINT, before)


def interrupt_a_wait(small: Server) -> None:
    with Client(small.url, small.new_key()) as client, small.paused():

        def interrupt() -> None:
            first_job(client)
            signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)

        with ThreadPoolExecutor(1) as pool:
            interrupted = pool.submit(interrupt)
            with pytest.raises(KeyboardInterrupt):
                client.settle(LARGE, wait=60)
            interrupted.result()
        assert [job.status for job in client.jobs()] == ["cancelled"]


async def seen(client: AsyncClient) -> Job:
    while True:
        async for job in client.jobs():
            return job
        await asyncio.sleep(0.02)


@pytest.mark.parametrize(("idempotency_key", "status"), [(None, "cancelled"), ("mine", "queued")])
def test_a_cancelled_wait(small: Server, idempotency_key: str | None, status: str) -> None:
    async def story() -> None:
        async with AsyncClient(small.url, small.new_key()) as client:
            work = client.settle(LARGE, wait=60, idempotency_key=idempotency_key)
            task = asyncio.create_task(work)
            job = await seen(client)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            assert (await client.get(job)).status == status
            # Nothing of it goes on here.
            assert asyncio.all_tasks() == {asyncio.current_task()}

    with small.paused():
        asyncio.run(story())


def test_what_is_given_up_gives_its_connection_back(small: Server) -> None:
    async def story() -> None:
        limits = httpx.Limits(max_connections=1)
        async with httpx.AsyncClient(limits=limits) as http:
            client = AsyncClient(small.url, small.new_key(), timeout=2, http=http)
            job = await client.submit(SMALL)
            with pytest.raises(asyncio.TimeoutError):
                await asyncio.wait_for(client.wait(job), 0.2)
            assert (await client.get(job)).status == "queued"
            async for _ in client.stream(job):
                break
            assert (await client.get(job)).status == "queued"

    with small.paused():
        asyncio.run(story())


def test_waits_share_a_connection(connect: Connect, small: Server) -> None:
    http = {"limits": httpx.Limits(max_connections=1)}
    once = RetryPolicy(attempts=1)
    client = connect(small.new_key(), small.url, http=http, timeout=0.2, retries=once)
    with small.paused(), ThreadPoolExecutor(2) as pool:
        jobs = [client.submit(SMALL) for _ in range(2)]
        waits = [pool.submit(client.wait, job, 2.5) for job in jobs]
        for wait in waits:
            with pytest.raises(WaitTimeout):
                wait.result()
