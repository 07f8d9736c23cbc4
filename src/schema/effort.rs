//! How much work a schema can make of a value, counted before it is ever used.
//!
//! A schema applies several subschemas to one place of a value (`allOf`, `$ref`), and each of those
//! several to the places below. Written twice on every level that doubles with every level, so that
//! a kilobyte of schema and a hundred bytes of value can keep a core busy for hours. Here the
//! subschemas are the nodes of a graph, and the paths through it that can meet in one place of a
//! value are counted, as deep as a value may nest.

use std::collections::HashMap;

use percent_encoding::percent_decode_str;
use serde_json::{Map, Value};

use super::{parts::parts, violations::cut};
use crate::limits;

/// Levels for which the work is counted; deeper values are not checked by a schema that recurs.
const LEVEL_COUNT: usize = 32;

/// Subschemas that may apply to one and the same place.
const BREADTH_MAX: u64 = 10_000;

/// Steps from a place of a value to the places below it, over all subschemas of a schema.
const STEP_COUNT_MAX: usize = 200_000;

/// Keywords whose subschemas apply to the same place of a value.
const BESIDE: [&str; 9] =
    ["allOf", "anyOf", "oneOf", "not", "if", "then", "else", "dependentSchemas", "dependencies"];

/// Keywords whose subschemas apply to the elements of a list.
const ELEMENTS: [&str; 5] =
    ["items", "prefixItems", "additionalItems", "contains", "unevaluatedItems"];

/// Keywords whose subschemas apply to the members of an object, or their names, whatever they are.
const MEMBERS: [&str; 4] =
    ["patternProperties", "additionalProperties", "unevaluatedProperties", "propertyNames"];

/// Keywords whose value is an object of subschemas, rather than a subschema or a list of them.
const MAPS: [&str; 3] = ["dependentSchemas", "dependencies", "patternProperties"];

/// The most subschemas that a schema applies on the way to one place of a value, by the levels that
/// the value has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Effort([u64; LEVEL_COUNT + 1]);

impl Effort {
    /// Whether a value of `size` bytes can be checked at bounded cost. `levels` tells how deeply it
    /// nests, which is only looked at where it matters.
    pub fn permits(&self, size: usize, levels: impl FnOnce() -> usize) -> bool {
        // Few values take less than eight bytes with their name and the comma.
        let place_count = size as u64 / 8 + 1;
        let is_little = |steps: u64| steps.saturating_mul(place_count) <= limits::SCHEMA_EFFORT_MAX;
        is_little(self.0[LEVEL_COUNT])
            || self.0.get(levels()).is_some_and(|steps| is_little(*steps))
    }
}

/// Counts the effort of a schema.
///
/// # Errors
///
/// A sentence: the schema refers to what is not in it, to itself without an end, or to so much that
/// no value can be checked at bounded cost.
pub fn measure(schema: &Value) -> Result<Effort, String> {
    let mut graph = Graph::default();
    graph.collect(schema);
    graph.connect(schema)?;
    let order = graph.order()?;
    let breadths = graph.breadths(&order)?;
    let steps = graph.steps(&order)?;
    Ok(Effort(count(&breadths, &steps)))
}

/// The subschemas, the whole schema first, each known by its address.
#[derive(Default)]
struct Graph<'s> {
    nodes: Vec<Node<'s>>,
    indices: HashMap<*const Value, usize>,
    /// Names that schemas give themselves, and who has them.
    names: Vec<(&'s str, &'s Value)>,
    /// Subschemas that references are relative to.
    resources: Vec<&'s Value>,
}

/// A subschema.
struct Node<'s> {
    map: &'s Map<String, Value>,
    /// What applies to the same place.
    beside: Vec<usize>,
    /// What applies below.
    below: Vec<(Step<'s>, usize)>,
}

/// From a place of a value to one below it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Step<'s> {
    Element,
    Member(&'s str),
    AnyMember,
}

/// What applies below a place, over all that applies to the place itself: by step, each subschema
/// with how often.
type Steps<'s> = HashMap<Step<'s>, HashMap<usize, u64>>;

