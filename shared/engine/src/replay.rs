//! Idempotent requests that are answered at once: the first answer is kept and given again.
//!
//! A request holds its record while it works. Its effects are named by the record's effect id, which
//! stays when another request with the same key takes over after a crash: a charge or a rotation
//! that had happened is found and not done again.

use oscillink_domain::KeyId;
use oscillink_domain::id::base62;
use oscillink_domain::idempotency::{self, AnswerWork, IdempotencyRecord, StoredAnswer};
use oscillink_domain::{JobId, Timestamp};
use oscillink_ports::{Collection, DocKey, PortError, StoreExt, TxError, Write};

use crate::Engine;
use crate::submit::Idempotency;

/// Largest answer that is kept, bytes.
pub const MAX_STORED_ANSWER_BYTES: usize = 256 * 1024;
/// How often work may be begun again when its answer is not kept. It is charged once only.
const MAX_BEGUN: u32 = 16;

/// The right to answer a request: held until it is finished, released or runs out.
#[derive(Clone, Debug)]
pub struct Ticket {
    key: DocKey,
    holder: String,
    /// What the request's effects are to be named by.
    pub effect_id: String,
}

/// What an idempotency key leads to.
#[derive(Clone, Debug)]
pub enum Begun {
    /// Go ahead: no answer is known.
    Go(Ticket),
    /// This was the answer.
    Answered(StoredAnswer),
    /// The first request made a job.
    Job(JobId),
}

/// Why a request with an idempotency key is not answered.
#[derive(Debug, thiserror::Error)]
pub enum ReplayError {
    /// The same request is being answered.
    #[error("a request with this Idempotency-Key is being answered; try again in a moment")]
    InFlight,
    /// The key was used with another request.
    #[error("this Idempotency-Key was used with a different request")]
    Mismatch,
    /// Answers that are not kept were asked for too often.
    #[error("this Idempotency-Key was used {MAX_BEGUN} times; send the request with a new key")]
    TooOften,
    /// The store failed.
    #[error(transparent)]
    Port(#[from] PortError),
}

impl From<TxError<Self>> for ReplayError {
    fn from(error: TxError<Self>) -> Self {
        match error {
            TxError::Refused(refused) => refused,
            TxError::Port(port) => Self::Port(port),
        }
    }
}

impl Engine {
    /// Begins to answer a request, holding its idempotency key for `hold_ms`.
    ///
    /// # Errors
    /// The key is in use or was used with another request, or the store failed.
    pub async fn begin_answer(
        &self,
        key_id: &KeyId,
        idempotency: &Idempotency,
        hold_ms: i64,
    ) -> Result<Begun, ReplayError> {
        let entropy = &self.inner.ports.entropy;
        let holder = base62(&entropy.id_bytes());
        let now = self.now();
        let effect_id = format!("req_{}", base62(&self.id_bytes(now)));
        let key = record_key(key_id, &idempotency.key);
        let (key_id, request_hash) = (key_id.clone(), idempotency.request_hash.clone());
        self.store()
            .transaction(vec![key.clone()], move |snapshot| {
                let known = snapshot.get::<IdempotencyRecord>(&key)?;
                let known = known.filter(|record| now < record.expires_at);
                if let Some(record) = &known
                    && record.request_hash != request_hash
                {
                    return Err(TxError::Refused(ReplayError::Mismatch));
                }
                let (known_job, known_work) = known.map_or((None, None), |r| (r.job_id, r.work));
                if let Some(job_id) = known_job {
                    return Ok((Vec::new(), Begun::Job(job_id)));
                }
                let work = match known_work {
                    Some(work) => match take_over(work, &holder, now, hold_ms)? {
                        Step::Answered(answer) => {
                            return Ok((Vec::new(), Begun::Answered(answer)));
                        }
                        Step::Go(work) => work,
                    },
                    None => AnswerWork {
                        effect_id: effect_id.clone(),
                        holder: holder.clone(),
                        held_until: now.plus_millis(hold_ms),
                        begun: 1,
                        answer: None,
                    },
                };
                let ticket = Ticket {
                    key: key.clone(),
                    holder: holder.clone(),
                    effect_id: work.effect_id.clone(),
                };
                let record = IdempotencyRecord {
                    key_id: key_id.clone(),
                    request_hash: request_hash.clone(),
                    job_id: None,
                    work: Some(work),
                    expires_at: now.plus_millis(idempotency::REPLAY_MS),
                };
                Ok((vec![Write::put(key.clone(), &record)?], Begun::Go(ticket)))
            })
            .await
            .map_err(ReplayError::from)
    }

    /// Keeps the answer, to be given again. One that is too large is not kept: a repeat makes it
    /// again, without its effects.
    ///
    /// # Errors
    /// The store failed; the answer may be given all the same, because its effects happen once.
    pub async fn finish_answer(
        &self,
        ticket: &Ticket,
        answer: StoredAnswer,
    ) -> Result<(), PortError> {
        let kept = Some(answer).filter(|answer| answer.body.len() <= MAX_STORED_ANSWER_BYTES);
        self.end_answer(ticket, kept).await
    }

    /// Gives the idempotency key back without an answer: the next request with it tries again.
    ///
    /// # Errors
    /// The store failed; the hold runs out by itself.
    pub async fn release_answer(&self, ticket: &Ticket) -> Result<(), PortError> {
        self.end_answer(ticket, None).await
    }

    async fn end_answer(
        &self,
        ticket: &Ticket,
        answer: Option<StoredAnswer>,
    ) -> Result<(), PortError> {
        let now = self.now();
        let Ticket { key, holder, .. } = ticket.clone();
        let outcome = self
            .store()
            .transaction::<_, std::convert::Infallible>(vec![key.clone()], move |snapshot| {
                let Some(mut record) = snapshot.get::<IdempotencyRecord>(&key)? else {
                    return Ok((Vec::new(), ()));
                };
                // Another request has taken over: it is the other's to end.
                let Some(work) = record.work.as_mut().filter(|work| work.holder == holder) else {
                    return Ok((Vec::new(), ()));
                };
                work.answer = work.answer.take().or(answer.clone());
                work.held_until = now;
                Ok((vec![Write::put(key.clone(), &record)?], ()))
            })
            .await;
        match outcome {
            Ok(()) => Ok(()),
            Err(TxError::Refused(never)) => match never {},
            Err(TxError::Port(error)) => Err(error),
        }
    }
}

enum Step {
    Answered(StoredAnswer),
    Go(AnswerWork),
}

/// The next step of work that was begun before.
fn take_over(
    mut work: AnswerWork,
    holder: &str,
    now: Timestamp,
    hold_ms: i64,
) -> Result<Step, TxError<ReplayError>> {
    if let Some(answer) = work.answer {
        return Ok(Step::Answered(answer));
    }
    if work.holder == holder {
        // A repeat of this very transaction whose first outcome was unknown.
        return Ok(Step::Go(work));
    }
    if now < work.held_until {
        return Err(TxError::Refused(ReplayError::InFlight));
    }
    if work.begun >= MAX_BEGUN {
        return Err(TxError::Refused(ReplayError::TooOften));
    }
    work.begun += 1;
    holder.clone_into(&mut work.holder);
    work.held_until = now.plus_millis(hold_ms);
    Ok(Step::Go(work))
}

fn record_key(key_id: &KeyId, idempotency_key: &str) -> DocKey {
    DocKey::new(
        Collection::Idempotency,
        idempotency::record_id(key_id, idempotency_key),
    )
}
