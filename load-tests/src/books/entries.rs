//! One entry for each piece of work that was asked for.

use std::collections::BTreeMap;

use super::{Kind, Violations};

/// Number of an entry; request ids and custom ids are made of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ticket(pub u32);

/// What was asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Work {
    /// An answer at once.
    Sync,
    /// A job.
    Job,
}

/// What is known of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// Nothing: no answer has come, it may or may not have been done.
    Unknown,
    /// Done, or accepted.
    Taken,
    /// Refused, or never arrived: it must not have been done.
    Refused,
}

/// A piece of work.
#[derive(Debug, Clone)]
pub struct Entry {
    /// Whose, as a place in the scenario's tenants.
    pub tenant: u16,
    /// What.
    pub work: Work,
    /// What is known of it.
    pub fate: Fate,
    /// N·D.
    pub units: u64,
    /// The job, once accepted.
    pub job: Option<Box<str>>,
    /// The end that the client was told.
    pub end: Option<Box<str>>,
    /// A callback was asked for.
    pub callback: bool,
}

/// All work of a run, some dozens of bytes each.
#[derive(Debug)]
pub struct Books {
    run: String,
    entries: Vec<Entry>,
    /// Callbacks that came: by job's ticket, how often each event id.
    callbacks: BTreeMap<Ticket, BTreeMap<String, u32>>,
    /// Faults seen while running.
    pub violations: Violations,
}

impl Books {
    /// Empty books; `run` begins every id.
    #[must_use]
    pub fn new(run: String) -> Self {
        Self {
            run,
            entries: Vec::new(),
            callbacks: BTreeMap::new(),
            violations: Violations::default(),
        }
    }

    /// What begins every id of the run.
    #[must_use]
    pub fn run(&self) -> &str {
        &self.run
    }

    /// Notes work before it is sent.
    pub fn open(&mut self, tenant: usize, work: Work, units: u64) -> Ticket {
        let ticket = u32::try_from(self.entries.len()).expect("fewer than 2^32 requests a run");
        self.entries.push(Entry {
            tenant: u16::try_from(tenant).expect("a scenario has at most a thousand tenants"),
            work,
            fate: Fate::Unknown,
            units,
            job: None,
            end: None,
            callback: false,
        });
        Ticket(ticket)
    }

    /// The id that goes with a ticket: request id, custom id and idempotency key.
    #[must_use]
    pub fn id(&self, ticket: Ticket) -> String {
        format!("{}-{}", self.run, ticket.0)
    }

    /// The ticket of an id of this run.
    #[must_use]
    pub fn ticket(&self, id: &str) -> Option<Ticket> {
        let number = id.strip_prefix(self.run.as_str())?.strip_prefix('-')?;
        let ticket = Ticket(number.parse().ok()?);
        ((ticket.0 as usize) < self.entries.len()).then_some(ticket)
    }

    /// An entry.
    #[must_use]
    pub fn entry(&self, ticket: Ticket) -> &Entry {
        &self.entries[ticket.0 as usize]
    }

    fn entry_mut(&mut self, ticket: Ticket) -> &mut Entry {
        &mut self.entries[ticket.0 as usize]
    }

    /// All entries of a tenant.
    pub fn of_tenant(&self, tenant: usize) -> impl Iterator<Item = (Ticket, &Entry)> {
        let numbered = self.entries.iter().enumerate();
        numbered
            .filter(move |(_, entry)| usize::from(entry.tenant) == tenant)
            .map(|(number, entry)| (Ticket(number as u32), entry))
    }

    /// How many entries there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Is there none?
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Work was done, or refused.
    pub fn close(&mut self, ticket: Ticket, fate: Fate) {
        self.entry_mut(ticket).fate = fate;
    }

    /// A job was accepted.
    pub fn accepted(&mut self, ticket: Ticket, job: &str) {
        let entry = self.entry_mut(ticket);
        entry.fate = Fate::Taken;
        let before = entry.job.replace(job.into());
        if let Some(before) = before.filter(|before| **before != *job) {
            let id = self.id(ticket);
            let detail = format!("{id}: sent again, it became {job} beside {before}");
            self.violations.add(Kind::DoubledJob, detail);
        }
    }

    /// The client saw a job's end.
    pub fn ended(&mut self, ticket: Ticket, status: &str) {
        let entry = self.entry_mut(ticket);
        let before = entry.end.replace(status.into());
        if let Some(before) = before.filter(|before| **before != *status) {
            let id = self.id(ticket);
            let detail = format!("{id}: ended {before}, later {status}");
            self.violations.add(Kind::ChangedEnd, detail);
        }
    }

    /// An answer was not what it should be.
    pub fn wrong(&mut self, ticket: Ticket, detail: &str) {
        let detail = format!("{}: the answer {detail}", self.id(ticket));
        self.violations.add(Kind::WrongResult, detail);
    }

    /// A job's submission asks for a callback.
    pub fn expect_callback(&mut self, ticket: Ticket) {
        self.entry_mut(ticket).callback = true;
    }

    /// A callback came.
    pub fn called_back(&mut self, ticket: Ticket, event: &str) {
        let events = self.callbacks.entry(ticket).or_default();
        *events.entry(event.to_owned()).or_default() += 1;
    }

    /// Jobs that have ended and whose callback is still to come.
    #[must_use]
    pub fn awaited_callbacks(&self) -> usize {
        let entries = self.entries.iter().enumerate();
        let awaited = entries.filter(|(number, entry)| {
            let called = self.callbacks.contains_key(&Ticket(*number as u32));
            entry.callback && entry.job.is_some() && !called
        });
        awaited.count()
    }

    /// Callbacks by job: event ids and how often each came.
    #[must_use]
    pub fn callbacks(&self) -> &BTreeMap<Ticket, BTreeMap<String, u32>> {
        &self.callbacks
    }
}
