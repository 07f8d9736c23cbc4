//! Things by name in a fixed order, where two may want the same name.

use std::{borrow::Borrow, ops::Bound, sync::Arc};

use imbl::OrdMap;
use storage::record::Ownership;

/// What a shelf holds.
pub trait Item {
    /// The id that tells two of the same name apart.
    fn id(&self) -> &str;
    /// When it came, in microseconds since the epoch.
    fn created_at(&self) -> i64;
    /// Whose it is.
    fn ownership(&self) -> &Ownership;

    /// Its place among those of the same name: who came first goes before.
    fn rank(&self) -> (i64, &str) {
        (self.created_at(), self.id())
    }
}

/// A persistent map from name to item, in the order of names. Cloning is cheap, and a change costs
/// the logarithm of the size.
///
/// Of several items that want one name the one that came first has it, on every shard and after every
/// restart alike: nobody takes a name from who has it. The others wait behind it and are reported,
/// never merged.
pub struct Shelf<T>(OrdMap<Arc<str>, Named<T>>);

struct Named<T> {
    first: Arc<T>,
    others: Vec<Arc<T>>,
}

impl<T> Named<T> {
    fn all(&self) -> impl Iterator<Item = &Arc<T>> {
        std::iter::once(&self.first).chain(&self.others)
    }
}

impl<T: Item> Named<T> {
    fn first_seen(&self, sees: &impl Fn(&Ownership) -> bool) -> Option<&Arc<T>> {
        self.all().find(|item| sees(item.ownership()))
    }
}

impl<T> Clone for Named<T> {
    fn clone(&self) -> Self {
        Named { first: self.first.clone(), others: self.others.clone() }
    }
}

impl<T> Clone for Shelf<T> {
    fn clone(&self) -> Self {
        Shelf(self.0.clone())
    }
}

impl<T> Default for Shelf<T> {
    fn default() -> Self {
        Shelf(OrdMap::new())
    }
}

impl<T: Item> Shelf<T> {
    /// Returns the item that has `name`.
    pub fn get(&self, name: &str) -> Option<&Arc<T>> {
        self.0.get(name).map(|named| &named.first)
    }

    /// Returns the item that has `name` for whoever sees only some: the first of those that want it.
    pub fn find(&self, name: &str, sees: impl Fn(&Ownership) -> bool) -> Option<&Arc<T>> {
        self.0.get(name)?.first_seen(&sees)
    }

    /// Puts `item` under `name`. Returns the id of another item that wants the name too.
    pub fn insert(&mut self, name: Arc<str>, item: Arc<T>) -> Option<String> {
        self.remove(&name, item.id());
        let Some(named) = self.0.get_mut(&*name) else {
            self.0.insert(name, Named { first: item, others: Vec::new() });
            return None;
        };
        let rival = named.first.id().to_owned();
        let place = named.others.partition_point(|other| other.rank() < item.rank());
        if item.rank() < named.first.rank() {
            let former = std::mem::replace(&mut named.first, item);
            named.others.insert(0, former);
        } else {
            named.others.insert(place, item);
        }
        Some(rival)
    }

    /// Takes the item with this id from under `name`, if it is there.
    pub fn remove(&mut self, name: &str, id: &str) {
        let Some(named) = self.0.get_mut(name) else { return };
        if named.first.id() != id {
            named.others.retain(|other| other.id() != id);
        } else if named.others.is_empty() {
            self.0.remove(name);
        } else {
            named.first = named.others.remove(0);
        }
    }

    /// Returns how many names there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Returns true if there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Names and items in order.
    pub fn iter(&self) -> impl Iterator<Item = (&Arc<str>, &Arc<T>)> {
        self.0.iter().map(|(name, named)| (name, &named.first))
    }

    /// Names and items in order, behind `name` if one is given, as whoever sees only some has them.
    pub fn seen_after<'s>(
        &'s self,
        name: Option<&str>,
        sees: impl Fn(&Ownership) -> bool + 's,
    ) -> impl Iterator<Item = (&'s Arc<str>, &'s Arc<T>)> {
        let named = self.after(name);
        named.filter_map(move |(name, named)| Some((name, named.first_seen(&sees)?)))
    }

    /// The same with those that have no name because another has it: they follow the one that does.
    pub fn all_seen_after<'s>(
        &'s self,
        name: Option<&str>,
        sees: impl Fn(&Ownership) -> bool + 's,
    ) -> impl Iterator<Item = (&'s Arc<str>, &'s Arc<T>)> {
        let all =
            self.after(name).flat_map(|(name, named)| named.all().map(move |one| (name, one)));
        all.filter(move |(_, item)| sees(item.ownership()))
    }

    /// All that want `name`, the one that has it first.
    pub fn wanting(&self, name: &str) -> impl Iterator<Item = &Arc<T>> {
        self.0.get(name).into_iter().flat_map(Named::all)
    }

    fn after(&self, name: Option<&str>) -> impl Iterator<Item = (&Arc<str>, &Named<T>)> {
        let from = name.map_or(Bound::Unbounded, |name| Bound::Excluded(Key(name.to_owned())));
        match from {
            Bound::Excluded(key) => {
                self.0.range::<_, str>((Bound::Excluded(key.borrow()), Bound::Unbounded))
            }
            _ => self.0.range::<_, str>(..),
        }
    }
}

