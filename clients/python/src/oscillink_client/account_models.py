"""What the API says of a key: its use, its ledger, its limits and its secrets."""

# Hints are read at run time, where Python 3.9 knows no `X | None`.
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Optional


@dataclass(frozen=True)
class Period:
    """Units of a window or month; None where there is no limit."""

    used: int
    reserved: int
    resets: datetime
    limit: Optional[int] = None
    remaining: Optional[int] = None


@dataclass(frozen=True)
class Usage:
    key_id: str
    tier: str
    window: Period
    month: Period
    period: str
    live_jobs: int


@dataclass(frozen=True)
class LedgerRow:
    """One piece of work. `raw` is the row as it is hashed, for `verify_ledger`."""

    id: str
    ts: int
    """Milliseconds since the epoch."""
    key_id: str
    key_hash: str
    request_id: str
    event: str
    N: int
    D: int
    units: int
    duration_ms: float
    tier: str
    diffusion: bool
    chain: int
    seq: int
    prev_hash: str
    hash: str
    job_id: Optional[str] = None
    signature: Optional[str] = None
    raw: Mapping[str, Any] = field(default_factory=dict, repr=False, compare=False)


@dataclass(frozen=True)
class Features:
    diffusion: bool
    signed_receipts: bool
    signed_usage: bool
    priority: bool


@dataclass(frozen=True)
class Limits:
    """Rows, columns, units and seconds; None where there is no limit."""

    max_nodes: int
    max_dim: int
    max_job_nodes: int
    result_ttl_s: int
    window_units: Optional[int] = None
    monthly_units: Optional[int] = None
    max_job_dim: Optional[int] = None


@dataclass(frozen=True)
class SecretInfo:
    hash_prefix: str
    expires: Optional[datetime] = None


@dataclass(frozen=True)
class Key:
    key_id: str
    name: str
    tier: str
    status: str
    features: Features
    limits: Limits
    created: datetime
    secrets: list[SecretInfo]


@dataclass(frozen=True)
class RotatedKey:
    """A new secret, shown this once; the old ones work until `old_secrets_expire`."""

    api_key: str = field(repr=False)
    key_id: str
    old_secrets_expire: datetime


@dataclass(frozen=True)
class CallbackSecret:
    """What signs callbacks, for `verify_webhook`. After a rotation the secret before it signs too,
    until `previous_signs_until`."""

    secret: str = field(repr=False)
    previous_signs_until: Optional[datetime] = None
