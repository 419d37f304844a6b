"""A batch of any length, in as many requests as the service's limits ask for."""

from __future__ import annotations

import hashlib
import uuid
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from . import _calls as calls
from . import _encode as encode
from ._retry import Program, Programs, Sleep
from .errors import ApiError, TooLarge, UnexpectedAnswer
from .models import BatchLine

MAX_LINES = 10_000
MAX_BYTES = 32 << 20
"""Of one request. The service takes more by default; what it does not take is sent again."""


@dataclass(frozen=True)
class Encoded:
    """A batch as it travels. All of it is made before any is sent: an item that makes no sense must
    not leave half a batch behind."""

    names: list[str | None]
    lines: list[bytes]

    @classmethod
    def of(cls, items: Iterable[encode.BatchItem]) -> Encoded:
        """A millisecond for a thousand numbers."""
        items = list(items)
        lines = [_line(place, item) for place, item in enumerate(items)]
        return cls([item.custom_id for item in items], lines)


def submit_batch(
    programs: Programs, batch: Encoded, idempotency_key: str | None
) -> Program[list[BatchLine]]:
    """Every item has its line, in order, whatever became of it."""
    names, pending = batch.names, batch.lines
    key = uuid.uuid4().hex if idempotency_key is None else idempotency_key
    done: list[BatchLine] = []
    request = 0
    while pending:
        lines = pending[: _fitting(pending)]
        try:
            answers, cut = yield from _answers(programs, lines, _key(key, request))
        except ApiError as error:
            if request == 0:
                raise
            answers, cut = [], error
        done += [replace(answer, line=len(done) + n) for n, answer in enumerate(answers)]
        pending = pending[len(answers) :]
        request += 1
        if cut is not None and not (answers and isinstance(cut, TooLarge)):
            break
    for place in range(len(done), len(names)):
        assert cut is not None, "only an error leaves items behind"
        done.append(BatchLine(place, cut.status, error=cut))
    return [
        replace(line, custom_id=name) if line.custom_id is None else line
        for line, name in zip(done, names)
    ]


def _answers(
    programs: Programs, lines: Sequence[bytes], key: str
) -> Program[tuple[list[BatchLine], ApiError | None]]:
    """Answers to the first of `lines`, and why the others were not read."""
    call = calls.submit_batch(lines, key)
    pacer = programs.pacer()
    while True:
        answers = yield from programs.perform(call)
        if len(answers) == len(lines):
            return answers, None
        cut = answers[-1].error if 0 < len(answers) < len(lines) else None
        if cut is None:
            raise UnexpectedAnswer(f"{len(answers)} answers to {len(lines)} lines")
        if not cut.retryable:
            return answers[:-1], cut
        try:
            pause = pacer.after(cut)
        except ApiError:
            return answers[:-1], cut
        # The key makes only the jobs that are missing.
        yield Sleep(pause)


def _line(place: int, item: encode.BatchItem) -> bytes:
    try:
        return encode.line(item)
    except (TypeError, ValueError) as error:
        raise type(error)(f"item {place}: {error}") from error


def _fitting(lines: Sequence[bytes]) -> int:
    """How many of `lines` make one request."""
    size = 0
    for count, line in enumerate(lines[:MAX_LINES]):
        size += len(line)
        if size > MAX_BYTES and count > 0:
            return count
    return min(len(lines), MAX_LINES)


def _key(key: str, request: int) -> str:
    return key if request == 0 else hashlib.sha256(f"{key} {request}".encode()).hexdigest()