impl<'s> Graph<'s> {
    /// Finds everything that may be a subschema.
    fn collect(&mut self, value: &'s Value) {
        if let Value::Object(map) = value {
            self.indices.insert(std::ptr::from_ref(value), self.nodes.len());
            self.nodes.push(Node { map, beside: Vec::new(), below: Vec::new() });
            for key in ["$id", "id", "$anchor", "$dynamicAnchor"] {
                if let Some(name) = map.get(key).and_then(Value::as_str) {
                    self.names.push((name.trim_matches('#'), value));
                }
            }
            if self.nodes.len() > 1 && (map.contains_key("$id") || map.contains_key("id")) {
                self.resources.push(value);
            }
            parts(map).for_each(|part| self.collect(part));
        }
    }

    fn connect(&mut self, root: &'s Value) -> Result<(), String> {
        for index in 0..self.nodes.len() {
            let map = self.nodes[index].map;
            let mut beside: Vec<usize> =
                BESIDE.iter().flat_map(|key| self.parts(map, key)).collect();
            for key in ["$ref", "$dynamicRef", "$recursiveRef"] {
                if let Some(reference) = map.get(key).and_then(Value::as_str) {
                    beside.extend(self.targets(root, reference)?);
                }
            }
            let parts = |keys: &[&str], step: Step<'s>| {
                let parts = keys.iter().flat_map(|key| self.parts(map, key));
                parts.map(|part| (step, part)).collect::<Vec<_>>()
            };
            let mut below = parts(&ELEMENTS, Step::Element);
            below.extend(parts(&MEMBERS, Step::AnyMember));
            let properties = map.get("properties").and_then(Value::as_object);
            for (name, value) in properties.into_iter().flatten() {
                below.extend(self.index(value).map(|part| (Step::Member(name), part)));
            }
            let node = &mut self.nodes[index];
            (node.beside, node.below) = (beside, below);
        }
        Ok(())
    }

    fn index(&self, value: &Value) -> Option<usize> {
        self.indices.get(&std::ptr::from_ref(value)).copied()
    }

    /// The subschemas in the value of a keyword.
    fn parts(&self, map: &Map<String, Value>, key: &str) -> Vec<usize> {
        match map.get(key) {
            Some(Value::Array(items)) => items.iter().filter_map(|item| self.index(item)).collect(),
            Some(Value::Object(inner)) if MAPS.contains(&key) => {
                inner.values().filter_map(|value| self.index(value)).collect()
            }
            Some(value) => self.index(value).into_iter().collect(),
            None => Vec::new(),
        }
    }

    /// What a reference may lead to; nothing for the schema of schemas, which is known and bounded,
    /// and for the schemas `true` and `false`. Where names inside the schema leave it open which of
    /// several it is, all of them: too much is counted rather than too little.
    fn targets(&self, root: &'s Value, reference: &str) -> Result<Vec<usize>, String> {
        if reference.contains("://json-schema.org/") {
            return Ok(Vec::new());
        }
        let (base, fragment) = reference.split_once('#').unwrap_or((reference, ""));
        let bases: Vec<&'s Value> = match base {
            "" => std::iter::once(root).chain(self.resources.iter().copied()).collect(),
            base => self.named(base).collect(),
        };
        let pointer = percent_decode_str(fragment).decode_utf8_lossy();
        let found: Vec<&Value> = match fragment {
            "" if base.is_empty() && self.resources.is_empty() => vec![root],
            "" => bases,
            _ if pointer.starts_with('/') => {
                bases.into_iter().filter_map(|base| base.pointer(&pointer)).collect()
            }
            name => self.named(name).collect(),
        };
        let usable = |value: &&Value| value.is_boolean() || self.index(value).is_some();
        if !found.iter().any(usable) {
            return Err(format!("the reference {:?} leads nowhere in the schema", cut(reference)));
        }
        Ok(found.into_iter().filter_map(|value| self.index(value)).collect())
    }

    /// The subschemas that have a name, which may be written relative to that of another.
    fn named<'n>(&'n self, name: &'n str) -> impl Iterator<Item = &'s Value> + 'n {
        let is_it = move |own: &str| {
            own == name
                || own.strip_suffix(name).is_some_and(|rest| rest.ends_with('/'))
                || name.strip_suffix(own).is_some_and(|rest| rest.ends_with('/'))
        };
        self.names.iter().filter(move |(own, _)| is_it(own)).map(|(_, value)| *value)
    }

    /// The subschemas, each behind all that apply to the same place.
    fn order(&self) -> Result<Vec<usize>, String> {
        const OPEN: u8 = 1;
        const DONE: u8 = 2;
        let mut states = vec![0; self.nodes.len()];
        let mut order = Vec::with_capacity(self.nodes.len());
        for start in 0..self.nodes.len() {
            let mut stack = vec![(start, 0)];
            while let Some((index, at)) = stack.pop() {
                if at == 0 {
                    match states[index] {
                        DONE => continue,
                        OPEN => return Err("the schema refers to itself without an end".to_owned()),
                        _ => states[index] = OPEN,
                    }
                }
                match self.nodes[index].beside.get(at) {
                    Some(next) => stack.extend([(index, at + 1), (*next, 0)]),
                    None => {
                        states[index] = DONE;
                        order.push(index);
                    }
                }
            }
        }
        Ok(order)
    }

    /// How many subschemas apply to one place by each.
    fn breadths(&self, order: &[usize]) -> Result<Vec<u64>, String> {
        let mut breadths = vec![0_u64; self.nodes.len()];
        for index in order {
            let node = &self.nodes[*index];
            let sum =
                node.beside.iter().fold(1, |sum: u64, next| sum.saturating_add(breadths[*next]));
            // Whoever asks what was not evaluated evaluates everything once more.
            let again = node.map.keys().any(|key| key.starts_with("unevaluated"));
            breadths[*index] = if again { sum.saturating_mul(2) } else { sum };
            if breadths[*index] > BREADTH_MAX {
                return Err(format!("more than {BREADTH_MAX} subschemas apply to one place"));
            }
        }
        Ok(breadths)
    }

    fn steps(&self, order: &[usize]) -> Result<Vec<Steps<'s>>, String> {
        let mut all: Vec<Steps<'s>> = vec![HashMap::new(); self.nodes.len()];
        let mut step_count = 0;
        for index in order {
            let node = &self.nodes[*index];
            let mut steps: Steps<'s> = HashMap::new();
            for (step, part) in &node.below {
                *steps.entry(*step).or_default().entry(*part).or_default() += 1;
            }
            for (step, parts) in node.beside.iter().flat_map(|next| &all[*next]) {
                let own = steps.entry(*step).or_default();
                for (part, times) in parts {
                    *own.entry(*part).or_default() += times;
                }
            }
            step_count += steps.values().map(HashMap::len).sum::<usize>();
            if step_count > STEP_COUNT_MAX {
                return Err("the schema refers to too much at once".to_owned());
            }
            all[*index] = steps;
        }
        Ok(all)
    }
}

