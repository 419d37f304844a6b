//! From the file to a scenario, each field checked and named when it is at fault.

use std::collections::BTreeSet;
use std::time::Duration;

use super::duration::{RUN_LENGTH_FAULT, RUN_LENGTHS};
use super::raw::{RawFlow, RawProblem, RawScenario, RawTenant};
use super::{
    Arrivals, Bounds, Checks, Flow, FlowKind, ProblemSpec, Scenario, ScenarioError, Tenant,
    Threshold, chaos,
};

/// Fastest arrivals that a flow may ask for, a second.
const MAX_RATE: f64 = 200_000.0;

type Checked<T> = Result<T, ScenarioError>;

fn fault<T>(field: impl Into<String>, detail: impl Into<String>) -> Checked<T> {
    Err(ScenarioError::field(field, detail))
}

fn within(field: &str, value: usize, least: usize, most: usize) -> Checked<usize> {
    if (least..=most).contains(&value) {
        Ok(value)
    } else {
        fault(field, format!("{value} is not within {least} to {most}"))
    }
}

pub(super) fn checked(raw: RawScenario) -> Checked<Scenario> {
    let duration = raw.duration.0;
    if !RUN_LENGTHS.contains(&duration) {
        return fault("duration", RUN_LENGTH_FAULT);
    }
    let warm_up = raw.warm_up.map_or(Duration::ZERO, |time| time.0);
    if warm_up >= duration {
        return fault("warm_up", "must be shorter than duration");
    }
    let tenants = checked_tenants(raw.tenants)?;
    let problems = checked_problems(raw.problems)?;
    let flows = raw
        .flows
        .into_iter()
        .map(|flow| checked_flow(flow, &tenants, &problems, duration))
        .collect::<Checked<Vec<_>>>()?;
    within("flows", flows.len(), 1, 64)?;
    unique("flows", flows.iter().map(|flow| flow.name.as_str()))?;
    let mut disturbances = raw
        .chaos
        .into_iter()
        .enumerate()
        .map(|(index, entry)| chaos::checked(entry, index))
        .collect::<Checked<Vec<_>>>()?;
    if let Some(index) = disturbances.iter().position(|one| one.at >= duration) {
        return fault(format!("chaos[{index}].at"), "is after the end of the run");
    }
    disturbances.sort_by_key(|disturbance| disturbance.at);
    Ok(Scenario {
        thresholds: checked_thresholds(&raw.thresholds, &flows)?,
        bounds: Bounds {
            connections: within("bounds.connections", raw.bounds.connections, 1, 20_000)?,
            in_flight: within("bounds.in_flight", raw.bounds.in_flight, 1, 1_000_000)?,
            timeout: raw.bounds.timeout.0,
            drain: raw.bounds.drain.0,
        },
        server_env: raw.server.env,
        server_tmpfs_bytes: match raw.server.tmpfs_mib {
            Some(mib) if !(4..=4096).contains(&mib) => {
                return fault("server.tmpfs_mib", "must be within 4 and 4096");
            }
            mib => mib.map(|mib| mib << 20),
        },
        name: raw.name,
        description: raw.description,
        seed: raw.seed,
        duration,
        warm_up,
        tenants,
        problems,
        flows,
        chaos: disturbances,
        checks: Checks {
            exclusive_keys: raw.checks.exclusive_keys,
            callbacks_once: raw.checks.callbacks_once,
        },
    })
}

fn unique<'a>(field: &str, names: impl Iterator<Item = &'a str>) -> Checked<()> {
    let mut seen = BTreeSet::new();
    for name in names {
        let plain = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
        if name.is_empty() || name.len() > 64 || !name.chars().all(plain) || name == "all" {
            let detail = "letters, digits, - and _, at most 64, and not \"all\"";
            return fault(format!("{field}.{name:?}.name"), detail);
        }
        if !seen.insert(name) {
            return fault(format!("{field}.{name}.name"), "is there twice");
        }
    }
    Ok(())
}

fn checked_tenants(raw: Vec<RawTenant>) -> Checked<Vec<Tenant>> {
    within("tenants", raw.len(), 0, 1_000)?;
    unique("tenants", raw.iter().map(|tenant| tenant.name.as_str()))?;
    let checked = raw.into_iter().map(|tenant| {
        let field = format!("tenants.{}", tenant.name);
        if !["free", "beta", "pro", "enterprise"].contains(&tenant.tier.as_str()) {
            return fault(format!("{field}.tier"), "free, beta, pro or enterprise");
        }
        within(&format!("{field}.weight"), tenant.weight as usize, 1, 1000)?;
        Ok(Tenant {
            name: tenant.name,
            tier: tenant.tier,
            weight: tenant.weight,
        })
    });
    checked.collect()
}

fn checked_problems(raw: Vec<RawProblem>) -> Checked<Vec<ProblemSpec>> {
    unique("problems", raw.iter().map(|problem| problem.name.as_str()))?;
    let checked = raw.into_iter().map(|problem| {
        let at = |name: &str| format!("problems.{}.{name}", problem.name);
        Ok(ProblemSpec {
            rows: within(&at("rows"), problem.rows, 2, 200_000)?,
            dims: within(&at("dims"), problem.dims, 1, 3_072)?,
            count: within(&at("count"), problem.count, 1, 1_000)?,
            neighbors: within(&at("neighbors"), problem.neighbors, 1, problem.rows)?,
            bundle: within(&at("bundle"), problem.bundle, 1, problem.rows)?,
            body: problem.body,
            name: problem.name,
        })
    });
    checked.collect()
}

