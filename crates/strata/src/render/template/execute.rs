//! Running a template.

use super::parse::{At, Command, Node, Operand, Pipeline};
use super::{Mode, TemplateError, functions, value};
use serde_json::Value;
use std::collections::BTreeMap;

/// Templates that call each other deeper than this call themselves.
const MAX_DEPTH: usize = 200;

type Defined = BTreeMap<String, Vec<Node>>;

pub(super) fn run(
    root: &[Node],
    defined: &Defined,
    data: &Value,
    mode: Mode,
) -> Result<String, TemplateError> {
    let mut state = State {
        defined,
        mode,
        out: String::new(),
        variables: vec![(String::new(), data.clone())],
        depth: 0,
        line: 1,
    };
    state.list(root, data)?;
    Ok(state.out)
}

/// How a list of nodes ended.
enum Flow {
    Next,
    Break,
    Continue,
}

struct State<'a> {
    defined: &'a Defined,
    mode: Mode,
    out: String,
    /// Innermost last; `$` alone is the first.
    variables: Vec<(String, Value)>,
    depth: usize,
    line: usize,
}

impl State<'_> {
    fn list(&mut self, nodes: &[Node], dot: &Value) -> Result<Flow, TemplateError> {
        let scope = self.variables.len();
        for node in nodes {
            match self.node(node, dot)? {
                Flow::Next => {}
                flow => {
                    self.variables.truncate(scope);
                    return Ok(flow);
                }
            }
        }
        self.variables.truncate(scope);
        Ok(Flow::Next)
    }

    fn node(&mut self, node: &Node, dot: &Value) -> Result<Flow, TemplateError> {
        match node {
            Node::Text(text) => self.out.push_str(text),
            Node::Print(pipeline, line) => {
                self.line = *line;
                let result = self.pipeline(pipeline, dot)?;
                if pipeline.variables.is_empty() {
                    self.out.push_str(&printed(pipeline, &result));
                }
            }
            Node::If { condition, then, otherwise, line } => {
                self.line = *line;
                let scope = self.variables.len();
                let holds = value::truth(&self.pipeline(condition, dot)?);
                let flow = self.list(if holds { then } else { otherwise }, dot);
                self.variables.truncate(scope);
                return flow;
            }
            Node::With { subject, then, otherwise, line } => {
                self.line = *line;
                let scope = self.variables.len();
                let subject = self.pipeline(subject, dot)?;
                let flow = if value::truth(&subject) {
                    self.list(then, &subject)
                } else {
                    self.list(otherwise, dot)
                };
                self.variables.truncate(scope);
                return flow;
            }
            Node::Range { subject, body, otherwise, line } => {
                self.line = *line;
                return self.range(subject, body, otherwise, dot);
            }
            Node::Template { name, argument, at } => {
                self.call_template(name, argument.as_ref(), at, dot)?;
            }
            Node::Break => return Ok(Flow::Break),
            Node::Continue => return Ok(Flow::Continue),
        }
        Ok(Flow::Next)
    }

    fn range(
        &mut self,
        subject: &Pipeline,
        body: &[Node],
        otherwise: &[Node],
        dot: &Value,
    ) -> Result<Flow, TemplateError> {
        let scope = self.variables.len();
        let bare = Pipeline { variables: Vec::new(), ..subject.clone() };
        let entries: Vec<(Value, Value)> = match self.pipeline(&bare, dot)? {
            Value::Array(items) => {
                items.into_iter().enumerate().map(|(i, item)| (Value::from(i), item)).collect()
            }
            Value::Object(fields) => {
                let sorted: BTreeMap<String, Value> = fields.into_iter().collect();
                sorted.into_iter().map(|(key, item)| (Value::from(key), item)).collect()
            }
            Value::Number(number) if number.as_u64().is_some() => {
                (0..number.as_u64().unwrap_or(0)).map(|n| (Value::from(n), Value::from(n))).collect()
            }
            Value::Null => Vec::new(),
            other => {
                let at = subject.commands.last().map(|command| &command.at);
                return Err(failed(at, format!("range can't iterate over {}", value::print(&other))));
            }
        };
        if entries.is_empty() {
            return self.list(otherwise, dot);
        }
        for (key, item) in entries {
            match &subject.variables[..] {
                [] => {}
                [element] => self.variables.push((element.clone(), item.clone())),
                [index, element, ..] => {
                    self.variables.push((index.clone(), key));
                    self.variables.push((element.clone(), item.clone()));
                }
            }
            let flow = self.list(body, &item);
            self.variables.truncate(scope);
            if matches!(flow?, Flow::Break) {
                break;
            }
        }
        Ok(Flow::Next)
    }

    fn call_template(
        &mut self,
        name: &str,
        argument: Option<&Pipeline>,
        at: &At,
        dot: &Value,
    ) -> Result<(), TemplateError> {
        let Some(body) = self.defined.get(name) else {
            return Err(failed(Some(at), format!("template {name:?} not defined")));
        };
        if self.depth == MAX_DEPTH {
            return Err(failed(Some(at), "exceeded maximum template depth"));
        }
        let argument =
            argument.map(|pipeline| self.pipeline(pipeline, dot)).transpose()?.unwrap_or(Value::Null);
        let outer = std::mem::replace(&mut self.variables, vec![(String::new(), argument.clone())]);
        self.depth += 1;
        let outcome = self.list(body, &argument);
        self.depth -= 1;
        self.variables = outer;
        outcome.map(|_| ())
    }

    fn pipeline(&mut self, pipeline: &Pipeline, dot: &Value) -> Result<Value, TemplateError> {
        let mut result = None;
        for command in &pipeline.commands {
            result = Some(self.command(command, result, dot)?);
        }
        let result = result.unwrap_or(Value::Null);
        if let [name] = &pipeline.variables[..] {
            let old = self.variables.iter_mut().rev().find(|(have, _)| have == name);
            match old {
                Some((_, slot)) if !pipeline.declares => *slot = result.clone(),
                None if !pipeline.declares => {
                    return Err(TemplateError::at_line(self.line, format!("undefined variable \"${name}\"")));
                }
                _ => self.variables.push((name.clone(), result.clone())),
            }
        }
        Ok(result)
    }

    fn command(
        &mut self,
        command: &Command,
        piped: Option<Value>,
        dot: &Value,
    ) -> Result<Value, TemplateError> {
        let at = &command.at;
        let Some((first, rest)) = command.operands.split_first() else { return Ok(Value::Null) };
        let Operand::Function(name) = first else {
            if let Some(extra) = rest.first() {
                // Methods are functions of the value: `.Label "k"` is the only one that lists have.
                return self.method(first, extra, dot, at);
            }
            if piped.is_some() {
                return Err(failed(Some(at), "can't give argument to non-function"));
            }
            return self.operand(first, dot, at);
        };
        // `and` and `or` stop at the first argument that decides.
        if matches!(name.as_str(), "and" | "or") {
            return self.connective(name == "or", rest, piped, dot, at);
        }
        let mut arguments = Vec::with_capacity(rest.len() + 1);
        for operand in rest {
            arguments.push(self.operand(operand, dot, at)?);
        }
        arguments.extend(piped);
        functions::call(name, &arguments, self.mode)
            .map_err(|what| failed(Some(at), format!("error calling {name}: {what}")))
    }

    fn connective(
        &mut self,
        stop_at: bool,
        operands: &[Operand],
        piped: Option<Value>,
        dot: &Value,
        at: &At,
    ) -> Result<Value, TemplateError> {
        let mut last = None;
        for operand in operands {
            let value = self.operand(operand, dot, at)?;
            if value::truth(&value) == stop_at {
                return Ok(value);
            }
            last = Some(value);
        }
        piped.or(last).ok_or_else(|| failed(Some(at), "wrong number of args: want at least 1 got 0"))
    }

    fn method(
        &mut self,
        receiver: &Operand,
        argument: &Operand,
        dot: &Value,
        at: &At,
    ) -> Result<Value, TemplateError> {
        let key = self.operand(argument, dot, at)?;
        match (receiver, &key) {
            (Operand::Field(path, _), Value::String(key))
                if path.last().is_some_and(|name| name == "Label") =>
            {
                if self.mode == Mode::Header {
                    // As Docker names the column: the part after the last dot, separators as blanks.
                    let name = key.rsplit('.').next().unwrap_or(key);
                    return Ok(Value::from(name.replace(['-', '_'], " ")));
                }
                let labels = dot.get("Labels").and_then(Value::as_str).unwrap_or_default();
                let found =
                    labels.split(',').find_map(|label| label.split_once('=').filter(|(name, _)| name == key));
                Ok(Value::from(found.map(|(_, value)| value).unwrap_or_default()))
            }
            _ => Err(failed(Some(at), "is not a method but has arguments")),
        }
    }

    fn operand(&mut self, operand: &Operand, dot: &Value, at: &At) -> Result<Value, TemplateError> {
        match operand {
            Operand::Nil => Ok(Value::Null),
            Operand::Boolean(value) => Ok(Value::from(*value)),
            Operand::Integer(value) => Ok(Value::from(*value)),
            Operand::Float(value) => Ok(Value::from(*value)),
            Operand::Text(text) => Ok(Value::from(text.as_str())),
            Operand::Field(path, at) => self.field(dot, path, at),
            Operand::Variable(name, path, at) => {
                let base = if name.is_empty() {
                    self.variables.first()
                } else {
                    self.variables.iter().rev().find(|(have, _)| have == name)
                };
                let Some((_, base)) = base else {
                    return Err(TemplateError::at_line(self.line, format!("undefined variable \"${name}\"")));
                };
                let base = base.clone();
                self.field(&base, path, at)
            }
            Operand::Function(name) => functions::call(name, &[], self.mode)
                .map_err(|what| failed(Some(at), format!("error calling {name}: {what}"))),
            Operand::Parenthesis(pipeline, path, at) => {
                let base = self.pipeline(pipeline, dot)?;
                self.field(&base, path, at)
            }
        }
    }

    fn field(&self, base: &Value, path: &[String], at: &At) -> Result<Value, TemplateError> {
        let mut value = base;
        for name in path {
            value = match value {
                Value::Object(fields) => match fields.get(name) {
                    Some(value) => value,
                    None if self.mode == Mode::Document && left_out(fields, name) => &Value::Null,
                    None if self.mode == Mode::Document => {
                        return Err(failed(Some(at), format!("map has no entry for key {name:?}")));
                    }
                    None => return Err(failed(Some(at), format!("can't evaluate field {name}"))),
                },
                Value::Null => {
                    return Err(failed(Some(at), format!("nil pointer evaluating interface {{}}.{name}")));
                }
                _ => {
                    return Err(failed(
                        Some(at),
                        format!("can't evaluate field {name} in type interface {{}}"),
                    ));
                }
            };
        }
        Ok(value.clone())
    }
}

