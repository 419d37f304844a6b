//! After the last arrival: waits for what is still to come, then compares the books.

use std::time::{Duration, Instant};

use crate::books::{Before, Kind, Totals, Violations, reconcile, statement};
use crate::world::World;

/// Time in which a callback that was sent twice would come again.
const ECHO: Duration = Duration::from_secs(2);
/// Pause between two looks at jobs that have not ended.
const LOOK: Duration = Duration::from_millis(200);
/// Least time for what the run left alive, when its own patience is over.
const LEAST: Duration = Duration::from_secs(5);

/// What the books say.
pub(super) struct Settled {
    pub totals: Totals,
    pub violations: Violations,
    pub unchecked: Vec<String>,
}

/// Compares every tenant's books with what the service says.
pub(super) async fn settle_up(world: &World, before: &[Option<Before>]) -> Settled {
    let least = Instant::now() + LEAST;
    let deadline = world.deadline().max(least);
    if world.receiver.is_some() {
        while world.books.borrow().awaited_callbacks() > 0 && Instant::now() < deadline {
            tokio::time::sleep(LOOK).await;
        }
        tokio::time::sleep(ECHO).await;
    }
    let mut settled = Settled {
        totals: Totals::default(),
        violations: world.books.borrow().violations.clone(),
        unchecked: Vec::new(),
    };
    let left = world.in_flight.get();
    if left > 0 && !world.stopped.get() {
        let detail = format!("{left} arrivals had not ended when the run was over");
        settled.violations.add(Kind::NotChecked, detail);
    }
    for (tenant, before) in before.iter().enumerate() {
        let name = &world.scenario.tenants[tenant].name;
        let Some(before) = before else {
            continue;
        };
        if let Err(error) = tenant_books(world, tenant, before, deadline, &mut settled).await {
            let detail = format!("tenant {name}: {error}");
            settled.violations.add(Kind::NotChecked, detail);
        }
    }
    settled
}

async fn tenant_books(
    world: &World,
    tenant: usize,
    before: &Before,
    deadline: Instant,
    settled: &mut Settled,
) -> Result<(), String> {
    loop {
        let statement = statement(&world.client, &world.keys[tenant], before).await?;
        let alive = |status: &str| ["queued", "running"].contains(&status);
        let over = Instant::now() >= deadline;
        if !over && statement.jobs.iter().any(|job| alive(&job.status)) {
            tokio::time::sleep(LOOK).await;
            continue;
        }
        let books = world.books.borrow();
        let (totals, faults) = (&mut settled.totals, &mut settled.violations);
        reconcile(
            &books,
            tenant,
            &statement,
            world.scenario.checks,
            totals,
            faults,
        );
        return Ok(());
    }
}
