//! Compares what was sent with what the service says, unit by unit.

use std::collections::{BTreeMap, HashMap, HashSet};

use serde::{Deserialize, Serialize};

use super::{Books, Entry, Fate, JobRow, Kind, LedgerRow, Statement, Ticket, Violations, Work};
use crate::scenario::Checks;

const ENDS: [&str; 4] = ["done", "error", "cancelled", "expired"];

/// Sums of a run.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Totals {
    /// Synchronous requests that were answered.
    pub answered: u64,
    /// Requests and submissions that were refused or did not arrive.
    pub refused: u64,
    /// Requests and submissions without an answer.
    pub unknown: u64,
    /// Jobs accepted.
    pub accepted: u64,
    /// Jobs by their end.
    pub ends: BTreeMap<String, u64>,
    /// Units that were sent and done.
    pub units_sent: u64,
    /// Units in the ledger.
    pub units_charged: u64,
    /// Ledger rows.
    pub rows: u64,
    /// Callbacks that came.
    pub callbacks: u64,
    /// Callbacks that came again.
    pub callbacks_again: u64,
}

/// Checks one tenant's statement and adds to `totals`.
pub fn reconcile(
    books: &Books,
    tenant: usize,
    statement: &Statement,
    checks: Checks,
    totals: &mut Totals,
    faults: &mut Violations,
) {
    let mut check = Check {
        books,
        checks,
        faults,
        rows_of: HashMap::new(),
    };
    let jobs = check.jobs(tenant, &statement.jobs);
    check.rows(tenant, &statement.ledger, &jobs);
    for (ticket, entry) in books.of_tenant(tenant) {
        let job = jobs.get(&ticket).copied();
        check.entry(ticket, entry, job, totals);
        check.callbacks(ticket, entry, job, totals);
    }
    totals.rows += statement.ledger.len() as u64;
    totals.units_charged += statement.ledger.iter().map(|row| row.units).sum::<u64>();
}

struct Check<'a> {
    books: &'a Books,
    checks: Checks,
    faults: &'a mut Violations,
    /// Ledger rows by the work that they are for.
    rows_of: HashMap<Ticket, Vec<&'a LedgerRow>>,
}

