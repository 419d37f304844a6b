"""Runs schemathesis, all checks on, over the document that a real server serves.

    OSCILLINK_BIN=target/debug/oscillink python tests/fuzz/run.py

Clients' routes run with a key of their own, operators' routes with the admin secret on a server of
their own, so that a key that is revoked there opens nothing here. Fails when a check does, and when
fewer cases were sent than promised: a document that describes less must not pass by that.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parents[1] / "clients/python/tests"))

from harness import ADMIN, Server, serving  # noqa: E402

ADMIN_PATHS = "^/v1/admin"
ROTATING = "^/v1/keys/self/rotate$"
MIN_CASES = 2_000
TIME_LIMIT_S = 170
EXERCISED = {
    "POST /v1/settle 200": 100,
    "POST /v1/settle/diffusion 200": 100,
    "POST /v1/chain/receipt 200": 100,
    "POST /v1/jobs/settle 202": 100,
    "batch line 202": 100,
    "batch line 400": 100,
    "GET /v1/jobs 200": 10,
    "GET /v1/jobs/{id} 200": 1,
    "GET /v1/jobs/{id}/result 200": 1,
    "GET /v1/usage/ledger 200": 5,
    "POST /v1/keys/self/rotate 200": 1,
    "POST /v1/admin/keys 201": 10,
    "PATCH /v1/admin/keys/{id} 200": 1,
    "POST /v1/admin/jobs/cancel 200": 10,
}
"""How often it must have happened: answers that every request gets, as to a key that was revoked on
the way, test nothing."""


def fuzz(server: Server, counts: Path, deadline: float, *arguments: str) -> bool:
    """One run; whether every check held."""
    command = [
        str(Path(sys.executable).with_name("schemathesis")),
        f"--config-file={HERE / 'schemathesis.toml'}",
        "run",
        f"{server.url}/openapi.json",
        "--checks=all",
        "--continue-on-failure",
        "--warnings=off",
        "--request-timeout=20",
        "--generation-database=none",
        f"--seed={os.environ.get('FUZZ_SEED', '1')}",
        *arguments,
    ]
    environment = {
        **os.environ,
        "FUZZ_COUNTS": str(counts),
        "SCHEMATHESIS_HOOKS": str(HERE / "hooks.py"),
    }
    left = max(1.0, deadline - time.monotonic())
    with tempfile.TemporaryDirectory() as folder:
        ended = subprocess.run(command, env=environment, cwd=folder, timeout=left, check=False)
    return ended.returncode == 0


def main() -> int:
    began = time.monotonic()
    deadline = began + TIME_LIMIT_S
    with tempfile.TemporaryDirectory() as folder:
        counts = Path(folder) / "counts"
        variables = {
            "OSCILLINK_ADMIN_SECRET": ADMIN,
            "OSCILLINK_CALLBACK_SECRET": "a secret that signs callbacks to nobody",
            "OSCILLINK_HOST": "127.0.0.1",
        }
        held = []
        with serving(Path(folder) / "clients", **variables) as server:
            key = ["--header", f"X-API-Key: {server.new_key()}"]
            few, more = "--max-examples=3", "--max-examples=10"
            out = ["--exclude-path-regex", f"{ADMIN_PATHS}|{ROTATING}", more]
            held.append(fuzz(server, counts, deadline, *key, *out))
            # A key of its own: rotation without overlap ends the old secret.
            key = ["--header", f"X-API-Key: {server.new_key()}"]
            held.append(fuzz(server, counts, deadline, *key, "--include-path-regex", ROTATING, few))
        with serving(Path(folder) / "operators", **variables) as server:
            server.new_key()
            secret = ["--header", f"X-Admin-Secret: {ADMIN}"]
            only = ["--include-path-regex", ADMIN_PATHS, more]
            held.append(fuzz(server, counts, deadline, *secret, *only))
        seen = Counter(counts.read_text().splitlines())
    missing = {what: seen[what] for what, least in EXERCISED.items() if seen[what] < least}
    faults = [what for what in seen if what.rpartition(" ")[2].startswith("50")]
    enough = seen["cases"] >= MIN_CASES
    took = time.monotonic() - began
    sys.stdout.write(
        f"{seen['cases']} cases in {took:.0f} s; batch lines accepted: {seen['batch line 202']}\n"
    )
    for complaint in (
        f"fewer than {MIN_CASES} cases" * (not enough),
        f"happened too seldom: {missing}" * bool(missing),
        f"server errors: {faults}" * bool(faults),
        "a check has failed, see above" * (not all(held)),
    ):
        if complaint:
            sys.stderr.write(f"{complaint}\n")
    return 0 if enough and not missing and not faults and all(held) else 1


if __name__ == "__main__":
    sys.exit(main())
