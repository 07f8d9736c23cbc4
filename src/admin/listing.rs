//! Lists: which records a caller asks for, and one page of them.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64;
use serde::Serialize;
use serde_json::json;
use storage::record::Visibility;

use super::query::Query;
use super::reshape::Reshape;
use super::{Ask, Backend, RestAnswer, Rules, answer, may_read};
use crate::auth::Caller;
use crate::catalog::{Age, Collection, Kept, Record};
use crate::failure::Failure;
use crate::limits;

/// Answers a request for a list of `records`, newest first: those that the query asks for and the
/// caller may see, a page of them, each as `show` shows it. `name` is what the list is called where
/// the answer is an object.
///
/// A page costs what is on it and what the filters leave out before it is full, not what there is.
///
/// # Errors
///
/// 422 naming every parameter that holds what it must not; 400 for a path of `apijsonpath` that
/// cannot be used.
pub fn list<'c, B: Backend, T: Kept, S: Serialize>(
    ask: &Ask<'_, B>,
    name: &str,
    records: &'c Collection<T>,
    is_active: impl Fn(&T) -> bool,
    show: impl Fn(&'c T) -> S,
) -> Result<RestAnswer, Failure> {
    let mut query = Query::parse(ask.request.query);
    let filter = Filter::read(&mut query);
    let page = Page::read(&mut query, ask.backend.rules());
    query.finish()?;
    let reshape = Reshape::read(ask.request)?;
    let admits = |entry: &&T| filter.admits(entry.record(), is_active(entry), ask.caller);
    let behind = records.newest(page.after.as_ref()).map(|entry| &**entry);
    let (entries, next) = page.cut(behind.filter(admits));
    let shown: Vec<S> = entries.into_iter().map(show).collect();
    match reshape {
        None => Ok(page.answer(name, &shown, next)),
        Some(reshape) => Ok(page.answer(name, &reshape.apply(answer::value(&shown))?, next)),
    }
}

/// Which records are asked for.
pub struct Filter {
    include_inactive: bool,
    tags: Vec<String>,
    visibility: Option<Visibility>,
    team_id: Option<String>,
    /// `Some(None)` for what is of no upstream.
    gateway_id: Option<Option<String>>,
}

impl Filter {
    /// Reads the filters that every list has.
    pub fn read(query: &mut Query) -> Filter {
        let read = |text: &str| text.parse().ok();
        let gateway_id = query.text("gateway_id");
        Filter {
            gateway_id: gateway_id.map(|id| (id != "null").then(|| id.to_owned())),
            include_inactive: query.flag("include_inactive", false),
            tags: query.list("tags"),
            visibility: query.word("visibility", read, "private, team or public"),
            team_id: query.text("team_id").map(str::to_owned),
        }
    }

    /// Whether the caller asks for this record and may see it; a record needs any of the tags.
    pub fn admits(&self, record: &impl Record, is_active: bool, caller: &Caller) -> bool {
        let ownership = record.ownership();
        (is_active || self.include_inactive)
            && may_read(caller, record)
            && self.gateway_id.as_ref().is_none_or(|id| record.is_of(id.as_deref()))
            && self.visibility.is_none_or(|visibility| ownership.visibility == visibility)
            && self.team_id.as_ref().is_none_or(|team| ownership.team_id.as_ref() == Some(team))
            && (self.tags.is_empty() || record.tags().iter().any(|tag| self.tags.contains(tag)))
    }
}

/// Which part of a list is asked for.
struct Page {
    after: Option<Age>,
    count: usize,
    is_wrapped: bool,
}

impl Page {
    /// Reads `cursor`, `limit` (0 for all) and `include_pagination`.
    fn read(query: &mut Query, rules: &Rules) -> Page {
        let after = query.text("cursor").map(decode);
        if after == Some(None) {
            query.error("cursor", "This cursor was not given by this gateway; begin without one");
        }
        let count = match query.count("limit") {
            Some(0) => limits::LIST_COUNT_MAX,
            Some(count) => count.min(rules.page_count_max),
            None => rules.page_count,
        };
        let is_wrapped = query.flag("include_pagination", false);
        Page { after: after.flatten(), count, is_wrapped }
    }

    /// The page, and the place of its last entry if more follow.
    fn cut<'c, T: Kept>(
        &self,
        mut entries: impl Iterator<Item = &'c T>,
    ) -> (Vec<&'c T>, Option<Age>) {
        let page: Vec<&T> = entries.by_ref().take(self.count).collect();
        let last = page.last().filter(|_| entries.next().is_some());
        let next = last.map(|entry| Age::of(entry.record()));
        (page, next)
    }

    fn answer(&self, name: &str, items: &impl Serialize, next: Option<Age>) -> RestAnswer {
        bare_or_wrapped(name, items, self.is_wrapped.then(|| next.as_ref().map(encode)))
    }
}

/// A part of a list that no [`Collection`] keeps.
pub struct Part<T> {
    /// What is on the page.
    pub items: Vec<T>,
    /// How many there are in all.
    pub total: usize,
    /// The cursor of the page behind it.
    pub next: Option<String>,
    /// Whether an object is asked for, with the cursor in it.
    pub is_wrapped: bool,
}

