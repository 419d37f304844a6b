"""Checks of what the service signs and chains. Each returns what it vouches for, or raises
`SignatureError`."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import json
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from typing import Any, Union

from .account_models import LedgerRow
from .errors import SignatureError
from .models import Receipt

Secret = Union[str, bytes]

ALGORITHM = "HMAC-SHA256"
GENESIS = "0" * 64
SIGNED_CONTEXT = ("state_sig", "ustar_iters", "ustar_res", "ustar_converged")
UNHASHED = ("hash", "signature")
WHSEC = "whsec_"


def verify_receipt(
    receipt: Receipt | Mapping[str, Any], secrets: Secret | Sequence[Secret]
) -> dict[str, Any]:
    """Checks that one of `secrets` has signed the receipt, and that what was signed is what the
    receipt shows. Several secrets allow rotation. Returns the signed payload."""
    shown = asdict(receipt) if isinstance(receipt, Receipt) else receipt
    meta = shown.get("meta")
    block = meta.get("signature") if isinstance(meta, Mapping) else None
    payload = block.get("payload") if isinstance(block, Mapping) else None
    if (
        not isinstance(meta, Mapping)
        or not isinstance(block, Mapping)
        or not isinstance(payload, dict)
    ):
        raise SignatureError("the receipt is not signed")
    if block.get("algorithm") != ALGORITHM:
        raise SignatureError(f"the algorithm is not {ALGORITHM}")
    text = json.dumps(payload, sort_keys=True).encode()
    if not _any_hex(secrets, text, block.get("signature")):
        raise SignatureError("the signature does not match")
    for name, value in (
        ("deltaH_total", shown.get("deltaH_total")),
        *((name, meta.get(name)) for name in SIGNED_CONTEXT),
    ):
        if name in payload and payload[name] != value:
            raise SignatureError(f"the receipt's {name} is not the one that was signed")
    return payload


def verify_webhook(
    headers: Mapping[str, str],
    body: bytes,
    secrets: Secret | Sequence[Secret],
    tolerance: float = 300.0,
    now: float | None = None,
) -> Any:
    """Checks a callback by Standard Webhooks and returns its JSON.

    `body` is the request's body as it came, `secrets` are base64 with or without `whsec_`,
    `tolerance` is in seconds. What is delivered twice has the same `webhook-id`: remember it to act
    once.
    """
    named = {name.lower(): value for name, value in headers.items()}
    message, moment, given = (
        named.get(f"webhook-{name}", "") for name in ("id", "timestamp", "signature")
    )
    if not (message and moment and given):
        raise SignatureError("webhook-id, webhook-timestamp or webhook-signature is missing")
    if not (moment.isascii() and moment.isdigit() and len(moment) <= 15):
        raise SignatureError("webhook-timestamp is not a number of seconds")
    if abs((time.time() if now is None else now) - int(moment)) > tolerance:
        raise SignatureError("webhook-timestamp is too far from now")
    signed = f"{message}.{moment}.".encode() + body
    wanted = [
        base64.b64encode(hmac.new(_webhook_key(secret), signed, hashlib.sha256).digest())
        for secret in _several(secrets)
    ]
    versions = (part.partition(",") for part in given.split(" "))
    claimed = [signature.encode() for version, _, signature in versions if version == "v1"]
    # Every pair is compared, so that time does not tell which one matched.
    if not sum(hmac.compare_digest(a, b) for a in wanted for b in claimed):
        raise SignatureError("no signature matches")
    try:
        return json.loads(body)
    except ValueError as error:
        raise SignatureError(f"the body is not JSON: {error}") from error


def verify_ledger(
    rows: Iterable[LedgerRow | Mapping[str, Any]],
    secrets: Secret | Sequence[Secret] = (),
    *,
    complete: bool = True,
) -> int:
    """Checks that rows, in any order, form unbroken chains: nothing changed, dropped or put in.

    With `complete`, chains must begin at their first row; with `secrets`, every row must be signed
    by one of them. Returns the number of rows.
    """
    chains: dict[tuple[str, int], dict[int, Mapping[str, Any]]] = {}
    count = 0
    for given in rows:
        row = given.raw if isinstance(given, LedgerRow) else given
        content = {name: value for name, value in row.items() if name not in UNHASHED}
        text = json.dumps(content, sort_keys=True, separators=(",", ":")).encode()
        name = f"row {row.get('id')}"
        if row.get("hash") != hashlib.sha256(text).hexdigest():
            raise SignatureError(f"{name} was changed")
        if secrets and not _any_hex(secrets, str(row["hash"]).encode(), row.get("signature")):
            raise SignatureError(f"{name} is not signed")
        chain = chains.setdefault((str(row.get("key_id")), int(row.get("chain", 0))), {})
        if chain.setdefault(int(row["seq"]), row) is not row:
            raise SignatureError(f"{name} is not the only one of its place")
        count += 1
    for chain in chains.values():
        _unbroken(chain, complete)
    return count


def _unbroken(chain: Mapping[int, Mapping[str, Any]], complete: bool) -> None:
    places = sorted(chain)
    first = places[0]
    before = GENESIS if complete or first == 1 else chain[first]["prev_hash"]
    for expected, place in enumerate(places, 1 if complete else first):
        row = chain[place]
        if place != expected or row["prev_hash"] != before:
            raise SignatureError(f"row {row['id']} does not follow the row before it")
        before = row["hash"]


def _several(secrets: Secret | Sequence[Secret]) -> list[Secret]:
    several: list[Secret] = [secrets] if isinstance(secrets, (str, bytes)) else list(secrets)
    if not several:
        raise ValueError("secrets is empty")
    return several


def _bytes(secret: Secret) -> bytes:
    return secret.encode() if isinstance(secret, str) else secret


def _any_hex(secrets: Secret | Sequence[Secret], text: bytes, signature: object) -> bool:
    claimed = signature.encode() if isinstance(signature, str) else b""
    wanted = [
        hmac.new(_bytes(secret), text, hashlib.sha256).hexdigest().encode()
        for secret in _several(secrets)
    ]
    return sum(hmac.compare_digest(digest, claimed) for digest in wanted) > 0


def _webhook_key(secret: Secret) -> bytes:
    text = _bytes(secret)
    if text.startswith(WHSEC.encode()):
        text = text[len(WHSEC) :]
    try:
        return base64.b64decode(text, validate=True)
    except binascii.Error as error:
        raise ValueError("a webhook secret is not base64") from error
