"""Problems as bodies: npy, npz or a line of NDJSON, and parameters beside them."""

from __future__ import annotations

import io
import json
from collections.abc import Iterable, Mapping, Sequence
from numbers import Integral, Real
from typing import TYPE_CHECKING, Any, Literal, TypedDict

import numpy as np
import numpy.typing as npt

from ._numbers import Numbers, floats, row_numbers

if TYPE_CHECKING:
    from typing_extensions import Unpack

ArrayName = Literal["u", "ustar", "gates"]
JobKind = Literal["settle", "diffusion", "chain"]

ARRAYS = ("psi", "gates", "chain", "chain_weights")
PARAMS = ("kneighbors", "lamG", "lamC", "lamQ", "lamP", "deterministic_k", "neighbor_seed")
OPTIONS = (
    "dt",
    "max_iters",
    "tol",
    "bundle_k",
    "include_receipt",
    "receipt_detail",
    "signature_mode",
)


class Diffusion(TypedDict, total=False):
    """Parameters of diffusion gates."""

    enable: bool
    beta: float
    gamma: float
    kneighbors: int
    deterministic_k: bool
    neighbor_seed: int
    reuse_lattice_graph: bool


class Solve(TypedDict, total=False):
    """Everything that a problem can have besides `Y`. What is left out or None has its default."""

    psi: npt.ArrayLike | None
    """The query, D numbers."""
    gates: npt.ArrayLike | None
    """N numbers, 0 or more."""
    chain: Sequence[int] | npt.NDArray[np.integer[Any]] | None
    """Rows that should follow each other."""
    chain_weights: npt.ArrayLike | None
    """One a step of the chain."""
    kneighbors: int | None
    lamG: float | None
    lamC: float | None
    lamQ: float | None
    lamP: float | None
    deterministic_k: bool | None
    neighbor_seed: int | None
    dt: float | None
    max_iters: int | None
    tol: float | None
    bundle_k: int | None
    """Rows of the bundle."""
    include_receipt: bool | None
    receipt_detail: Literal["full", "light"] | None
    signature_mode: Literal["minimal", "extended"] | None
    arrays: ArrayName | Iterable[ArrayName] | None
    """Arrays to return or keep."""
    diffusion: Diffusion | bool | None


class BatchItem:
    """One job of a batch."""

    def __init__(
        self,
        Y: npt.ArrayLike,
        *,
        kind: JobKind = "settle",
        custom_id: str | None = None,
        callback_url: str | None = None,
        **problem: Unpack[Solve],
    ) -> None:
        self.Y = Y
        self.kind: JobKind = kind
        self.custom_id = custom_id
        self.callback_url = callback_url
        self.problem = problem


def diffused(problem: Solve) -> Solve:
    """With diffusion switched on, as the operation's name says, unless the problem speaks of it."""
    return problem if problem.get("diffusion") is not None else {**problem, "diffusion": True}


def body(Y: npt.ArrayLike, problem: Solve) -> tuple[bytes, str]:
    """The arrays as npy, or as npz when there is more than `Y`; and the body's type."""
    rows, others = _arrays(Y, problem)
    out = io.BytesIO()
    if others:
        np.savez(out, Y=rows, **others)
        return out.getvalue(), "application/zip"
    np.save(out, rows, allow_pickle=False)
    return out.getvalue(), "application/x-npy"


def _arrays(Y: npt.ArrayLike, problem: Solve) -> tuple[Numbers, dict[str, Any]]:
    given: dict[str, Any] = {}
    for name in ARRAYS:
        value: Any = problem.get(name)
        if value is not None:
            given[name] = row_numbers(value) if name == "chain" else floats(name, value)
    return floats("Y", Y), given


def array_names(problem: Solve) -> list[ArrayName]:
    """The arrays to return."""
    names: Any = problem.get("arrays") or []
    several: Any = [names] if isinstance(names, str) else names
    return list(several)


def query(problem: Solve) -> dict[str, str]:
    """The parameters as they stand in a URL."""
    pairs: dict[str, str] = {}
    for block, members in _blocks(problem).items():
        if isinstance(members, Mapping):
            pairs.update((f"{block}.{name}", _text(value)) for name, value in members.items())
        else:
            pairs[block] = _text(members)
    return pairs


def line(item: BatchItem) -> bytes:
    """A job of a batch."""
    rows, others = _arrays(item.Y, item.problem)
    document: dict[str, Any] = {"kind": item.kind, "Y": rows.tolist()}
    for name in ("custom_id", "callback_url"):
        value = getattr(item, name)
        if value is not None:
            document[name] = value
    document.update((name, array.tolist()) for name, array in others.items())
    problem = diffused(item.problem) if item.kind == "diffusion" else item.problem
    for block, members in _blocks(problem).items():
        if block == "diffusion" and not isinstance(members, Mapping):
            members = {"enable": members}
        document[block] = members
    return json.dumps(document, allow_nan=False, default=_plain).encode() + b"\n"


def _blocks(problem: Solve) -> dict[str, Any]:
    """The parameters as the API groups them."""
    blocks: dict[str, Any] = {}
    for name, value in problem.items():
        if name in ARRAYS or value is None:
            continue
        if name in PARAMS:
            blocks.setdefault("params", {})[name] = value
        elif name in OPTIONS:
            blocks.setdefault("options", {})[name] = value
        elif name == "arrays":
            blocks.setdefault("options", {})["array"] = array_names(problem)
        elif name == "diffusion":
            blocks[name] = value
        else:
            raise TypeError(f"{name!r} is not a parameter")
    return blocks


def _text(value: object) -> str:
    if isinstance(value, (bool, np.bool_)):
        return "true" if value else "false"
    if isinstance(value, Integral):
        return str(int(value))
    if isinstance(value, Real):
        return repr(float(value))
    if isinstance(value, list):
        return ",".join(map(str, value))
    return "null" if value is None else str(value)


def _plain(value: object) -> object:
    """Numbers of numpy as numbers of JSON."""
    if isinstance(value, np.generic):
        return value.item()
    raise TypeError(f"{type(value).__name__} has no JSON form")
