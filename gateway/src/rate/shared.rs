//! Request limits counted in Redis, by the same algorithm (GCRA) as in the process and by Redis' own
//! clock, so that instances need not agree on the time.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use oscillink_telemetry::Metrics;
use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, Client, RedisError, Script};
use tokio::sync::Mutex as AsyncMutex;
use tokio::time::timeout;

use super::{Applied, Counted, Subject};
use crate::config::RedisUrl;

/// Longest wait for Redis, to connect or to answer: a request must not wait longer for its limit.
const PATIENCE: Duration = Duration::from_millis(250);
/// How long Redis is left alone after a failure.
const PAUSE: Duration = Duration::from_secs(1);

/// Counts one request under several limits, in order, up to the first that refuses it. Two numbers
/// come back for each: how many more may come, and 0; or -1, and the microseconds to wait. A key holds
/// the time at which its limit would be whole again, microseconds.
const COUNT: &str = r"
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local answer = {}
for i, key in ipairs(KEYS) do
  local window = tonumber(ARGV[2 * i])
  local interval = window / tonumber(ARGV[2 * i - 1])
  local whole = math.max(tonumber(redis.call('GET', key) or now), now) + interval
  local over = whole - now - window
  if over > 0.5 then
    answer[#answer + 1] = -1
    answer[#answer + 1] = math.ceil(over)
    return answer
  end
  redis.call('SET', key, string.format('%.3f', whole), 'PX', math.ceil((whole - now) / 1000) + 1000)
  answer[#answer + 1] = math.floor((window - (whole - now)) / interval + 0.000001)
  answer[#answer + 1] = 0
end
return answer
";

/// The counts that instances share.
pub(super) struct Shared {
    client: Client,
    script: Script,
    metrics: Metrics,
    connection: AsyncMutex<Option<MultiplexedConnection>>,
    /// Until when Redis is not asked, if it failed.
    away_until: Mutex<Option<Instant>>,
}

impl Shared {
    pub(super) fn new(redis: &RedisUrl, metrics: Metrics) -> Self {
        Self {
            client: redis.client(),
            script: Script::new(COUNT),
            metrics,
            connection: AsyncMutex::default(),
            away_until: Mutex::default(),
        }
    }

    /// Counts a request under each limit, up to the first that refuses it. `None`: Redis is away.
    pub(super) async fn count(&self, applied: &[Applied]) -> Option<Vec<Counted>> {
        let was_away = match *self.away_until() {
            Some(until) if Instant::now() < until => {
                self.metrics.shared_limit_fallbacks.inc();
                return None;
            }
            away => away.is_some(),
        };
        match timeout(PATIENCE, self.ask(applied)).await {
            Ok(Ok(counted)) => {
                if was_away && self.away_until().take().is_some() {
                    tracing::info!("Redis is back: request limits are shared again");
                }
                Some(counted)
            }
            Ok(Err(error)) => self.failed(&error.to_string(), was_away).await,
            Err(_) => self.failed("no answer in time", was_away).await,
        }
    }

    async fn ask(&self, applied: &[Applied]) -> Result<Vec<Counted>, RedisError> {
        let mut connection = self.connection().await?;
        let mut call = self.script.prepare_invoke();
        for one in applied {
            let micros = u64::try_from(one.limit.window.as_micros()).unwrap_or(u64::MAX);
            call.key(key(one)).arg(one.limit.requests.get()).arg(micros);
        }
        let numbers: Vec<i64> = call.invoke_async(&mut connection).await?;
        let counted = numbers.chunks_exact(2).map(|pair| match pair[0] {
            -1 => Counted::Refused(Duration::from_micros(pair[1].unsigned_abs())),
            left => Counted::Left(u32::try_from(left).unwrap_or(0)),
        });
        Ok(counted.collect())
    }

    /// The one connection, made when it is missing; requests share it.
    async fn connection(&self) -> Result<MultiplexedConnection, RedisError> {
        let mut held = self.connection.lock().await;
        if let Some(connection) = &*held {
            return Ok(connection.clone());
        }
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(PATIENCE))
            .set_response_timeout(Some(PATIENCE));
        let connection = self
            .client
            .get_multiplexed_async_connection_with_config(&config);
        let connection = connection.await?;
        *held = Some(connection.clone());
        Ok(connection)
    }

    async fn failed(&self, detail: &str, was_away: bool) -> Option<Vec<Counted>> {
        self.metrics.shared_limit_fallbacks.inc();
        let first = self.away_until().replace(Instant::now() + PAUSE).is_none();
        if first && !was_away {
            tracing::warn!(
                detail,
                "Redis is away: this instance keeps request limits for itself"
            );
        }
        // The next try connects anew.
        *self.connection.lock().await = None;
        None
    }

    fn away_until(&self) -> std::sync::MutexGuard<'_, Option<Instant>> {
        self.away_until
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

/// A limit that is configured anew begins anew. The braces keep all keys in one slot of a cluster.
fn key(applied: &Applied) -> String {
    let (limit, window) = (applied.limit.requests, applied.limit.window.as_secs());
    let subject = match applied.subject {
        Subject::Address(address) => address.to_string(),
        Subject::Endpoint(_) | Subject::Everyone => String::new(),
    };
    let name = applied.name;
    format!("{{oscillink-rate}}:{name}:{limit}/{window}:{subject}")
}