/// The most subschemas that the first one applies on the way to one place, level by level.
fn count(breadths: &[u64], steps: &[Steps<'_>]) -> [u64; LEVEL_COUNT + 1] {
    let mut counts = [0; LEVEL_COUNT + 1];
    let mut costs = breadths.to_vec();
    counts[0] = costs[0];
    for level in &mut counts[1..] {
        let sum = |parts: Option<&HashMap<usize, u64>>| {
            let products = parts.into_iter().flatten();
            products.fold(0, |sum: u64, (part, times)| {
                sum.saturating_add(times.saturating_mul(costs[*part]))
            })
        };
        let cost = |(breadth, steps): (&u64, &Steps<'_>)| {
            let any = sum(steps.get(&Step::AnyMember));
            let below = steps.iter().map(|(step, parts)| match step {
                Step::Member(_) => sum(Some(parts)).saturating_add(any),
                Step::AnyMember | Step::Element => sum(Some(parts)),
            });
            breadth.saturating_add(below.max().unwrap_or(0))
        };
        let next: Vec<u64> = breadths.iter().zip(steps).map(cost).collect();
        let settled = next == costs;
        costs = next;
        *level = costs[0];
        if settled {
            break;
        }
    }
    fill(counts)
}

/// Repeats the last count on the levels that were not counted, since nothing changes there.
fn fill(mut counts: [u64; LEVEL_COUNT + 1]) -> [u64; LEVEL_COUNT + 1] {
    for level in 1..counts.len() {
        counts[level] = counts[level].max(counts[level - 1]);
    }
    counts
}
