//! One run from checked problem to solution.

use std::time::Instant;

use ndarray::{Array1, Array2};

use crate::chain::Chain;
use crate::error::{FieldError, SolveError};
use crate::exec::Exec;
use crate::graph::{self, Checkpoint, Graph, GraphRequest, PathGraph};
use crate::observer::{Observer, Stage};
use crate::params::DiffusionParams;
use crate::plan::{Plan, ReceiptDetail, ReceiptOptions};
use crate::problem::{Problem, clamp_k};
use crate::receipt::{self, Drop, EdgeTerms, Solved};
use crate::scale::{Scale, largest_magnitude};
use crate::solution::{
    BundleItem, ChainReceipt, DiffusionReport, PerNode, Receipt, ReceiptMeta, Solution, SolveStats,
    Timings,
};
use crate::system::System;
use crate::{bundle, chain_receipt, diffusion, signature};

/// Computes everything `plan` asks for.
///
/// Runs on the current rayon pool; problems too small to gain from it run on the calling thread.
/// The answer does not depend on the number of threads.
///
/// # Errors
/// [`SolveError::Cancelled`] soon after `observer` says so, [`SolveError::Invalid`] when the plan
/// does not fit the problem (`gates` together with diffusion, a chain receipt without a `chain`)
/// or the parameters make a system that float32 cannot solve (`params`).
pub fn solve(
    problem: &Problem<'_>,
    plan: &Plan,
    observer: &dyn Observer,
) -> Result<Solution, SolveError> {
    solve_from(None, problem, plan, observer)
}

/// The same, going on from a checkpoint that an earlier run's observer was given. The answer is
/// equal to the last bit; what another input's run has left is ignored.
///
/// # Errors
/// As [`solve`].
pub fn solve_from(
    checkpoint: Option<&Checkpoint>,
    problem: &Problem<'_>,
    plan: &Plan,
    observer: &dyn Observer,
) -> Result<Solution, SolveError> {
    let started = Instant::now();
    let examined = examined_chain(problem, plan)?;
    if plan.diffusion.is_some() && problem.gates().is_some() {
        return Err(FieldError::new("gates", "cannot be combined with diffusion").into());
    }
    let exec = Exec::new(observer, work(problem));
    exec.check()?;
    let mut timings = Timings::default();
    let largest = largest_magnitude(problem.anchors(), exec)?;
    let scale = Scale::for_largest(largest.max(largest_magnitude(problem.query(), exec)?));

    let (graph, diffusion_graph) = timed(&mut timings.graph_build_ms, || {
        build_graphs(problem, plan, checkpoint, exec)
    })?;
    exec.progress(Stage::Graph, 1.0);
    let (gates, diffusion) = timed(&mut timings.diffusion_gate_ms, || {
        gates_in_force(
            problem,
            plan,
            diffusion_graph.as_ref().unwrap_or(&graph),
            exec,
        )
    })?;
    drop(diffusion_graph);

    let path = problem.chain().map(PathGraph::new);
    let system = System::new(problem, &graph, path.as_ref(), &gates, scale);
    exec.check()?;
    // The signature needs what the steps need, so it can be made beside them.
    let settling = || timed(&mut timings.settle_ms, || system.settle(plan.settle, exec));
    let signing = || signature::state_signature(problem, &gates, &graph);
    let (settled, state_sig) = exec.both(settling, signing);
    let (u, settle) = settled?;
    let stationary = if plan.needs_stationary() {
        Some(timed(&mut timings.ustar_solve_ms, || {
            system.stationary(exec)
        })?)
    } else {
        None
    };
    drop(system);

    let mut reports = Reports::default();
    if let Some((ustar, stats)) = &stationary {
        let solved = Solved {
            problem,
            graph: &graph,
            path: path.as_ref(),
            gates: &gates,
            scale,
            u: flat(&u),
            ustar: flat(ustar),
        };
        let run = Run {
            solved,
            settle,
            stationary: *stats,
            state_sig: &state_sig,
        };
        reports = run.report(plan, examined.as_ref(), &mut timings, exec)?;
    }
    exec.progress(Stage::Receipt, 1.0);
    timings.total_ms = elapsed_ms(started);
    let (ustar, stationary) = stationary.unzip();
    Ok(Solution {
        state_sig,
        k_effective: problem.k_effective(),
        graph,
        settle,
        u,
        stationary,
        ustar,
        gates: Array1::from_vec(gates),
        receipt: reports.receipt,
        bundle: reports.bundle,
        chain_receipt: reports.chain_receipt,
        diffusion,
        timings,
    })
}

