//! Running a compiled expression: the values of a request in, true or false out, at a bounded cost.
//!
//! It keeps to CEL, with two differences that make policies harder to get wrong: numbers of
//! different kinds are calculated with as doubles, since JSON does not tell them apart; and a fault
//! inside a loop ends the loop.

use std::borrow::Cow;
use std::cmp::Ordering;
use std::rc::Rc;

use super::attribute::{Attribute, Facts};
use super::compile::Program;
use super::fuel::{Fault, Fuel};
use super::moment;
use super::node::{Binary, Loop, Node, Unary};
use super::value::Value;

type Found<'a> = Result<Value<'a>, Fault>;

impl Program {
    /// Whether the expression is true of a request.
    ///
    /// # Errors
    ///
    /// [`Fault`] if it is neither true nor false, or costs more than `fuel`.
    pub fn is_true(&self, facts: &dyn Facts, fuel: &mut Fuel) -> Result<bool, Fault> {
        Run { facts, locals: Vec::new(), fuel }.flag(&self.root)
    }
}

struct Run<'a, 'f> {
    facts: &'a dyn Facts,
    /// The variables of the loops that run, innermost last.
    locals: Vec<Value<'a>>,
    fuel: &'f mut Fuel,
}

impl<'a> Run<'a, '_> {
    fn value(&mut self, node: &'a Node) -> Found<'a> {
        self.fuel.burn(1)?;
        match node {
            Node::Constant(value) => Ok(value.lend()),
            Node::Words(words) => Ok(Value::Words(words)),
            Node::Attribute(attribute) => self.attribute(*attribute),
            Node::HasAttribute(attribute) => {
                Ok(Value::Bool(self.facts.attribute(*attribute)?.is_some()))
            }
            Node::Header(name) => {
                let absent = || Fault::wrong(format!("the request has no header {name}"));
                self.facts.header(name).ok_or_else(absent)
            }
            Node::HasHeader(name) => Ok(Value::Bool(self.facts.header(name).is_some())),
            Node::Local(place) | Node::Result(place) => Ok(self.locals[*place].clone()),
            Node::Field(holder, name) => {
                let holder = self.value(holder)?;
                self.under(&holder, name)
            }
            Node::Has(holder, name) => self.has(holder, name),
            Node::List(items) => {
                let items: Result<Vec<_>, Fault> =
                    items.iter().map(|item| self.value(item)).collect();
                Ok(Value::List(Rc::new(items?)))
            }
            Node::Map(entries) => {
                let entries: Result<Vec<_>, Fault> = entries
                    .iter()
                    .map(|(key, value)| Ok((self.value(key)?, self.value(value)?)))
                    .collect();
                Ok(Value::Map(Rc::new(entries?)))
            }
            Node::And(left, right) => self.decide(left, right, false),
            Node::Or(left, right) => self.decide(left, right, true),
            Node::Not(inner) => self.flag(inner).map(|flag| Value::Bool(!flag)),
            Node::Choice(parts) => {
                let [condition, one, other] = &**parts;
                if self.flag(condition)? { self.value(one) } else { self.value(other) }
            }
            Node::Unary(operation, inner) => {
                let value = self.value(inner)?;
                self.unary(*operation, value)
            }
            Node::Binary(operation, left, right) => self.two(*operation, left, right),
            Node::Matches(text, pattern) => match self.value(text)? {
                Value::Text(text) => {
                    // A pattern looks at each byte some times over.
                    self.fuel.burn_text(text.len() * 8)?;
                    Ok(Value::Bool(pattern.is_match(&text)))
                }
                other => Err(misfit("matches", &other)),
            },
            Node::Loop(it) => self.run_loop(it),
        }
    }

    fn flag(&mut self, node: &'a Node) -> Result<bool, Fault> {
        match self.value(node)? {
            Value::Bool(flag) => Ok(flag),
            other => Err(Fault::wrong(format!("{} is neither true nor false", other.a_kind()))),
        }
    }

    fn attribute(&self, attribute: Attribute) -> Found<'a> {
        let absent = || Fault::wrong(format!("the request has no {}", attribute.path()));
        self.facts.attribute(attribute)?.ok_or_else(absent)
    }

    /// Both, or one of two: `word` decides, on whichever side it stands, whatever the other is.
    fn decide(&mut self, left: &'a Node, right: &'a Node, word: bool) -> Found<'a> {
        let first = self.flag(left);
        match first {
            Ok(flag) if flag == word => Ok(Value::Bool(word)),
            Err(Fault::Exhausted) => Err(Fault::Exhausted),
            Ok(_) => self.flag(right).map(Value::Bool),
            Err(fault) => match self.flag(right) {
                Ok(flag) if flag == word => Ok(Value::Bool(word)),
                Err(Fault::Exhausted) => Err(Fault::Exhausted),
                _ => Err(fault),
            },
        }
    }

    fn under(&mut self, holder: &Value<'a>, key: &Value<'_>) -> Found<'a> {
        let found = holder.under(key, self.fuel)?;
        found.ok_or_else(|| match holder.kind() {
            "map" => Fault::wrong(format!("there is no {}", key.to_json())),
            _ => Fault::wrong(format!("{} has no fields", holder.a_kind())),
        })
    }

    fn has(&mut self, holder: &'a Node, name: &Value<'_>) -> Found<'a> {
        let holder = self.value(holder)?;
        match holder.kind() {
            "map" => Ok(Value::Bool(holder.under(name, self.fuel)?.is_some())),
            _ => Err(Fault::wrong(format!("{} has no fields", holder.a_kind()))),
        }
    }

    fn run_loop(&mut self, it: &'a Loop) -> Found<'a> {
        let range = self.value(&it.range)?;
        let count = range.count().ok_or_else(|| misfit("a loop", &range))?;
        let result = self.value(&it.begin)?;
        // A loop that ended at a fault may have left its variables behind.
        self.locals.truncate(it.place);
        self.locals.push(result);
        for place in 0..count {
            let Some(item) = range.step(place) else { break };
            self.locals.push(item);
            if !self.flag(&it.condition)? {
                self.locals.truncate(it.place + 1);
                break;
            }
            let result = self.value(&it.step)?;
            self.locals.truncate(it.place);
            self.locals.push(result);
        }
        let end = self.value(&it.end)?;
        self.locals.truncate(it.place);
        Ok(end)
    }

    fn two(&mut self, operation: Binary, left: &'a Node, right: &'a Node) -> Found<'a> {
        let one = match left {
            // The result of a loop grows in its place: nobody else looks at it.
            Node::Result(place) if operation == Binary::Add => {
                self.fuel.burn(1)?;
                std::mem::replace(&mut self.locals[*place], Value::Null)
            }
            other => self.value(other)?,
        };
        let two = self.value(right)?;
        match operation {
            Binary::Equal => one.equals(&two, self.fuel).map(Value::Bool),
            Binary::Unequal => one.equals(&two, self.fuel).map(|equal| Value::Bool(!equal)),
            Binary::Less | Binary::LessOrEqual | Binary::Greater | Binary::GreaterOrEqual => {
                self.order(operation, &one, &two)
            }
            Binary::In => {
                let found = two.holds(&one, self.fuel)?;
                found.map(Value::Bool).ok_or_else(|| misfit("in", &two))
            }
            Binary::Index => self.index(&one, &two),
            Binary::Contains | Binary::StartsWith | Binary::EndsWith => {
                self.find(operation, &one, &two)
            }
            Binary::Add => self.add(one, two),
            _ => calculate(operation, &one, &two),
        }
    }

    fn order(&mut self, operation: Binary, one: &Value<'_>, two: &Value<'_>) -> Found<'a> {
        if let (Value::Text(one), Value::Text(two)) = (one, two) {
            self.fuel.burn_text(one.len().min(two.len()))?;
        }
        let is_nan = |value: &Value<'_>| matches!(value, Value::Double(number) if number.is_nan());
        let Some(order) = one.compare(two) else {
            // Nothing is larger or smaller than what is no number.
            return match is_nan(one) || is_nan(two) {
                true => Ok(Value::Bool(false)),
                false => Err(misfits("compare", one, two)),
            };
        };
        Ok(Value::Bool(match operation {
            Binary::Less => order == Ordering::Less,
            Binary::LessOrEqual => order != Ordering::Greater,
            Binary::Greater => order == Ordering::Greater,
            _ => order != Ordering::Less,
        }))
    }

    fn index(&mut self, holder: &Value<'a>, key: &Value<'_>) -> Found<'a> {
        if !holder.is_list() {
            return self.under(holder, key);
        }
        let place = match key {
            Value::Double(number) if number.fract() == 0.0 => Some(*number as i128),
            other => other.as_whole(),
        };
        let place = place.ok_or_else(|| misfits("index", holder, key))?;
        let item = usize::try_from(place).ok().and_then(|place| holder.item(place));
        item.ok_or_else(|| Fault::wrong(format!("the list has no place {place}")))
    }

    fn find(&mut self, operation: Binary, one: &Value<'_>, two: &Value<'_>) -> Found<'a> {
        let (Value::Text(text), Value::Text(part)) = (one, two) else {
            return Err(misfits("search", one, two));
        };
        self.fuel.burn_text(text.len())?;
        Ok(Value::Bool(match operation {
            Binary::StartsWith => text.starts_with(part.as_ref()),
            Binary::EndsWith => text.ends_with(part.as_ref()),
            _ => text.contains(part.as_ref()),
        }))
    }

    fn add(&mut self, one: Value<'a>, two: Value<'a>) -> Found<'a> {
        match (one, two) {
            (Value::Text(one), Value::Text(two)) => {
                self.fuel.burn_text((one.len() + two.len()) * 4)?;
                let mut sum = one.into_owned();
                sum.push_str(&two);
                Ok(Value::Text(Cow::Owned(sum)))
            }
            (one, two) if one.is_list() && two.is_list() => self.append(one, &two),
            (one, two) => calculate(Binary::Add, &one, &two),
        }
    }

    fn append(&mut self, one: Value<'a>, two: &Value<'a>) -> Found<'a> {
        let mut sum = match one {
            Value::List(items) if Rc::strong_count(&items) == 1 => items,
            other => {
                let count = other.count().unwrap_or_default();
                self.fuel.burn(count)?;
                Rc::new((0..count).filter_map(|place| other.item(place)).collect())
            }
        };
        let count = two.count().unwrap_or_default();
        self.fuel.burn(count)?;
        let items = Rc::make_mut(&mut sum);
        items.extend((0..count).filter_map(|place| two.item(place)));
        Ok(Value::List(sum))
    }

    fn unary(&mut self, operation: Unary, value: Value<'a>) -> Found<'a> {
        if let Value::Text(text) = &value {
            self.fuel.burn_text(text.len() * 4)?;
        }
        let text = |text: String| Value::Text(Cow::Owned(text));
        let found = match (operation, &value) {
            (Unary::Same, _) => return Ok(value),
            (Unary::Negate, Value::Int(whole)) => whole.checked_neg().map(Value::Int),
            (Unary::Negate, Value::Double(number)) => Some(Value::Double(-number)),
            (Unary::Negate, Value::Span(span)) => span.checked_neg().map(Value::Span),
            (Unary::Size, Value::Text(text)) => Some(whole(text.chars().count())),
            (Unary::Size, other) => other.count().map(whole),
            (Unary::Lower, Value::Text(word)) => Some(text(word.to_ascii_lowercase())),
            (Unary::Upper, Value::Text(word)) => Some(text(word.to_ascii_uppercase())),
            (Unary::Timestamp, Value::Text(text)) => moment::read(text).map(Value::Time),
            (Unary::Timestamp, Value::Int(seconds)) => {
                seconds.checked_mul(1_000_000).map(Value::Time)
            }
            (Unary::Timestamp, Value::Time(_)) | (Unary::Duration, Value::Span(_)) => {
                Some(value.clone())
            }
            (Unary::Duration, Value::Text(text)) => moment::read_span(text).map(Value::Span),
            (Unary::Part(part), Value::Time(at)) => part.of_time(*at).map(Value::Int),
            (Unary::Part(part), Value::Span(span)) => part.of_span(*span).map(Value::Int),
            (Unary::Text, Value::Text(_)) => Some(value.clone()),
            (Unary::Text, other) => written(other).map(text),
            (Unary::Bool, Value::Bool(flag)) => Some(Value::Bool(*flag)),
            (Unary::Bool, Value::Text(text)) => match text.as_ref() {
                "1" | "t" | "T" | "true" | "TRUE" | "True" => Some(Value::Bool(true)),
                "0" | "f" | "F" | "false" | "FALSE" | "False" => Some(Value::Bool(false)),
                _ => None,
            },
            (Unary::Int | Unary::Uint | Unary::Double, other) => number(operation, other),
            _ => None,
        };
        found.ok_or_else(|| misfit(name_of(operation), &value))
    }
}

