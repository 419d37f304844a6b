//! One file per resource. Handlers extract, authorise, call and map.

pub mod admin;
pub mod batch;
pub mod callbacks;
pub mod docs;
pub mod events;
pub mod health;
pub mod jobs;
pub mod keys;
pub mod lists;
pub mod result;
pub mod settle;
pub mod submit;
pub mod usage;
pub mod views;
