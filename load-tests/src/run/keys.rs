//! The tenants' keys: given, or made by the operators' routes; enterprise keys, which begin pending,
//! are activated there.

use anyhow::{Context as _, bail};
use bytes::Bytes;
use http::{HeaderValue, Method};
use http_body_util::Full;
use serde_json::{Value, json};

use super::setup::Keys;
use crate::http::Client;
use crate::scenario::{Scenario, Tenant};

/// A key for each tenant, ready to be used.
pub(super) async fn keys(
    client: &Client,
    scenario: &Scenario,
    given: &Keys,
    admin_secret: Option<&str>,
) -> anyhow::Result<Vec<HeaderValue>> {
    let operator = match admin_secret {
        Some(secret) => Some(Operator {
            client,
            secret: header(secret).context("the admin secret")?,
        }),
        None => None,
    };
    let mut keys = Vec::new();
    for (place, tenant) in scenario.tenants.iter().enumerate() {
        let given = match given {
            Keys::Given(keys) => keys.get(place),
            Keys::Named(keys) => keys.get(&tenant.name),
        };
        let named = || format!("tenants.{}", tenant.name);
        let key = match (given, &operator) {
            (Some(key), None) => key.clone(),
            (Some(key), Some(operator)) => {
                let record = operator.find(key).await.with_context(named)?;
                operator.activate(&record).await.with_context(named)?;
                key.clone()
            }
            (None, Some(operator)) => operator.make(tenant).await.with_context(named)?,
            (None, None) => {
                let name = &tenant.name;
                bail!(
                    "tenants.{name}: give --key {name}=SECRET, or --admin-secret to have one made"
                )
            }
        };
        keys.push(header(&key).with_context(named)?);
    }
    Ok(keys)
}

fn header(secret: &str) -> anyhow::Result<HeaderValue> {
    let mut value = HeaderValue::from_str(secret).context("is no header's value")?;
    value.set_sensitive(true);
    Ok(value)
}

struct Operator<'a> {
    client: &'a Client,
    secret: HeaderValue,
}

impl Operator<'_> {
    async fn ask(&self, method: Method, path: &str, body: &Value) -> anyhow::Result<Value> {
        let request = self
            .client
            .request(method, path)
            .header("x-admin-secret", &self.secret)
            .header(http::header::CONTENT_TYPE, "application/json")
            .body(Full::new(Bytes::from(body.to_string())))?;
        let answer = self.client.call(request).await?;
        if !answer.status.is_success() {
            bail!("{path}: {}", answer.status);
        }
        Ok(answer.json()?)
    }

    async fn find(&self, key: &str) -> anyhow::Result<Value> {
        let body = json!({"api_key": key});
        self.ask(Method::POST, "/v1/admin/keys/introspect", &body)
            .await
    }

    async fn make(&self, tenant: &Tenant) -> anyhow::Result<String> {
        let body = json!({"name": format!("load test, {}", tenant.name), "tier": tenant.tier});
        let record = self.ask(Method::POST, "/v1/admin/keys", &body).await?;
        self.activate(&record).await?;
        let key = record["api_key"]
            .as_str()
            .context("the answer has no api_key")?;
        Ok(key.to_owned())
    }

    async fn activate(&self, record: &Value) -> anyhow::Result<()> {
        if record["status"] != "pending" {
            return Ok(());
        }
        let id = record["key_id"]
            .as_str()
            .context("the answer has no key_id")?;
        let path = format!("/v1/admin/keys/{id}");
        self.ask(Method::PATCH, &path, &json!({"status": "active"}))
            .await?;
        Ok(())
    }
}
