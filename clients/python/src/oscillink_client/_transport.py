"""From calls to requests of httpx, for both clients."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version
from typing import Any, TypeVar

import httpx

from ._calls import Call

CONNECT_S = 10.0

Http = TypeVar("Http", httpx.Client, httpx.AsyncClient)


class Target:
    """Where requests go, and with which key."""

    def __init__(self, base_url: str, api_key: str, timeout: float) -> None:
        url = httpx.URL(base_url)
        if url.scheme not in ("http", "https") or not url.host:
            raise ValueError(f"{base_url!r} is not an http or https URL")
        if not api_key:
            raise ValueError("api_key is empty")
        if timeout <= 0:
            raise ValueError("timeout must be positive")
        self._base = base_url.rstrip("/")
        self._timeout = timeout
        self._headers = {"X-API-Key": api_key, "User-Agent": f"oscillink-client/{_version()}"}

    def request(
        self, http: httpx.Client | httpx.AsyncClient, call: Call[Any], read_s: float | None = None
    ) -> httpx.Request:
        """The request that a call stands for; `read_s` is the longest silence."""
        read = read_s if read_s is not None else self._timeout + call.held_s
        timeout = httpx.Timeout(self._timeout, connect=min(CONNECT_S, self._timeout), read=read)
        return http.build_request(
            call.method,
            self._base + call.path,
            params=call.query or None,
            headers={**self._headers, **call.headers},
            content=call.content,
            timeout=timeout,
        )

    def __repr__(self) -> str:
        return f"{self._base!r}"


def _version() -> str:
    try:
        return version("oscillink-client")
    except PackageNotFoundError:  # Used from a folder of sources.
        return "0"
