//! Reading a payload piece by piece, each number into its place: the bytes of a large one are never in
//! memory beside its rows.

use std::fmt;

use ndarray::Array2;

use super::{HAS_GATES, HAS_PSI, HAS_WEIGHTS, MAGIC, PAYLOAD_ALIGN, VERSION};
use crate::error::WireError;
use crate::limits::SizeLimits;
use crate::parse::{Draft, Mode, document};
use crate::request::SolveRequest;

/// Bytes before the parameters.
const PRELUDE: usize = 64;

/// Takes the bytes of a payload in their order, in pieces of any size.
pub struct PayloadDecoder {
    /// Bytes of the whole payload.
    total: usize,
    /// Bytes taken.
    at: usize,
    /// Prelude and parameters until they are whole, then bytes of a number that came in two pieces.
    held: Vec<u8>,
    state: State,
}

enum State {
    /// Before the end of the parameters.
    Head,
    Body(Box<Body>),
    Failed(WireError),
}

/// What the head says, and the arrays behind it.
struct Body {
    draft: Draft,
    head: Head,
    parts: Vec<Part>,
    /// The part under way.
    current: usize,
}

#[derive(Clone, Copy)]
struct Head {
    flags: u64,
    parameters: usize,
    rows: usize,
    columns: usize,
    chain: usize,
}

/// An array: where it lies, and its elements so far.
struct Part {
    bytes: std::ops::Range<usize>,
    elements: Elements,
}

enum Elements {
    Floats(Vec<f32>),
    Indices(Vec<u32>),
}

impl fmt::Debug for PayloadDecoder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = f.debug_struct("PayloadDecoder");
        shown.field("total", &self.total).field("at", &self.at);
        shown.finish_non_exhaustive()
    }
}

fn broken() -> WireError {
    WireError::field("payload", "is not a whole payload of this version")
}

impl PayloadDecoder {
    /// A decoder of a payload of `total` bytes.
    #[must_use]
    pub fn new(total: usize) -> Self {
        Self {
            total,
            at: 0,
            held: Vec::new(),
            state: State::Head,
        }
    }

    /// Takes the next bytes. Whatever is wrong with them is told at the end.
    pub fn push(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            let taken = match &mut self.state {
                State::Head => match self.head(bytes) {
                    Ok(taken) => taken,
                    Err(error) => {
                        self.state = State::Failed(error);
                        return;
                    }
                },
                State::Body(body) => body.take(self.at, bytes, &mut self.held),
                State::Failed(_) => return,
            };
            if taken == 0 {
                self.state = State::Failed(broken());
                return;
            }
            self.at += taken;
            bytes = &bytes[taken..];
        }
    }

    /// The request, checked.
    ///
    /// # Errors
    /// The bytes were not a whole payload of this version, or what they hold does not pass the checks.
    pub fn finish(self) -> Result<SolveRequest, WireError> {
        match self.state {
            State::Failed(error) => Err(error),
            State::Body(body) if self.at == self.total => body.request(),
            State::Head | State::Body(_) => Err(broken()),
        }
    }

    /// Takes bytes of prelude and parameters; begins the body behind them.
    fn head(&mut self, bytes: &[u8]) -> Result<usize, WireError> {
        let wanted = match self.held.first_chunk::<PRELUDE>() {
            None => PRELUDE,
            Some(prelude) => Head::read(prelude)?.end().ok_or_else(broken)?,
        };
        // Bounded by what is said to come, not by what the prelude says.
        if wanted > self.total {
            return Err(broken());
        }
        let taken = bytes.len().min(wanted - self.held.len());
        self.held.extend_from_slice(&bytes[..taken]);
        let Some((prelude, parameters)) = self.held.split_first_chunk::<PRELUDE>() else {
            return Ok(taken);
        };
        let head = Head::read(prelude)?;
        if parameters.len() == head.parameters {
            let draft = document(parameters, Mode::Parameters, &SizeLimits::NONE)?;
            let parts = head.parts(self.total).ok_or_else(broken)?;
            self.held = Vec::with_capacity(4);
            self.state = State::Body(Box::new(Body {
                draft,
                head,
                parts,
                current: 0,
            }));
        }
        Ok(taken)
    }
}