impl<'a> Check<'a> {
    /// Finds the job of each entry; tells jobs that no entry is for.
    fn jobs<'s>(&mut self, tenant: usize, listed: &'s [JobRow]) -> HashMap<Ticket, &'s JobRow> {
        let entries = self.books.of_tenant(tenant);
        let known: HashMap<&str, Ticket> = entries
            .filter_map(|(ticket, entry)| Some((entry.job.as_deref()?, ticket)))
            .collect();
        let mut jobs: HashMap<Ticket, &JobRow> = HashMap::new();
        for job in listed {
            let named = job
                .custom_id
                .as_deref()
                .and_then(|id| self.books.ticket(id));
            let by_id = known.get(job.id.as_str()).copied();
            let Some(ticket) = by_id.or(named) else {
                if self.checks.exclusive_keys {
                    let detail = format!("{}: nobody has submitted it", job.id);
                    self.faults.add(Kind::UnknownJob, detail);
                }
                continue;
            };
            if let Some(other) = jobs.insert(ticket, job) {
                let id = self.books.id(ticket);
                let detail = format!("{id}: became both {} and {}", other.id, job.id);
                self.faults.add(Kind::DoubledJob, detail);
            }
        }
        jobs
    }

    /// Finds the rows of each entry; tells rows that no entry is for, and gaps of the chain.
    fn rows(&mut self, tenant: usize, rows: &'a [LedgerRow], jobs: &HashMap<Ticket, &JobRow>) {
        let by_job: HashMap<&str, Ticket> = jobs
            .iter()
            .map(|(ticket, job)| (job.id.as_str(), *ticket))
            .collect();
        for row in rows {
            let ticket = match &row.job {
                Some(job) => by_job.get(job.as_str()).copied(),
                None => self.books.ticket(&row.request),
            };
            let ours = ticket.filter(|t| usize::from(self.books.entry(*t).tenant) == tenant);
            match ours {
                Some(ticket) => self.rows_of.entry(ticket).or_default().push(row),
                None if self.checks.exclusive_keys => {
                    let work = row.job.as_ref().unwrap_or(&row.request);
                    let detail = format!("ledger row {}: {work} was not sent", row.seq);
                    self.faults.add(Kind::UnknownRow, detail);
                }
                None => {}
            }
        }
        let pairs = rows.windows(2).map(|pair| (&pair[0], &pair[1]));
        for (newer, older) in pairs.filter(|(newer, older)| newer.chain == older.chain) {
            if newer.seq != older.seq + 1 || newer.prev_hash != older.hash {
                let detail = format!("ledger row {} does not follow row {}", newer.seq, older.seq);
                self.faults.add(Kind::BrokenChain, detail);
            }
        }
    }

    fn entry(&mut self, ticket: Ticket, entry: &Entry, job: Option<&JobRow>, totals: &mut Totals) {
        match entry.fate {
            Fate::Unknown => totals.unknown += 1,
            Fate::Refused => totals.refused += 1,
            Fate::Taken if entry.work == Work::Sync => totals.answered += 1,
            Fate::Taken => totals.accepted += 1,
        }
        let done = match entry.work {
            Work::Sync => match entry.fate {
                Fate::Taken => Some(true),
                Fate::Refused => Some(false),
                Fate::Unknown => None,
            },
            Work::Job => Some(self.job_is_done(ticket, entry, job, totals)),
        };
        let id = || self.books.id(ticket);
        let rows = self.rows_of.get(&ticket).map_or(&[][..], Vec::as_slice);
        let fault = match (done, rows.len()) {
            (_, 2..) => Some((Kind::DoubledRow, format!("charged {} times", rows.len()))),
            (Some(true), 0) => Some((Kind::MissingRow, "done and not charged".to_owned())),
            (Some(false), 1) => Some((Kind::UnknownRow, "charged and not done".to_owned())),
            _ => rows.iter().find(|row| row.units != entry.units).map(|row| {
                let detail = format!("{} units charged as {}", entry.units, row.units);
                (Kind::WrongUnits, detail)
            }),
        };
        if done == Some(true) || (done.is_none() && !rows.is_empty()) {
            totals.units_sent += entry.units;
        }
        if let Some((kind, detail)) = fault {
            let detail = format!("{}: {detail}", id());
            self.faults.add(kind, detail);
        }
    }

    /// Checks a job's end; says whether it is done and so must be charged.
    fn job_is_done(
        &mut self,
        ticket: Ticket,
        entry: &Entry,
        job: Option<&JobRow>,
        totals: &mut Totals,
    ) -> bool {
        let id = self.books.id(ticket);
        let Some(job) = job else {
            if entry.fate == Fate::Taken {
                let job = entry.job.as_deref().unwrap_or_default();
                self.faults
                    .add(Kind::LostJob, format!("{id}: {job} is not there"));
            }
            return false;
        };
        if entry.fate == Fate::Refused {
            let detail = format!("{id}: refused, and yet {} is there", job.id);
            self.faults.add(Kind::UnknownJob, detail);
        }
        if !ENDS.contains(&job.status.as_str()) {
            let detail = format!("{id}: {} is still {}", job.id, job.status);
            self.faults.add(Kind::UnfinishedJob, detail);
        }
        if let Some(end) = entry.end.as_deref().filter(|end| *end != job.status) {
            let detail = format!("{id}: {} ended {end}, is now {}", job.id, job.status);
            self.faults.add(Kind::ChangedEnd, detail);
        }
        *totals.ends.entry(job.status.clone()).or_default() += 1;
        job.status == "done"
    }

    fn callbacks(
        &mut self,
        ticket: Ticket,
        entry: &Entry,
        job: Option<&JobRow>,
        totals: &mut Totals,
    ) {
        let none = BTreeMap::new();
        let events = self.books.callbacks().get(&ticket).unwrap_or(&none);
        totals.callbacks += events.values().map(|times| u64::from(*times)).sum::<u64>();
        let again: u32 = events.values().map(|times| times - 1).sum();
        totals.callbacks_again += u64::from(again);
        let id = self.books.id(ticket);
        let ended = job.is_some_and(|job| ENDS.contains(&job.status.as_str()));
        if entry.callback && ended && events.is_empty() {
            self.faults
                .add(Kind::MissingCallback, format!("{id}: no callback came"));
        }
        let distinct: HashSet<&String> = events.keys().collect();
        if distinct.len() > 1 || (again > 0 && self.checks.callbacks_once) {
            let detail = format!("{id}: callbacks {events:?} for one end");
            self.faults.add(Kind::DoubledCallback, detail);
        }
    }
}
