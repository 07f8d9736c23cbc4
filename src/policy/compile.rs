//! Text of CEL to a program: parsed once, every name found, within bounds.
//!
//! The crate `cel` reads the text and expands the macros. What it reads is run by our own
//! evaluator, since the crate's cannot be bounded: it has no count of steps, compiles a pattern for
//! each value, and asks for variables by name.

use std::fmt;
use std::panic::{self, AssertUnwindSafe};

use cel::common::ast::{
    CallExpr, ComprehensionExpr, EntryExpr, Expr, IdedExpr, ListExpr, LiteralValue, MapExpr,
    SelectExpr, operators,
};
use cel::parser::PrattParser;
use regex::RegexBuilder;

use super::attribute::{Attribute, HEADERS, Subject};
use super::moment::Part;
use super::node::{Binary, Loop, Node, Unary};
use super::value::Value;
use crate::limits::{
    POLICY_DEPTH_MAX, POLICY_NODE_COUNT_MAX, POLICY_PATTERN_SIZE_MAX, POLICY_TEXT_SIZE_MAX,
};

/// A compiled expression.
pub struct Program {
    pub(super) root: Node,
    attributes: Vec<Attribute>,
}

/// Why an expression is none.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CompileError(pub(super) String);

impl fmt::Display for CompileError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.0)
    }
}

impl std::error::Error for CompileError {}

type Compiled<T = Node> = Result<T, CompileError>;

fn wrong<T>(text: impl Into<String>) -> Compiled<T> {
    Err(CompileError(text.into()))
}

impl Program {
    /// Compiles an expression.
    ///
    /// # Errors
    ///
    /// [`CompileError`] with what is wrong: the syntax, a name that there is not, or a bound.
    pub fn compile(text: &str) -> Result<Program, CompileError> {
        if text.len() > POLICY_TEXT_SIZE_MAX {
            return wrong(format!("it has more than {POLICY_TEXT_SIZE_MAX} bytes"));
        }
        // A fault of the parser costs the expression, not the shard.
        let parsed = panic::catch_unwind(AssertUnwindSafe(|| parse(text)));
        let parsed = parsed.unwrap_or_else(|_| wrong("it cannot be read"))?;
        let mut compiler = Compiler::default();
        let root = compiler.node(&parsed)?;
        if never_true(&root) {
            return wrong("it is neither true nor false, whatever the request is");
        }
        compiler.attributes.sort_unstable();
        compiler.attributes.dedup();
        Ok(Program { root, attributes: compiler.attributes })
    }

    /// What it names of a request.
    pub fn attributes(&self) -> &[Attribute] {
        &self.attributes
    }

    /// Whether it can be asked about such a thing: it names nothing that only others have.
    pub fn is_about(&self, subject: Subject) -> bool {
        let named = || self.attributes.iter().filter_map(|attribute| attribute.subject());
        named().next().is_none() || named().any(|other| other == subject)
    }
}

/// Whether a value that is written down is neither true nor false.
fn never_true(root: &Node) -> bool {
    match root {
        Node::Constant(value) => !matches!(value, Value::Bool(_)),
        Node::Words(_) | Node::List(_) | Node::Map(_) => true,
        _ => false,
    }
}

fn parse(text: &str) -> Compiled<IdedExpr> {
    let parser = PrattParser::new()
        .max_recursion_depth(POLICY_DEPTH_MAX as u16)
        .max_expression_node_count(POLICY_NODE_COUNT_MAX)
        .error_recovery_limit(1)
        .error_reporting_limit(1);
    parser.parse(text).map_err(|errors| {
        let first = errors.errors.first();
        CompileError(first.map_or_else(|| errors.to_string(), ToString::to_string))
    })
}

#[derive(Default)]
struct Compiler {
    /// The variables in scope, innermost last.
    locals: Vec<String>,
    attributes: Vec<Attribute>,
    node_count: usize,
    depth: usize,
}

impl Compiler {
    fn node(&mut self, expression: &IdedExpr) -> Compiled {
        self.node_count += 1;
        if self.node_count > POLICY_NODE_COUNT_MAX {
            return wrong(format!("it has more than {POLICY_NODE_COUNT_MAX} parts"));
        }
        if self.depth >= POLICY_DEPTH_MAX {
            return wrong(format!("it nests more than {POLICY_DEPTH_MAX} deep"));
        }
        self.depth += 1;
        let node = match &expression.expr {
            Expr::Literal(literal) => constant(literal),
            Expr::Ident(name) => self.name(name),
            Expr::Select(select) => self.select(select),
            Expr::Call(call) => self.call(call),
            Expr::List(list) => self.list(list),
            Expr::Map(map) => self.map(map),
            Expr::Comprehension(comprehension) => self.comprehension(comprehension),
            Expr::Struct(_) => wrong("there are no messages here"),
            Expr::Unspecified => wrong("it is empty"),
        };
        self.depth -= 1;
        node
    }

    fn boxed(&mut self, expression: &IdedExpr) -> Compiled<Box<Node>> {
        self.node(expression).map(Box::new)
    }

