"""Callbacks from the real server to a real receiver, checked as a customer would."""

from __future__ import annotations

import queue
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import NamedTuple

import pytest
from harness import Connect, Server, matrix

from oscillink_client import Client, Conflict, verify_webhook


class Delivery(NamedTuple):
    headers: dict[str, str]
    body: bytes


@contextmanager
def receiving() -> Iterator[tuple[str, queue.Queue[Delivery]]]:
    """A receiver's URL, and what it is sent."""
    deliveries: queue.Queue[Delivery] = queue.Queue()

    class Receiver(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            deliveries.put(Delivery(dict(self.headers.items()), body))
            self.send_response(204)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Receiver) as receiver:
        threading.Thread(target=receiver.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{receiver.server_address[1]}/done", deliveries
        receiver.shutdown()


def test_the_end_of_a_job_is_reported(connect: Connect, server: Server) -> None:
    client: Client = connect(server.new_key())
    before = client.callback_secret()
    assert before.secret not in repr(before)
    with receiving() as (url, deliveries):
        job = client.submit(matrix(9, 4), callback_url=url)
        first = deliveries.get(timeout=30)
        event = verify_webhook(first.headers, first.body, before.secret)
        assert event["data"]["job_id"] == job.job_id
        assert event["data"]["status"] == "done"

        after = client.rotate_callback_secret(overlap_seconds=3_600, idempotency_key="rotate")
        again = client.rotate_callback_secret(overlap_seconds=3_600, idempotency_key="rotate")
        assert after == again
        assert after.secret != before.secret
        assert after.previous_signs_until is not None
        client.redeliver_callback(job.job_id)
        second = deliveries.get(timeout=30)
        # Both secrets sign for a while, and the event is known to be the same.
        for secret in (before.secret, after.secret):
            verify_webhook(second.headers, second.body, secret)
        ids = [{k.lower(): v for k, v in d.headers.items()}["webhook-id"] for d in (first, second)]
        assert ids[0] == ids[1]


def test_a_job_without_a_callback_has_none_to_deliver(client: Client) -> None:
    job = client.wait(client.submit(matrix(3, 2)).job_id)
    assert job.callback is None
    with pytest.raises(Conflict):
        client.redeliver_callback(job.job_id)
