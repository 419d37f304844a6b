//! Checked parameter types: once built, a value is valid everywhere inside the crate.

use crate::error::FieldError;

/// Weights of the four energy terms (contract, section 2).
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Lambdas {
    /// Pull towards the anchors, `lamG`, above zero.
    pub g: f64,
    /// Coherence along graph edges, `lamC`, zero or more.
    pub c: f64,
    /// Pull towards the query, `lamQ`, zero or more.
    pub q: f64,
    /// Chain prior, `lamP`, zero or more.
    pub p: f64,
}

impl Default for Lambdas {
    fn default() -> Self {
        Self {
            g: 1.0,
            c: 0.5,
            q: 4.0,
            p: 0.0,
        }
    }
}

/// Graph and energy parameters.
#[derive(Debug, Clone, PartialEq)]
pub struct Params {
    kneighbors: usize,
    lambdas: Lambdas,
    deterministic_k: bool,
    neighbor_seed: Option<i64>,
}

impl Default for Params {
    fn default() -> Self {
        Self {
            kneighbors: 6,
            lambdas: Lambdas::default(),
            deterministic_k: false,
            neighbor_seed: None,
        }
    }
}

impl Params {
    /// Checks `kneighbors >= 1`, `lamG > 0` and the other weights not negative.
    ///
    /// # Errors
    /// Names `params.kneighbors`, `params.lamG`, `params.lamC`, `params.lamQ` or `params.lamP`.
    pub fn new(kneighbors: usize, lambdas: Lambdas) -> Result<Self, FieldError> {
        at_least_one("params.kneighbors", kneighbors)?;
        positive("params.lamG", lambdas.g)?;
        not_negative("params.lamC", lambdas.c)?;
        not_negative("params.lamQ", lambdas.q)?;
        not_negative("params.lamP", lambdas.p)?;
        Ok(Self {
            kneighbors,
            lambdas,
            ..Self::default()
        })
    }

    /// Echoed in signatures. The graph is deterministic whether it is set or not.
    #[must_use]
    pub fn with_deterministic_k(mut self, deterministic_k: bool) -> Self {
        self.deterministic_k = deterministic_k;
        self
    }

    /// Breaks exact similarity ties by a seeded order instead of by ascending row index.
    #[must_use]
    pub fn with_neighbor_seed(mut self, seed: Option<i64>) -> Self {
        self.neighbor_seed = seed;
        self
    }

    /// Neighbours asked for per row, before clamping to the row count.
    pub fn kneighbors(&self) -> usize {
        self.kneighbors
    }

    /// The energy weights.
    pub fn lambdas(&self) -> Lambdas {
        self.lambdas
    }

    /// The flag as given.
    pub fn deterministic_k(&self) -> bool {
        self.deterministic_k
    }

    /// The tie-breaking seed as given.
    pub fn neighbor_seed(&self) -> Option<i64> {
        self.neighbor_seed
    }
}

/// The implicit Euler step and its solver limits.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct SettleOptions {
    dt: f64,
    max_iters: usize,
    tol: f64,
}

impl Default for SettleOptions {
    fn default() -> Self {
        Self {
            dt: 1.0,
            max_iters: 12,
            tol: 1e-3,
        }
    }
}

impl SettleOptions {
    /// `dt` is the step length, `tol` an absolute bound on the largest column residual.
    ///
    /// # Errors
    /// Names `options.dt`, `options.max_iters` or `options.tol` when not above zero.
    pub fn new(dt: f64, max_iters: usize, tol: f64) -> Result<Self, FieldError> {
        positive("options.dt", dt)?;
        at_least_one("options.max_iters", max_iters)?;
        positive("options.tol", tol)?;
        Ok(Self { dt, max_iters, tol })
    }

    /// Step length.
    pub fn dt(&self) -> f64 {
        self.dt
    }

    /// Most conjugate-gradient iterations.
    pub fn max_iters(&self) -> usize {
        self.max_iters
    }

    /// Absolute residual bound.
    pub fn tol(&self) -> f64 {
        self.tol
    }
}

