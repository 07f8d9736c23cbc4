//! What was counted of entities: all together, within each that is shown, and set to nothing.
//!
//! Whoever shows a record leaves `metrics` null. Here they are written into the finished answer, at
//! the places that these nulls have, so that one reading serves a whole page and every other byte
//! stays as it was.

use std::borrow::Cow;
use std::collections::HashMap;

use net::{Span, jsonrpc};
use serde_json::value::RawValue;
use serde_json::{Value, json};
use storage::metrics::{MEASURED, Metrics};
use storage::record::Entity;

use super::query::Query;
use super::routes::Route;
use super::{Ask, Backend, RestAnswer, RestRequest, answer, show};
use crate::failure::Failure;
use crate::observe::held;
use crate::upstream::{Edit, splice};

/// How an answer shows what is measured.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Shape {
    /// A record: its metrics are always shown.
    One,
    /// A list, or an object with a list in it: metrics are shown if `include_metrics` says so.
    Many,
}

/// What is measured of the records that a route shows.
fn measured(route: &Route<'_>) -> Option<(Entity, Shape)> {
    Some(match route {
        Route::Tool(_) => (Entity::Tool, Shape::One),
        Route::Tools | Route::ServerTools(_) => (Entity::Tool, Shape::Many),
        Route::Server(_) => (Entity::Server, Shape::One),
        Route::Servers => (Entity::Server, Shape::Many),
        Route::Agent(_) => (Entity::Agent, Shape::One),
        Route::Agents => (Entity::Agent, Shape::Many),
        Route::ResourceInfo(_) => (Entity::Resource, Shape::One),
        Route::Resources | Route::ServerResources(_) => (Entity::Resource, Shape::Many),
        Route::Prompts | Route::ServerPrompts(_) => (Entity::Prompt, Shape::Many),
        _ => return None,
    })
}

/// Writes metrics into the answer of a route that shows records. While they cannot be read they
/// stay null: what they are about is known all the same.
///
/// # Errors
///
/// 422 if `include_metrics` is neither true nor false.
pub async fn fill<B: Backend>(
    backend: &B,
    request: &RestRequest<'_>,
    route: &Route<'_>,
    answer: RestAnswer,
) -> Result<RestAnswer, Failure> {
    let Some((entity, shape)) = measured(route).filter(|_| answer.status == 200) else {
        return Ok(answer);
    };
    let mut query = Query::parse(request.query);
    let is_wanted = query.flag("include_metrics", shape == Shape::One) || shape == Shape::One;
    query.finish()?;
    let text = std::str::from_utf8(&answer.body).ok().filter(|_| is_wanted);
    let Some(records) = text.and_then(|text| find_records(text, shape)) else { return Ok(answer) };
    let ids = records.iter().map(|record| record.id.clone()).collect();
    match backend.metrics(entity, ids).await {
        Ok(metrics) => {
            let body = write(&answer.body, &records, &metrics);
            Ok(RestAnswer { body, ..answer })
        }
        Err(failure) => {
            tracing::debug!(%failure, "metrics cannot be read");
            Ok(answer)
        }
    }
}

/// A record that an answer shows.
struct Record {
    id: String,
    /// Where the value of `metrics` stands in the answer.
    metrics: Span,
    /// Where that of `executionCount` stands, which tools have.
    execution_count: Option<Span>,
}

/// The records in a body, where it has the shape that is expected.
fn find_records(text: &str, shape: Shape) -> Option<Vec<Record>> {
    if shape == Shape::One {
        return Some(vec![find_record(text, text)?]);
    }
    let list = match text.starts_with('{') {
        true => jsonrpc::fields(text).find_map(|field| {
            field.ok().map(|field| field.value).filter(|value| value.starts_with('['))
        })?,
        false => text,
    };
    let items: Vec<&RawValue> = serde_json::from_str(list).ok()?;
    Some(items.into_iter().filter_map(|item| find_record(item.get(), text)).collect())
}

/// The record that `raw`, a part of `text`, shows; one that was made into something else by
/// `apijsonpath` shows none.
fn find_record(raw: &str, text: &str) -> Option<Record> {
    let [id, metrics, execution_count] =
        jsonrpc::pick(raw, ["id", "metrics", "executionCount"]).ok()?;
    let offset = raw.as_ptr() as usize - text.as_ptr() as usize;
    let id = jsonrpc::unescape(id?.of_text(raw)).ok()?.into_owned();
    Some(Record {
        id,
        metrics: metrics?.shifted(offset),
        execution_count: execution_count.map(|place| place.shifted(offset)),
    })
}