/// Go's sentence: where, and what the mistake is in.
fn failed(at: Option<&At>, what: impl std::fmt::Display) -> TemplateError {
    let (place, text) = at.map(|at| (at.place, at.text.as_str())).unwrap_or_default();
    TemplateError(format!("template: :{}:{}: executing \"\" at <{text}>: {what}", place.line, place.column))
}

/// Fields of Docker's types that its JSON leaves out when they are empty; templates see them all the same.
fn left_out(fields: &serde_json::Map<String, Value>, name: &str) -> bool {
    if fields.contains_key("Cmd") && fields.contains_key("Env") {
        return matches!(
            name,
            "ExposedPorts" | "Healthcheck" | "Shell" | "StopSignal" | "StopTimeout" | "Volumes" | "Labels"
        );
    }
    name == "Health" && fields.contains_key("Running") || name == "Layers" && value::is_root_fs(fields)
}

/// Go prints a nil list as `[]` and a nil map as `map[]`; JSON has null for both. Docker's names tell.
fn printed(pipeline: &Pipeline, result: &Value) -> String {
    let name = match (&pipeline.commands[..], result) {
        ([Command { operands, .. }], Value::Null) => match &operands[..] {
            [Operand::Field(path, _) | Operand::Variable(_, path, _) | Operand::Parenthesis(_, path, _)] => {
                path.last()
            }
            _ => None,
        },
        _ => None,
    };
    match name.map(String::as_str) {
        Some(
            "Cmd" | "Entrypoint" | "Env" | "OnBuild" | "Shell" | "RepoTags" | "RepoDigests" | "Layers"
            | "Mounts",
        ) => "[]".to_owned(),
        Some("StopSignal") => String::new(),
        Some("Labels" | "Volumes" | "ExposedPorts" | "Ports" | "Networks") => "map[]".to_owned(),
        _ => value::print(result),
    }
}
