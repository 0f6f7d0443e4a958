//! Tokens to a tree.

use super::TemplateError;
use super::functions;
use super::lex::{Piece, Place, Placed, Token};
use std::collections::BTreeMap;

/// A node of the template.
#[derive(Clone, Debug)]
pub(super) enum Node {
    Text(String),
    /// `{{pipeline}}`; a declaration prints nothing.
    Print(Pipeline, usize),
    If {
        condition: Pipeline,
        then: Vec<Node>,
        otherwise: Vec<Node>,
        line: usize,
    },
    With {
        subject: Pipeline,
        then: Vec<Node>,
        otherwise: Vec<Node>,
        line: usize,
    },
    Range {
        subject: Pipeline,
        body: Vec<Node>,
        otherwise: Vec<Node>,
        line: usize,
    },
    /// `{{template "name" pipeline}}`, and `block` after its definition.
    Template {
        name: String,
        argument: Option<Pipeline>,
        at: At,
    },
    Break,
    Continue,
}

/// `$a, $b := first | second`.
#[derive(Clone, Debug)]
pub(super) struct Pipeline {
    /// Variables it sets; two only in `range`.
    pub(super) variables: Vec<String>,
    /// `:=` makes new ones, `=` sets old ones.
    pub(super) declares: bool,
    pub(super) commands: Vec<Command>,
}

/// A function and its arguments, or one operand alone.
#[derive(Clone, Debug)]
pub(super) struct Command {
    pub(super) operands: Vec<Operand>,
    pub(super) at: At,
}

/// What a message points at: as written, and where.
#[derive(Clone, Debug)]
pub(super) struct At {
    pub(super) text: String,
    pub(super) place: Place,
}

/// Something that has a value.
#[derive(Clone, Debug)]
pub(super) enum Operand {
    Nil,
    Boolean(bool),
    Integer(i64),
    Float(f64),
    Text(String),
    /// `.A.B`; empty: the dot.
    Field(Vec<String>, At),
    /// `$x.A.B`.
    Variable(String, Vec<String>, At),
    Function(String),
    /// `(pipeline).A.B`
    Parenthesis(Box<Pipeline>, Vec<String>, At),
}

pub(super) struct Parsed {
    pub(super) root: Vec<Node>,
    pub(super) defined: BTreeMap<String, Vec<Node>>,
}

pub(super) fn parse(pieces: Vec<Piece>) -> Result<Parsed, TemplateError> {
    let mut parser = Parser { pieces: pieces.into_iter(), defined: BTreeMap::new(), line: 1, loops: 0 };
    let (root, end) = parser.list()?;
    match end {
        End::Input => Ok(Parsed { root, defined: parser.defined }),
        End::Else(_) => Err(TemplateError::at_line(parser.line, "unexpected {{else}}")),
        End::Closed => Err(TemplateError::at_line(parser.line, "unexpected {{end}}")),
    }
}

/// What ended a list of nodes.
enum End {
    Input,
    /// `{{end}}`
    Closed,
    /// With what follows the word: `if x` of `{{else if x}}`.
    Else(Vec<Placed>),
}

struct Parser {
    pieces: std::vec::IntoIter<Piece>,
    defined: BTreeMap<String, Vec<Node>>,
    line: usize,
    loops: usize,
}

impl Parser {
    fn list(&mut self) -> Result<(Vec<Node>, End), TemplateError> {
        let mut nodes = Vec::new();
        while let Some(piece) = self.pieces.next() {
            match piece {
                Piece::Text(text) => nodes.push(Node::Text(text)),
                Piece::Action { tokens, line } => {
                    self.line = line;
                    let (keyword, rest) = split_keyword(&tokens);
                    match keyword {
                        "end" => return Ok((nodes, End::Closed)),
                        "else" => return Ok((nodes, End::Else(rest.to_vec()))),
                        "define" => self.define(rest)?,
                        _ => nodes.push(self.action(keyword, rest, &tokens)?),
                    }
                }
            }
        }
        Ok((nodes, End::Input))
    }

    fn action(&mut self, keyword: &str, rest: &[Placed], all: &[Placed]) -> Result<Node, TemplateError> {
        let line = self.line;
        match keyword {
            "if" | "with" | "range" => self.control(keyword, rest),
            "template" | "block" => {
                let (name, argument, at) = self.named(keyword, rest)?;
                if keyword == "block" {
                    let body = self.body(keyword)?;
                    self.defined.entry(name.clone()).or_insert(body);
                }
                Ok(Node::Template { name, argument, at })
            }
            "break" | "continue" if self.loops == 0 => {
                Err(TemplateError::at_line(line, format!("{{{{{keyword}}}}} outside {{{{range}}}}")))
            }
            "break" => Ok(Node::Break),
            "continue" => Ok(Node::Continue),
            _ => Ok(Node::Print(self.pipeline(all, "command")?, line)),
        }
    }