/// Cuts out of `records` the page that a query asks for, newest first, where `age` gives their
/// places. It looks at all of them: they are few.
pub fn part<T>(
    query: &mut Query,
    rules: &Rules,
    mut records: Vec<T>,
    age: impl Fn(&T) -> Age,
) -> Part<T> {
    let page = Page::read(query, rules);
    let skip = query.count("skip").unwrap_or(0);
    let total = records.len();
    records.sort_by_cached_key(&age);
    let is_behind = |record: &T| page.after.as_ref().is_none_or(|after| age(record) > *after);
    let mut rest = records.into_iter().filter(is_behind).skip(skip);
    let items: Vec<T> = rest.by_ref().take(page.count).collect();
    let next = items.last().filter(|_| rest.next().is_some()).map(|last| encode(&age(last)));
    Part { items, total, next, is_wrapped: page.is_wrapped }
}

/// A list by itself, or under its name in an object with the cursor of the next page.
pub fn bare_or_wrapped(
    name: &str,
    items: &impl Serialize,
    next: Option<Option<String>>,
) -> RestAnswer {
    match next {
        Some(next) => answer::ok(&Wrapped { name, items, next }),
        None => answer::ok(items),
    }
}

/// A place as a cursor: a list goes on behind it even if the record there is gone.
fn encode(age: &Age) -> String {
    BASE64.encode(format!("{}.{}", age.created_at, age.id))
}

fn decode(cursor: &str) -> Option<Age> {
    let text = String::from_utf8(BASE64.decode(cursor).ok()?).ok()?;
    let (created_at, id) = text.split_once('.')?;
    Some(Age { created_at: created_at.parse().ok()?, id: id.into() })
}

/// `{"tools": [...], "nextCursor": ...}`.
struct Wrapped<'a, S> {
    name: &'a str,
    items: &'a S,
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
    use std::sync::Arc;

    use storage::record::{Audit, Resource};

    use super::*;
    use crate::catalog::ResourceEntry;

    fn insert(collection: &mut Collection<ResourceEntry>, id: &str, created_at: i64) {
        let audit = Audit { created_at, ..Audit::default() };
        let record = Resource { id: id.to_owned(), audit, ..Resource::default() };
        collection.insert(Arc::new(ResourceEntry { record: Arc::new(record) }));
    }

    /// Reads a whole list page by page; between two pages `change` has its way with it.
    fn read_all(
        collection: &mut Collection<ResourceEntry>,
        count: usize,
        mut change: impl FnMut(&mut Collection<ResourceEntry>),
    ) -> Vec<String> {
        let mut seen = Vec::new();
        let mut page = Page { after: None, count, is_wrapped: false };
        loop {
            let (part, next) =
                page.cut(collection.newest(page.after.as_ref()).map(|entry| &**entry));
            assert!(part.len() <= count);
            seen.extend(part.iter().map(|entry| entry.record.id.clone()));
            let Some(next) = next else { return seen };
            page.after = Some(decode(&encode(&next)).expect("it was given by this gateway"));
            change(collection);
        }
    }

    #[test]
    fn pages_of_every_size_put_together_are_the_whole_list() {
        let mut collection = Collection::default();
        for at in 0..7 {
            for id in 0..3 {
                insert(&mut collection, &format!("{at}{id}"), at);
            }
        }
        let whole = read_all(&mut collection, 100, |_| ());
        assert_eq!(whole[..4], ["60", "61", "62", "50"]);
        for count in 1..=22 {
            assert_eq!(read_all(&mut collection, count, |_| ()), whole, "pages of {count}");
        }
    }

    /// Numbers that look random; the seed is named by whatever fails.
    fn numbers(seed: u64) -> impl FnMut(u64) -> u64 {
        let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
        move |below| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state % below
        }
    }

    #[test]
    fn no_page_loses_or_doubles_what_stays_while_the_list_changes() {
        for seed in 0..200 {
            let mut number = numbers(seed);
            let mut collection = Collection::default();
            let stays: Vec<String> = (0..number(40)).map(|id| format!("stays-{id:02}")).collect();
            for id in &stays {
                insert(&mut collection, id, number(6) as i64);
            }
            let goes: Vec<String> = (0..number(40)).map(|id| format!("goes-{id:02}")).collect();
            for id in &goes {
                insert(&mut collection, id, number(6) as i64);
            }
            let count = 1 + number(7) as usize;
            let mut made = 0;
            let seen = read_all(&mut collection, count, |collection| {
                for _ in 0..number(4) {
                    if let Some(id) = goes.get(number(40) as usize) {
                        collection.remove(id);
                    }
                    made += 1;
                    insert(collection, &format!("new-{made}"), number(8) as i64);
                }
                // A change of a record puts it in again.
                let changed = collection.iter().nth(number(20) as usize).cloned();
                if let Some(entry) = changed {
                    collection.insert(entry);
                }
                assert!(made < 10_000, "the list is never read to its end, seed {seed}");
            });
            let mut once: Vec<&String> = seen.iter().collect();
            once.sort();
            once.dedup();
            assert_eq!(once.len(), seen.len(), "something came twice, seed {seed}: {seen:?}");
            for id in &stays {
                assert!(seen.contains(id), "{id} was lost, seed {seed}: {seen:?}");
            }
        }
    }

    #[test]
    fn a_foreign_cursor_is_refused() {
        for cursor in ["x", "AAAA", "MTIz", "é"] {
            assert_eq!(decode(cursor), None, "{cursor}");
        }
    }
}
