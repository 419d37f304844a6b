//! GET of a path, for example of `/health`.

use super::{Done, refused};
use crate::record::Outcome;
use crate::requests::probe;
use crate::world::{Arrival, World};

pub(super) async fn run(world: &World, arrival: Arrival) -> Done {
    let request = probe(&world.client, &world.flow(arrival).path);
    match world.client.call(request).await {
        Ok(answer) if answer.status.is_success() => Done::now(Outcome::Ok),
        Ok(answer) => Done::now(refused(world, arrival, &answer)),
        Err(error) => Done::failed(&error),
    }
}
