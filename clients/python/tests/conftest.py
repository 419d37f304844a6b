"""Fixtures: a server for all tests, a proxy, and clients of both kinds."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import anyio.from_thread
import httpx
import pytest
from harness import ADMIN, RECEIPT_SECRET, Blocking, Connect, Proxy, Server, serving

from oscillink_client import AsyncClient, Client

HttpOptions = dict[str, Any]


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    variables = {
        "OSCILLINK_ADMIN_SECRET": ADMIN,
        "OSCILLINK_CALLBACK_ALLOW_PRIVATE": "true",
        "OSCILLINK_CALLBACK_SECRET": "secret of callbacks, 32 bytes or more",
        "RECEIPT_HMAC_SECRET": RECEIPT_SECRET,
    }
    with serving(tmp_path_factory.mktemp("data"), **variables) as server:
        yield server


SMALL = {
    "OSCILLINK_ADMIN_SECRET": ADMIN,
    "OSCILLINK_MAX_NODES": "100",
    "OSCILLINK_BATCH_MAX_LINES": "5",
}


@pytest.fixture(scope="session")
def small(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server that answers at most 150 rows (pro) at once, and takes 5 lines a batch."""
    with serving(tmp_path_factory.mktemp("small"), **SMALL) as server:
        yield server


@pytest.fixture
def limited(tmp_path: Path) -> Iterator[Server]:
    """One that takes few requests besides; a test's own, for they count together."""
    limits = {"OSCILLINK_ENDPOINT_RATE_LIMITS": "account=3/3600,batch=3/3600"}
    with serving(tmp_path, **SMALL, **limits) as server:
        yield server


@pytest.fixture
def proxy(server: Server) -> Iterator[Proxy]:
    proxy = Proxy(server.url)
    yield proxy
    proxy.close()


@pytest.fixture(params=["sync", "async"])
def connect(request: pytest.FixtureRequest, server: Server) -> Iterator[Connect]:
    """Makes clients of either kind, of the server or of what `url` names; `http` are options of an
    httpx client of the test's own."""
    with ExitStack() as open_things:
        if request.param == "sync":

            def make(
                key: str, url: str = server.url, http: HttpOptions | None = None, **options: Any
            ) -> Any:
                if http is not None:
                    options["http"] = open_things.enter_context(httpx.Client(**http))
                return open_things.enter_context(Client(url, key, **options))
        else:
            portal = open_things.enter_context(anyio.from_thread.start_blocking_portal())

            def make(
                key: str, url: str = server.url, http: HttpOptions | None = None, **options: Any
            ) -> Any:
                async def build() -> AsyncClient:
                    if http is not None:
                        options["http"] = httpx.AsyncClient(**http)
                    return AsyncClient(url, key, **options)

                client = Blocking(portal, portal.call(build))
                open_things.callback(portal.call, client.aclose)
                if http is not None:
                    open_things.callback(portal.call, options["http"].aclose)
                return client

        yield make


@pytest.fixture
def client(connect: Connect, server: Server) -> Client:
    return connect(server.new_key())
