// SPDX-License-Identifier: MIT
//! deno.json text (JSON with comments) as [`Node`]s.
//!
//! Invariant: what Deno reads is read the same way: comments and commas at the end are accepted.

use jsonc_parser::common::{Range, Ranged};
use jsonc_parser::{CollectOptions, ParseOptions, ast, parse_to_ast};

use super::node::{Key, Node, Place, Value};
use super::{Problem, Source};

/// The value of a text; none when it is empty.
pub(super) fn parse(source: &Source) -> Result<Option<Node>, Problem> {
    match parse_to_ast(
        &source.text,
        &CollectOptions::default(),
        &ParseOptions::default(),
    ) {
        Ok(parsed) => Ok(parsed.value.as_ref().map(node)),
        Err(error) => Err(Problem {
            place: place(error.range()),
            message: format!("not readable as JSON: {}", error.kind()),
            hint: None,
            secret: false,
        }),
    }
}

fn place(range: Range) -> Place {
    Place {
        start: range.start,
        end: range.end,
    }
}

fn node(value: &ast::Value<'_>) -> Node {
    let place = place(value.range());
    let value = match value {
        ast::Value::NullKeyword(_) => Value::Null,
        ast::Value::BooleanLit(literal) => Value::Boolean(literal.value),
        ast::Value::NumberLit(literal) => Value::Number(literal.value.to_owned()),
        ast::Value::StringLit(literal) => Value::Text {
            text: literal.value.clone().into_owned(),
            plain: false,
        },
        ast::Value::Array(array) => Value::List(array.elements.iter().map(node).collect()),
        ast::Value::Object(object) => Value::Map(object.properties.iter().map(property).collect()),
    };
    Node { place, value }
}

fn property(property: &ast::ObjectProp<'_>) -> (Key, Node) {
    let range = match &property.name {
        ast::ObjectPropName::String(name) => name.range,
        ast::ObjectPropName::Word(name) => name.range,
    };
    let key = Key {
        place: place(range),
        name: property.name.as_str().to_owned(),
    };
    (key, node(&property.value))
}