/// The body with the metrics of its records; zeros for those that were never used.
fn write(body: &[u8], records: &[Record], found: &HashMap<String, Metrics>) -> Vec<u8> {
    let nothing = Metrics::default();
    let mut edits = Vec::with_capacity(records.len() * 2);
    for record in records {
        let metrics = found.get(&record.id).unwrap_or(&nothing);
        let block = serde_json::to_vec(&show::MetricsRead::from(metrics));
        let block = block.expect("what is shown has text keys");
        edits.push(Edit { span: record.metrics, replacement: Cow::Owned(block) });
        if let Some(span) = record.execution_count {
            let count = metrics.executions.to_string().into_bytes();
            edits.push(Edit { span, replacement: Cow::Owned(count) });
        }
    }
    edits.sort_unstable_by_key(|edit| edit.span.start);
    let mut out = Vec::with_capacity(body.len() + records.len() * 256);
    splice(&mut out, body, &edits);
    out
}

/// `GET /metrics`.
pub async fn totals<B: Backend>(ask: &Ask<'_, B>) -> Result<RestAnswer, Failure> {
    let totals = ask.backend.metric_totals().await?;
    let nothing = Metrics::default();
    let of = |entity| totals.get(&entity).unwrap_or(&nothing);
    let block = |entity| show::MetricsRead::from(of(entity));
    let catalog = ask.backend.catalog();
    let (mut agent_count, mut active_count) = (0, 0);
    for agent in catalog.agents() {
        agent_count += 1;
        active_count += usize::from(agent.record.enabled);
    }
    Ok(answer::ok(&json!({
        "tools": block(Entity::Tool),
        "resources": block(Entity::Resource),
        "servers": block(Entity::Server),
        "prompts": block(Entity::Prompt),
        "a2aAgents": show::AgentMetricsRead::of(of(Entity::Agent), agent_count, active_count),
        "held": held::show(),
    })))
}

/// `POST /metrics/reset?entity=&entity_id=`.
pub async fn reset<B: Backend>(ask: &Ask<'_, B>) -> Result<RestAnswer, Failure> {
    let query = Query::parse(ask.request.query);
    let word = query.text("entity").map(str::to_lowercase);
    let id = query.text("entity_id").map(|id| id.replace('-', ""));
    let entity = word.as_deref().map(kind_of).transpose()?;
    if entity.is_none() && id.is_some() {
        let text = "entity_id needs entity beside it, which says what it is the id of";
        return Err(Failure::Malformed(text.to_owned()));
    }
    ask.backend.reset_metrics(entity, id).await?;
    let what = word.as_deref().unwrap_or("all entities");
    let message = format!("Metrics reset for {what}");
    Ok(answer::ok(&json!({ "status": "success", "message": message }) as &Value))
}

fn kind_of(word: &str) -> Result<Entity, Failure> {
    let found = MEASURED.into_iter().find(|entity| entity.as_str() == word);
    let found = found.or((word == "a2a").then_some(Entity::Agent));
    found.ok_or_else(|| Failure::Malformed("Invalid entity type for metrics reset".to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filled(body: &str, shape: Shape) -> Option<String> {
        let mut metrics = Metrics::default();
        metrics.record(1000, true, 0);
        let found = HashMap::from([("a".to_owned(), metrics)]);
        let records = find_records(body, shape)?;
        Some(String::from_utf8(write(body.as_bytes(), &records, &found)).unwrap())
    }

    /// The counts in place of the whole blocks, to be readable.
    fn counts(body: &str, shape: Shape) -> Option<String> {
        let mut text = filled(body, shape)?;
        while let Some(start) = text.find(r#"{"totalExecutions":"#) {
            let end = start + text[start..].find('}').unwrap() + 1;
            let block: Value = serde_json::from_str(&text[start..end]).unwrap();
            text.replace_range(start..end, &format!("[{}]", block["totalExecutions"]));
        }
        Some(text)
    }

    #[test]
    fn metrics_stand_in_their_places_and_every_other_byte_is_as_it_was() {
        let record =
            r#"{"id":"a","x":1.50,"executionCount":null,"metrics":null,"y":{"metrics":null}}"#;
        let shown = r#"{"id":"a","x":1.50,"executionCount":1,"metrics":[1],"y":{"metrics":null}}"#;
        assert_eq!(counts(record, Shape::One).as_deref(), Some(shown));
        let other = r#"{"metrics":null,"id":"b"}"#;
        let nothing = r#"{"metrics":[0],"id":"b"}"#;
        assert_eq!(
            counts(&format!("[{record},{other}]"), Shape::Many),
            Some(format!("[{shown},{nothing}]"))
        );
        assert_eq!(
            counts(&format!(r#"{{"servers":[{other}],"nextCursor":null}}"#), Shape::Many),
            Some(format!(r#"{{"servers":[{nothing}],"nextCursor":null}}"#))
        );
    }

    #[test]
    fn what_shows_no_record_stays_as_it_is() {
        for (body, shape) in [("[]", Shape::Many), (r#"[{"n":"a"},7]"#, Shape::Many)] {
            assert_eq!(filled(body, shape).as_deref(), Some(body));
        }
        assert_eq!(filled(r#"{"n":"a"}"#, Shape::One), None);
        assert_eq!(filled(r#"{"n":"a"}"#, Shape::Many), None);
        assert_eq!(filled("", Shape::Many), None);
    }
}