    fn name(&mut self, name: &str) -> Compiled {
        if let Some(place) = self.locals.iter().rposition(|local| local == name) {
            // No name that people can write begins like that of a result.
            let is_result = name.starts_with('@');
            return Ok(if is_result { Node::Result(place) } else { Node::Local(place) });
        }
        match Attribute::of_path(name) {
            Some(attribute) => Ok(self.attribute(attribute)),
            None if is_root(name) => {
                wrong(format!("{name} is used by its fields: {}", fields(name)))
            }
            None => wrong(format!("there is no {name}; there are {}", roots())),
        }
    }

    fn attribute(&mut self, attribute: Attribute) -> Node {
        self.attributes.push(attribute);
        Node::Attribute(attribute)
    }

    fn select(&mut self, select: &SelectExpr) -> Compiled {
        if is_headers(&select.operand.expr) {
            let name = header(&select.field)?;
            return Ok(if select.test { Node::HasHeader(name) } else { Node::Header(name) });
        }
        if let Some(root) = self.root(&select.operand.expr) {
            let path = format!("{root}.{}", select.field);
            let Some(attribute) = Attribute::of_path(&path) else {
                return wrong(format!("there is no {path}; there are {}", fields(root)));
            };
            let node = self.attribute(attribute);
            return Ok(if select.test { Node::HasAttribute(attribute) } else { node });
        }
        let (operand, field) = (self.boxed(&select.operand)?, owned_text(&select.field));
        Ok(if select.test { Node::Has(operand, field) } else { Node::Field(operand, field) })
    }

    /// The root that an expression names, if no variable of a loop hides it.
    fn root<'e>(&self, expression: &'e Expr) -> Option<&'e str> {
        let Expr::Ident(name) = expression else { return None };
        (is_root(name) && !self.locals.contains(name)).then_some(name)
    }

    fn list(&mut self, list: &ListExpr) -> Compiled {
        let items: Compiled<Vec<Node>> = list.elements.iter().map(|item| self.node(item)).collect();
        let items = items?;
        let word = |item: &Node| match item {
            Node::Constant(Value::Text(text)) => Some(text.to_string()),
            _ => None,
        };
        let words: Option<Vec<String>> = items.iter().map(word).collect();
        Ok(words.map_or_else(|| Node::List(items), Node::Words))
    }

    fn map(&mut self, map: &MapExpr) -> Compiled {
        let mut entries = Vec::with_capacity(map.entries.len());
        for entry in &map.entries {
            let EntryExpr::MapEntry(entry) = &entry.expr else {
                return wrong("there are no messages here");
            };
            entries.push((self.node(&entry.key)?, self.node(&entry.value)?));
        }
        Ok(Node::Map(entries))
    }

    fn comprehension(&mut self, comprehension: &ComprehensionExpr) -> Compiled {
        if comprehension.iter_var2.is_some() {
            return wrong("a loop has one variable");
        }
        let range = self.node(&comprehension.iter_range)?;
        let begin = self.node(&comprehension.accu_init)?;
        let place = self.locals.len();
        self.locals.push(comprehension.accu_var.clone());
        self.locals.push(comprehension.iter_var.clone());
        let condition = self.node(&comprehension.loop_cond)?;
        let step = self.node(&comprehension.loop_step)?;
        self.locals.pop();
        let end = self.node(&comprehension.result)?;
        self.locals.pop();
        Ok(Node::Loop(Box::new(Loop { range, begin, condition, step, end, place })))
    }

    fn call(&mut self, call: &CallExpr) -> Compiled {
        let name = call.func_name.as_str();
        // A function may stand before its first argument or behind it.
        let arguments: Vec<&IdedExpr> =
            call.target.as_deref().into_iter().chain(&call.args).collect();
        if let [name_or_place, map] = arguments[..]
            && let Some(node) = headers_call(name, name_or_place, map)?
        {
            return Ok(node);
        }
        match arguments[..] {
            [one] if name == operators::LOGICAL_NOT => Ok(Node::Not(self.boxed(one)?)),
            // What `all` and `exists` stop at: nothing of ours is neither true nor false.
            [one] if name == operators::NOT_STRICTLY_FALSE => self.node(one),
            [one] => match unary(name) {
                Some(operation) => Ok(Node::Unary(operation, self.boxed(one)?)),
                None => unknown(name, 1),
            },
            [one, two] => self.two(name, one, two),
            [one, two, three] if name == operators::CONDITIONAL => {
                let parts = [self.node(one)?, self.node(two)?, self.node(three)?];
                Ok(Node::Choice(Box::new(parts)))
            }
            _ => unknown(name, arguments.len()),
        }
    }

    fn two(&mut self, name: &str, one: &IdedExpr, two: &IdedExpr) -> Compiled {
        if name == "matches" {
            let Expr::Literal(LiteralValue::String(pattern)) = &two.expr else {
                return wrong("the pattern of matches must be written down");
            };
            let pattern = pattern_of(pattern.inner())?;
            return Ok(Node::Matches(self.boxed(one)?, Box::new(pattern)));
        }
        let (left, right) = (self.boxed(one)?, self.boxed(two)?);
        match (name, binary(name)) {
            (operators::LOGICAL_AND, _) => Ok(Node::And(left, right)),
            (operators::LOGICAL_OR, _) => Ok(Node::Or(left, right)),
            (_, Some(operation)) => Ok(Node::Binary(operation, left, right)),
            (_, None) => unknown(name, 2),
        }
    }
}

