//! What operators can do. The routes exist only where an admin secret is configured.

pub mod billing;
pub mod callbacks;
pub mod jobs;
pub mod keys;
pub mod once;
pub mod queues;
pub mod system;

use crate::openapi::Api;

/// The routes with their description.
pub fn api() -> Api {
    let parts = [
        keys::describe,
        queues::describe,
        jobs::describe,
        callbacks::describe,
        billing::describe,
        system::describe,
    ];
    parts
        .into_iter()
        .fold(Api::under("/v1/admin"), |api, part| part(api))
}
