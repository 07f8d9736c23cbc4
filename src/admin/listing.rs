//! Lists: which records a caller asks for, and one page of them.

use std::cmp::Ordering;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64;
use serde::Serialize;
use serde_json::json;
use storage::record::{Audit, Gateway, Ownership, Server, Tool, Visibility};

use super::query::Query;
use super::{RestAnswer, Rules, answer, may_see};
use crate::auth::Caller;
use crate::failure::Failure;

/// What every record that is listed has.
pub trait Row {
    /// The id.
    fn id(&self) -> &str;
    /// Whose it is.
    fn ownership(&self) -> &Ownership;
    /// Who made it, and when.
    fn audit(&self) -> &Audit;
    /// Words to find it by.
    fn tags(&self) -> &[String];
    /// Its place among those made at the same time.
    fn position(&self) -> i64;
}

macro_rules! row {
    ($record:ty, $position:expr) => {
        impl Row for $record {
            fn id(&self) -> &str {
                &self.id
            }
            fn ownership(&self) -> &Ownership {
                &self.ownership
            }
            fn audit(&self) -> &Audit {
                &self.audit
            }
            fn tags(&self) -> &[String] {
                &self.tags
            }
            fn position(&self) -> i64 {
                let position: fn(&$record) -> i64 = $position;
                position(self)
            }
        }
    };
}

row!(Gateway, |_| 0);
row!(Tool, |tool| tool.position);
row!(Server, |_| 0);

/// Which records are asked for.
pub struct Filter {
    /// Also those that are switched off.
    pub include_inactive: bool,
    tags: Vec<String>,
    visibility: Option<Visibility>,
    team_id: Option<String>,
}

impl Filter {
    /// Reads the filters that every list has.
    pub fn read(query: &mut Query) -> Filter {
        let read = |text: &str| text.parse().ok();
        Filter {
            include_inactive: query.flag("include_inactive", false),
            tags: query.list("tags"),
            visibility: query.word("visibility", read, "private, team or public"),
            team_id: query.text("team_id").map(str::to_owned),
        }
    }

    /// Whether the caller asks for this record and may see it; a record needs any of the tags.
    pub fn admits(&self, record: &impl Row, is_active: bool, caller: &Caller) -> bool {
        let ownership = record.ownership();
        (is_active || self.include_inactive)
            && may_see(caller, ownership)
            && self.visibility.is_none_or(|visibility| ownership.visibility == visibility)
            && self.team_id.as_ref().is_none_or(|team| ownership.team_id.as_ref() == Some(team))
            && (self.tags.is_empty() || record.tags().iter().any(|tag| self.tags.contains(tag)))
    }
}

/// Which part of a list is asked for.
pub struct Page {
    after: Option<Place>,
    /// `None` for all.
    count: Option<usize>,
    is_wrapped: bool,
}

impl Page {
    /// Reads `cursor`, `limit` (0 for all) and `include_pagination`.
    pub fn read(query: &mut Query, rules: &Rules) -> Page {
        let after = query.text("cursor").map(Place::decode);
        if after == Some(None) {
            query.error("cursor", "This cursor was not given by this gateway; begin without one");
        }
        let count = match query.count("limit") {
            Some(0) => None,
            Some(count) => Some(count.min(rules.page_count_max)),
            None => Some(rules.page_count),
        };
        let is_wrapped = query.flag("include_pagination", false);
        Page { after: after.flatten(), count, is_wrapped }
    }

    /// Answers with one page of `records`: newest first, and of those made at the same time in the
    /// upstream's order.
    pub fn answer<'a, R: Row + 'a, S: Serialize>(
        &self,
        name: &str,
        records: impl Iterator<Item = &'a R>,
        show: impl Fn(&'a R) -> S,
    ) -> RestAnswer {
        let (records, next) = self.cut(records.collect());
        let shown: Vec<S> = records.into_iter().map(show).collect();
        if self.is_wrapped {
            let next = next.map(|place| place.encode());
            return answer::ok(&Wrapped { name, items: shown, next });
        }
        answer::ok(&shown)
    }

    fn cut<'a, R: Row>(&self, mut records: Vec<&'a R>) -> (Vec<&'a R>, Option<Place>) {
        if let Some(after) = &self.after {
            records.retain(|record| after.is_before(*record));
        }
        let order = |a: &&R, b: &&R| compare(*a, *b);
        let Some(count) = self.count.filter(|count| records.len() > *count) else {
            records.sort_unstable_by(order);
            return (records, None);
        };
        // Of 20,000 tools only the page is sorted.
        records.select_nth_unstable_by(count, order);
        records.truncate(count);
        records.sort_unstable_by(order);
        let next = records.last().map(|record| Place::of(*record));
        (records, next)
    }
}