/// Screened diffusion that turns the query into gates (contract, section 6).
#[derive(Debug, Clone, PartialEq)]
pub struct DiffusionParams {
    beta: f64,
    gamma: f64,
    kneighbors: Option<usize>,
    deterministic_k: bool,
    neighbor_seed: Option<i64>,
    reuse_lattice_graph: bool,
}

impl Default for DiffusionParams {
    fn default() -> Self {
        Self {
            beta: 1.0,
            gamma: 0.15,
            kneighbors: None,
            deterministic_k: false,
            neighbor_seed: None,
            reuse_lattice_graph: false,
        }
    }
}

impl DiffusionParams {
    /// `beta` scales the injected similarity, `gamma` screens it.
    ///
    /// # Errors
    /// Names `diffusion.beta` when not finite or negative, `diffusion.gamma` when not above zero.
    pub fn new(beta: f64, gamma: f64) -> Result<Self, FieldError> {
        not_negative("diffusion.beta", beta)?;
        positive("diffusion.gamma", gamma)?;
        Ok(Self {
            beta,
            gamma,
            ..Self::default()
        })
    }

    /// Neighbours of the diffusion graph; `None` takes the lattice's own number.
    ///
    /// # Errors
    /// Names `diffusion.kneighbors` when zero.
    pub fn with_kneighbors(mut self, kneighbors: Option<usize>) -> Result<Self, FieldError> {
        if let Some(k) = kneighbors {
            at_least_one("diffusion.kneighbors", k)?;
        }
        self.kneighbors = kneighbors;
        Ok(self)
    }

    /// Accepted for symmetry with [`Params`]; the graph is deterministic in any case.
    #[must_use]
    pub fn with_deterministic_k(mut self, deterministic_k: bool) -> Self {
        self.deterministic_k = deterministic_k;
        self
    }

    /// Tie-breaking seed of the diffusion graph.
    #[must_use]
    pub fn with_neighbor_seed(mut self, seed: Option<i64>) -> Self {
        self.neighbor_seed = seed;
        self
    }

    /// Diffuses over the lattice graph instead of a graph of its own.
    #[must_use]
    pub fn with_reuse_lattice_graph(mut self, reuse: bool) -> Self {
        self.reuse_lattice_graph = reuse;
        self
    }

    /// Injection scale.
    pub fn beta(&self) -> f64 {
        self.beta
    }

    /// Screening, above zero.
    pub fn gamma(&self) -> f64 {
        self.gamma
    }

    /// Neighbours asked for, if given.
    pub fn kneighbors(&self) -> Option<usize> {
        self.kneighbors
    }

    /// The flag as given.
    pub fn deterministic_k(&self) -> bool {
        self.deterministic_k
    }

    /// The tie-breaking seed as given.
    pub fn neighbor_seed(&self) -> Option<i64> {
        self.neighbor_seed
    }

    /// Whether the lattice graph is reused.
    pub fn reuse_lattice_graph(&self) -> bool {
        self.reuse_lattice_graph
    }
}

fn at_least_one(field: &str, value: usize) -> Result<(), FieldError> {
    if value == 0 {
        return Err(FieldError::new(field, "must be at least 1"));
    }
    Ok(())
}

fn positive(field: &str, value: f64) -> Result<(), FieldError> {
    in_float32_range(field, value)?;
    if value <= 0.0 {
        return Err(FieldError::new(
            field,
            format!("must be greater than 0, got {value}"),
        ));
    }
    Ok(())
}

fn not_negative(field: &str, value: f64) -> Result<(), FieldError> {
    in_float32_range(field, value)?;
    if value < 0.0 {
        return Err(FieldError::new(
            field,
            format!("must not be negative, got {value}"),
        ));
    }
    Ok(())
}

fn in_float32_range(field: &str, value: f64) -> Result<(), FieldError> {
    if !value.is_finite() || value.abs() > f64::from(f32::MAX) {
        return Err(FieldError::new(
            field,
            "must be finite and within float32 range",
        ));
    }
    Ok(())
}
