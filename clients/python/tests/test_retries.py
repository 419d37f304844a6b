"""Requests that are sent again: through a proxy that loses answers, and by the clock."""

from __future__ import annotations

import random
import socket
import time
from email.utils import formatdate

import httpx
import pytest
from harness import Connect, Proxy, Server, matrix

from oscillink_client import (
    ApiError,
    BatchItem,
    ConnectionFailed,
    IdempotencyInFlight,
    InvalidRequest,
    RequestTimeout,
    RetryPolicy,
    Saturated,
    UnexpectedAnswer,
)
from oscillink_client._calls import usage
from oscillink_client._retry import Pacer, Programs, Send, Sleep

QUICK = RetryPolicy(attempts=5, first_delay_s=0.01, max_delay_s=0.05)


def idempotency_keys(proxy: Proxy) -> list[bytes]:
    lines = (line for request in proxy.requests for line in request.split(b"\r\n"))
    return [line for line in lines if line.lower().startswith(b"idempotency-key:")]


def test_a_lost_answer_makes_one_job(connect: Connect, server: Server, proxy: Proxy) -> None:
    key = server.new_key()
    client = connect(key, proxy.url, retries=QUICK)
    proxy.lose = 3
    job = client.submit(matrix(9, 4))
    # The server had accepted the job each time before its answer was lost.
    assert len(proxy.lost) == 3
    assert all(answer.startswith(b"HTTP/1.1 202") for answer in proxy.lost)
    assert len(set(idempotency_keys(proxy))) == 1
    assert len(idempotency_keys(proxy)) == 4
    assert [other.job_id for other in connect(key).jobs()] == [job.job_id]


def test_a_lost_answer_is_charged_once(connect: Connect, server: Server, proxy: Proxy) -> None:
    key = server.new_key()
    client = connect(key, proxy.url, retries=QUICK)
    proxy.lose = 2
    answer = client.settle(matrix(9, 4))
    assert len(proxy.lost) == 2
    assert answer.meta.usage.node_dim_units == 36
    assert connect(key).usage().month.used == 36
    proxy.lose = 1
    client.settle_array(matrix(9, 4))
    assert len(proxy.lost) == 3
    assert connect(key).usage().month.used == 72


def test_half_a_batch_is_made_whole(connect: Connect, server: Server, proxy: Proxy) -> None:
    key = server.new_key()
    client = connect(key, proxy.url, retries=QUICK)
    # The head of the answer and some of its lines come through.
    proxy.lose, proxy.lose_after = 1, 1_500
    lines = client.submit_batch([BatchItem(matrix(3, 2), custom_id=str(i)) for i in range(40)])
    assert len(proxy.lost) == 1
    assert any(line.replayed for line in lines)
    assert len({line.job_id for line in lines}) == 40
    assert {job.job_id for job in connect(key).jobs()} == {line.job_id for line in lines}


def test_a_lost_stream_is_taken_up(connect: Connect, server: Server, proxy: Proxy) -> None:
    client = connect(server.new_key(), proxy.url, retries=QUICK)
    server.admin("POST", "/queues/settle/pause")
    try:
        job = client.submit(matrix(9, 4))
        events = client.stream(job.job_id)
        first = next(events)
    finally:
        server.admin("POST", "/queues/settle/resume")
    # What comes next is lost; the stream goes on after the event that was seen.
    proxy.lose = 1
    rest = list(events)
    assert len(proxy.lost) == 1
    assert rest[-1].job is not None
    assert rest[-1].job.status == "done"
    ids = [first.id, *(event.id for event in rest)]
    assert len(set(ids)) == len(ids)
    assert any(b"last-event-id: " + first.id.encode() in r.lower() for r in proxy.requests)


def test_retries_are_bounded(connect: Connect, server: Server, proxy: Proxy) -> None:
    key = server.new_key()
    proxy.lose = 1_000
    for work in (
        lambda client: client.submit(matrix(3, 2)),
        lambda client: list(client.stream("job_0000000000000000000000")),
    ):
        before = len(proxy.lost)
        with pytest.raises(ConnectionFailed) as caught:
            work(connect(key, proxy.url, retries=QUICK))
        assert isinstance(caught.value.__cause__, httpx.TransportError)
        assert len(proxy.lost) - before == QUICK.attempts
    assert len(list(connect(key).jobs())) == 1


def test_silence_ends(connect: Connect) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        client = connect("ok_x", url, timeout=0.2, retries=RetryPolicy(attempts=2, first_delay_s=0))
        with pytest.raises(ConnectionFailed, match="ReadTimeout"):
            client.usage()