fn compare(a: &impl Row, b: &impl Row) -> Ordering {
    let newest_first = b.audit().created_at.cmp(&a.audit().created_at);
    newest_first.then_with(|| a.position().cmp(&b.position())).then_with(|| a.id().cmp(b.id()))
}

/// The place of a record in its list; a list goes on behind it even if the record is gone.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Place {
    created_at: i64,
    position: i64,
    id: String,
}

impl Place {
    fn of(record: &impl Row) -> Place {
        Place {
            created_at: record.audit().created_at,
            position: record.position(),
            id: record.id().to_owned(),
        }
    }

    fn is_before(&self, record: &impl Row) -> bool {
        let newest_first = record.audit().created_at.cmp(&self.created_at);
        newest_first
            .then_with(|| self.position.cmp(&record.position()))
            .then_with(|| self.id.as_str().cmp(record.id()))
            .is_lt()
    }

    fn encode(&self) -> String {
        BASE64.encode(format!("{}.{}.{}", self.created_at, self.position, self.id))
    }

    fn decode(cursor: &str) -> Option<Place> {
        let text = String::from_utf8(BASE64.decode(cursor).ok()?).ok()?;
        let mut parts = text.splitn(3, '.');
        let created_at = parts.next()?.parse().ok()?;
        let position = parts.next()?.parse().ok()?;
        Some(Place { created_at, position, id: parts.next()?.to_owned() })
    }
}

/// `{"tools": [...], "nextCursor": ...}`.
struct Wrapped<'a, S> {
    name: &'a str,
    items: Vec<S>,
    next: Option<String>,
}

impl<S: Serialize> Serialize for Wrapped<'_, S> {
    fn serialize<Z: serde::Serializer>(&self, serializer: Z) -> Result<Z::Ok, Z::Error> {
        use serde::ser::SerializeMap;
        let mut map = serializer.serialize_map(Some(2))?;
        map.serialize_entry(self.name, &self.items)?;
        map.serialize_entry("nextCursor", &self.next)?;
        map.end()
    }
}

/// `?activate=`, of the requests that switch a record.
///
/// # Errors
///
/// [`Failure::Invalid`] if it is neither true nor false.
pub fn is_activation(query: Option<&str>) -> Result<bool, Failure> {
    let mut query = Query::parse(query);
    let activate = query.flag("activate", true);
    query.finish().map(|()| activate)
}

/// The answer to a deletion.
pub fn deleted(kind: &str, id: &str) -> RestAnswer {
    let message = format!("{kind} {id} deleted successfully");
    answer::ok(&json!({ "status": "success", "message": message }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tool(id: &str, created_at: i64, position: i64) -> Tool {
        let audit = Audit { created_at, ..Audit::default() };
        Tool { id: id.to_owned(), position, audit, ..Tool::default() }
    }

    #[test]
    fn pages_of_every_size_put_together_are_the_whole_list() {
        let tools: Vec<Tool> = (0..7)
            .flat_map(|at| {
                (0..3).map(move |position| tool(&format!("{at}{position}"), at, position))
            })
            .collect();
        let all = Page { after: None, count: None, is_wrapped: false };
        let (whole, none) = all.cut(tools.iter().rev().collect());
        assert_eq!(none, None);
        let ids: Vec<_> = whole.iter().map(|tool| tool.id.as_str()).collect();
        assert_eq!(ids[..4], ["60", "61", "62", "50"]);
        for count in 1..=22 {
            let mut seen = Vec::new();
            let mut page = Page { after: None, count: Some(count), is_wrapped: false };
            loop {
                let (part, next) = page.cut(tools.iter().collect());
                seen.extend(part.iter().map(|tool| tool.id.as_str()));
                let Some(next) = next else { break };
                page.after = Some(Place::decode(&next.encode()).unwrap());
            }
            assert_eq!(seen, ids, "pages of {count}");
        }
    }

    #[test]
    fn a_foreign_cursor_is_refused() {
        for cursor in ["x", "AAAA", "MTIz", "é"] {
            assert_eq!(Place::decode(cursor), None, "{cursor}");
        }
    }
}
