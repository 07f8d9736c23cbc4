//! What was counted of an entity, as the API shows it: times in seconds.

use schemars::JsonSchema;
use serde::Serialize;
use storage::metrics::Metrics;

use super::Time;

/// The block of one entity, or of all of a kind. Times are missing where nothing was executed.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "Metrics")]
pub struct MetricsRead {
    total_executions: i64,
    successful_executions: i64,
    failed_executions: i64,
    /// The part that failed, from 0 to 1.
    failure_rate: f64,
    min_response_time: Option<f64>,
    max_response_time: Option<f64>,
    avg_response_time: Option<f64>,
    #[serde(flatten)]
    percentiles: Percentiles,
    last_execution_time: Option<Time>,
}

/// The block of all A2A agents, which has words of its own.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "AgentMetrics")]
pub struct AgentMetricsRead {
    total_agents: usize,
    active_agents: usize,
    total_interactions: i64,
    successful_interactions: i64,
    failed_interactions: i64,
    /// The part that succeeded, from 0 to 100.
    success_rate: f64,
    avg_response_time: f64,
    min_response_time: f64,
    max_response_time: f64,
    #[serde(flatten)]
    percentiles: Percentiles,
}

/// How long most, nearly all and all but very few executions took.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
struct Percentiles {
    p50_response_time: Option<f64>,
    p95_response_time: Option<f64>,
    p99_response_time: Option<f64>,
}

impl From<&Metrics> for MetricsRead {
    fn from(metrics: &Metrics) -> MetricsRead {
        let any = metrics.executions > 0;
        MetricsRead {
            total_executions: metrics.executions,
            successful_executions: metrics.executions - metrics.failures,
            failed_executions: metrics.failures,
            failure_rate: part(metrics.failures, metrics.executions),
            min_response_time: any.then(|| seconds(metrics.min_us as f64)),
            max_response_time: any.then(|| seconds(metrics.max_us as f64)),
            avg_response_time: metrics.mean_us().map(seconds),
            percentiles: metrics.into(),
            last_execution_time: any.then_some(Time(metrics.last_at)),
        }
    }
}

impl AgentMetricsRead {
    /// The block of so many agents, of which `active_agents` are switched on.
    pub fn of(metrics: &Metrics, total_agents: usize, active_agents: usize) -> AgentMetricsRead {
        let successes = metrics.executions - metrics.failures;
        AgentMetricsRead {
            total_agents,
            active_agents,
            total_interactions: metrics.executions,
            successful_interactions: successes,
            failed_interactions: metrics.failures,
            success_rate: 100.0 * part(successes, metrics.executions),
            avg_response_time: metrics.mean_us().map_or(0.0, seconds),
            min_response_time: seconds(metrics.min_us as f64),
            max_response_time: seconds(metrics.max_us as f64),
            percentiles: metrics.into(),
        }
    }
}

impl From<&Metrics> for Percentiles {
    fn from(metrics: &Metrics) -> Percentiles {
        let at = |percent| metrics.percentile_us(percent).map(|time_us| seconds(time_us as f64));
        Percentiles {
            p50_response_time: at(50.0),
            p95_response_time: at(95.0),
            p99_response_time: at(99.0),
        }
    }
}

fn part(count: i64, of: i64) -> f64 {
    if of == 0 { 0.0 } else { count as f64 / of as f64 }
}

fn seconds(microseconds: f64) -> f64 {
    microseconds / 1_000_000.0
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn times_are_seconds_and_missing_without_executions() {
        let mut metrics = Metrics::default();
        let nothing = serde_json::to_value(MetricsRead::from(&metrics)).unwrap();
        assert_eq!(
            nothing,
            json!({
                "totalExecutions": 0, "successfulExecutions": 0, "failedExecutions": 0,
                "failureRate": 0.0, "minResponseTime": null, "maxResponseTime": null,
                "avgResponseTime": null, "p50ResponseTime": null, "p95ResponseTime": null,
                "p99ResponseTime": null, "lastExecutionTime": null
            })
        );
        for _ in 0..3 {
            metrics.record(2_000_000, true, 0);
        }
        metrics.record(500_000, false, 1_000_000);
        let shown = serde_json::to_value(MetricsRead::from(&metrics)).unwrap();
        assert_eq!(shown["failureRate"], 0.25);
        assert_eq!(shown["minResponseTime"], 0.5);
        assert_eq!(shown["maxResponseTime"], 2.0);
        assert_eq!(shown["avgResponseTime"], 1.625);
        assert_eq!(shown["lastExecutionTime"], "1970-01-01T00:00:01.000000Z");
        let median = shown["p50ResponseTime"].as_f64().unwrap();
        assert!((1.9..=2.0).contains(&median), "{median}");
    }
}
