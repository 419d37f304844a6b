"""Fixtures: a server for all tests, a proxy, and clients of both kinds."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import anyio.from_thread
import pytest
from harness import ADMIN, RECEIPT_SECRET, Blocking, Connect, Proxy, Server, serving

from oscillink_client import AsyncClient, Client


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


@pytest.fixture
def proxy(server: Server) -> Iterator[Proxy]:
    proxy = Proxy(server.url)
    yield proxy
    proxy.close()


@pytest.fixture(params=["sync", "async"])
def connect(request: pytest.FixtureRequest, server: Server) -> Iterator[Connect]:
    """Makes clients of either kind, of the server or of what `url` names."""
    with ExitStack() as open_things:
        if request.param == "sync":

            def make(key: str, url: str = server.url, **options: Any) -> Any:
                return open_things.enter_context(Client(url, key, **options))
        else:
            portal = open_things.enter_context(anyio.from_thread.start_blocking_portal())

            def make(key: str, url: str = server.url, **options: Any) -> Any:
                async def build() -> AsyncClient:
                    return AsyncClient(url, key, **options)

                client = Blocking(portal, portal.call(build))
                open_things.callback(portal.call, client.aclose)
                return client

        yield make


@pytest.fixture
def client(connect: Connect, server: Server) -> Client:
    return connect(server.new_key())
