//! What a shard counts of the entities that are used, until it is handed over.
//!
//! It is the shard's own, so that counting takes no lock and no atomic, and in a steady state no
//! memory: an entity that is used again has its place already.

use std::{
    cell::{Cell, RefCell},
    time::Instant,
};

use ahash::AHashMap;
use storage::{
    metrics::{MEASURED, MetricDelta, Metrics},
    record::{Entity, now},
    usage::UsageDelta,
};

use super::usage::{Use, Uses};

/// Counts what is used on a shard.
pub struct Meters {
    is_on: bool,
    left_out: Option<Entity>,
    /// How many entities are counted at most; executions of others are lost then, and counted.
    entity_count_max: usize,
    /// Called once when half of the places are taken, so that they are emptied before all are.
    on_crowded: Box<dyn Fn()>,
    maps: RefCell<[AHashMap<Box<str>, Count>; MEASURED.len()]>,
    entity_count: Cell<usize>,
    uses: RefCell<Uses>,
    lost_count: Cell<u64>,
    anchor: Cell<Anchor>,
}

/// What was counted of one entity since it was last handed over.
#[derive(Default)]
struct Count {
    since: i64,
    metrics: Metrics,
}

/// One moment by both clocks: by it the time of day is known without asking for it.
#[derive(Clone, Copy)]
struct Anchor {
    instant: Instant,
    at: i64,
}

/// An execution under way.
#[derive(Clone, Copy)]
pub struct Execution<'a> {
    /// What kind of record is used.
    pub entity: Entity,
    /// Its id; empty where it is none that is registered, and only the server counts.
    pub id: &'a str,
    /// The virtual server that it is used through; empty for none.
    pub server_id: &'a str,
    begun: Instant,
}

/// An execution under way whose request is not there any more when it ends.
pub struct LongExecution {
    entity: Entity,
    id: String,
    server_id: String,
    begun: Instant,
}

/// What a shard hands over.
#[derive(Default)]
pub struct Taken {
    /// What was counted, each entity once.
    pub deltas: Vec<MetricDelta>,
    /// How tokens were used, each once for a part of the API.
    pub usages: Vec<UsageDelta>,
    /// How many executions were not counted, for want of places.
    pub lost_count: u64,
}

impl<'a> Execution<'a> {
    /// Begins an execution now.
    pub fn begin(entity: Entity, id: &'a str, server_id: &'a str) -> Execution<'a> {
        Execution { entity, id, server_id, begun: Instant::now() }
    }

    /// The same execution, to be ended without the request.
    pub fn keep(&self) -> LongExecution {
        LongExecution {
            entity: self.entity,
            id: self.id.to_owned(),
            server_id: self.server_id.to_owned(),
            begun: self.begun,
        }
    }
}

impl LongExecution {
    /// The execution.
    pub fn lend(&self) -> Execution<'_> {
        Execution {
            entity: self.entity,
            id: &self.id,
            server_id: &self.server_id,
            begun: self.begun,
        }
    }
}

impl Meters {
    /// Meters that count at most `entity_count_max` entities between two times that they are
    /// emptied, and ask for that by `on_crowded`.
    pub fn new(entity_count_max: usize, on_crowded: impl Fn() + 'static) -> Meters {
        Meters {
            is_on: true,
            left_out: None,
            entity_count_max,
            on_crowded: Box::new(on_crowded),
            maps: RefCell::default(),
            entity_count: Cell::new(0),
            uses: RefCell::default(),
            lost_count: Cell::new(0),
            anchor: Cell::new(Anchor::now()),
        }
    }

    /// Meters that count nothing.
    pub fn off() -> Meters {
        Meters { is_on: false, ..Meters::new(0, || ()) }
    }

    /// The same meters, which leave one kind of entity out.
    pub fn without(mut self, entity: Entity) -> Meters {
        self.left_out = Some(entity);
        self
    }

    /// Counts an execution that ends now: for what was used, and for the virtual server that it was
    /// used through.
    pub fn end(&self, execution: &Execution<'_>, is_success: bool) {
        if !self.is_on {
            return;
        }
        let end = Instant::now();
        let took = end.saturating_duration_since(execution.begun);
        let took_us = i64::try_from(took.as_micros()).unwrap_or(i64::MAX);
        let at = self.anchor.get().time_of(end);
        let used = [(execution.entity, execution.id), (Entity::Server, execution.server_id)];
        let is_counted = |entity, id: &str| !id.is_empty() && self.left_out != Some(entity);
        for (entity, id) in used.into_iter().filter(|(entity, id)| is_counted(*entity, id)) {
            self.record(entity, id, took_us, is_success, at);
        }
    }

    /// Counts that a token was used, by a request whose answer began to be made at `begun`.
    pub fn count_use(&self, used: Use<'_>, begun: Instant) {
        if !self.is_on {
            return;
        }
        let end = Instant::now();
        let took = end.saturating_duration_since(begun);
        let took_us = i64::try_from(took.as_micros()).unwrap_or(i64::MAX);
        let at = self.anchor.get().time_of(end);
        if !self.uses.borrow_mut().count(used, took_us, at, self.entity_count_max) {
            self.lost_count.set(self.lost_count.get() + 1);
        }
    }

    /// Takes what was counted. Entities that were used keep their places, unless they have half of
    /// them.
    pub fn take(&self) -> Taken {
        let mut deltas = Vec::new();
        for (entity, map) in MEASURED.iter().zip(self.maps.borrow_mut().iter_mut()) {
            map.retain(|id, count| {
                let is_used = count.metrics.executions > 0;
                if is_used {
                    deltas.push(count.take(*entity, id));
                }
                is_used
            });
        }
        let mut kept = deltas.len();
        if kept >= self.crowd() {
            self.maps.take();
            kept = 0;
        }
        self.entity_count.set(kept);
        self.anchor.set(Anchor::now());
        let usages = self.uses.borrow_mut().take();
        Taken { deltas, usages, lost_count: self.lost_count.take() }
    }

