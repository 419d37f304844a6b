//! A synchronous settle. It is not repeated, so that a lost answer stays visible as an error.

use std::time::Instant;

use super::{Done, refused};
use crate::books::{Fate, Work};
use crate::record::Outcome;
use crate::requests::post_problem;
use crate::world::{Arrival, World};

pub(super) async fn run(world: &World, arrival: Arrival) -> Done {
    let tenant = world.tenant(arrival);
    let problem = world.problem(arrival, 0);
    let path = match world.flow(arrival).diffusion {
        true => "/v1/settle/diffusion",
        false => "/v1/settle",
    };
    let (ticket, id) = {
        let mut books = world.books.borrow_mut();
        let ticket = books.open(tenant, Work::Sync, problem.units);
        (ticket, books.id(ticket))
    };
    let key = &world.keys[tenant];
    let request = post_problem(&world.client, (path, ""), key, &id, &problem.body, false);
    let sent = Instant::now();
    let answer = match world.client.call(request).await {
        Ok(answer) => answer,
        Err(error) => {
            if !error.may_have_arrived() {
                world.books.borrow_mut().close(ticket, Fate::Refused);
            }
            return Done::failed(&error);
        }
    };
    let done = Done::now(Outcome::Ok);
    world.request_took("settle", sent);
    if !answer.status.is_success() {
        world.books.borrow_mut().close(ticket, Fate::Refused);
        return Done::now(refused(world, arrival, &answer));
    }
    let mut books = world.books.borrow_mut();
    books.close(ticket, Fate::Taken);
    let fault = match answer.json() {
        Ok(body) => problem.judge.fault(&body),
        Err(_) => Some("is not JSON".to_owned()),
    };
    if let Some(fault) = fault {
        books.wrong(ticket, &fault);
        return Done::now(Outcome::Error("wrong result".into()));
    }
    done
}
