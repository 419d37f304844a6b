"""Signatures and chains, good and bad."""

from __future__ import annotations

import base64
import copy
import json
from dataclasses import asdict, replace
from datetime import datetime, timezone
from typing import Any

import pytest
import standardwebhooks
from harness import RECEIPT_SECRET, Connect, Server, matrix

from oscillink_client import (
    Client,
    Receipt,
    SignatureError,
    verify_ledger,
    verify_receipt,
    verify_webhook,
)

MOMENT = 1_800_000_000
SECRET = "whsec_" + base64.b64encode(b"0123456789abcdef01234567").decode()
OTHER = base64.b64encode(b"another secret of thirty bytes").decode()
BODY = '{"type": "job.done", "data": {"status": "done"}}'


@pytest.mark.parametrize("mode", ["minimal", "extended"])
@pytest.mark.parametrize("lam", [1e-5, 0.30000000000000004, 4.0])
def test_receipts(client: Client, mode: Any, lam: float) -> None:
    Y = matrix(30, 6)
    receipt = client.receipt(Y, psi=Y[2], lamG=lam, signature_mode=mode).receipt
    assert receipt is not None
    assert verify_receipt(receipt, RECEIPT_SECRET)["mode"] == mode
    verify_receipt(receipt, ["old secret", RECEIPT_SECRET.encode()])
    verify_receipt(asdict(receipt), [RECEIPT_SECRET])
    with pytest.raises(SignatureError, match="does not match"):
        verify_receipt(receipt, ["old secret"])
    with pytest.raises(ValueError, match="empty"):
        verify_receipt(receipt, [])


def test_receipts_that_were_changed(client: Client) -> None:
    receipt = client.receipt(matrix(9, 3), signature_mode="extended").receipt
    assert receipt is not None
    meta = receipt.meta
    assert meta.signature is not None
    forged = copy.deepcopy(meta.signature.payload)
    forged["deltaH_total"] += 1
    for bad, reason in [
        (replace(receipt, deltaH_total=receipt.deltaH_total + 1e-9), "deltaH_total"),
        (replace(receipt, meta=replace(meta, state_sig="0" * 64)), "state_sig"),
        (replace(receipt, meta=replace(meta, ustar_iters=99)), "ustar_iters"),
        (signed(receipt, payload=forged), "does not match"),
        (signed(receipt, signature="é"), "does not match"),
        (signed(receipt, algorithm="none"), "algorithm"),
        (replace(receipt, meta=replace(meta, signature=None)), "not signed"),
    ]:
        with pytest.raises(SignatureError, match=reason):
            verify_receipt(bad, RECEIPT_SECRET)


def signed(receipt: Receipt, **changes: Any) -> Receipt:
    assert receipt.meta.signature is not None
    signature = replace(receipt.meta.signature, **changes)
    return replace(receipt, meta=replace(receipt.meta, signature=signature))


def headers(secret: str = SECRET, body: str = BODY, moment: int = MOMENT) -> dict[str, str]:
    """As the reference implementation signs."""
    when = datetime.fromtimestamp(moment, timezone.utc)
    signature = standardwebhooks.Webhook(secret).sign("msg_1", when, body)
    return {
        "Webhook-Id": "msg_1",
        "Webhook-Timestamp": str(moment),
        "Webhook-Signature": signature,
    }


def test_webhooks() -> None:
    for given, secrets in [
        (headers(), SECRET),
        (headers(), [OTHER, SECRET]),
        (headers(OTHER), [SECRET, "whsec_" + OTHER]),
        ({k.lower(): v for k, v in headers().items()}, SECRET),
    ]:
        data = verify_webhook(given, BODY.encode(), secrets, now=MOMENT + 299)
        assert data == json.loads(BODY)
    both = headers() | {"Webhook-Signature": f"v1a,x v1,AAAA {headers()['Webhook-Signature']} v1,"}
    verify_webhook(both, BODY.encode(), SECRET, now=MOMENT)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"Webhook-Id": "msg_2"}, "matches"),
        ({"Webhook-Id": ""}, "missing"),
        ({"Webhook-Timestamp": str(MOMENT + 1)}, "matches"),
        ({"Webhook-Timestamp": "soon"}, "number"),
        ({"Webhook-Timestamp": "9" * 5_000}, "number"),
        ({"Webhook-Timestamp": "¹"}, "number"),
        ({"Webhook-Signature": "v2," + "A" * 43 + "="}, "matches"),
        ({"Webhook-Signature": "é"}, "matches"),
    ],
)
def test_webhooks_that_were_changed(change: dict[str, str], reason: str) -> None:
    with pytest.raises(SignatureError, match=reason):
        verify_webhook({**headers(), **change}, BODY.encode(), SECRET, now=MOMENT)


def test_webhooks_of_another_time_or_body() -> None:
    for now in (MOMENT + 301, MOMENT - 301):
        with pytest.raises(SignatureError, match="too far"):
            verify_webhook(headers(), BODY.encode(), SECRET, now=now)
    verify_webhook(headers(), BODY.encode(), SECRET, tolerance=1e12)
    for body in (BODY + " ", "", "[]"):
        with pytest.raises(SignatureError, match="matches"):
            verify_webhook(headers(), body.encode(), SECRET, now=MOMENT)
    with pytest.raises(ValueError, match="base64"):
        verify_webhook(headers(), BODY.encode(), "not base64!", now=MOMENT)


def test_the_ledger(connect: Connect, server: Server) -> None:
    client = connect(server.new_key("enterprise"))
    for n in range(4, 9):
        client.settle(matrix(n, 3))
    client.wait(client.submit(matrix(5, 5)).job_id)
    rows = list(client.ledger(page_size=2))
    assert verify_ledger(rows) == 6
    assert verify_ledger(rows[::-1], RECEIPT_SECRET) == 6
    assert verify_ledger([dict(row.raw) for row in rows], ["old", RECEIPT_SECRET]) == 6
    assert verify_ledger(rows[:3], complete=False) == 3
    with pytest.raises(SignatureError, match="does not follow"):
        verify_ledger(rows[:3])
    with pytest.raises(SignatureError, match="not signed"):
        verify_ledger(rows, "wrong")


def test_ledgers_that_were_changed(client: Client) -> None:
    for n in range(4, 8):
        client.settle(matrix(n, 3))
    rows = [dict(row.raw) for row in client.ledger()]
    assert verify_ledger(rows) == 4
    # Tiers without signed usage have no signatures to check.
    with pytest.raises(SignatureError, match="not signed"):
        verify_ledger(rows, RECEIPT_SECRET)
    with pytest.raises(SignatureError, match="was changed"):
        verify_ledger([{**rows[0], "units": 1}, *rows[1:]])
    with pytest.raises(SignatureError, match="does not follow"):
        verify_ledger([rows[0], *rows[2:]])
    with pytest.raises(SignatureError, match="only one of its place"):
        verify_ledger([*rows, rows[0].copy()])
