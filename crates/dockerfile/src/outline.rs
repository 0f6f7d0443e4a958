//! What a Dockerfile offers its user: targets, build arguments, secrets, agents, caches (`--call=outline|targets`).
//!
//! Descriptions are the comments directly above: `# NAME text` (`spec/build.md` 1.1).

#[cfg(test)]
mod tests;

use crate::{ArgDeclaration, Command, Dockerfile, Instruction, Mount, MountKind, Span, Stage, expand};
use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};

/// A stage that can be built by name, or the last one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// Its name, if it has one.
    pub name: Option<String>,
    /// Built when no target is given.
    pub default: bool,
    /// From the comment above.
    pub description: Option<String>,
    /// What it stands on, as written.
    pub base: String,
    /// `--platform`, as written.
    pub platform: Option<String>,
    /// Its FROM.
    pub span: Span,
}

/// A build argument.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Argument {
    /// Name.
    pub name: String,
    /// From the comment above.
    pub description: Option<String>,
    /// The value given, or the default.
    pub value: Option<String>,
    /// Its ARG.
    pub span: Span,
}

/// A secret, an SSH agent or a cache that a RUN mounts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Resource {
    /// Its id.
    pub id: String,
    /// The build fails without it.
    pub required: bool,
    /// The RUN.
    pub span: Span,
}

/// What can be given to the build of a target.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Outline {
    /// The target's name.
    pub name: Option<String>,
    /// Its description.
    pub description: Option<String>,
    /// In the order of the file.
    pub arguments: Vec<Argument>,
    /// `--secret`.
    pub secrets: Vec<Resource>,
    /// `--ssh`.
    pub ssh: Vec<Resource>,
    /// Cache mounts.
    pub caches: Vec<Resource>,
}

/// All stages.
pub fn targets(file: &Dockerfile) -> Vec<Target> {
    let last = file.stages.len().saturating_sub(1);
    let stages = file.stages.iter().enumerate();
    stages
        .map(|(index, stage)| Target {
            name: stage.name.as_ref().map(|name| name.text.clone()),
            default: index == last,
            description: stage.description().map(str::to_owned),
            base: stage.base.text.clone(),
            platform: stage.platform.as_ref().map(|platform| platform.text.clone()),
            span: stage.span,
        })
        .collect()
}

/// The outline of a target (the last stage if `None`); `None` if there is no such stage.
pub fn outline(file: &Dockerfile, target: Option<&str>, given: &BTreeMap<String, String>) -> Option<Outline> {
    let index = match target {
        None => file.stages.len().checked_sub(1)?,
        Some(name) => stage_index(file, name, file.stages.len())?,
    };
    let stage = &file.stages[index];
    let mut outline = Outline {
        name: stage.name.as_ref().map(|name| name.text.clone()),
        description: stage.description().map(str::to_owned),
        ..Outline::default()
    };
    let mut reader =
        Reader { file, given, known: BTreeMap::new(), globals: Vec::new(), outline: &mut outline };
    file.global_args.iter().for_each(|instruction| reader.global(instruction));
    for index in needed(file, index) {
        let stage = &file.stages[index];
        for word in std::iter::once(&stage.base).chain(&stage.platform) {
            let (_, names) = reader.expand(&word.text);
            names.iter().for_each(|name| reader.bring_in(name));
        }
        for instruction in &stage.instructions {
            reader.instruction(instruction);
        }
    }
    outline.arguments.sort_by_key(|argument| argument.span.start);
    Some(outline)
}

/// The nearest stage before `end` of that name or number.
fn stage_index(file: &Dockerfile, name: &str, end: usize) -> Option<usize> {
    let named = |stage: &Stage| stage.name.as_ref().is_some_and(|own| own.text.eq_ignore_ascii_case(name));
    let by_name = file.stages[..end].iter().rposition(named);
    by_name.or_else(|| name.parse().ok().filter(|number| *number < end))
}

/// The stages that one needs, itself included, in the order of the file.
fn needed(file: &Dockerfile, target: usize) -> BTreeSet<usize> {
    let (mut all, mut pending) = (BTreeSet::new(), vec![target]);
    while let Some(index) = pending.pop() {
        if !all.insert(index) {
            continue;
        }
        let stage = &file.stages[index];
        let mut names = vec![stage.base.text.clone()];
        for instruction in &stage.instructions {
            match &instruction.command {
                Command::Copy(copy) => names.extend(copy.from.iter().map(|from| from.text.clone())),
                Command::Run(run) => {
                    let mounts = run.mounts.iter().filter_map(|mount| Mount::parse(&mount.text).ok());
                    names.extend(mounts.filter_map(|mount| mount.from));
                }
                _ => {}
            }
        }
        pending.extend(names.iter().filter_map(|name| stage_index(file, name, index)));
    }
    all
}

