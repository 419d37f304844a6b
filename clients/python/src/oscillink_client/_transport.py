"""From calls to requests of httpx, for both clients."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from functools import lru_cache
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import httpx

from ._calls import Call

CONNECT_S = 10.0


@dataclass(frozen=True)
class Target:
    """Where requests go, and with which key."""

    base_url: str
    api_key: str = field(repr=False)
    timeout: float

    @classmethod
    def of(cls, base_url: str | None, api_key: str | None, timeout: float) -> Target:
        """What is not given comes from the environment."""
        base_url = _given("base_url", base_url, "OSCILLINK_SERVER")
        api_key = _given("api_key", api_key, "OSCILLINK_API_KEY")
        url = httpx.URL(base_url)
        if url.scheme not in ("http", "https") or not url.host:
            # Not shown: it is the key when the two were confused.
            raise ValueError("base_url is not an http or https URL")
        # An error of the transport would show it.
        if not (api_key.isascii() and api_key.isprintable() and " " not in api_key):
            raise ValueError("api_key has characters that no key has")
        if timeout <= 0:
            raise ValueError("timeout must be positive")
        return cls(base_url.rstrip("/").removesuffix("/v1"), api_key, timeout)

    def __str__(self) -> str:
        # Without a password.
        return repr(httpx.URL(self.base_url))

    def request(
        self, http: httpx.Client | httpx.AsyncClient, call: Call[Any], read_s: float | None = None
    ) -> httpx.Request:
        """The request that a call stands for; `read_s` is the longest silence."""
        read = read_s if read_s is not None else self.timeout + call.held_s
        timeout = httpx.Timeout(self.timeout, connect=min(CONNECT_S, self.timeout), read=read)
        own = {"X-API-Key": self.api_key, "User-Agent": f"oscillink-client/{installed_version()}"}
        return http.build_request(
            call.method,
            self.base_url + call.path,
            params=call.query or None,
            headers={**own, **call.headers},
            content=call.content,
            timeout=timeout,
        )


@lru_cache(maxsize=1)
def installed_version() -> str:
    """Of this package; 0 where it is used from a folder of sources."""
    try:
        return version("oscillink-client")
    except PackageNotFoundError:
        return "0"


def _given(name: str, value: str | None, variable: str) -> str:
    # Keys come from files, which end their lines.
    found = (os.environ.get(variable, "") if value is None else value).strip()
    if not found:
        said = f"give it or set {variable}" if value is None else "it is empty"
        raise ValueError(f"no {name}: {said}")
    return found
