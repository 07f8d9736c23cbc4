//! Which names the forms look at, for the test that compares them with the document.

use std::cell::RefCell;
use std::collections::BTreeSet;

thread_local! {
    static NAMES: RefCell<[BTreeSet<String>; 2]> = RefCell::default();
}

/// Where a name was looked for.
#[derive(Clone, Copy)]
pub enum Place {
    Body,
    Query,
}

/// Remembers that a name was looked at.
pub fn note(place: Place, name: &str) {
    NAMES.with_borrow_mut(|names| names[place as usize].insert(name.to_owned()));
}

/// Gives the names that this thread looked at since it was last asked.
pub fn take() -> [BTreeSet<String>; 2] {
    NAMES.take()
}

/// Forgets what was looked at since `names` were taken.
pub fn put_back(names: [BTreeSet<String>; 2]) {
    NAMES.set(names);
}
