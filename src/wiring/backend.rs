//! The engine that an operator's command works with: over a data folder, whose server may be
//! running, or over the cloud.

use std::path::PathBuf;

use anyhow::Result;
use oscillink_domain::settings::{Lookup, Variables};
use oscillink_engine::{Engine, EngineConfig};

use super::offline::open_folder;
use crate::data_dir;
use crate::exit::Failure;

/// The engine of the backend that `OSCILLINK_BACKEND` names.
pub async fn open_backend(data_dir: Option<PathBuf>, variables: &Variables<'_>) -> Result<Engine> {
    let mut read = Lookup::new(variables);
    let backend = read.parsed("OSCILLINK_BACKEND", "embedded".to_owned());
    match backend.as_str() {
        "embedded" => {
            let config = EngineConfig::from_lookup(variables)
                .map_err(|error| Failure::usage(error.to_string()))?;
            open_folder(&data_dir::resolve(data_dir), config)
        }
        "gcp" => cloud(variables).await,
        _ => Err(Failure::usage("OSCILLINK_BACKEND must be embedded or gcp").into()),
    }
}

#[cfg(feature = "gcp")]
async fn cloud(variables: &Variables<'_>) -> Result<Engine> {
    let settings = crate::settings::RoleSettings::without_tasks(variables)?;
    let cloud = super::cloud::Cloud::connect(settings.gcp, settings.engine).await?;
    Ok(cloud.engine)
}

#[cfg(not(feature = "gcp"))]
#[expect(
    clippy::unused_async,
    reason = "the same call with and without the feature"
)]
async fn cloud(_: &Variables<'_>) -> Result<Engine> {
    Err(Failure::usage(crate::commands::role::NO_CLOUD).into())
}
