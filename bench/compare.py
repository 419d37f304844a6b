"""The same work by oscillink and by what a user would build of faiss, NumPy and SciPy, side by side.

`make bench-compare` runs it in an environment of its own. Every size is measured on the same rows, one
program after the other, best of several rounds. The alternative is written for speed, not for
comfort: faiss searches all rows among themselves, conjugate gradients run over all columns at once
with SciPy's sparse product, receipts and bundle are vectorised. It takes float32 throughout, as faiss
does, so near-ties may go the other way; the number of edges, printed for both, shows that it is the
same work.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

K = 8
LAM_G, LAM_C, LAM_Q = 1.0, 0.5, 4.0
BETA, GAMMA = 1.0, 0.15
DT, TOL, MAX_ITERS = 1.0, 1e-3, 12
STATIONARY_TOL, STATIONARY_ITERS = 1e-4, 64
BUNDLE = 8


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("sizes", nargs="*", default=["5000x128", "5000x384", "20000x128"])
    parser.add_argument("--program", default="target/release/oscillink")
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    return parser.parse_args()


ARGUMENTS = parse_arguments()
for library in ("OMP", "OPENBLAS", "MKL"):
    os.environ[f"{library}_NUM_THREADS"] = str(ARGUMENTS.threads)

# Libraries read the variables above when they are loaded.
import faiss  # noqa: E402
import numpy as np  # noqa: E402
import scipy.sparse as sp  # noqa: E402


def search(y):
    unit = y / (np.linalg.norm(y, axis=1, keepdims=True) + np.float32(1e-12))
    index = faiss.IndexFlatIP(y.shape[1])
    index.add(unit)
    # One more than asked for, because each row finds itself.
    return index.search(unit, K + 1)


def graph(y, found):
    similarity, neighbor = found
    n = len(y)
    row = np.repeat(np.arange(n), K + 1)
    column, value = neighbor.ravel(), similarity.ravel()
    kept = (row != column) & (value > 0) & (column >= 0)
    directed = sp.csr_matrix((value[kept], (row[kept], column[kept])), shape=(n, n))
    a = directed.minimum(directed.T).tocsr()
    a.eliminate_zeros()
    cap = np.minimum(1.0, 1.0 / (np.asarray(a.sum(axis=1)).ravel() + 1e-12))
    root = sp.diags(np.sqrt(cap).astype(np.float32))
    a = (root @ a @ root).tocsr()
    d = np.sqrt(np.maximum(np.asarray(a.sum(axis=1)).ravel(), 1e-12)).astype(np.float32)
    inverse = sp.diags(1.0 / d)
    return a, d, (inverse @ a @ inverse).tocsr().astype(np.float32)


def conjugate_gradients(apply, right, start, preconditioner, tol, most):
    x = start.copy()
    r = right - apply(x)
    z = r / preconditioner
    p = z.copy()
    energy = np.einsum("ij,ij->j", r, z)
    for _ in range(most):
        q = apply(p)
        step = energy / np.maximum(np.einsum("ij,ij->j", p, q), 1e-30)
        x += step * p
        r -= step * q
        if np.sqrt(np.einsum("ij,ij->j", r, r).max()) <= tol:
            break
        z = r / preconditioner
        following = np.einsum("ij,ij->j", r, z)
        p = z + (following / np.maximum(energy, 1e-30)) * p
        energy = following
    return x


def gates(y, psi, normalized):
    cosine = (y @ psi) / (np.linalg.norm(y, axis=1) + 1e-12) / (np.linalg.norm(psi) + 1e-12)
    source = (BETA * np.maximum(cosine, 0)).astype(np.float64)[:, None]
    wide = normalized.astype(np.float64)
    h = conjugate_gradients(
        lambda x: (1 + GAMMA) * x - wide @ x, source, np.zeros_like(source), 1.0, 1e-9, 4000
    ).ravel()
    spread = h.max() - h.min()
    return ((h - h.min()) / spread).astype(np.float32) if spread > 1e-12 else np.ones(len(y), np.float32)


def report(y, psi, b, a, d, u, ustar):
    upper = sp.triu(a).tocoo()
    i, j, weight = upper.row, upper.col, upper.data

    def across(x):
        scaled = x / d[:, None]
        difference = scaled[i] - scaled[j]
        return np.einsum("ij,ij->i", difference, difference)

    v = u - ustar
    before, after, left = across(y), across(ustar), across(v)
    n = len(y)
    drop = 0.5 * LAM_C * weight * (before - after)
    coherence = np.bincount(i, drop, n) + np.bincount(j, drop, n)
    own = np.einsum("ij,ij->i", v, v)
    delta = ((LAM_G + LAM_Q * b) * own).sum() + LAM_C * (weight * left).sum()
    anchor = LAM_G * ((ustar - y) ** 2).sum(axis=1)
    query = LAM_Q * b * ((ustar - psi) ** 2).sum(axis=1)
    residual = LAM_C * weight * after
    total = np.bincount(i, residual, n) + np.bincount(j, residual, n)
    squares = np.bincount(i, residual**2, n) + np.bincount(j, residual**2, n)
    mean = total / n
    deviation = np.sqrt(np.maximum(squares / n - mean**2, 0)) + 1e-12
    worst = np.zeros(n)
    np.maximum.at(worst, i, residual)
    np.maximum.at(worst, j, residual)
    nulls = np.flatnonzero((worst - mean) / deviation > 3)
    return delta, coherence, anchor, query, nulls


def bundle(y, psi, ustar, coherence):
    align = (ustar @ psi) / (np.linalg.norm(ustar, axis=1) + 1e-12) / (np.linalg.norm(psi) + 1e-12)
    score = 0.5 * (coherence - coherence.mean()) / (coherence.std() + 1e-12) + 0.5 * align
    unit = y / (np.linalg.norm(y, axis=1, keepdims=True) + 1e-12)
    nearest = np.zeros(len(y))
    taken = np.zeros(len(y), bool)
    chosen = []
    for _ in range(min(BUNDLE, len(y))):
        value = np.where(taken, -np.inf, 0.5 * score - 0.5 * nearest)
        best = int(value.argmax())
        taken[best] = True
        cosine = unit @ unit[best]
        nearest = cosine if not chosen else np.maximum(nearest, cosine)
        chosen.append(best)
    return chosen


def job(y, psi):
    times = {}

    def timed(name, stage, *arguments):
        started = time.perf_counter()
        result = stage(*arguments)
        times[name] = (time.perf_counter() - started) * 1e3
        return result

    started = time.perf_counter()
    found = timed("knn", search, y)
    a, d, normalized = timed("graph", graph, y, found)
    b = timed("gates", gates, y, psi, normalized)
    own = (LAM_G + LAM_C + LAM_Q * b)[:, None]
    right = LAM_G * y + (LAM_Q * b)[:, None] * psi
    preconditioner = (LAM_G + LAM_Q * b)[:, None]

    def m(x):
        return own * x - LAM_C * (normalized @ x)

    def settle():
        return conjugate_gradients(
            lambda x: x + DT * m(x), y + DT * right, y, 1 + DT * preconditioner, TOL, MAX_ITERS
        )

    def stationary():
        return conjugate_gradients(m, right, y, preconditioner, STATIONARY_TOL, STATIONARY_ITERS)

    u = timed("settle", settle)
    ustar = timed("stationary", stationary)
    coherence = timed("receipt", report, y, psi, b, a, d, u, ustar)[1]
    timed("bundle", bundle, y, psi, ustar, coherence)
    times["job"] = (time.perf_counter() - started) * 1e3
    return times, a.nnz // 2


def oscillink(path):
    command = [ARGUMENTS.program, "bench", "--npy", path, "--json"]
    command += ["--threads", str(ARGUMENTS.threads), "--rounds", str(ARGUMENTS.rounds)]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    return json.loads(done.stdout)["cases"][0]


def compare(size, folder):
    n, d = map(int, size.split("x"))
    y = np.random.default_rng(7).standard_normal((n, d), dtype=np.float32)
    path = Path(folder) / f"{size}.npy"
    np.save(path, y)
    ours = oscillink(str(path))
    path.unlink()
    rounds = [job(y, y[0]) for _ in range(ARGUMENTS.rounds)]
    theirs = {name: min(times[name] for times, _ in rounds) for name in rounds[0][0]}
    return {
        "size": size,
        "oscillink": ours,
        "alternative": theirs | {"edges": rounds[0][1]},
        "knn_ratio": ours["knn_ms"] / theirs["knn"],
        "job_speedup": theirs["job"] / ours["job_ms"],
    }


def main():
    faiss.omp_set_num_threads(ARGUMENTS.threads)
    with tempfile.TemporaryDirectory() as folder:
        results = [compare(size, folder) for size in ARGUMENTS.sizes]
    if ARGUMENTS.json:
        json.dump(results, sys.stdout, indent=1)
        print()
        return
    print(f"{ARGUMENTS.threads} threads, best of {ARGUMENTS.rounds}, milliseconds; ", end="")
    print(f"faiss {faiss.__version__}, NumPy {np.__version__}")
    header = "N x D", "faiss", "kNN", "kNN/faiss", "their job", "our job", "faster", "edges (theirs, ours)"
    print("{:>11} {:>9} {:>8} {:>9} {:>10} {:>9} {:>7}  {}".format(*header))
    for result in results:
        ours, theirs = result["oscillink"], result["alternative"]
        print(
            f"{result['size']:>11} {theirs['knn']:>9.1f} {ours['knn_ms']:>8.1f} "
            f"{result['knn_ratio']:>9.3f} {theirs['job']:>10.1f} {ours['job_ms']:>9.1f} "
            f"{result['job_speedup']:>6.1f}x  {theirs['edges']}, {ours['edges']}"
        )


main()
