"""Server-sent events of a job, across connections."""

from __future__ import annotations

from dataclasses import dataclass

import httpx

from . import _calls as calls
from ._calls import Call, JobRef
from ._decode import decode_json
from ._retry import Pacer, connection_failed
from .errors import ConnectionFailed, OscillinkError, UnexpectedAnswer, error_of
from .models import Job, Progress

MAX_EVENT_BYTES = 1 << 20
SILENCE_S = 45.0
"""The service says something every 15 seconds; a connection silent for so long is lost."""


@dataclass(frozen=True)
class Event:
    """A state of a job: the whole job, or only its progress."""

    id: str
    job: Job | None = None
    progress: Progress | None = None


class Parser:
    """Takes a stream apart as it comes."""

    def __init__(self) -> None:
        self._rest = b""

    def feed(self, chunk: bytes) -> list[Event]:
        """The events that end in `chunk`."""
        self._rest += chunk.replace(b"\r\n", b"\n")
        *blocks, self._rest = self._rest.split(b"\n\n")
        if len(self._rest) > MAX_EVENT_BYTES:
            raise UnexpectedAnswer(f"an event has more than {MAX_EVENT_BYTES} bytes")
        return [event for event in map(_event, blocks) if event is not None]


def _event(block: bytes) -> Event | None:
    fields: dict[str, str] = {}
    for line in block.decode("utf-8", "replace").split("\n"):
        name, _, value = line.partition(":")
        value = value.removeprefix(" ")
        fields[name] = f"{fields[name]}\n{value}" if name == "data" and name in fields else value
    kind, data, event_id = fields.get("event"), fields.get("data"), fields.get("id", "")
    if data is None:
        return None
    if kind == "status":
        return Event(event_id, job=decode_json(Job, data))
    if kind == "progress":
        return Event(event_id, progress=decode_json(Progress, data))
    # Of a newer server.
    return None


class Follow:
    """Follows a job to its end: what to ask next, what has come, and how long to pause."""

    def __init__(self, job: JobRef, last_event_id: str | None, pacer: Pacer) -> None:
        self._job, self._last, self._pacer = job, last_event_id, pacer
        self._parser = Parser()
        self._failure: OscillinkError | None = None
        self.ended = False

    def call(self) -> Call[None]:
        """Goes on after the last event."""
        self._parser, self._failure = Parser(), None
        return calls.events(self._job, self._last)

    def refused(self, response: httpx.Response) -> bool:
        """Whether the answer, whose head has come, is no stream. One that is an error is to be read
        and given to `failed`."""
        if response.status_code == 204:
            self.ended = True
        return response.status_code != 200

    def feed(self, chunk: bytes) -> list[Event]:
        """What has come."""
        events = self._parser.feed(chunk)
        # A comment says that the connection is good though nothing happens.
        if events or chunk.startswith(b":"):
            self._pacer.succeeded()
        for event in events:
            self._last = event.id
            self.ended = self.ended or (event.job is not None and event.job.ended)
        return events

    def failed(self, failure: httpx.Response | httpx.RequestError) -> None:
        """The connection has ended in this way."""
        if isinstance(failure, httpx.Response):
            self._failure = error_of(failure)
        else:
            self._failure = connection_failed(calls.events(self._job, self._last), failure)

    def pause(self) -> float:
        """Seconds until the next connection; raises what has gone wrong too often."""
        ended = ConnectionFailed("the event stream ended before the job, again and again")
        return self._pacer.after(self._failure or ended)
