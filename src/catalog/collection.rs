//! The records of one kind: each by its id, and all of them newest first.

use std::{cmp::Ordering, ops::Bound, sync::Arc};

use imbl::{OrdMap, OrdSet};
use storage::record::{Agent, Audit, Gateway, Ownership, Prompt, Resource, Server, Tool};

use crate::permission::Permission;

use super::{AgentEntry, Id, PromptEntry, ResourceEntry, ToolEntry, Upstream, VirtualServer};

/// What every record that is listed has.
pub trait Record {
    /// The id.
    fn id(&self) -> &str;
    /// Whose it is.
    fn ownership(&self) -> &Ownership;
    /// Who made it, and when.
    fn audit(&self) -> &Audit;
    /// Words to find it by.
    fn tags(&self) -> &[String];
    /// What it takes to read one of its kind.
    fn read_permission(&self) -> Permission;
    /// Whether it belongs to this upstream, or to none; true where a record never does.
    fn is_of(&self, gateway_id: Option<&str>) -> bool {
        let _ = gateway_id;
        true
    }
}

/// What the catalog keeps of a record.
pub trait Kept {
    /// The record.
    type Record: Record;
    /// The record as it is stored.
    fn record(&self) -> &Self::Record;
}

/// The place of a record among those of its kind: newest first, and by id among those of one time.
/// Neither ever changes, so that whoever reads page by page misses nothing and sees nothing twice,
/// whatever is changed meanwhile.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Age {
    /// When it was made, in microseconds since the epoch.
    pub created_at: i64,
    /// Its id.
    pub id: Arc<str>,
}

/// The records of one kind. Cloning is cheap, and a change costs the logarithm of the size.
pub struct Collection<T> {
    by_id: OrdMap<Id, Arc<T>>,
    by_age: OrdSet<Age>,
}

impl Age {
    /// The place of a record.
    pub fn of(record: &impl Record) -> Age {
        Age { created_at: record.audit().created_at, id: record.id().into() }
    }
}

impl Ord for Age {
    fn cmp(&self, other: &Age) -> Ordering {
        other.created_at.cmp(&self.created_at).then_with(|| self.id.cmp(&other.id))
    }
}

impl PartialOrd for Age {
    fn partial_cmp(&self, other: &Age) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl<T> Clone for Collection<T> {
    fn clone(&self) -> Self {
        Collection { by_id: self.by_id.clone(), by_age: self.by_age.clone() }
    }
}

impl<T> Default for Collection<T> {
    fn default() -> Self {
        Collection { by_id: OrdMap::new(), by_age: OrdSet::new() }
    }
}

impl<T: Kept> Collection<T> {
    /// Returns what has this id.
    pub fn get(&self, id: &str) -> Option<&Arc<T>> {
        self.by_id.get(id)
    }

    /// Whether the other is this one, unchanged; it may look the same and be another.
    pub fn is(&self, other: &Collection<T>) -> bool {
        self.by_id.ptr_eq(&other.by_id)
    }

    /// Returns what has an id that begins like this: the first of them, if there are several.
    pub fn beginning(&self, prefix: &str) -> Option<&Arc<T>> {
        let from = (Bound::Included(prefix), Bound::Unbounded);
        let (id, entry) = self.by_id.range::<_, str>(from).next()?;
        id.starts_with(prefix).then_some(entry)
    }

    /// Returns what has this id, to be changed; its id and age must stay.
    pub fn get_mut(&mut self, id: &str) -> Option<&mut Arc<T>> {
        self.by_id.get_mut(id)
    }

    /// Puts an entry in the place of the one with its id.
    pub fn insert(&mut self, entry: Arc<T>) {
        let age = Age::of(entry.record());
        if let Some(former) = self.by_id.insert(age.id.clone(), entry)
            && former.record().audit().created_at != age.created_at
        {
            self.by_age.remove(&Age::of(former.record()));
        }
        self.by_age.insert(age);
    }

    /// Takes out the entry with this id.
    pub fn remove(&mut self, id: &str) {
        if let Some(former) = self.by_id.remove(id) {
            self.by_age.remove(&Age::of(former.record()));
        }
    }

    /// All ids, in their order.
    pub fn ids(&self) -> impl Iterator<Item = &Id> {
        self.by_id.keys()
    }

    /// All entries, in the order of ids.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<T>> {
        self.by_id.values()
    }

    /// Every record by its id.
    pub(super) fn records(&self) -> &OrdMap<Id, Arc<T>> {
        &self.by_id
    }

    /// Entries newest first, behind a place if one is given; the record there need not exist.
    /// Whoever takes fifty of them pays for fifty.
    pub fn newest(&self, after: Option<&Age>) -> impl Iterator<Item = &Arc<T>> {
        let from = after.map_or(Bound::Unbounded, Bound::Excluded);
        let ages = self.by_age.range::<_, Age>((from, Bound::Unbounded));
        ages.filter_map(|age| self.by_id.get(&age.id))
    }
}

macro_rules! record {
    ($record:ty, $entry:ty, $read:ident $(, $gateway_id:ident)?) => {
        impl Record for $record {
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
            fn read_permission(&self) -> Permission {
                Permission::$read
            }
            $(fn is_of(&self, gateway_id: Option<&str>) -> bool {
                self.$gateway_id.as_deref() == gateway_id
            })?
        }

        impl Kept for $entry {
            type Record = $record;
            fn record(&self) -> &$record {
                &self.record
            }
        }
    };
}

record!(Gateway, Upstream, GatewaysRead);
record!(Tool, ToolEntry, ToolsRead, gateway_id);
record!(Resource, ResourceEntry, ResourcesRead, gateway_id);
record!(Prompt, PromptEntry, PromptsRead, gateway_id);
record!(Server, VirtualServer, ServersRead);
record!(Agent, AgentEntry, A2aRead);

#[cfg(test)]
mod tests {
    use super::*;

    fn resource(id: &str, created_at: i64) -> Arc<ResourceEntry> {
        let audit = Audit { created_at, ..Audit::default() };
        let record = Resource { id: id.to_owned(), audit, ..Resource::default() };
        Arc::new(ResourceEntry { record: Arc::new(record) })
    }

    fn ids(collection: &Collection<ResourceEntry>, after: Option<&Age>) -> Vec<String> {
        collection.newest(after).map(|entry| entry.record.id.clone()).collect()
    }

    #[test]
    fn gives_the_newest_first_and_those_of_one_time_by_id() {
        let mut collection = Collection::default();
        for (id, at) in [("b", 1), ("a", 1), ("c", 3), ("d", 2)] {
            collection.insert(resource(id, at));
        }
        assert_eq!(ids(&collection, None), ["c", "d", "a", "b"]);
        let behind_one_that_is_gone = Age { created_at: 2, id: "e".into() };
        assert_eq!(ids(&collection, Some(&behind_one_that_is_gone)), ["a", "b"]);
    }

    #[test]
    fn has_each_id_once_and_forgets_it_whole() {
        let mut collection = Collection::default();
        for at in [1, 5, 5, 2] {
            collection.insert(resource("a", at));
        }
        collection.insert(resource("b", 3));
        assert_eq!(ids(&collection, None), ["b", "a"]);
        collection.remove("a");
        collection.remove("a");
        assert_eq!(ids(&collection, None), ["b"]);
        assert_eq!(collection.iter().count(), 1);
    }
}