struct Reader<'a> {
    file: &'a Dockerfile,
    given: &'a BTreeMap<String, String>,
    known: BTreeMap<String, String>,
    /// ARGs before the first FROM, with the names that their defaults use. Only those that something uses are offered.
    globals: Vec<(Argument, BTreeSet<String>)>,
    outline: &'a mut Outline,
}

impl Reader<'_> {
    /// The text with its variables replaced as far as they are known, and their names.
    fn expand(&self, text: &str) -> (String, BTreeSet<String>) {
        let names = RefCell::new(BTreeSet::new());
        let lookup = |name: &str| {
            names.borrow_mut().insert(name.to_owned());
            self.known.get(name).cloned()
        };
        let expanded = expand(text, self.file.directives.escape, &lookup);
        (expanded.map_or_else(|_| text.to_owned(), |value| value.text), names.into_inner())
    }

    fn global(&mut self, instruction: &Instruction) {
        let Command::Arg(declarations) = &instruction.command else { return };
        for declaration in declarations {
            let (argument, names) = self.declared(instruction, declaration);
            self.globals.retain(|(known, _)| known.name != argument.name);
            self.globals.push((argument, names));
        }
    }

    /// Offers a global argument, and those that its default needs.
    fn bring_in(&mut self, name: &str) {
        let Some(at) = self.globals.iter().position(|(known, _)| known.name == name) else { return };
        let (argument, names) = self.globals.remove(at);
        self.outline.arguments.push(argument);
        names.iter().for_each(|name| self.bring_in(name));
    }

    fn instruction(&mut self, instruction: &Instruction) {
        match &instruction.command {
            Command::Arg(declarations) => {
                declarations.iter().for_each(|declaration| self.argument(instruction, declaration));
            }
            Command::Run(run) => {
                for mount in &run.mounts {
                    self.mount(instruction.span, &mount.text);
                }
            }
            _ => {}
        }
    }

    fn declared(
        &mut self,
        instruction: &Instruction,
        declaration: &ArgDeclaration,
    ) -> (Argument, BTreeSet<String>) {
        let name = &declaration.name.text;
        let default = declaration.default.as_ref().map(|word| self.expand(&word.text));
        let (default, names) = default.map_or((None, BTreeSet::new()), |(text, names)| (Some(text), names));
        let value = self.given.get(name).cloned().or(default);
        if let Some(value) = &value {
            self.known.insert(name.clone(), value.clone());
        }
        let description = instruction.description(name).map(str::to_owned);
        (Argument { name: name.clone(), description, value, span: instruction.span }, names)
    }

    /// `ARG X` of a stage brings the global one in; with a value of its own it is another one.
    fn argument(&mut self, instruction: &Instruction, declaration: &ArgDeclaration) {
        let (argument, _) = self.declared(instruction, declaration);
        let arguments = &mut self.outline.arguments;
        let known = arguments.iter_mut().find(|known| known.name == argument.name);
        match (known, &declaration.default) {
            (Some(known), Some(_)) => *known = argument,
            (Some(_), None) => {}
            (None, None) if self.globals.iter().any(|(known, _)| known.name == argument.name) => {
                self.bring_in(&argument.name);
            }
            (None, _) => arguments.push(argument),
        }
    }

    fn mount(&mut self, span: Span, text: &str) {
        let Ok(mount) = Mount::parse_with(text, &|value| Ok(self.expand(value).0)) else { return };
        let (list, id) = match mount.kind {
            MountKind::Secret => {
                let last = |path: String| path.rsplit('/').next().unwrap_or_default().to_owned();
                let named = mount.id.or(mount.source).or_else(|| mount.target.map(last));
                (&mut self.outline.secrets, named)
            }
            MountKind::Ssh => (&mut self.outline.ssh, mount.id.or_else(|| Some("default".to_owned()))),
            MountKind::Cache => (&mut self.outline.caches, mount.id.or(mount.target)),
            MountKind::Bind | MountKind::Tmpfs => return,
        };
        let Some(id) = id else { return };
        match list.iter_mut().find(|known| known.id == id) {
            Some(known) => known.required |= mount.required,
            None => list.push(Resource { id, required: mount.required, span }),
        }
    }
}
