//! A compiled expression: what is left of its text once every name has been found.

use regex::Regex;

use super::attribute::Attribute;
use super::moment::Part;
use super::value::Value;

/// A part of a compiled expression. Names are places, patterns are compiled.
pub enum Node {
    /// A value that stands in the text.
    Constant(Value<'static>),
    /// Something of the request.
    Attribute(Attribute),
    /// One of its header fields.
    Header(&'static str),
    /// Whether it has such a header field.
    HasHeader(&'static str),
    /// A variable of a loop: its place on the stack.
    Local(usize),
    /// The result of a loop so far: its place on the stack.
    Result(usize),
    /// What stands in something under a name.
    Field(Box<Node>, Value<'static>),
    /// Whether something stands in it under a name.
    Has(Box<Node>, Value<'static>),
    /// Whether the request has an attribute.
    HasAttribute(Attribute),
    /// A list of texts that is written down.
    Words(Vec<String>),
    /// A list that is written down.
    List(Vec<Node>),
    /// A map that is written down.
    Map(Vec<(Node, Node)>),
    /// Both.
    And(Box<Node>, Box<Node>),
    /// One of the two.
    Or(Box<Node>, Box<Node>),
    /// Not.
    Not(Box<Node>),
    /// The one if it is so, else the other.
    Choice(Box<[Node; 3]>),
    /// Something of one value.
    Unary(Unary, Box<Node>),
    /// Something of two values.
    Binary(Binary, Box<Node>, Box<Node>),
    /// Whether a text fits a pattern.
    Matches(Box<Node>, Box<Regex>),
    /// A loop over what a list or a map holds.
    Loop(Box<Loop>),
}

/// A loop, as the macros make them.
pub struct Loop {
    /// What it goes over.
    pub range: Node,
    /// What the result is at first.
    pub begin: Node,
    /// Whether to go on.
    pub condition: Node,
    /// What the result becomes.
    pub step: Node,
    /// What is made of the result in the end.
    pub end: Node,
    /// Where the result stands on the stack; the variable stands above it.
    pub place: usize,
}

/// An operation on one value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unary {
    /// Its negative.
    Negate,
    /// How long it is.
    Size,
    /// It as a whole number.
    Int,
    /// It as a whole number that is not negative.
    Uint,
    /// It as a number.
    Double,
    /// It as a text.
    Text,
    /// It as true or false.
    Bool,
    /// The point in time that a text tells.
    Timestamp,
    /// The span that a text tells.
    Duration,
    /// It in small letters, as far as they are of ASCII.
    Lower,
    /// It in capital letters, as far as they are of ASCII.
    Upper,
    /// A part of a time.
    Part(Part),
    /// Itself.
    Same,
}

/// An operation on two values.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Binary {
    /// Their sum, or one behind the other.
    Add,
    /// The difference.
    Subtract,
    /// The product.
    Multiply,
    /// The quotient.
    Divide,
    /// The remainder.
    Remainder,
    /// Whether they are equal.
    Equal,
    /// Whether they are not.
    Unequal,
    /// Whether the first is the smaller.
    Less,
    /// Whether the first is not the larger.
    LessOrEqual,
    /// Whether the first is the larger.
    Greater,
    /// Whether the first is not the smaller.
    GreaterOrEqual,
    /// Whether the second holds the first.
    In,
    /// What the first holds at the second.
    Index,
    /// Whether the second stands somewhere in the first.
    Contains,
    /// Whether the first begins with the second.
    StartsWith,
    /// Whether the first ends with the second.
    EndsWith,
}