fn whole(count: usize) -> Value<'static> {
    Value::Int(i64::try_from(count).unwrap_or(i64::MAX))
}

fn name_of(operation: Unary) -> &'static str {
    match operation {
        Unary::Negate => "-",
        Unary::Size => "size",
        Unary::Int => "int",
        Unary::Uint => "uint",
        Unary::Double => "double",
        Unary::Text => "string",
        Unary::Bool => "bool",
        Unary::Timestamp => "timestamp",
        Unary::Duration => "duration",
        Unary::Lower => "lowerAscii",
        Unary::Upper => "upperAscii",
        Unary::Part(_) => "a part of a time",
        Unary::Same => "dyn",
    }
}

/// What a value that is no text is as a text.
fn written(value: &Value<'_>) -> Option<String> {
    match value {
        Value::Bool(flag) => Some(flag.to_string()),
        Value::Int(whole) => Some(whole.to_string()),
        Value::Uint(whole) => Some(whole.to_string()),
        Value::Double(number) => Some(number.to_string()),
        Value::Time(at) => Some(moment::write(*at)),
        Value::Span(span) => Some(moment::write_span(*span)),
        _ => None,
    }
}

/// A value as a number of the kind that is asked for.
fn number(operation: Unary, value: &Value<'_>) -> Option<Value<'static>> {
    let whole = match value {
        Value::Double(number) if operation == Unary::Double => return Some(Value::Double(*number)),
        Value::Text(text) if operation == Unary::Double => {
            return text.parse().ok().map(Value::Double);
        }
        Value::Double(number) if number.is_finite() => Some(number.trunc() as i128),
        Value::Text(text) => text.parse::<i128>().ok(),
        Value::Time(at) => Some(i128::from(at.div_euclid(1_000_000))),
        other => other.as_whole(),
    }?;
    match operation {
        Unary::Int => i64::try_from(whole).ok().map(Value::Int),
        Unary::Uint => u64::try_from(whole).ok().map(Value::Uint),
        _ => Some(Value::Double(whole as f64)),
    }
}

/// Arithmetic on numbers and times.
fn calculate(operation: Binary, one: &Value<'_>, two: &Value<'_>) -> Found<'static> {
    let result = match (one, two) {
        (Value::Int(one), Value::Int(two)) => ints(operation, *one, *two).map(Value::Int),
        (Value::Uint(one), Value::Uint(two)) => uints(operation, *one, *two).map(Value::Uint),
        (Value::Time(at), Value::Span(span)) | (Value::Span(span), Value::Time(at))
            if operation == Binary::Add =>
        {
            at.checked_add(*span).map(Value::Time)
        }
        (Value::Time(at), Value::Span(span)) if operation == Binary::Subtract => {
            at.checked_sub(*span).map(Value::Time)
        }
        (Value::Time(one), Value::Time(two)) if operation == Binary::Subtract => {
            one.checked_sub(*two).map(Value::Span)
        }
        (Value::Span(one), Value::Span(two))
            if matches!(operation, Binary::Add | Binary::Subtract) =>
        {
            ints(operation, *one, *two).map(Value::Span)
        }
        (one, two) => match (one.as_double(), two.as_double()) {
            (Some(one), Some(two)) => doubles(operation, one, two).map(Value::Double),
            _ => return Err(misfits("calculate with", one, two)),
        },
    };
    result.ok_or_else(|| Fault::wrong("a result that no number holds"))
}

