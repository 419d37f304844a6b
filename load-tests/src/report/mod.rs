//! What a run has shown: for people (terminal, HTML), for programs (JSON, CSV), and beside another.

mod build;
pub mod compare;
mod csv;
mod html;
mod model;
mod text;
mod verdict;

pub use build::{Ended, build};
pub use csv::csv;
pub use html::html;
pub use model::{
    Chaos, Correctness, Environment, Harness, Load, Point, Quantiles, Report, Summary, Verdict,
};
pub use text::text;