fn flat(state: &Array2<f32>) -> &[f32] {
    state
        .as_slice()
        .expect("states are assembled in standard layout")
}

/// About how many multiply-adds the run takes.
fn work(problem: &Problem<'_>) -> usize {
    let (n, d) = (problem.rows(), problem.columns());
    n.saturating_mul(n / 2 + 200).saturating_mul(d)
}

fn elapsed_ms(since: Instant) -> f64 {
    since.elapsed().as_secs_f64() * 1e3
}

fn timed<T>(slot: &mut f64, stage: impl FnOnce() -> T) -> T {
    let started = Instant::now();
    let result = stage();
    *slot = elapsed_ms(started);
    result
}

/// The chain a chain receipt is about.
fn examined_chain(problem: &Problem<'_>, plan: &Plan) -> Result<Option<Chain>, SolveError> {
    let Some(options) = &plan.chain_receipt else {
        return Ok(None);
    };
    let chain = match (&options.nodes, problem.chain()) {
        (Some(nodes), _) => Chain::new(nodes.clone(), None)?,
        (None, Some(chain)) => chain.clone(),
        (None, None) => {
            return Err(FieldError::new("chain", "is needed for a chain receipt").into());
        }
    };
    chain.check_rows(problem.rows())?;
    Ok(Some(chain))
}

/// The lattice graph and, unless it is the same, the diffusion graph.
fn build_graphs(
    problem: &Problem<'_>,
    plan: &Plan,
    checkpoint: Option<&Checkpoint>,
    exec: Exec<'_>,
) -> Result<(Graph, Option<Graph>), SolveError> {
    let params = problem.params();
    let lattice = GraphRequest {
        kneighbors: params.kneighbors(),
        seed: params.neighbor_seed(),
    };
    let mut requests = vec![lattice];
    let own = |diffusion: &&DiffusionParams| !diffusion.reuse_lattice_graph();
    if let Some(diffusion) = plan.diffusion.as_ref().filter(own) {
        let request = GraphRequest {
            kneighbors: diffusion.kneighbors().unwrap_or(params.kneighbors()),
            seed: diffusion.neighbor_seed(),
        };
        let clamped = |request: GraphRequest| clamp_k(request.kneighbors, problem.rows());
        if request.seed != lattice.seed || clamped(request) != clamped(lattice) {
            requests.push(request);
        }
    }
    let mut graphs = graph::build_all(problem, &requests, checkpoint, exec)?.into_iter();
    let first = graphs.next().expect("every request gives a graph");
    Ok((first, graphs.next()))
}

fn gates_in_force(
    problem: &Problem<'_>,
    plan: &Plan,
    graph: &Graph,
    exec: Exec<'_>,
) -> Result<(Vec<f32>, Option<DiffusionReport>), SolveError> {
    if let Some(params) = &plan.diffusion {
        let (gates, report) = diffusion::gates(problem, graph, params, exec)?;
        return Ok((gates, Some(report)));
    }
    Ok((
        problem
            .gates()
            .map_or_else(|| vec![1.0; problem.rows()], |gates| gates.to_vec()),
        None,
    ))
}

#[derive(Default)]
struct Reports {
    receipt: Option<Receipt>,
    bundle: Option<Vec<BundleItem>>,
    chain_receipt: Option<ChainReceipt>,
}

/// A solved run about to be reported on.
struct Run<'a> {
    solved: Solved<'a>,
    settle: SolveStats,
    stationary: SolveStats,
    state_sig: &'a str,
}

