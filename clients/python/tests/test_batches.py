"""Batches beyond what one request may have."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import httpx
import pytest
from harness import Connect, Proxy, Server, matrix

from oscillink_client import (
    AsyncClient,
    BatchItem,
    BatchLine,
    ConnectionFailed,
    RateLimited,
    RetryPolicy,
    UnexpectedAnswer,
)
from oscillink_client import _batch as batch
from oscillink_client._retry import Program, Programs, Send, Sleep


def items(count: int) -> list[BatchItem]:
    return [BatchItem(matrix(3, 2), custom_id=str(n)) for n in range(count)]


def test_more_lines_than_a_request_may_have(connect: Connect, small: Server) -> None:
    client = connect(small.new_key(), small.url)
    # Five lines a request.
    lines = client.submit_batch(iter(items(12)), idempotency_key="mine")
    assert [line.line for line in lines] == list(range(12))
    assert [line.custom_id for line in lines] == [str(n) for n in range(12)]
    assert {line.status for line in lines} == {202}
    assert {job.job_id for job in client.jobs()} == {line.job_id for line in lines}
    assert client.submit_batch([]) == []


def test_a_batch_that_is_sent_again(connect: Connect, server: Server, proxy: Proxy) -> None:
    client = connect(server.new_key(), proxy.url)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(batch, "MAX_BYTES", 500)
        first = client.submit_batch(items(12), idempotency_key="k" * 255)
        sent = len(proxy.requests)
        assert sent > 2
        again = client.submit_batch(items(12), idempotency_key="k" * 255)
    assert len(proxy.requests) == 2 * sent
    assert all(line.replayed for line in again)
    assert [line.job_id for line in again] == [line.job_id for line in first]


def test_the_rest_of_a_batch_is_refused(connect: Connect, limited: Server) -> None:
    client = connect(limited.new_key(), limited.url)
    # Three requests an hour.
    lines = client.submit_batch(items(18))
    assert [line.status for line in lines] == [202] * 15 + [429] * 3
    assert [line.custom_id for line in lines] == [str(n) for n in range(18)]
    assert all(isinstance(line.error, RateLimited) for line in lines[15:])
    with pytest.raises(RateLimited):
        client.submit_batch(items(1))


def answer(*statuses: int) -> httpx.Response:
    accepted = '{"line": 0, "status": 202, "job_id": "j", "replayed": false}\n'
    refused = (
        '{"line": 0, "status": 503, "error": {"type": "urn:oscillink:problem:unavailable",'
        ' "status": 503, "detail": "shutting down", "retry_after": 2}}\n'
    )
    return httpx.Response(200, text="".join(accepted if s == 202 else refused for s in statuses))


def submitting(policy: RetryPolicy) -> Program[list[BatchLine]]:
    return batch.submit_batch(Programs(policy), batch.Encoded.of(items(3)), None)


def test_a_server_that_stops_within_a_batch() -> None:
    program = submitting(RetryPolicy())
    first = next(program)
    assert isinstance(first, Send)
    pause = program.send(answer(202, 503))
    assert isinstance(pause, Sleep)
    assert 2 < pause.seconds < 3
    second = next(program)
    # The whole of it under its key, so that nothing is made twice.
    assert second == first
    with pytest.raises(StopIteration) as done:
        program.send(answer(202, 202, 202))
    assert [line.line for line in done.value.value] == [0, 1, 2]


def test_a_server_that_does_not_come_back() -> None:
    program = submitting(RetryPolicy(attempts=1))
    next(program)
    with pytest.raises(StopIteration) as done:
        program.send(answer(202, 503))
    assert [line.status for line in done.value.value] == [202, 503, 503]
    program = submitting(RetryPolicy(attempts=1))
    next(program)
    with pytest.raises(UnexpectedAnswer, match="1 answers to 3 lines"):
        program.send(answer(202))
    program = submitting(RetryPolicy(attempts=1))
    next(program)
    with pytest.raises(ConnectionFailed):
        program.throw(httpx.ReadError("lost"))


def test_the_event_loop_is_not_held_up(server: Server) -> None:
    makers: list[threading.Thread] = []

    class Tensor:
        def __array__(self, dtype: Any = None, copy: Any = None) -> Any:
            makers.append(threading.current_thread())
            return matrix(3, 2)

    async def story() -> None:
        async with AsyncClient(server.url, server.new_key()) as client:
            (line,) = await client.submit_batch([BatchItem(Tensor())])
            assert line.status == 202

    asyncio.run(story())
    assert makers
    assert threading.main_thread() not in makers
