"""What the API answers, with its names. Fields that a newer server adds are ignored."""

# Hints are read at run time, where Python 3.9 knows no `X | None`.
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal, Optional

import numpy as np
import numpy.typing as npt

from .errors import ApiError, JobFailed

Array = npt.NDArray[np.float32]
JobStatus = Literal["queued", "running", "done", "error", "cancelled", "expired"]


@dataclass(frozen=True)
class Signature:
    """HMAC over `payload`; see `verify_receipt`."""

    algorithm: str
    payload: dict[str, Any]
    signature: str


@dataclass(frozen=True)
class NullPoint:
    """A row's edge that stands out."""

    edge: tuple[int, int]
    z: float
    residual: float


@dataclass(frozen=True)
class NullPointsSummary:
    total_null_points: int
    returned_null_points: int
    null_cap_applied: bool


@dataclass(frozen=True)
class ReceiptMeta:
    """Context of a receipt. What its detail leaves out is None."""

    state_sig: str
    receipt_detail: str
    null_points_summary: NullPointsSummary
    ustar_converged: Optional[bool] = None
    ustar_res: Optional[float] = None
    ustar_iters: Optional[int] = None
    ustar_solve_ms: Optional[float] = None
    graph_build_ms: Optional[float] = None
    last_settle_ms: Optional[float] = None
    avg_degree: Optional[float] = None
    edge_density: Optional[float] = None
    gates_min: Optional[float] = None
    gates_max: Optional[float] = None
    gates_mean: Optional[float] = None
    gates_uniform: Optional[bool] = None
    signature: Optional[Signature] = None


@dataclass(frozen=True)
class Receipt:
    """Account of the energy removed."""

    version: str
    deltaH_total: float
    coh_drop_sum: float
    anchor_pen_sum: float
    query_term_sum: float
    cg_iters: int
    residual: float
    t_ms: float
    null_points: list[NullPoint]
    meta: ReceiptMeta


@dataclass(frozen=True)
class BundleEntry:
    """A row that explains the query: `align` is its cosine with the query."""

    id: int
    score: float
    align: float


@dataclass(frozen=True)
class ChainStep:
    k: int
    edge: tuple[int, int]
    z_struct: float
    z_path: float
    r_struct: float
    r_path: float


@dataclass(frozen=True)
class WeakestLink:
    k: int
    edge: tuple[int, int]
    zscore: float


@dataclass(frozen=True)
class ChainReceipt:
    """Whether the rows of a chain follow each other."""

    verdict: bool
    weakest_link: WeakestLink
    coherence_gain: float
    edges: list[ChainStep]


@dataclass(frozen=True)
class Lambdas:
    G: float
    C: float
    Q: float
    P: float


@dataclass(frozen=True)
class Monthly:
    """Units of the month."""

    limit: int
    used: int
    remaining: int
    period: str


@dataclass(frozen=True)
class Metered:
    """What the answer has cost, in units (N·D)."""

    nodes: int
    node_dim_units: int
    monthly: Optional[Monthly] = None


@dataclass(frozen=True)
class Quota:
    """Units of the quota window."""

    limit: int
    remaining: int
    reset: datetime


@dataclass(frozen=True)
class DiffusionMeta:
    """The gates that diffusion has made."""

    beta: float
    gamma: float
    gate_min: float
    gate_max: float
    gate_mean: float
    graph_k: int
    note: Optional[str] = None


@dataclass(frozen=True)
class Meta:
    N: int
    D: int
    kneighbors_requested: int
    kneighbors_effective: int
    lam: Lambdas
    usage: Metered
    request_id: Optional[str] = None
    quota: Optional[Quota] = None
    diffusion: Optional[DiffusionMeta] = None


@dataclass(frozen=True)
class Answer:
    """What was asked for; parts that were not are None. `arrays` holds those that were named."""

    state_sig: str
    timings_ms: dict[str, float]
    meta: Meta
    receipt: Optional[Receipt] = None
    bundle: Optional[list[BundleEntry]] = None
    chain_receipt: Optional[ChainReceipt] = None
    # Not compared: `state_sig` stands for them, and numpy does not say yes or no.
    arrays: dict[str, Array] = field(default_factory=dict, compare=False)


@dataclass(frozen=True)
class Progress:
    """Where a running job is; `fraction` of the stage from 0 to 1."""

    stage: str
    fraction: float


@dataclass(frozen=True)
class Failure:
    """Why a job failed; `code` is stable."""

    code: str
    detail: str
    field: Optional[str] = None


@dataclass(frozen=True)
class Callback:
    """How far the report of a job's end is: `pending`, `delivered` or `undelivered`."""

    status: str
    attempts: int
    last_attempt: Optional[datetime] = None
    last_status: Optional[int] = None
    last_error: Optional[str] = None
    delivered: Optional[datetime] = None


@dataclass(frozen=True)
class Job:
    job_id: str
    kind: str
    status: str
    """`queued`, `running`, `done`, `error`, `cancelled` or `expired`."""
    created: datetime
    expires: datetime
    attempts: int
    units: int
    started: Optional[datetime] = None
    completed: Optional[datetime] = None
    progress: Optional[Progress] = None
    custom_id: Optional[str] = None
    result: Optional[Answer] = None
    error: Optional[Failure] = None
    callback: Optional[Callback] = None

    @property
    def ended(self) -> bool:
        """Whether the state is one that never changes again."""
        return self.status not in ("queued", "running")

    def answer(self) -> Answer:
        """The result of a job that is done; `JobFailed` if it ended otherwise."""
        if self.result is not None:
            return self.result
        if self.ended and self.status != "done":
            raise JobFailed(self)
        raise ValueError(f"{self.job_id} is {self.status} and has no result here: see `wait`")


@dataclass(frozen=True)
class BatchLine:
    """The answer to one item of a batch: a job, or the error that this item alone has met."""

    line: int
    """Place among the items, from 0."""
    status: int
    custom_id: Optional[str] = None
    job_id: Optional[str] = None
    kind: Optional[str] = None
    replayed: Optional[bool] = None
    error: Optional[ApiError] = None
