//! Before the first arrival: keys, connections, problems, a receiver, and what is there already.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use anyhow::{Context as _, bail};
use http::HeaderValue;

use super::keys::keys;
use super::{Options, first_moment};
use crate::books::{Before, Books, before};
use crate::http::{Client, Target};
use crate::receiver::{CallbackSecret, Receiver};
use crate::record::Recorder;
use crate::requests::{get, probe};
use crate::scenario::{FlowKind, Scenario};
use crate::server::random_text;
use crate::world::{StripeTarget, World, prepare};

/// Keys of the tenants.
pub enum Keys {
    /// By tenant, in the scenario's order.
    Given(Vec<String>),
    /// By tenant's name.
    Named(BTreeMap<String, String>),
}

/// Where callbacks come.
pub struct Callbacks {
    /// Address to listen on.
    pub listen: SocketAddr,
    /// Base address that the service knows it by.
    pub public: Option<String>,
    /// Secrets that sign callbacks, beside those that the service tells.
    pub secrets: Vec<String>,
}

/// Where Stripe's events go.
pub struct Stripe {
    /// Base address of the webhook service.
    pub url: String,
    /// Path of the endpoint.
    pub path: String,
    /// Its signing secret.
    pub secret: String,
}

/// A run that is ready to begin.
pub(super) struct Setup {
    pub world: World,
    /// What each tenant has from before; none where nothing is to be compared.
    pub before: Vec<Option<Before>>,
    pub unchecked: Vec<String>,
}

pub(super) async fn set_up(scenario: Scenario, options: &Options) -> anyhow::Result<Setup> {
    let url = options
        .target
        .as_deref()
        .context("give --target URL or --serve PROGRAM")?;
    let bounds = scenario.bounds;
    let client = Client::new(Target::parse(url)?, bounds.connections, bounds.timeout);
    // Any answer will do: the service is there.
    let reached = client.call(probe(&client, "/health")).await;
    reached.with_context(|| format!("{url} does not answer"))?;
    let admin = options.admin_secret.as_deref();
    let keys = keys(&client, &scenario, &options.keys, admin).await?;
    let mut unchecked = Vec::new();
    let books = Rc::new(RefCell::new(Books::new(random_text()?)));
    let receiver = match scenario.has_callbacks() {
        true => Some(receiver(&client, &keys, options, &books, &mut unchecked).await?),
        false => None,
    };
    let mut befores = Vec::new();
    for (place, key) in keys.iter().enumerate() {
        let used = scenario.flows.iter().any(|flow| {
            let asks = !matches!(flow.kind, FlowKind::Probe | FlowKind::Stripe);
            asks && flow.tenants.contains(&place)
        });
        befores.push(match used {
            true => Some(before(&client, key).await.map_err(anyhow::Error::msg)?),
            false => None,
        });
    }
    let stripe = stripe(&scenario, options.stripe.as_ref())?;
    let prepared = prepare(&scenario);
    let world = World {
        recorder: RefCell::new(Recorder::new(&scenario)),
        client,
        stripe,
        keys,
        prepared,
        books,
        receiver,
        start: first_moment(),
        stopped: Cell::new(false),
        in_flight: Cell::new(0),
        scenario,
    };
    Ok(Setup {
        world,
        before: befores,
        unchecked,
    })
}

/// Starts the receiver with the secrets that are given, or that the service tells.
async fn receiver(
    client: &Client,
    keys: &[HeaderValue],
    options: &Options,
    books: &Rc<RefCell<Books>>,
    unchecked: &mut Vec<String>,
) -> anyhow::Result<Receiver> {
    let mut texts = options.callbacks.secrets.clone();
    for key in keys {
        let request = get(client, "/v1/keys/self/callback-secret", key);
        let answer = client.call(request).await?;
        let body = answer.json().unwrap_or_default();
        texts.extend(body["secret"].as_str().map(str::to_owned));
    }
    let secrets = texts
        .iter()
        .map(|text| CallbackSecret::parse(text).map_err(anyhow::Error::msg))
        .collect::<anyhow::Result<Vec<_>>>()?;
    if secrets.is_empty() {
        unchecked.push("signatures of callbacks: the service tells no secret".to_owned());
    }
    let public = options.callbacks.public.clone();
    let listen = options.callbacks.listen;
    let receiver = Receiver::start(listen, public, secrets, Rc::clone(books)).await;
    receiver.with_context(|| format!("listening for callbacks on {listen}"))
}

fn stripe(scenario: &Scenario, given: Option<&Stripe>) -> anyhow::Result<Option<StripeTarget>> {
    let asked = scenario
        .flows
        .iter()
        .any(|flow| flow.kind == FlowKind::Stripe);
    let Some(given) = given else {
        if asked {
            bail!("flows of kind stripe: give --stripe-url and --stripe-secret");
        }
        return Ok(None);
    };
    let timeout: Duration = scenario.bounds.timeout;
    if given.path.parse::<http::uri::PathAndQuery>().is_err() || !given.path.starts_with('/') {
        bail!("--stripe-path must be a path that begins with /");
    }
    Ok(Some(StripeTarget {
        client: Client::new(
            Target::parse(&given.url)?,
            scenario.bounds.connections,
            timeout,
        ),
        path: given.path.clone(),
        secret: given.secret.clone(),
    }))
}