    fn control(&mut self, keyword: &str, rest: &[Placed]) -> Result<Node, TemplateError> {
        let line = self.line;
        let subject = self.pipeline(rest, keyword)?;
        self.loops += usize::from(keyword == "range");
        let (then, end) = self.list()?;
        self.loops -= usize::from(keyword == "range");
        let otherwise = match end {
            End::Closed => Vec::new(),
            End::Input => return Err(TemplateError::at_line(self.line, "unexpected EOF")),
            // `{{else if x}}` is an if inside the else, and shares its end.
            End::Else(tokens) => match split_keyword(trimmed(&tokens)) {
                (chained @ ("if" | "with"), rest) => vec![self.control(chained, rest)?],
                _ => self.body(keyword)?,
            },
        };
        Ok(match keyword {
            "if" => Node::If { condition: subject, then, otherwise, line },
            "with" => Node::With { subject, then, otherwise, line },
            _ => Node::Range { subject, body: then, otherwise, line },
        })
    }

    /// Nodes up to `{{end}}`.
    fn body(&mut self, keyword: &str) -> Result<Vec<Node>, TemplateError> {
        match self.list()? {
            (nodes, End::Closed) => Ok(nodes),
            (_, End::Else(_)) => {
                Err(TemplateError::at_line(self.line, format!("unexpected {{{{else}}}} in {keyword}")))
            }
            (_, End::Input) => Err(TemplateError::at_line(self.line, "unexpected EOF")),
        }
    }

    fn define(&mut self, rest: &[Placed]) -> Result<(), TemplateError> {
        let (name, ..) = self.named("define", rest)?;
        let body = self.body("define")?;
        self.defined.insert(name, body);
        Ok(())
    }

    /// The name in `{{template "name" pipeline}}`, and the pipeline.
    fn named(&self, keyword: &str, rest: &[Placed]) -> Result<(String, Option<Pipeline>, At), TemplateError> {
        let rest = trimmed(rest);
        let Some(Placed { token: Token::Text(name), place }) = rest.first() else {
            return Err(TemplateError::at_line(self.line, format!("missing name in {keyword} clause")));
        };
        let argument = trimmed(&rest[1..]);
        let at = At { text: format!("{{{{template {}}}}}", written(rest)), place: *place };
        let argument = if argument.is_empty() { None } else { Some(self.pipeline(argument, keyword)?) };
        Ok((name.clone(), argument, at))
    }

    fn pipeline(&self, tokens: &[Placed], context: &str) -> Result<Pipeline, TemplateError> {
        let mut cursor = Cursor { tokens, at: 0, line: self.line };
        let pipeline = cursor.pipeline(context)?;
        match cursor.peek() {
            None => Ok(pipeline),
            Some(Token::Close) => Err(TemplateError::at_line(self.line, "unexpected right paren")),
            Some(token) => {
                Err(TemplateError::at_line(self.line, format!("unexpected {} in {context}", show(token))))
            }
        }
    }
}

/// The first word of an action, when there is one, and what follows.
fn split_keyword(tokens: &[Placed]) -> (&str, &[Placed]) {
    match tokens {
        [Placed { token: Token::Word(word), .. }, rest @ ..] => (word, rest),
        _ => ("", tokens),
    }
}

fn trimmed(tokens: &[Placed]) -> &[Placed] {
    let is_blank = |placed: &&Placed| placed.token == Token::Blank;
    let start = tokens.iter().take_while(is_blank).count();
    let end = tokens.iter().rev().take_while(is_blank).count();
    if start == tokens.len() { &[] } else { &tokens[start..tokens.len() - end] }
}

/// Tokens as they were written.
fn written(tokens: &[Placed]) -> String {
    trimmed(tokens).iter().map(|placed| show(&placed.token)).collect()
}

struct Cursor<'a> {
    tokens: &'a [Placed],
    at: usize,
    line: usize,
}

