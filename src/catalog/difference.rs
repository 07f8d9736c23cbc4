//! What became otherwise from one snapshot to a later one, for those who are told of changes.

use std::sync::Arc;

use imbl::ordmap::DiffItem;
use storage::record::{Resource, Root};

use super::Catalog;

/// A record before and after: made if there is no before, gone if there is no after.
pub type Difference<'a, T> = (Option<&'a Arc<T>>, Option<&'a Arc<T>>);

impl Catalog {
    /// The roots that became otherwise. What both snapshots share is not looked at.
    pub fn roots_since<'a>(
        &'a self,
        former: &'a Catalog,
    ) -> impl Iterator<Item = Difference<'a, Root>> {
        former.roots.diff(&self.roots).map(|item| match item {
            DiffItem::Add(_, new) => (None, Some(new)),
            DiffItem::Update { old: (_, old), new: (_, new) } => (Some(old), Some(new)),
            DiffItem::Remove(_, old) => (Some(old), None),
        })
    }

    /// The resources and templates that became otherwise. What both snapshots share is not looked
    /// at.
    pub fn resources_since<'a>(
        &'a self,
        former: &'a Catalog,
    ) -> impl Iterator<Item = Difference<'a, Resource>> {
        former.resources.records().diff(self.resources.records()).map(|item| match item {
            DiffItem::Add(_, new) => (None, Some(&new.record)),
            DiffItem::Update { old: (_, old), new: (_, new) } => {
                (Some(&old.record), Some(&new.record))
            }
            DiffItem::Remove(_, old) => (Some(&old.record), None),
        })
    }
}