/// An owned name that can be borrowed for a range.
struct Key(String);

impl Borrow<str> for Key {
    fn borrow(&self) -> &str {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use storage::record::Visibility;

    use super::*;

    /// What came at the time of its first digit.
    struct Thing(&'static str);

    impl Item for Thing {
        fn id(&self) -> &str {
            self.0
        }

        fn created_at(&self) -> i64 {
            self.0[..1].parse().unwrap()
        }

        fn ownership(&self) -> &Ownership {
            const EVERYONES: Ownership =
                Ownership { team_id: None, owner_email: None, visibility: Visibility::Public };
            const ITS_TEAMS: Ownership = Ownership { visibility: Visibility::Team, ..EVERYONES };
            if self.0 == "1" { &ITS_TEAMS } else { &EVERYONES }
        }
    }

    #[test]
    fn who_does_not_see_the_first_of_a_name_has_the_next() {
        let shelf = shelf(&[("echo", "1"), ("echo", "2"), ("only", "1")]);
        let public = |owned: &Ownership| owned.visibility == Visibility::Public;
        assert_eq!(shelf.find("echo", |_| true).map(|item| item.0), Some("1"));
        assert_eq!(shelf.find("echo", public).map(|item| item.0), Some("2"));
        assert!(shelf.find("only", public).is_none());
        let seen: Vec<_> = shelf.seen_after(None, public).map(|(name, _)| &**name).collect();
        assert_eq!(seen, ["echo"]);
    }

    fn shelf(items: &[(&str, &'static str)]) -> Shelf<Thing> {
        let mut shelf = Shelf::default();
        for (name, id) in items {
            shelf.insert((*name).into(), Arc::new(Thing(id)));
        }
        shelf
    }

    fn holder(shelf: &Shelf<Thing>, name: &str) -> Option<&'static str> {
        shelf.get(name).map(|item| item.0)
    }

    #[test]
    fn gives_a_name_to_who_came_first_in_whichever_order_they_are_read() {
        for order in [["1c", "2b", "3a"], ["3a", "1c", "2b"], ["2b", "3a", "1c"]] {
            let mut shelf = shelf(&order.map(|id| ("echo", id)));
            assert_eq!(holder(&shelf, "echo"), Some("1c"));
            let all: Vec<_> = shelf.wanting("echo").map(|item| item.0).collect();
            assert_eq!(all, ["1c", "2b", "3a"]);
            shelf.remove("echo", "1c");
            assert_eq!(holder(&shelf, "echo"), Some("2b"));
            shelf.remove("echo", "3a");
            shelf.remove("echo", "2b");
            assert!(shelf.is_empty());
        }
    }

    #[test]
    fn of_two_that_came_at_once_the_lower_id_has_the_name() {
        assert_eq!(holder(&shelf(&[("echo", "1b"), ("echo", "1a")]), "echo"), Some("1a"));
    }

    #[test]
    fn shows_those_too_that_have_no_name() {
        let shelf = shelf(&[("a", "3"), ("b", "2"), ("a", "2"), ("a", "1")]);
        let public = |owned: &Ownership| owned.visibility == Visibility::Public;
        let all = |from| {
            let all = shelf.all_seen_after(from, public);
            all.map(|(name, item)| format!("{name}{}", item.0)).collect::<Vec<_>>()
        };
        assert_eq!(all(None), ["a2", "a3", "b2"]);
        assert_eq!(all(Some("a")), ["b2"]);
    }

    #[test]
    fn says_who_else_wants_a_name() {
        let mut shelf = shelf(&[("echo", "1")]);
        assert_eq!(shelf.insert("echo".into(), Arc::new(Thing("2"))), Some("1".to_owned()));
        assert_eq!(shelf.insert("other".into(), Arc::new(Thing("3"))), None);
    }

    #[test]
    fn puts_the_same_item_again_without_a_rival() {
        let mut shelf = shelf(&[("echo", "1")]);
        assert_eq!(shelf.insert("echo".into(), Arc::new(Thing("1"))), None);
        assert_eq!(shelf.len(), 1);
    }

    #[test]
    fn goes_on_behind_a_name_that_need_not_exist() {
        let shelf = shelf(&[("a", "1"), ("c", "2"), ("d", "3")]);
        let names = |from| {
            shelf.seen_after(from, |_| true).map(|(name, _)| name.to_string()).collect::<Vec<_>>()
        };
        assert_eq!(names(None), ["a", "c", "d"]);
        assert_eq!(names(Some("b")), ["c", "d"]);
        assert_eq!(names(Some("c")), ["d"]);
        assert!(names(Some("d")).is_empty());
    }

    #[test]
    fn a_clone_does_not_see_later_changes() {
        let mut shelf = shelf(&[("a", "1")]);
        let former = shelf.clone();
        shelf.remove("a", "1");
        assert_eq!(holder(&former, "a"), Some("1"));
    }
}