fn ints(operation: Binary, one: i64, two: i64) -> Option<i64> {
    match operation {
        Binary::Add => one.checked_add(two),
        Binary::Subtract => one.checked_sub(two),
        Binary::Multiply => one.checked_mul(two),
        Binary::Divide => one.checked_div(two),
        Binary::Remainder => one.checked_rem(two),
        _ => None,
    }
}

fn uints(operation: Binary, one: u64, two: u64) -> Option<u64> {
    match operation {
        Binary::Add => one.checked_add(two),
        Binary::Subtract => one.checked_sub(two),
        Binary::Multiply => one.checked_mul(two),
        Binary::Divide => one.checked_div(two),
        Binary::Remainder => one.checked_rem(two),
        _ => None,
    }
}

fn doubles(operation: Binary, one: f64, two: f64) -> Option<f64> {
    match operation {
        Binary::Add => Some(one + two),
        Binary::Subtract => Some(one - two),
        Binary::Multiply => Some(one * two),
        Binary::Divide => Some(one / two),
        _ => None,
    }
}

fn misfit(name: &str, value: &Value<'_>) -> Fault {
    Fault::wrong(format!("{name} does not fit this {}", value.kind()))
}

fn misfits(verb: &str, one: &Value<'_>, two: &Value<'_>) -> Fault {
    Fault::wrong(format!("cannot {verb} {} and {}", one.a_kind(), two.a_kind()))
}

#[cfg(test)]
mod tests;
