//! The compiled schemas of one shard.

use std::{
    cell::{OnceCell, RefCell},
    collections::HashMap,
    rc::Rc,
    sync::Arc,
};

use net::jsonrpc;
use serde_json::Value;
use storage::record::Tool;

use super::{
    Violations,
    compile::{Compiled, compile},
};

/// The compiled schemas of one shard, each made when it is first needed.
///
/// A bounded map in two generations: what was not asked for during the life of a whole generation
/// is forgotten.
pub struct Cache {
    slots: RefCell<Generations>,
}

struct Generations {
    young: HashMap<Box<str>, Rc<Slot>, ahash::RandomState>,
    old: HashMap<Box<str>, Rc<Slot>, ahash::RandomState>,
    count_max: usize,
}

/// What is known of one tool's schemas.
struct Slot {
    tool: Arc<Tool>,
    input: OnceCell<Option<Compiled>>,
    output: OnceCell<Option<Compiled>>,
}

/// Which of a tool's schemas.
#[derive(Clone, Copy)]
enum Side {
    Input,
    Output,
}

impl Cache {
    /// Makes a cache of the schemas of at most `count_max` tools, which is at least 2.
    pub fn new(count_max: usize) -> Cache {
        assert!(count_max >= 2, "each generation has room for a tool");
        let slots = Generations {
            young: HashMap::default(),
            old: HashMap::default(),
            count_max: count_max / 2,
        };
        Cache { slots: RefCell::new(slots) }
    }

    /// Checks raw arguments by the tool's `inputSchema`. None at all are an empty object.
    ///
    /// # Errors
    ///
    /// What is wrong with them. A schema that cannot be used finds nothing wrong.
    pub fn check_arguments(&self, tool: &Arc<Tool>, raw: Option<&str>) -> Result<(), Violations> {
        let slot = self.slot(tool);
        let Some(schema) = slot.schema(Side::Input) else { return Ok(()) };
        check(schema, raw.filter(|raw| *raw != "null").unwrap_or("{}"))
    }

    /// Checks raw structured content by the tool's `outputSchema`; without one everything is well.
    ///
    /// # Errors
    ///
    /// As [`Cache::check_arguments`].
    pub fn check_result(&self, tool: &Arc<Tool>, raw: &str) -> Result<(), Violations> {
        let slot = self.slot(tool);
        let Some(schema) = slot.schema(Side::Output) else { return Ok(()) };
        check(schema, raw)
    }

    fn slot(&self, tool: &Arc<Tool>) -> Rc<Slot> {
        let mut slots = self.slots.borrow_mut();
        if let Some(slot) = slots.find(&tool.id) {
            // A record that says the same of its schemas keeps what was made of them.
            if Arc::ptr_eq(&slot.tool, tool) || slot.tool.definition == tool.definition {
                return slot;
            }
        }
        let slot =
            Rc::new(Slot { tool: tool.clone(), input: OnceCell::new(), output: OnceCell::new() });
        slots.put(&tool.id, slot.clone());
        slot
    }

    #[cfg(test)]
    pub(super) fn count(&self) -> usize {
        let slots = self.slots.borrow();
        slots.young.len() + slots.old.len()
    }

    #[cfg(test)]
    pub(super) fn holds(&self, id: &str) -> bool {
        let slots = self.slots.borrow();
        slots.young.contains_key(id) || slots.old.contains_key(id)
    }
}

impl Generations {
    fn find(&mut self, id: &str) -> Option<Rc<Slot>> {
        if let Some(slot) = self.young.get(id) {
            return Some(slot.clone());
        }
        let slot = self.old.remove(id)?;
        self.put(id, slot.clone());
        Some(slot)
    }

    fn put(&mut self, id: &str, slot: Rc<Slot>) {
        self.old.remove(id);
        if self.young.len() >= self.count_max && !self.young.contains_key(id) {
            std::mem::swap(&mut self.young, &mut self.old);
            self.young.clear();
        }
        self.young.insert(id.into(), slot);
        assert!(self.young.len() <= self.count_max, "a generation is bounded");
    }
}

impl Slot {
    /// The compiled schema, made now if it was not; `None` if there is none that checks anything.
    fn schema(&self, side: Side) -> Option<&Compiled> {
        let (cell, key) = match side {
            Side::Input => (&self.input, "inputSchema"),
            Side::Output => (&self.output, "outputSchema"),
        };
        cell.get_or_init(|| {
            let definition = &self.tool.definition;
            let raw = jsonrpc::pick(definition, [key]).ok()?[0]?.of_text(definition);
            compile(raw).unwrap_or_else(|reason| {
                let tool = &self.tool.name;
                tracing::warn!(tool, schema = key, reason, "a schema is not used");
                None
            })
        })
        .as_ref()
    }
}

/// Checks a raw value. It was bounded in size and depth when it came in.
fn check(schema: &Compiled, raw: &str) -> Result<(), Violations> {
    if schema.plain.as_ref().is_some_and(|plain| plain.surely_accepts(raw)) {
        return Ok(());
    }
    let value: Value = serde_json::from_str(raw)
        .map_err(|error| Violations::of_whole(&format!("/: cannot be read: {error}")))?;
    if !schema.effort.permits(raw.len(), || levels(&value)) || schema.validator.is_valid(&value) {
        return Ok(());
    }
    Violations::find(&schema.validator, &value).map_or(Ok(()), Err)
}

/// How many levels a value has below itself.
fn levels(value: &Value) -> usize {
    match value {
        Value::Array(items) => 1 + items.iter().map(levels).max().unwrap_or(0),
        Value::Object(map) => 1 + map.values().map(levels).max().unwrap_or(0),
        _ => 0,
    }
}
