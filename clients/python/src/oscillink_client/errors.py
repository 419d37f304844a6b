"""What can go wrong. Everything derives from `OscillinkError`."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Mapping
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from functools import partial
from typing import TYPE_CHECKING, Any

import httpx

from ._limits import RateLimit, limits_of

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
        self.timeout = timeout

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.job, self.timeout)


class JobFailed(OscillinkError):
    """The job ended without an answer. `job` says how, and `job.error` why."""

    def __init__(self, job: Job) -> None:
        reason = f": {job.error.code}: {job.error.detail}" if job.error else ""
        super().__init__(f"{job.job_id} ended as {job.status}{reason}")
        self.job = job

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.job,)


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
        rate_limits: Mapping[str, RateLimit] | None = None,
    ) -> None:
        # The service's detail tells the first of them.
        fields = [f"{error.field}: {error.detail}" for error in errors]
        told = "; ".join([detail, *(field for field in fields if field not in detail)])
        named = f" ({request_id})" if request_id else ""
        super().__init__(f"{status} {title}: {told}{named}")
        self.status = status
        self.type = type
        self.title = title
        self.detail = detail
        self.request_id = request_id
        self.errors = errors
        self.retry_after = retry_after
        """Seconds after which the same request is worth sending again."""
        self.rate_limits = dict(rate_limits or {})
        """Limits that the answer told of, by name."""

    def __reduce__(self) -> tuple[Any, ...]:
        # Errors travel between processes, where pickle would call `__init__` with the message.
        names = ("status", "type", "title", "detail", "request_id", "errors", "retry_after")
        given = {name: getattr(self, name) for name in (*names, "rate_limits")}
        return partial(type(self), **given), ()

    @property
    def retryable(self) -> bool:
        """Whether the same request may succeed later."""
        return self.status in (408, 429, 502, 503, 504)


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


class MethodNotAllowed(ApiError):
    """405: the route has other methods."""


class NotAcceptable(ApiError):
    """406: no form of the answer fits what the request accepts."""


class RequestTimeout(ApiError):
    """408: the body came too slowly."""


class Conflict(ApiError):
    """409: the thing is in another state."""


class IdempotencyInFlight(ApiError):
    """409: the same request is being answered."""

    @property
    def retryable(self) -> bool:
        return True


class TooLarge(ApiError):
    """413: more than the limits allow. What is too large to be answered at once can be a job: see
    `submit`, and `wait` of `settle`."""


class UnsupportedMediaType(ApiError):
    """415: the type or encoding of the body is not known."""


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
    "method-not-allowed": MethodNotAllowed,
    "not-acceptable": NotAcceptable,
    "request-timeout": RequestTimeout,
    "conflict": Conflict,
    "idempotency-in-flight": IdempotencyInFlight,
    "too-large": TooLarge,
    "unsupported-media-type": UnsupportedMediaType,
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
    if response.has_redirect_location and "detail" not in document:
        # Not followed: a POST would become a GET on the way.
        location = response.headers["location"]
        document["detail"] = f"the answer points to {location!r}: is base_url right?"
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
        rate_limits=limits_of(headers),
    )


def _seconds(value: object) -> float | None:
    if isinstance(value, bool) or not isinstance(value, (int, float, str)):
        return None
    try:
        seconds = float(value)
    except ValueError:
        return _seconds_until(str(value))
    return seconds if math.isfinite(seconds) and seconds >= 0 else None


def _seconds_until(date: str) -> float | None:
    # The service sends seconds; proxies may send a date.
    try:
        return max(0.0, parsedate_to_datetime(date).timestamp() - time.time())
    except (TypeError, ValueError, OverflowError):
        return None