fn checked_flow(
    raw: RawFlow,
    tenants: &[Tenant],
    problems: &[ProblemSpec],
    duration: Duration,
) -> Checked<Flow> {
    let at = |name: &str| format!("flows.{}.{name}", raw.name);
    let by_name = !matches!(raw.kind, FlowKind::Probe | FlowKind::Stripe);
    let problem = match (&raw.problem, by_name) {
        (Some(name), true) => match problems.iter().position(|known| known.name == *name) {
            Some(place) => Some(place),
            None => return fault(at("problem"), format!("{name:?} is not in problems")),
        },
        (None, true) => return fault(at("problem"), "name one of problems"),
        (Some(_), false) => return fault(at("problem"), "this kind of flow sends no problem"),
        (None, false) => None,
    };
    if raw.path.is_some() && raw.kind != FlowKind::Probe {
        return fault(at("path"), "is for probes");
    }
    let path = raw.path.clone().unwrap_or_else(|| "/health".to_owned());
    if !path.starts_with('/') || path.parse::<http::uri::PathAndQuery>().is_err() {
        return fault(at("path"), "must be a path that begins with /");
    }
    if raw.lines.is_some() && raw.kind != FlowKind::Batch {
        return fault(at("lines"), "is for batches");
    }
    if raw.copies.is_some() && raw.kind != FlowKind::Stripe {
        return fault(at("copies"), "is for Stripe events");
    }
    if raw.diffusion && !by_name {
        return fault(at("diffusion"), "this kind of flow sends no problem");
    }
    if let (Some(place), FlowKind::Batch) = (problem, raw.kind)
        && problems[place].body != super::BodyForm::Json
    {
        return fault(at("problem"), "batches are JSON: body must be \"json\"");
    }
    check_arrivals(&at("arrivals"), &raw.arrivals, duration)?;
    Ok(Flow {
        tenants: flow_tenants(&raw, tenants, by_name)?,
        problem,
        lines: within(&at("lines"), raw.lines.unwrap_or(10), 1, 10_000)?,
        copies: within(&at("copies"), raw.copies.unwrap_or(1), 1, 100)?,
        path,
        kind: raw.kind,
        arrivals: raw.arrivals,
        spacing: raw.spacing,
        diffusion: raw.diffusion,
        allow: raw.allow,
        name: raw.name,
    })
}

fn flow_tenants(raw: &RawFlow, tenants: &[Tenant], needed: bool) -> Checked<Vec<usize>> {
    let field = format!("flows.{}.tenants", raw.name);
    let Some(names) = &raw.tenants else {
        if needed && tenants.is_empty() {
            return fault("tenants", "there is none to send requests for");
        }
        return Ok((0..tenants.len()).collect());
    };
    let place = |name: &String| {
        let place = tenants.iter().position(|tenant| tenant.name == *name);
        place.ok_or_else(|| ScenarioError::field(&field, format!("{name:?} is not in tenants")))
    };
    let places = names.iter().map(place).collect::<Checked<Vec<_>>>()?;
    if needed && places.is_empty() {
        return fault(field, "is empty");
    }
    Ok(places)
}

fn check_arrivals(field: &str, arrivals: &Arrivals, duration: Duration) -> Checked<()> {
    let rate = |name: &str, rate: f64, least: f64| {
        if rate.is_finite() && rate >= least && rate <= MAX_RATE {
            Ok(())
        } else {
            let detail = format!("{rate} is not within {least} and {MAX_RATE} a second");
            fault(format!("{field}.{name}"), detail)
        }
    };
    match arrivals {
        Arrivals::Constant { rate: at } => rate("rate", *at, 0.001),
        Arrivals::Ramp { from, to } => rate("from", *from, 0.0).and(rate("to", *to, 0.0)),
        Arrivals::Steps { rates } => {
            within(&format!("{field}.rates"), rates.len(), 1, 1_000)?;
            rates.iter().try_for_each(|step| rate("rates", *step, 0.0))
        }
        Arrivals::Spike {
            base,
            peak,
            at,
            length,
        } => {
            rate("base", *base, 0.0).and(rate("peak", *peak, 0.001))?;
            if at.0 + length.0 > duration {
                return fault(format!("{field}.length"), "goes beyond the end of the run");
            }
            Ok(())
        }
        Arrivals::Soak { rate: at, ramp } => {
            if ramp.0 * 2 > duration {
                return fault(format!("{field}.ramp"), "is longer than half the run");
            }
            rate("rate", *at, 0.001)
        }
        Arrivals::Closed { users, .. } => {
            within(&format!("{field}.users"), *users, 1, 100_000).map(drop)
        }
    }
}

fn checked_thresholds(
    raw: &std::collections::BTreeMap<String, Vec<String>>,
    flows: &[Flow],
) -> Checked<Vec<Threshold>> {
    let mut thresholds = Vec::new();
    for (flow, conditions) in raw {
        if flow != "all" && !flows.iter().any(|known| known.name == *flow) {
            return fault(format!("thresholds.{flow}"), "there is no such flow");
        }
        for text in conditions {
            let threshold = Threshold::parse(flow, text);
            thresholds
                .push(threshold.map_err(|detail| {
                    ScenarioError::field(format!("thresholds.{flow}"), detail)
                })?);
        }
    }
    Ok(thresholds)
}
