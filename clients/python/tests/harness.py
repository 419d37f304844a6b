"""The real server, a proxy that loses answers, and one face for both clients."""

from __future__ import annotations

import inspect
import json
import os
import socket
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import anyio.from_thread
import httpx
import numpy as np
import numpy.typing as npt
import pytest

from oscillink_client import AsyncClient, Client

ROOT = Path(__file__).parents[3]
ADMIN = "operators' secret"
RECEIPT_SECRET = "sëcret of receipts"


def binary() -> Path:
    """The server to test: `OSCILLINK_BIN`, else what cargo has built last for development."""
    given = os.environ.get("OSCILLINK_BIN")
    builds = [ROOT / "target" / profile / "oscillink" for profile in ("debug", "release")]
    for path in [Path(given)] if given else builds:
        if path.is_file():
            return path
    pytest.exit("no server: build it with `cargo build` or set OSCILLINK_BIN", returncode=2)


@dataclass
class Server:
    url: str
    process: subprocess.Popen[bytes]

    def admin(self, method: str, path: str, **options: Any) -> Any:
        """An operator's request that must succeed."""
        headers = {"X-Admin-Secret": ADMIN}
        answer = httpx.request(method, f"{self.url}/v1/admin{path}", headers=headers, **options)
        answer.raise_for_status()
        return answer.json()

    def new_key(self, tier: str = "pro", **overrides: int) -> str:
        """The secret of a key of its own for a test."""
        body = {"name": "test", "tier": tier, "overrides": overrides}
        key = self.admin("POST", "/keys", json=body)
        if key["status"] != "active":
            self.admin("PATCH", f"/keys/{key['key_id']}", json={"status": "active"})
        return str(key["api_key"])

    @contextmanager
    def paused(self, queue: str = "settle") -> Iterator[None]:
        """Jobs of the queue wait."""
        self.admin("POST", f"/queues/{queue}/pause")
        try:
            yield
        finally:
            self.admin("POST", f"/queues/{queue}/resume")


@contextmanager
def serving(folder: Path, **variables: str) -> Iterator[Server]:
    ours = ("OSCILLINK_", "RECEIPT_")
    environment = {k: v for k, v in os.environ.items() if not k.startswith(ours) and k != "PORT"}
    environment |= {"OSCILLINK_DATA_DIR": str(folder), "OSCILLINK_LOG": "warn", **variables}
    process = subprocess.Popen(
        [binary(), "serve", "--port", "0", "--json"], env=environment, stdout=subprocess.PIPE
    )
    with process:
        try:
            assert process.stdout is not None
            first = process.stdout.readline()
            assert first, "the server ended at its start"
            yield Server(json.loads(first)["url"], process)
        finally:
            process.terminate()


class Proxy:
    """Passes connections on; can lose the answers to requests after the server has sent them."""

    def __init__(self, url: str) -> None:
        target = httpx.URL(url)
        self._target = (target.host, target.port or 80)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        self.lose = 0
        """Answers yet to be lost."""
        self.lose_after = 0
        """Bytes of an answer that come through before the rest is lost."""
        self.lost: list[bytes] = []
        self.requests: list[bytes] = []
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        # Wakes the accept, which closing alone does not.
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            upstream = socket.create_connection(self._target)
            for work in (self._requests, self._answers):
                threading.Thread(target=work, args=(client, upstream), daemon=True).start()

    def _requests(self, client: socket.socket, upstream: socket.socket) -> None:
        try:
            while data := client.recv(65_536):
                if b" HTTP/1.1\r\n" in data:
                    self.requests.append(data)
                upstream.sendall(data)
            upstream.shutdown(socket.SHUT_WR)
        except OSError:
            upstream.close()

    def _answers(self, client: socket.socket, upstream: socket.socket) -> None:
        passed = 0
        with client, upstream:
            try:
                while data := upstream.recv(65_536):
                    if self.lose > 0 and passed + len(data) > self.lose_after:
                        client.sendall(data[: max(0, self.lose_after - passed)])
                        self.lose -= 1
                        self.lost.append(data)
                        for end in (client, upstream):
                            end.shutdown(socket.SHUT_RDWR)
                        return
                    client.sendall(data)
                    passed += len(data)
            except OSError:
                return


class Blocking:
    """An `AsyncClient` with the face of a `Client`, so that one test is for both."""

    def __init__(self, portal: anyio.from_thread.BlockingPortal, client: AsyncClient) -> None:
        self._portal, self._client = portal, client

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._client, name)
        if not callable(method):
            return method

        def call(*args: Any, **kwargs: Any) -> Any:
            if inspect.iscoroutinefunction(method):
                return self._portal.call(lambda: method(*args, **kwargs))
            made = method(*args, **kwargs)
            if isinstance(made, AsyncClient):
                return Blocking(self._portal, made)
            return self._items(made)

        return call

    def _items(self, items: Any) -> Iterator[Any]:
        end = object()

        async def step() -> Any:
            try:
                return await items.__anext__()
            except StopAsyncIteration:
                return end

        while (item := self._portal.call(step)) is not end:
            yield item

    async def aclose(self) -> None:
        await self._client.aclose()


Connect = Callable[..., Client]


def matrix(n: int, d: int, seed: int = 7) -> npt.NDArray[np.float32]:
    return np.random.default_rng(seed).standard_normal((n, d)).astype(np.float32)