def test_what_is_no_answer_of_the_service(connect: Connect, server: Server) -> None:
    # The page is one of the service's, but not what was asked for.
    with pytest.raises(UnexpectedAnswer, match=r"^GET /v1/usage: .* \(200, text/html.*, req_"):
        connect(server.new_key(), f"{server.url}/docs?").usage()
    with pytest.raises(ValueError, match="not an http"):
        connect("k", "localhost:80")
    with pytest.raises(ValueError, match="api_key"):
        connect("", server.url)


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def problem(status: int, name: str, **headers: str) -> httpx.Response:
    document = {"type": f"urn:oscillink:problem:{name}", "detail": "d", "request_id": "r"}
    return httpx.Response(status, json=document, headers=headers)


def pauses(policy: RetryPolicy, *answers: httpx.Response) -> tuple[list[float], ApiError]:
    """The pauses between these answers, and the error at the end."""
    clock = Clock()
    program = Programs(policy, random.Random(1), clock).perform(usage())
    slept: list[float] = []
    assert isinstance(next(program), Send)
    for answer in answers:
        try:
            step = program.send(answer)
        except ApiError as error:
            return slept, error
        assert isinstance(step, Sleep)
        slept.append(step.seconds)
        clock.now += step.seconds
        assert isinstance(next(program), Send)
    raise AssertionError("the program goes on")


def test_pauses_double_with_jitter_to_a_limit() -> None:
    policy = RetryPolicy(attempts=7, first_delay_s=1, max_delay_s=8)
    slept, error = pauses(policy, *[problem(503, "saturated")] * 7)
    assert isinstance(error, Saturated)
    assert len(slept) == 6
    for pause, longest in zip(slept, [1, 2, 4, 8, 8, 8]):
        assert longest / 2 <= pause <= longest
    assert len({pause / longest for pause, longest in zip(slept, [1, 2, 4, 8, 8, 8])}) == 6


def test_retry_after_is_kept_to() -> None:
    busy = problem(503, "saturated", **{"Retry-After": "7"})
    slept, _ = pauses(RetryPolicy(attempts=2), busy, busy)
    assert 7 < slept[0] < 7.5
    # Proxies give a date.
    moment = formatdate(time.time() + 30, usegmt=True)
    slept, _ = pauses(RetryPolicy(attempts=2), *[problem(503, "x", **{"Retry-After": moment})] * 2)
    assert 28 < slept[0] < 31
    past = problem(503, "x", **{"Retry-After": "Wed, 21 Oct 2015 07:28:00 GMT"})
    slept, _ = pauses(RetryPolicy(attempts=2), past, past)
    assert slept[0] < 1
    # One that is too far away is not waited for.
    slept, error = pauses(RetryPolicy(total_s=5), busy)
    assert (slept, error.retry_after) == ([], 7)


def test_what_is_worth_another_try() -> None:
    in_flight = problem(409, "idempotency-in-flight", **{"Retry-After": "1"})
    slept, error = pauses(RetryPolicy(attempts=2), in_flight, in_flight)
    assert len(slept) == 1
    assert isinstance(error, IdempotencyInFlight)
    slow = problem(408, "request-timeout")
    slept, error = pauses(RetryPolicy(attempts=2), slow, slow)
    assert len(slept) == 1
    assert isinstance(error, RequestTimeout)
    for answer, kind in [
        (problem(400, "invalid-request"), InvalidRequest),
        (problem(500, "internal"), ApiError),
        (problem(418, "of-the-future"), ApiError),
        (httpx.Response(301, headers={"location": "https://there/"}), ApiError),
        (httpx.Response(404, text="<html>"), ApiError),
    ]:
        slept, error = pauses(RetryPolicy(), answer)
        assert slept == []
        assert isinstance(error, kind)
        assert error.status == answer.status_code
        assert (answer.headers.get("location") or "d") in error.detail


def test_counting_begins_anew_after_a_success() -> None:
    clock = Clock()
    pacer = Pacer(RetryPolicy(attempts=2, first_delay_s=1), random.Random(1), clock)
    failure = ConnectionFailed("lost")
    for _ in range(5):
        assert pacer.after(failure) <= 1
        pacer.succeeded()
        clock.now += 1_000
    pacer.after(failure)
    with pytest.raises(ConnectionFailed):
        pacer.after(failure)


@pytest.mark.parametrize("bad", [{"attempts": 0}, {"total_s": -1}, {"first_delay_s": -0.1}])
def test_policies_that_make_no_sense(bad: dict[str, int]) -> None:
    with pytest.raises(ValueError, match="attempts"):
        RetryPolicy(**bad)
