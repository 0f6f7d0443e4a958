//! What a Dockerfile offers its user: targets, build arguments, secrets, agents, caches (`--call=outline|targets`).
//!
//! Descriptions are the comments directly above: `# NAME text` (`spec/build.md` 1.1).

#[cfg(test)]
mod tests;

use crate::{Command, Dockerfile, Instruction, Mount, MountKind, Span, Stage, expand};
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

/// All stages that have a name, and the last one.
pub fn targets(file: &Dockerfile) -> Vec<Target> {
    let last = file.stages.len().saturating_sub(1);
    let stages = file.stages.iter().enumerate();
    let offered = stages.filter(|(index, stage)| stage.name.is_some() || *index == last);
    offered
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
    let mut reader = Reader { file, given, known: BTreeMap::new(), outline: &mut outline };
    for argument in &file.global_args {
        reader.instruction(argument);
    }
    for index in needed(file, index) {
        for instruction in &file.stages[index].instructions {
            reader.instruction(instruction);
        }
    }
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
    outline: &'a mut Outline,
}

impl Reader<'_> {
    fn instruction(&mut self, instruction: &Instruction) {
        match &instruction.command {
            Command::Arg(arguments) => {
                for argument in arguments {
                    self.argument(
                        instruction,
                        &argument.name.text,
                        argument.default.as_ref().map(|word| &*word.text),
                    );
                }
            }
            Command::Run(run) => {
                for mount in &run.mounts {
                    self.mount(instruction.span, &mount.text);
                }
            }
            _ => {}
        }
    }

    fn argument(&mut self, instruction: &Instruction, name: &str, default: Option<&str>) {
        let lookup = |name: &str| self.known.get(name).cloned();
        let default = default.map(|text| {
            expand(text, self.file.directives.escape, &lookup)
                .map_or_else(|_| text.to_owned(), |value| value.text)
        });
        let value = self.given.get(name).cloned().or(default).or_else(|| self.known.get(name).cloned());
        if let Some(value) = &value {
            self.known.insert(name.to_owned(), value.clone());
        }
        let description = instruction.description(name).map(str::to_owned);
        if let Some(known) = self.outline.arguments.iter_mut().find(|known| known.name == name) {
            // `ARG X` of a stage brings the global one in.
            known.description = known.description.take().or(description);
            known.value = value.or(known.value.take());
            return;
        }
        let span = instruction.span;
        self.outline.arguments.push(Argument { name: name.to_owned(), description, value, span });
    }

    fn mount(&mut self, span: Span, text: &str) {
        let lookup = |name: &str| self.known.get(name).cloned();
        let escape = self.file.directives.escape;
        let read = Mount::parse_with(text, &|value| Ok(expand(value, escape, &lookup)?.text));
        let Ok(mount) = read else { return };
        let named = mount.id.clone().or_else(|| mount.source.clone()).or_else(|| mount.target.clone());
        let (list, id) = match mount.kind {
            MountKind::Secret => {
                let last = named.map(|name| name.rsplit('/').next().unwrap_or_default().to_owned());
                (&mut self.outline.secrets, last)
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
