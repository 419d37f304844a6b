"""Clients as they are made: addresses, keys, options, limits, threads."""

from __future__ import annotations

import socket
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta, timezone

import pytest
from harness import Connect, Proxy, Server, matrix

import oscillink_client
from oscillink_client import (
    AsyncClient,
    Client,
    ConnectionFailed,
    RateLimited,
    RetryPolicy,
    Unauthorized,
    verify_ledger,
)

NO_RETRIES = RetryPolicy(attempts=1)
CLIENTS = pytest.mark.parametrize("kind", [Client, AsyncClient])


def test_the_environment_gives_what_is_left_out(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    # As the command line does; files of secrets end with a newline.
    monkeypatch.setenv("OSCILLINK_SERVER", server.url + "/v1/")
    monkeypatch.setenv("OSCILLINK_API_KEY", server.new_key() + "\n")
    with Client() as client:
        assert client.usage().tier == "pro"
    with Client(api_key=server.new_key("free")) as client:
        assert client.usage().tier == "free"
    monkeypatch.delenv("OSCILLINK_API_KEY")
    with pytest.raises(ValueError, match="no api_key: give it or set OSCILLINK_API_KEY"):
        Client()
    monkeypatch.delenv("OSCILLINK_SERVER")
    with pytest.raises(ValueError, match="no base_url: give it or set OSCILLINK_SERVER"):
        AsyncClient()


@CLIENTS
def test_secrets_are_not_shown(kind: type[Client | AsyncClient]) -> None:
    secret = "ok_the_secret"
    client = kind("http://user:hidden@localhost:1", secret)
    for text in (repr(client), str(vars(client))):
        assert secret not in text
    assert "localhost" in repr(client)
    assert "hidden" not in repr(client)
    # Neither in the message of what went wrong: cut in two, or in the wrong place.
    for arguments in [("http://x", f"{secret}\n{secret}"), (secret, "http://x")]:
        with pytest.raises(ValueError, match=r"api_key has|base_url is") as caught:
            kind(*arguments)
        assert secret not in str(caught.value)


def test_options_of_a_part_of_the_work(connect: Connect, server: Server) -> None:
    client = connect(server.new_key())
    rotated = client.rotate_key(overlap_seconds=0)
    with pytest.raises(Unauthorized):
        client.usage()
    renewed = client.with_options(api_key=rotated.api_key)
    assert renewed.key().key_id == rotated.key_id
    with server.paused():
        job = renewed.submit(matrix(3, 2))
        hurried = renewed.with_options(timeout=0.2, retries=NO_RETRIES)
        assert hurried.get(job).status == "queued"
    assert renewed.wait(job).status == "done"


def test_closing_what_was_derived_closes_nothing(server: Server) -> None:
    with Client(server.url, server.new_key()) as client:
        with client.with_options(timeout=5) as derived:
            assert derived.usage().live_jobs == 0
        assert client.usage().live_jobs == 0


def test_options_bound_retries_and_time(connect: Connect, server: Server, proxy: Proxy) -> None:
    client = connect(server.new_key(), proxy.url)
    proxy.lose = 1_000
    with pytest.raises(ConnectionFailed):
        client.with_options(retries=NO_RETRIES).usage()
    assert len(proxy.lost) == 1


def test_limits_are_told(connect: Connect, limited: Server) -> None:
    client = connect(limited.new_key(), limited.url, retries=NO_RETRIES)
    assert client.rate_limits == {}
    client.settle(matrix(10, 2))
    month = client.rate_limits["month"]
    assert (month.limit, month.remaining) == (50_000_000, 49_999_980)
    assert month.resets > datetime.now(timezone.utc)
    for left in (2, 1, 0):
        client.usage()
        assert client.rate_limits["account"].remaining == left
    with pytest.raises(RateLimited) as caught:
        client.usage()
    limit = caught.value.rate_limits["account"]
    assert (limit.limit, limit.window_s, limit.remaining) == (3, 3_600, 0)
    assert caught.value.retry_after is not None
    assert 60 < caught.value.retry_after <= 1_200
    # What other answers have told still holds.
    assert client.rate_limits["month"].limit == 50_000_000


def test_the_server_that_does_not_answer_is_named(connect: Connect) -> None:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        address = f"127.0.0.1:{closed.getsockname()[1]}"
    client = connect("ok_x", f"http://{address}", retries=NO_RETRIES)
    with pytest.raises(ConnectionFailed, match=f"^GET http://{address}/v1/jobs: ConnectError"):
        list(client.jobs(status="done"))


def test_threads_share_a_client(connect: Connect, server: Server) -> None:
    client = connect(server.new_key())
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda n: client.settle(matrix(n, 3), psi=[1, 0, 0]), range(3, 35)))
    assert [answer.meta.N for answer in answers] == list(range(3, 35))
    assert verify_ledger(client.ledger()) == 32


@pytest.mark.parametrize("bad", ["", "é", "two words", "line\nbreak", "x" * 256])
def test_idempotency_keys_that_make_no_sense(client: Client, bad: str) -> None:
    with pytest.raises(ValueError, match="idempotency_key"):
        client.submit(matrix(3, 2), idempotency_key=bad)
    with pytest.raises(ValueError, match="idempotency_key"):
        client.redeliver_callback("job_0000000000000000000000", idempotency_key=bad)


def test_times_without_a_zone_are_of_here(client: Client) -> None:
    job = client.submit(matrix(3, 2))
    for since, found in [(timedelta(minutes=-1), [job.job_id]), (timedelta(minutes=1), [])]:
        moment = datetime.now() + since
        assert [other.job_id for other in client.jobs(since=moment)] == found


def test_the_version_is_told() -> None:
    assert oscillink_client.__version__