fn unknown<T>(name: &str, count: usize) -> Compiled<T> {
    wrong(format!("there is no {name} of {count} values"))
}

/// What becomes of `request.headers["name"]` and of `"name" in request.headers`.
fn headers_call(name: &str, one: &IdedExpr, two: &IdedExpr) -> Compiled<Option<Node>> {
    let literal = |expression: &IdedExpr| match &expression.expr {
        Expr::Literal(LiteralValue::String(text)) => header(text.inner()),
        _ => wrong("the name of a header must be written down"),
    };
    match name {
        operators::INDEX if is_headers(&one.expr) => literal(two).map(Node::Header).map(Some),
        operators::IN if is_headers(&two.expr) => literal(one).map(Node::HasHeader).map(Some),
        _ => Ok(None),
    }
}

fn is_headers(expression: &Expr) -> bool {
    let Expr::Select(select) = expression else { return false };
    let is_request = matches!(&select.operand.expr, Expr::Ident(name) if name == "request");
    is_request && select.field == "headers" && !select.test
}

fn header(name: &str) -> Compiled<&'static str> {
    // A field name has dashes, which a field of CEL cannot be written with.
    let name = name.to_ascii_lowercase().replace('_', "-");
    match HEADERS.into_iter().find(|header| *header == name) {
        Some(header) => Ok(header),
        None => {
            let all = HEADERS.join(", ");
            wrong(format!("the header {name} cannot be used in a policy; these can: {all}"))
        }
    }
}

fn is_root(name: &str) -> bool {
    Attribute::ALL.iter().any(|attribute| attribute.root() == name && attribute.path() != name)
}

fn fields(root: &str) -> String {
    let of_root = |attribute: &&Attribute| attribute.root() == root;
    let mut paths: Vec<_> =
        Attribute::ALL.iter().filter(of_root).map(|attribute| attribute.path()).collect();
    if root == "request" {
        paths.push("request.headers");
    }
    paths.join(", ")
}

fn roots() -> String {
    let mut roots: Vec<_> = Attribute::ALL.iter().map(|attribute| attribute.root()).collect();
    roots.dedup();
    roots.join(", ")
}

fn owned_text(text: &str) -> Value<'static> {
    Value::Text(text.to_owned().into())
}

fn constant(literal: &LiteralValue) -> Compiled {
    Ok(Node::Constant(match literal {
        LiteralValue::Boolean(flag) => Value::Bool(*flag.inner()),
        LiteralValue::Double(number) => Value::Double(*number.inner()),
        LiteralValue::Int(whole) => Value::Int(*whole.inner()),
        LiteralValue::UInt(whole) => Value::Uint(*whole.inner()),
        LiteralValue::Null => Value::Null,
        LiteralValue::String(text) => owned_text(text.inner()),
        LiteralValue::Bytes(_) => return wrong("there are no bytes here"),
    }))
}

fn pattern_of(pattern: &str) -> Compiled<regex::Regex> {
    let built = RegexBuilder::new(pattern)
        .size_limit(POLICY_PATTERN_SIZE_MAX)
        .dfa_size_limit(POLICY_PATTERN_SIZE_MAX)
        .nest_limit(POLICY_DEPTH_MAX as u32)
        .build();
    built.map_err(|error| CompileError(format!("the pattern {pattern:?}: {error}")))
}

fn unary(name: &str) -> Option<Unary> {
    Some(match name {
        operators::NEGATE => Unary::Negate,
        "size" => Unary::Size,
        "int" => Unary::Int,
        "uint" => Unary::Uint,
        "double" => Unary::Double,
        "string" => Unary::Text,
        "bool" => Unary::Bool,
        "timestamp" => Unary::Timestamp,
        "duration" => Unary::Duration,
        "lowerAscii" => Unary::Lower,
        "upperAscii" => Unary::Upper,
        "dyn" => Unary::Same,
        _ => return Part::of_function(name).map(Unary::Part),
    })
}

fn binary(name: &str) -> Option<Binary> {
    Some(match name {
        operators::ADD => Binary::Add,
        operators::SUBSTRACT => Binary::Subtract,
        operators::MULTIPLY => Binary::Multiply,
        operators::DIVIDE => Binary::Divide,
        operators::MODULO => Binary::Remainder,
        operators::EQUALS => Binary::Equal,
        operators::NOT_EQUALS => Binary::Unequal,
        operators::LESS => Binary::Less,
        operators::LESS_EQUALS => Binary::LessOrEqual,
        operators::GREATER => Binary::Greater,
        operators::GREATER_EQUALS => Binary::GreaterOrEqual,
        operators::IN => Binary::In,
        operators::INDEX => Binary::Index,
        "contains" => Binary::Contains,
        "startsWith" => Binary::StartsWith,
        "endsWith" => Binary::EndsWith,
        _ => return None,
    })
}
