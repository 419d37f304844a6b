//! Why a use case refused.

use oscillink_domain::quota::Exceeded;
use oscillink_domain::{Timestamp, Units};
use oscillink_ports::{PortError, TxError};

use crate::usage::UsageView;

/// A use case that can only fail with its adapters.
#[derive(Debug, thiserror::Error)]
#[error(transparent)]
pub struct EngineError(#[from] pub PortError);

impl From<TxError<std::convert::Infallible>> for EngineError {
    fn from(error: TxError<std::convert::Infallible>) -> Self {
        match error {
            TxError::Refused(never) => match never {},
            TxError::Port(port) => Self(port),
        }
    }
}

/// A limit has no room for the work.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[error("{}", self.text())]
pub struct QuotaExceeded {
    /// Which period ran out.
    pub period: Exceeded,
    /// What the work needs.
    pub needed: Units,
    /// When the period ends.
    pub resets_at: Timestamp,
    /// The whole state, for headers.
    pub usage: Box<UsageView>,
}

impl QuotaExceeded {
    fn text(&self) -> String {
        let (name, period) = match self.period {
            Exceeded::Window => ("quota window", &self.usage.window),
            Exceeded::Month => ("monthly cap", &self.usage.month),
        };
        let limit = period.limit.unwrap_or(Units::ZERO);
        if limit < self.needed {
            return format!(
                "the request needs {} units, more than the whole {name} of {limit}: send less at once, or \
                 have the limit raised",
                self.needed
            );
        }
        format!(
            "the request needs {} units but the {name} has {} of {} left until {}",
            self.needed,
            period.remaining().unwrap_or(Units::ZERO),
            limit,
            self.resets_at
        )
    }
}

/// Why a job was not accepted.
#[derive(Debug, thiserror::Error)]
pub enum SubmitError {
    /// No room in the quota.
    #[error(transparent)]
    Quota(#[from] QuotaExceeded),
    /// The idempotency key was used with another request.
    #[error("this Idempotency-Key was used with a different request")]
    IdempotencyMismatch,
    /// The job that the idempotency key has made is no longer kept.
    #[error(
        "the job of this Idempotency-Key was accepted, has ended and is no longer kept; to do it again use \
         another key"
    )]
    JobGone,
    /// An adapter failed.
    #[error(transparent)]
    Port(#[from] PortError),
}

/// Why synchronous work was not charged.
#[derive(Debug, thiserror::Error)]
pub enum ChargeError {
    /// No room in the quota.
    #[error(transparent)]
    Quota(#[from] QuotaExceeded),
    /// An adapter failed.
    #[error(transparent)]
    Port(#[from] PortError),
}

/// Why a key was not changed.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// No such key.
    #[error("no such key")]
    NotFound,
    /// The key is revoked, which is final.
    #[error("the key is revoked; create a new one")]
    Revoked,
    /// An adapter failed.
    #[error(transparent)]
    Port(#[from] PortError),
}

macro_rules! from_tx {
    ($($name:ident),+) => {$(
        impl From<TxError<$name>> for $name {
            fn from(error: TxError<$name>) -> Self {
                match error {
                    TxError::Refused(refused) => refused,
                    TxError::Port(port) => Self::Port(port),
                }
            }
        }
    )+};
}
from_tx!(SubmitError, ChargeError, KeyError);