    fn record(&self, entity: Entity, id: &str, took_us: i64, is_success: bool, at: i64) {
        let Some(place) = MEASURED.iter().position(|kind| *kind == entity) else { return };
        let map = &mut self.maps.borrow_mut()[place];
        if let Some(count) = map.get_mut(id) {
            count.record(took_us, is_success, at);
        } else if self.make_room() {
            map.entry(id.into()).or_default().record(took_us, is_success, at);
        } else {
            self.lost_count.set(self.lost_count.get() + 1);
        }
    }

    /// Counts one entity more, if there is room.
    fn make_room(&self) -> bool {
        let count = self.entity_count.get();
        if count >= self.entity_count_max {
            return false;
        }
        self.entity_count.set(count + 1);
        if count + 1 == self.crowd() {
            (self.on_crowded)();
        }
        true
    }

    /// How many entities are a crowd.
    fn crowd(&self) -> usize {
        self.entity_count_max.div_ceil(2)
    }
}

impl Count {
    fn record(&mut self, took_us: i64, is_success: bool, at: i64) {
        if self.metrics.executions == 0 {
            self.since = at;
        }
        self.metrics.record(took_us, is_success, at);
    }

    /// Takes what was counted and keeps its room.
    fn take(&mut self, entity: Entity, id: &str) -> MetricDelta {
        let metrics = self.metrics.clone();
        self.metrics.clear();
        MetricDelta { entity, id: id.to_owned(), since: self.since, metrics }
    }
}

impl Anchor {
    fn now() -> Anchor {
        Anchor { instant: Instant::now(), at: now() }
    }

    /// The time of day in microseconds since the epoch.
    fn time_of(&self, instant: Instant) -> i64 {
        let since = instant.saturating_duration_since(self.instant);
        self.at.saturating_add(i64::try_from(since.as_micros()).unwrap_or(i64::MAX))
    }
}

#[cfg(test)]
mod tests {
    use std::rc::Rc;

    use super::*;

    fn end(meters: &Meters, id: &str, server_id: &str, is_success: bool) {
        meters.end(&Execution::begin(Entity::Tool, id, server_id), is_success);
    }

    /// What was taken, as short words: kind, id, executions, failures.
    fn words(taken: &Taken) -> Vec<String> {
        let mut words: Vec<String> = taken
            .deltas
            .iter()
            .map(|MetricDelta { entity, id, metrics, .. }| {
                format!("{entity} {id} {} {}", metrics.executions, metrics.failures)
            })
            .collect();
        words.sort();
        words
    }

    #[test]
    fn counts_what_is_used_and_the_server_that_it_is_used_through() {
        let before = now();
        let meters = Meters::new(10, || ());
        end(&meters, "a", "", true);
        end(&meters, "a", "s", false);
        end(&meters, "b", "s", true);
        let taken = meters.take();
        assert_eq!(words(&taken), ["server s 2 1", "tool a 2 1", "tool b 1 0"]);
        for delta in &taken.deltas {
            assert!(delta.since >= before && delta.metrics.last_at >= delta.since);
        }
        assert!(meters.take().deltas.is_empty());
    }

    #[test]
    fn an_entity_that_goes_on_being_used_keeps_its_place_and_counts_anew() {
        let meters = Meters::new(4, || ());
        for _ in 0..3 {
            end(&meters, "a", "", true);
            assert_eq!(words(&meters.take()), ["tool a 1 0"]);
            assert_eq!(meters.entity_count.get(), 1);
        }
        meters.take();
        assert_eq!(meters.entity_count.get(), 0);
    }

    #[test]
    fn asks_to_be_emptied_when_half_full_and_counts_what_it_loses_when_full() {
        let asked = Rc::new(Cell::new(0));
        let counter = asked.clone();
        let meters = Meters::new(4, move || counter.set(counter.get() + 1));
        for (id, expected) in [("a", 0), ("b", 1), ("c", 1), ("d", 1), ("e", 1), ("a", 1)] {
            end(&meters, id, "", true);
            assert_eq!(asked.get(), expected, "{id}");
        }
        let taken = meters.take();
        assert_eq!(words(&taken), ["tool a 2 0", "tool b 1 0", "tool c 1 0", "tool d 1 0"]);
        assert_eq!(taken.lost_count, 1);
        assert_eq!(meters.take().lost_count, 0);
    }

    #[test]
    fn a_crowd_gives_its_places_up_when_it_is_counted() {
        let meters = Meters::new(2, || ());
        for id in ["a", "b", "c", "d"] {
            end(&meters, id, "", true);
            let taken = meters.take();
            assert_eq!((words(&taken).len(), taken.lost_count), (1, 0), "{id}");
        }
    }

    #[test]
    fn counts_nothing_when_off() {
        let meters = Meters::off();
        end(&meters, "a", "s", true);
        let taken = meters.take();
        assert!(taken.deltas.is_empty());
        assert_eq!(taken.lost_count, 0);
    }

    #[test]
    fn an_execution_that_outlives_its_request_counts_like_any_other() {
        let meters = Meters::new(10, || ());
        let kept = Execution::begin(Entity::Tool, "a", "s").keep();
        meters.end(&kept.lend(), true);
        assert_eq!(words(&meters.take()), ["server s 1 0", "tool a 1 0"]);
    }
}