impl Head {
    fn read(prelude: &[u8; PRELUDE]) -> Result<Self, WireError> {
        let (magic, numbers) = prelude.split_at(MAGIC.len());
        let mut numbers = numbers
            .as_chunks::<8>()
            .0
            .iter()
            .map(|n| u64::from_le_bytes(*n));
        let mut number = || numbers.next().unwrap_or(0);
        if magic != MAGIC || number() != VERSION {
            return Err(broken());
        }
        let flags = number();
        let mut size = || usize::try_from(number()).map_err(|_| broken());
        Ok(Self {
            flags,
            parameters: size()?,
            rows: size()?,
            columns: size()?,
            chain: size()?,
        })
    }

    /// Where prelude and parameters end.
    fn end(&self) -> Option<usize> {
        PRELUDE.checked_add(self.parameters)
    }

    /// The arrays behind the head, in their order. `None` unless they end where the payload does.
    fn parts(&self, total: usize) -> Option<Vec<Part>> {
        let has = |flag| self.flags & flag != 0;
        let mut counts = vec![(self.rows.checked_mul(self.columns)?, false)];
        counts.extend(has(HAS_PSI).then_some((self.columns, false)));
        counts.extend(has(HAS_GATES).then_some((self.rows, false)));
        counts.push((self.chain, true));
        if has(HAS_WEIGHTS) {
            counts.push((self.chain.checked_sub(1)?, false));
        }
        let mut at = self.end()?;
        let mut places = Vec::with_capacity(counts.len());
        for (count, _) in &counts {
            let start = at.checked_next_multiple_of(PAYLOAD_ALIGN)?;
            at = start.checked_add(count.checked_mul(4)?)?;
            places.push(start..at);
        }
        // Only now is memory taken: as much as there are bytes.
        let part = |((count, indices), bytes)| Part {
            bytes,
            elements: if indices {
                Elements::Indices(Vec::with_capacity(count))
            } else {
                Elements::Floats(Vec::with_capacity(count))
            },
        };
        (at == total).then(|| counts.into_iter().zip(places).map(part).collect())
    }
}

impl Body {
    /// Takes bytes that lie at `at`; gives how many, zero when there are more than there should be.
    fn take(&mut self, at: usize, bytes: &[u8], held: &mut Vec<u8>) -> usize {
        while self
            .parts
            .get(self.current)
            .is_some_and(|part| at >= part.bytes.end)
        {
            self.current += 1;
        }
        let Some(part) = self.parts.get_mut(self.current) else {
            return 0;
        };
        if at < part.bytes.start {
            return bytes.len().min(part.bytes.start - at);
        }
        let bytes = &bytes[..bytes.len().min(part.bytes.end - at)];
        if held.is_empty() && bytes.len() >= 4 {
            let (whole, _) = bytes.as_chunks::<4>();
            part.elements.extend(whole);
            return 4 * whole.len();
        }
        let taken = bytes.len().min(4 - held.len());
        held.extend_from_slice(&bytes[..taken]);
        if let Some(number) = held.first_chunk::<4>() {
            part.elements.extend(&[*number]);
            held.clear();
        }
        taken
    }

    fn request(self) -> Result<SolveRequest, WireError> {
        let Self {
            mut draft,
            head,
            parts,
            ..
        } = self;
        let mut parts = parts.into_iter().map(|part| part.elements);
        let mut floats = || match parts.next() {
            Some(Elements::Floats(values)) => Ok(values),
            _ => Err(broken()),
        };
        let rows = Array2::from_shape_vec((head.rows, head.columns), floats()?);
        draft.y = Some(rows.map_err(|_| broken())?);
        if head.flags & HAS_PSI != 0 {
            draft.psi = Some(floats()?);
        }
        if head.flags & HAS_GATES != 0 {
            draft.gates = Some(floats()?);
        }
        match parts.next() {
            Some(Elements::Indices(nodes)) if head.chain > 0 => {
                draft.chain = Some(nodes.into_iter().map(|node| node as usize).collect());
            }
            _ => {}
        }
        if let Some(Elements::Floats(weights)) = parts.next() {
            draft.chain_weights = Some(weights);
        }
        Draft::check(draft).map(|body| body.request)
    }
}

impl Elements {
    fn extend(&mut self, numbers: &[[u8; 4]]) {
        match self {
            Self::Floats(values) => values.extend(numbers.iter().map(|n| f32::from_le_bytes(*n))),
            Self::Indices(values) => values.extend(numbers.iter().map(|n| u32::from_le_bytes(*n))),
        }
    }
}