impl Run<'_> {
    fn report(
        &self,
        plan: &Plan,
        examined: Option<&Chain>,
        timings: &mut Timings,
        exec: Exec<'_>,
    ) -> Result<Reports, SolveError> {
        let full = plan
            .receipt
            .is_some_and(|options| options.detail == ReceiptDetail::Full);
        let mut measuring_ms = 0.0;
        let edges = if full || plan.bundle_k.is_some() || examined.is_some() {
            Some(timed(&mut measuring_ms, || {
                let edges = EdgeTerms::new(&self.solved, exec)?;
                let coherence = edges.coherence(&self.solved, exec)?;
                Ok::<_, SolveError>((edges, coherence))
            })?)
        } else {
            None
        };
        let mut reports = Reports::default();
        let measured = || {
            edges
                .as_ref()
                .map(|(edges, coherence)| (edges, &**coherence))
        };
        if let Some(options) = plan.receipt {
            let so_far = *timings;
            reports.receipt = Some(timed(&mut timings.receipt_ms, || {
                self.receipt(options, measured().filter(|_| full), &so_far, exec)
            })?);
        }
        timings.receipt_ms += measuring_ms;
        if let (Some(size), Some((_, coherence))) = (plan.bundle_k, measured()) {
            reports.bundle = Some(timed(&mut timings.bundle_ms, || {
                bundle::select(&self.solved, coherence, size, exec)
            })?);
        }
        if let (Some(options), Some(chain), Some((edges, _))) =
            (&plan.chain_receipt, examined, measured())
        {
            reports.chain_receipt = Some(timed(&mut timings.chain_receipt_ms, || {
                chain_receipt::examine(&self.solved, edges, chain, options.z_threshold)
            }));
        }
        Ok(reports)
    }

    fn receipt(
        &self,
        options: ReceiptOptions,
        measured: Option<(&EdgeTerms, &[f64])>,
        timings: &Timings,
        exec: Exec<'_>,
    ) -> Result<Receipt, SolveError> {
        let delta_h_total = Drop::total(&self.solved, measured.map(|(edges, _)| edges), exec)?;
        let mut meta = self.meta(options, timings);
        let mut null_points = Vec::new();
        let mut per_node = None;
        if let Some((edges, coherence)) = measured {
            let cap = options.null_cap;
            let details = receipt::details(&self.solved, edges, coherence, cap, exec)?;
            meta.null_points_summary = details.summary;
            null_points = details.null_points;
            per_node = Some(details.per_node);
        }
        let sum = |terms: fn(&PerNode) -> &Vec<f64>| {
            per_node
                .as_ref()
                .map_or(0.0, |per_node| terms(per_node).iter().sum())
        };
        Ok(Receipt {
            version: env!("CARGO_PKG_VERSION"),
            delta_h_total,
            coh_drop_sum: sum(|per_node| &per_node.coh_drop),
            anchor_pen_sum: sum(|per_node| &per_node.anchor_pen),
            query_term_sum: sum(|per_node| &per_node.query_term),
            cg_iters: self.settle.iters,
            residual: self.settle.residual,
            t_ms: timings.settle_ms,
            null_points,
            per_node,
            meta,
        })
    }

    fn meta(&self, options: ReceiptOptions, timings: &Timings) -> ReceiptMeta {
        let gates = self.solved.gates;
        let wide = || gates.iter().map(|gate| f64::from(*gate));
        let first = f64::from(gates[0]);
        ReceiptMeta {
            ustar_converged: self.stationary.converged,
            ustar_res: self.stationary.residual,
            ustar_iters: self.stationary.iters,
            ustar_solve_ms: timings.ustar_solve_ms,
            graph_build_ms: timings.graph_build_ms,
            last_settle_ms: timings.settle_ms,
            avg_degree: self.solved.graph.avg_degree(),
            edge_density: self.solved.graph.edge_density(),
            gates_min: wide().fold(f64::INFINITY, f64::min),
            gates_max: wide().fold(f64::NEG_INFINITY, f64::max),
            gates_mean: wide().sum::<f64>() / gates.len() as f64,
            gates_uniform: wide().all(|gate| (gate - first).abs() <= 1e-8 + 1e-5 * first.abs()),
            state_sig: self.state_sig.to_owned(),
            receipt_detail: options.detail,
            null_points_summary: Default::default(),
        }
    }
}
