"""What can go wrong. Everything derives from `OscillinkError`."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import httpx

if TYPE_CHECKING:
    from .models import Job

PREFIX = "urn:oscillink:problem:"


class OscillinkError(Exception):
    """Base of all errors of this package."""


class ConnectionFailed(OscillinkError):
    """No answer came, however often the request was sent. Whether it took effect is not known."""


class UnexpectedAnswer(OscillinkError):
    """The answer is not one that the API gives: something else answered."""


class SignatureError(OscillinkError):
    """A signature or a chain of hashes does not hold; the message says which part."""


class WaitTimeout(OscillinkError, TimeoutError):
    """The job has not ended in the time given. `job` is how it was last seen."""

    def __init__(self, job: Job, timeout: float) -> None:
        super().__init__(f"{job.job_id} is {job.status} after {timeout:g} s")
        self.job = job


@dataclass(frozen=True)
class FieldError:
    """A field at fault."""

    field: str
    detail: str


class ApiError(OscillinkError):
    """A problem document (RFC 9457), or an error answer of a proxy in between."""

    def __init__(
        self,
        *,
        status: int,
        type: str,
        title: str,
        detail: str,
        request_id: str | None,
        errors: tuple[FieldError, ...] = (),
        retry_after: float | None = None,
    ) -> None:
        fields = "".join(f"; {error.field}: {error.detail}" for error in errors)
        named = f" ({request_id})" if request_id else ""
        super().__init__(f"{status} {title}: {detail}{fields}{named}")
        self.status = status
        self.type = type
        self.title = title
        self.detail = detail
        self.request_id = request_id
        self.errors = errors
        self.retry_after = retry_after
        """Seconds after which the same request is worth sending again."""

    @property
    def retryable(self) -> bool:
        """Whether the same request may succeed later."""
        return self.status in (429, 502, 503, 504)


class InvalidRequest(ApiError):
    """400: `errors` names the fields."""


class Unauthorized(ApiError):
    """401: no key, or one that is not known or revoked."""


class TierRequired(ApiError):
    """402: the key's tier does not include it."""


class KeyInactive(ApiError):
    """403: the key is suspended or waits for activation."""


class FeatureDisabled(ApiError):
    """403: the operator has switched it off."""


class NotFound(ApiError):
    """404: no such route or job, or someone else's."""


class Conflict(ApiError):
    """409: the thing is in another state."""


class IdempotencyInFlight(ApiError):
    """409: the same request is being answered."""

    @property
    def retryable(self) -> bool:
        return True


class TooLarge(ApiError):
    """413: more than the limits allow."""


class IdempotencyMismatch(ApiError):
    """422: the idempotency key was used with another request."""


class RateLimited(ApiError):
    """429: too many requests."""


class QuotaExceeded(ApiError):
    """429: the window or the month has no room."""


class InternalError(ApiError):
    """500: a defect of the service; `request_id` helps its operators."""


class Saturated(ApiError):
    """503: more work than there is room for."""


class Unavailable(ApiError):
    """503: a dependency does not answer, or the server is stopping."""


TYPES: Mapping[str, type[ApiError]] = {
    "invalid-request": InvalidRequest,
    "unauthorized": Unauthorized,
    "tier-required": TierRequired,
    "key-inactive": KeyInactive,
    "feature-disabled": FeatureDisabled,
    "not-found": NotFound,
    "conflict": Conflict,
    "idempotency-in-flight": IdempotencyInFlight,
    "too-large": TooLarge,
    "idempotency-mismatch": IdempotencyMismatch,
    "rate-limited": RateLimited,
    "quota-exceeded": QuotaExceeded,
    "internal": InternalError,
    "saturated": Saturated,
    "unavailable": Unavailable,
}


def error_of(response: httpx.Response) -> ApiError:
    """The error that an answer, read to its end, stands for."""
    try:
        document = json.loads(response.content)
    except ValueError:
        document = None
    if not isinstance(document, dict):
        document = {}
    return problem_of(document, response.status_code, response.headers)


def problem_of(document: Mapping[str, object], status: int, headers: Mapping[str, str]) -> ApiError:
    """The error that a problem document stands for; what it leaves out comes from the answer."""

    def text(name: str, default: str) -> str:
        value = document.get(name)
        return value if isinstance(value, str) else default

    name = text("type", "about:blank")
    kind = TYPES.get(name[len(PREFIX) :], ApiError) if name.startswith(PREFIX) else ApiError
    errors = document.get("errors")
    return kind(
        status=status,
        type=name,
        title=text("title", httpx.codes.get_reason_phrase(status)),
        detail=text("detail", "the answer is not a problem document"),
        request_id=text("request_id", headers.get("x-request-id", "")) or None,
        errors=tuple(
            FieldError(str(error.get("field")), str(error.get("detail")))
            for error in (errors if isinstance(errors, list) else [])
            if isinstance(error, dict)
        ),
        retry_after=_seconds(headers.get("retry-after")) or _seconds(document.get("retry_after")),
    )


def _seconds(value: object) -> float | None:
    # The service sends seconds; a date, which proxies may send, is not worth a parser.
    if isinstance(value, bool) or not isinstance(value, (int, float, str)):
        return None
    try:
        seconds = float(value)
    except ValueError:
        return None
    return seconds if math.isfinite(seconds) and seconds >= 0 else None
