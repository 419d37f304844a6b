"""What a key can ask about itself, by both clients."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

from . import _calls as calls
from ._async import AsyncConnection
from ._sync import Connection
from .account_models import CallbackSecret, Key, LedgerRow, RotatedKey, Usage


class Account(Connection):
    """Usage, ledger, limits and secrets."""

    def usage(self) -> Usage:
        """The key's window and month."""
        return self._send(calls.usage())

    def ledger(self, *, page_size: int = 100) -> Iterator[LedgerRow]:
        """Ledger rows, newest first; see `verify_ledger`."""
        return self._pages(lambda cursor: calls.ledger(cursor, page_size))

    def key(self) -> Key:
        """The key's tier, features and limits."""
        return self._send(calls.key())

    def rotate_key(
        self, *, overlap_seconds: int | None = None, idempotency_key: str | None = None
    ) -> RotatedKey:
        """A new secret. This client goes on with the old one, which works for the overlap;
        `with_options(api_key=…)` makes one that has the new."""
        return self._send(calls.rotate_key(overlap_seconds, idempotency_key))

    def callback_secret(self) -> CallbackSecret:
        """The secret that signs the key's callbacks."""
        return self._send(calls.callback_secret())

    def rotate_callback_secret(
        self, *, overlap_seconds: int | None = None, idempotency_key: str | None = None
    ) -> CallbackSecret:
        """A new secret for callbacks; both sign for the overlap."""
        return self._send(calls.rotate_callback_secret(overlap_seconds, idempotency_key))


class AsyncAccount(AsyncConnection):
    """As `Account`, for one event loop."""

    async def usage(self) -> Usage:
        """The key's window and month."""
        return await self._send(calls.usage())

    def ledger(self, *, page_size: int = 100) -> AsyncIterator[LedgerRow]:
        """Ledger rows, newest first; see `verify_ledger`."""
        return self._pages(lambda cursor: calls.ledger(cursor, page_size))

    async def key(self) -> Key:
        """The key's tier, features and limits."""
        return await self._send(calls.key())

    async def rotate_key(
        self, *, overlap_seconds: int | None = None, idempotency_key: str | None = None
    ) -> RotatedKey:
        """A new secret. This client goes on with the old one, which works for the overlap;
        `with_options(api_key=…)` makes one that has the new."""
        return await self._send(calls.rotate_key(overlap_seconds, idempotency_key))

    async def callback_secret(self) -> CallbackSecret:
        """The secret that signs the key's callbacks."""
        return await self._send(calls.callback_secret())

    async def rotate_callback_secret(
        self, *, overlap_seconds: int | None = None, idempotency_key: str | None = None
    ) -> CallbackSecret:
        """A new secret for callbacks; both sign for the overlap."""
        return await self._send(calls.rotate_callback_secret(overlap_seconds, idempotency_key))
