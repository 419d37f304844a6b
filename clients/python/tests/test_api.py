"""Every method of both clients against the real server."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta, timezone
from typing import Any

import numpy as np
import pytest
from harness import ROOT, Connect, Server, matrix

from oscillink_client import (
    BatchItem,
    Client,
    Conflict,
    InvalidRequest,
    NotFound,
    WaitTimeout,
)


def golden(name: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """Problem and expected answer, made by another implementation."""
    path = ROOT / "shared/lattice/tests/golden" / f"{name}.json"
    case = json.loads(path.read_text())
    problem = {**case["input"].pop("params"), **case["input"].pop("options"), **case["input"]}
    return problem, case["expected"]


@pytest.mark.parametrize("name", ["tiny_default", "chain", "user_gates", "diffusion_default"])
def test_golden_vectors(client: Client, name: str) -> None:
    problem, expected = golden(name)
    problem.pop("signature_mode", None)
    Y = np.array(problem.pop("Y"))
    solve = client.diffusion if problem.get("diffusion") else client.settle
    answer = solve(Y, arrays=["u", "ustar"], **problem)
    if not problem.get("diffusion"):
        # It covers diffused gates to more digits than two solvers agree on.
        assert answer.state_sig == expected["state_sig"]
    for array, there in [("u", "U"), ("ustar", "Ustar")]:
        assert answer.arrays[array].dtype == np.float32
        np.testing.assert_allclose(answer.arrays[array], expected[there], atol=2e-4)
    assert answer.receipt is not None
    total = expected["receipt"]["deltaH_total"]
    assert answer.receipt.deltaH_total == pytest.approx(total, rel=1e-3)
    if answer.bundle is not None:
        assert [row.id for row in answer.bundle] == [row["id"] for row in expected["bundle"]]
    if problem["chain"] is not None:
        assert answer.chain_receipt is not None
        assert answer.chain_receipt.verdict == expected["chain_receipt"]["verdict"]


def test_parts_alone(client: Client) -> None:
    Y = matrix(20, 6)
    whole = client.settle(Y, psi=Y[3], bundle_k=4, chain=[1, 2, 3], lamC=0.25)
    receipt = client.receipt(Y, psi=Y[3], lamC=0.25)
    assert receipt.receipt is not None
    assert receipt.bundle is None
    bundle = client.bundle(Y, psi=Y[3], lamC=0.25, bundle_k=4)
    assert bundle.bundle == whole.bundle
    chain = client.chain_receipt(Y, psi=Y[3], lamC=0.25, chain=[1, 2, 3])
    assert chain.chain_receipt == whole.chain_receipt
    # The chain is a part of the state.
    assert chain.state_sig == whole.state_sig
    assert bundle.state_sig == receipt.state_sig == client.settle(Y, psi=Y[3], lamC=0.25).state_sig
    assert (whole.meta.N, whole.meta.D, whole.meta.lam.C) == (20, 6, 0.25)
    assert whole.meta.usage.node_dim_units == 120
    assert whole.meta.request_id


@pytest.mark.parametrize(
    "convert",
    [
        lambda Y: Y,
        lambda Y: Y.astype(np.float64),
        lambda Y: Y.astype(">f4"),
        np.asfortranarray,
        lambda Y: np.repeat(Y, 2, axis=0)[::2],
        lambda Y: Y.tolist(),
    ],
    ids=["float32", "float64", "big-endian", "fortran", "strided", "list"],
)
def test_every_form_of_a_matrix_is_the_same_problem(client: Client, convert: Any) -> None:
    Y = matrix(16, 5)
    assert client.settle(convert(Y)).state_sig == client.settle(Y).state_sig


def test_half_precision_stays_half_on_the_way(client: Client) -> None:
    Y = matrix(16, 5).astype(np.float16)
    assert client.settle(Y).state_sig == client.settle(Y.astype(np.float32)).state_sig


def test_an_array_alone(client: Client) -> None:
    Y = matrix(30, 4)
    u = client.settle_array(Y, "u", psi=Y[0])
    assert u.shape == (30, 4)
    answer = client.settle(Y, psi=Y[0], arrays=["u"], idempotency_key="mine")
    np.testing.assert_array_equal(u, answer.arrays["u"])
    # Answers with arrays can be compared.
    assert client.settle(Y, psi=Y[0], arrays=["u"], idempotency_key="mine") == answer


def test_parameters_reach_the_service(client: Client) -> None:
    Y = matrix(40, 8)
    job = client.wait(
        client.submit(
            Y,
            kind="diffusion",
            psi=Y[1],
            custom_id="näme, with comma",
            kneighbors=3,
            deterministic_k=True,
            neighbor_seed=-7,
            lamG=np.float64(0.5),
            signature_mode="extended",
            diffusion={"gamma": 0.2, "beta": 2},
            arrays=["u", "gates"],
        ).job_id
    )
    assert (job.status, job.kind, job.custom_id) == ("done", "diffusion", "näme, with comma")
    assert job.result is not None
    assert job.result.meta.kneighbors_requested == 3
    assert job.result.meta.lam.G == 0.5
    assert job.result.meta.diffusion is not None
    assert (job.result.meta.diffusion.gamma, job.result.meta.diffusion.beta) == (0.2, 2.0)
    assert job.result.receipt is not None
    assert job.result.receipt.meta.signature is not None
    graph = job.result.receipt.meta.signature.payload["graph"]
    assert graph == {"k": 3, "deterministic_k": True, "neighbor_seed": -7}
    assert set(client.arrays(job.job_id, ["u", "gates"])) == {"u", "gates"}
    with pytest.raises(NotFound):
        client.array(job.job_id, "ustar")


def test_a_job_from_start_to_end(client: Client) -> None:
    Y = matrix(50, 6)
    accepted = client.submit(Y, psi=Y[0], bundle_k=3)
    assert accepted.status == "queued"
    assert not accepted.ended
    job = client.wait(accepted.job_id)
    assert job.ended
    assert job.completed is not None
    assert job.created <= job.completed < job.expires
    assert client.get(job.job_id).status == "done"
    assert client.result(job.job_id) == client.result(job) == job.answer()
    (event,) = client.stream(job)
    assert event.job is not None
    # Events and lists have no results.
    with pytest.raises(ValueError, match="done and has no result here"):
        event.job.answer()
    direct = client.settle(Y, psi=Y[0], arrays=["u", "ustar", "gates"])
    for name, array in client.arrays(job.job_id).items():
        np.testing.assert_array_equal(array, direct.arrays[name])
    # The end is final, and says so.
    assert client.cancel(job.job_id).status == "done"


def test_kinds_of_jobs(client: Client) -> None:
    Y = matrix(12, 3)
    chain = client.wait(client.submit(Y, kind="chain", chain=[2, 3, 4]).job_id)
    assert chain.result is not None
    assert chain.result.chain_receipt is not None
    with pytest.raises(InvalidRequest) as caught:
        client.submit(Y, kind="chain")
    assert caught.value.errors[0].field == "chain"


def test_a_waiting_job_is_cancelled(client: Client, server: Server) -> None:
    with server.paused():
        job = client.submit(matrix(9, 4))
        with pytest.raises(WaitTimeout) as caught:
            client.wait(job.job_id, timeout=0.3)
        assert caught.value.job.status == "queued"
        with pytest.raises(Conflict):
            client.result(job.job_id)
        events = client.stream(job.job_id)
        first = next(events)
        assert first.job is not None
        assert first.job.status == "queued"
        assert client.cancel(job.job_id).status == "cancelled"
        assert [event.job.status for event in events if event.job] == ["cancelled"]
        assert client.wait(job.job_id).status == "cancelled"


def test_wait_is_held_until_the_end(client: Client, server: Server) -> None:
    with ThreadPoolExecutor(1) as pool:
        with server.paused():
            job = client.submit(matrix(9, 4))
            waiting = pool.submit(client.wait, job.job_id, 60)
        assert waiting.result().status == "done"


def test_streams_tell_every_state_and_go_on(client: Client) -> None:
    job = client.submit(matrix(1_000, 32))
    events = list(client.stream(job.job_id))
    assert events[-1].job is not None
    assert events[-1].job.status == "done"
    assert len({event.id for event in events}) == len(events)
    assert list(client.stream(job.job_id, last_event_id=events[-1].id)) == []
    assert list(client.stream(job.job_id, last_event_id="0-queued")) == events[-1:]


def test_batches(client: Client) -> None:
    Y = matrix(10, 3)
    lines = client.submit_batch(
        [
            BatchItem(Y, custom_id="a", psi=Y[0], lamC=np.float64(0.3), bundle_k=2, arrays="u"),
            BatchItem(Y, kind="chain", custom_id="b", chain=np.array([0, 1])),
            BatchItem(Y, kind="diffusion", diffusion={"gamma": 0.3}),
            BatchItem(Y, kind="diffusion"),
            BatchItem(Y, custom_id="bad", psi=Y[0][:2]),
        ]
    )
    assert [line.status for line in lines] == [202, 202, 202, 202, 400]
    assert [line.custom_id for line in lines] == ["a", "b", None, None, "bad"]
    assert isinstance(lines[4].error, InvalidRequest)
    assert lines[4].error.errors[0].field == "psi"
    jobs = [client.wait(line.job_id) for line in lines if line.job_id]
    assert {job.status for job in jobs} == {"done"}
    diffused = [job.result is not None and job.result.meta.diffusion for job in jobs]
    assert [bool(meta) for meta in diffused] == [False, False, True, True]
    assert jobs[0].result is not None
    assert jobs[0].result.bundle is not None
    direct = client.settle(Y, psi=Y[0], lamC=0.3, bundle_k=2, arrays=["u"])
    assert jobs[0].result.state_sig == direct.state_sig
    np.testing.assert_array_equal(client.array(jobs[0].job_id), direct.arrays["u"])


def test_lists_fetch_their_pages(client: Client) -> None:
    start = datetime.now(timezone.utc) - timedelta(minutes=1)
    lines = client.submit_batch([BatchItem(matrix(3, 2), custom_id=str(i)) for i in range(7)])
    chain = client.submit(matrix(3, 2), kind="chain", chain=[0, 1])
    ids = {line.job_id for line in lines} | {chain.job_id}
    for job_id in ids:
        client.wait(str(job_id))
    jobs = list(client.jobs(page_size=3))
    assert {job.job_id for job in jobs} == ids
    assert len(jobs) == 8
    assert [job.created for job in jobs] == sorted((j.created for j in jobs), reverse=True)
    assert [job.job_id for job in client.jobs(kind="chain")] == [chain.job_id]
    assert len(list(client.jobs(status="done", since=start))) == 8
    assert list(client.jobs(status="error")) == []
    assert list(client.jobs(since=datetime.now(timezone.utc) + timedelta(days=1))) == []
    assert len(list(client.ledger(page_size=3))) == 8


def test_usage_and_key(client: Client) -> None:
    client.settle(matrix(10, 4))
    usage = client.usage()
    assert (usage.month.used, usage.tier, usage.live_jobs) == (40, "pro", 0)
    assert usage.month.limit == 50_000_000
    key = client.key()
    assert (key.tier, key.status, key.key_id) == ("pro", "active", usage.key_id)
    assert key.features.diffusion
    assert key.limits.max_job_nodes == 200_000


def test_rotation(connect: Connect, server: Server) -> None:
    old = server.new_key()
    client = connect(old)
    rotated = client.rotate_key(overlap_seconds=3_600, idempotency_key="rotate-1")
    assert rotated.api_key.startswith("ok_")
    assert rotated.api_key not in repr(rotated)
    again = client.rotate_key(overlap_seconds=3_600, idempotency_key="rotate-1")
    assert again == rotated
    assert connect(rotated.api_key).key().key_id == client.key().key_id
    assert old not in repr(client)
