"""Limits in force, as the heads of answers tell them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone

_ITEM = re.compile(r'"([^"]*)"((?:;[a-z]+=\d+)*)')


@dataclass(frozen=True)
class RateLimit:
    """What is left of one limit: `units` and `month` count units, the others requests."""

    name: str
    remaining: int
    resets: datetime
    """When all of it is back."""
    limit: int | None = None
    window_s: int | None = None


def limits_of(headers: Mapping[str, str]) -> dict[str, RateLimit]:
    """The limits by name; what cannot be read is left out."""
    now = datetime.now(timezone.utc)
    policies = _items(headers.get("ratelimit-policy", ""))
    found = {}
    for name, state in _items(headers.get("ratelimit", "")).items():
        if "r" in state and "t" in state:
            policy = policies.get(name, {})
            resets = now + timedelta(seconds=min(state["t"], 10**9))
            found[name] = RateLimit(name, state["r"], resets, policy.get("q"), policy.get("w"))
    return found


def _items(text: str) -> dict[str, dict[str, int]]:
    """Items of a structured field with their parameters."""
    items = {}
    for name, parameters in _ITEM.findall(text):
        pairs = (parameter.split("=") for parameter in parameters.split(";") if parameter)
        items[name] = {key: int(value[:18]) for key, value in pairs}
    return items