impl Cursor<'_> {
    fn peek(&self) -> Option<&Token> {
        self.tokens.get(self.at).map(|placed| &placed.token)
    }

    /// What stands between `start` and here, with the place of the token at `at`.
    fn written(&self, start: usize, at: usize) -> At {
        let place = self.tokens.get(at).map(|placed| placed.place).unwrap_or_default();
        At { text: written(&self.tokens[start..self.at]), place }
    }

    fn blanks(&mut self) {
        while self.peek() == Some(&Token::Blank) {
            self.at += 1;
        }
    }

    fn error(&self, what: impl std::fmt::Display) -> TemplateError {
        TemplateError::at_line(self.line, what)
    }

    fn pipeline(&mut self, context: &str) -> Result<Pipeline, TemplateError> {
        let (variables, declares) = self.declaration();
        let mut commands = Vec::new();
        loop {
            commands.push(self.command(context)?);
            self.blanks();
            if self.peek() != Some(&Token::Pipe) {
                break;
            }
            self.at += 1;
        }
        Ok(Pipeline { variables, declares, commands })
    }

    /// `$x :=`, `$x =`, `$i, $e :=`; nothing is consumed when there is none.
    fn declaration(&mut self) -> (Vec<String>, bool) {
        let start = self.at;
        let mut variables = Vec::new();
        loop {
            self.blanks();
            let Some(Token::Variable(name)) = self.peek() else { break };
            variables.push(name.clone());
            self.at += 1;
            self.blanks();
            match self.peek() {
                Some(Token::Comma) => self.at += 1,
                Some(token @ (Token::Declare | Token::Assign)) => {
                    let declares = *token == Token::Declare;
                    self.at += 1;
                    return (variables, declares);
                }
                _ => break,
            }
        }
        self.at = start;
        (Vec::new(), false)
    }

    fn command(&mut self, context: &str) -> Result<Command, TemplateError> {
        let mut operands = Vec::new();
        self.blanks();
        let start = self.at;
        loop {
            self.blanks();
            match self.peek() {
                None | Some(Token::Pipe | Token::Close) => break,
                Some(_) => operands.push(self.operand(context)?),
            }
        }
        if operands.is_empty() {
            return Err(self.error(format!("missing value for {context}")));
        }
        Ok(Command { operands, at: self.written(start, start) })
    }

    fn operand(&mut self, context: &str) -> Result<Operand, TemplateError> {
        let token = self.peek().cloned();
        let start = self.at;
        self.at += 1;
        let operand = match token {
            Some(Token::Dot) => Operand::Field(Vec::new(), self.written(start, start)),
            Some(Token::Field(_)) => {
                self.at -= 1;
                let path = self.chain();
                // Go joins further names to the first one, and then points at the second.
                let at = if path.len() > 1 { start + 1 } else { start };
                Operand::Field(path, self.written(start, at))
            }
            Some(Token::Variable(name)) => {
                let path = self.chain();
                let at = if path.is_empty() { start } else { start + 1 };
                Operand::Variable(name, path, self.written(start, at))
            }
            Some(Token::Text(text)) => Operand::Text(text),
            Some(Token::Integer(value)) => Operand::Integer(value),
            Some(Token::Float(value)) => Operand::Float(value),
            Some(Token::Word(word)) => match word.as_str() {
                "nil" => Operand::Nil,
                "true" => Operand::Boolean(true),
                "false" => Operand::Boolean(false),
                name if functions::exists(name) => Operand::Function(word),
                name => return Err(self.error(format!("function {name:?} not defined"))),
            },
            Some(Token::Open) => {
                let inner = self.pipeline("parenthesized pipeline")?;
                self.blanks();
                if self.peek() != Some(&Token::Close) {
                    return Err(self.error("unclosed left paren"));
                }
                self.at += 1;
                let fields = self.at;
                let path = self.chain();
                Operand::Parenthesis(Box::new(inner), path, self.written(start, fields))
            }
            Some(token) => return Err(self.error(format!("unexpected {} in {context}", show(&token)))),
            None => return Err(self.error(format!("missing value for {context}"))),
        };
        Ok(operand)
    }

    /// `.A.B` glued to what came before.
    fn chain(&mut self) -> Vec<String> {
        let mut names = Vec::new();
        while let Some(Token::Field(name)) = self.peek() {
            names.push(name.clone());
            self.at += 1;
        }
        names
    }
}

/// A token as it was written, for messages.
fn show(token: &Token) -> String {
    match token {
        Token::Field(name) => format!(".{name}"),
        Token::Dot => ".".to_owned(),
        Token::Variable(name) => format!("${name}"),
        Token::Word(word) => word.clone(),
        Token::Text(text) => format!("{text:?}"),
        Token::Integer(value) => value.to_string(),
        Token::Float(value) => value.to_string(),
        Token::Pipe => "|".to_owned(),
        Token::Comma => ",".to_owned(),
        Token::Declare => ":=".to_owned(),
        Token::Assign => "=".to_owned(),
        Token::Open => "(".to_owned(),
        Token::Close => ")".to_owned(),
        Token::Blank => " ".to_owned(),
    }
}
