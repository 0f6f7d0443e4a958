//! From actions per number to classic BPF: numbers become intervals with one action each, intervals a balanced tree of
//! comparisons, checks of arguments short blocks behind it.

use super::numbers;
use super::profile::{Action, Profile};
use crate::capability::CapabilitySet;
use crate::sys::SockFilter;

pub(super) const ALLOW: u32 = 0x7fff_0000;
pub(super) const EPERM: u32 = 0x0005_0001;
pub(super) const ENOSYS: u32 = 0x0005_0026;

/// `struct seccomp_data`: number, architecture, then at 16 the arguments, low word first on these machines.
const OFFSET_NUMBER: u32 = 0;
const OFFSET_ARCH: u32 = 4;
const OFFSET_ARGUMENT_0: u32 = 16;

#[cfg(target_arch = "x86_64")]
pub(super) const ARCH_NATIVE: u32 = 0xc000_003e;
#[cfg(target_arch = "x86_64")]
pub(super) const ARCH_COMPAT: u32 = 0x4000_0003;
#[cfg(target_arch = "aarch64")]
pub(super) const ARCH_NATIVE: u32 = 0xc000_00b7;

/// Any of these in clone's flags makes a namespace.
const NEW_NAMESPACES: u32 = 0x7e02_0000;

const LOAD: u16 = 0x20;
const RETURN: u16 = 0x06;
const JUMP: u16 = 0x05;
const IF_EQUAL: u16 = 0x15;
const IF_AT_LEAST: u16 = 0x35;
const IF_ANY_BIT: u16 = 0x45;

fn instruction(code: u16, jt: u8, jf: u8, k: u32) -> SockFilter {
    SockFilter { code, jt, jf, k }
}

/// Numbers from `start` up to the next interval.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Interval {
    start: u32,
    action: Action,
}

/// The whole filter.
pub(super) fn program(capabilities: CapabilitySet) -> Box<[SockFilter]> {
    let profile = Profile::new(capabilities);
    let native = table(numbers::NATIVE, &profile);
    let mut code = vec![instruction(LOAD, 0, 0, OFFSET_ARCH)];
    branch(&mut code, ARCH_NATIVE, native);
    #[cfg(target_arch = "x86_64")]
    branch(&mut code, ARCH_COMPAT, table(numbers::COMPAT, &profile));
    code.push(instruction(RETURN, 0, 0, ENOSYS));
    code.into()
}

/// Goes into `block` if the loaded word is `value`, over it otherwise.
fn branch(code: &mut Vec<SockFilter>, value: u32, block: Vec<SockFilter>) {
    code.push(instruction(IF_EQUAL, 1, 0, value));
    code.push(instruction(JUMP, 0, 0, block.len() as u32));
    code.extend(block);
}

/// Decides by number for one architecture. Every path ends in a return.
fn table(numbers: &[(u32, &str)], profile: &Profile) -> Vec<SockFilter> {
    let intervals = intervals(numbers, profile);
    let mut code = vec![instruction(LOAD, 0, 0, OFFSET_NUMBER)];
    code.extend(tree(&intervals));
    code
}

/// Gaps are denied; beyond the last known number calls are unknown. The x32 range (bit 30 of the number,
/// under the architecture of x86-64) lies there as well.
fn intervals(numbers: &[(u32, &str)], profile: &Profile) -> Vec<Interval> {
    let mut list: Vec<Interval> = Vec::new();
    let mut push = |start: u32, action: Action| {
        if list.last().is_none_or(|last| last.action != action) {
            list.push(Interval { start, action });
        }
    };
    let mut next = 0;
    for &(number, name) in numbers {
        if number > next {
            push(next, Action::Deny);
        }
        push(number, profile.action(name));
        next = number + 1;
    }
    push(next, Action::Unknown);
    list
}

/// So many intervals that every jump within their tree, leaves included, is short enough (255 instructions).
const COMPACT: usize = 128;

fn tree(intervals: &[Interval]) -> Vec<SockFilter> {
    if intervals.len() <= COMPACT {
        return Compact::build(intervals);
    }
    let (low, high) = intervals.split_at(intervals.len() / 2);
    let (low_code, high_code) = (tree(low), tree(high));
    let mut code =
        vec![instruction(IF_AT_LEAST, 0, 1, high[0].start), instruction(JUMP, 0, 0, low_code.len() as u32)];
    code.extend(low_code);
    code.extend(high_code);
    code
}

/// A tree whose leaves, one per different action, stand behind it and are shared.
struct Compact {
    /// Comparisons in preorder: smaller numbers go on with the next one.
    nodes: Vec<Node>,
}

struct Node {
    start: u32,
    below: Target,
    from_here: Target,
}

#[derive(Clone, Copy)]
enum Target {
    Node(usize),
    Leaf(Action),
}

impl Compact {
    fn build(intervals: &[Interval]) -> Vec<SockFilter> {
        let mut this = Self { nodes: Vec::new() };
        match this.add(intervals) {
            Target::Leaf(action) => leaf(action),
            Target::Node(_) => this.emit(),
        }
    }

    fn add(&mut self, intervals: &[Interval]) -> Target {
        if let [only] = intervals {
            return Target::Leaf(only.action);
        }
        let (low, high) = intervals.split_at(intervals.len() / 2);
        let index = self.nodes.len();
        let placeholder = Target::Leaf(Action::Deny);
        self.nodes.push(Node { start: high[0].start, below: placeholder, from_here: placeholder });
        let (below, from_here) = (self.add(low), self.add(high));
        self.nodes[index].below = below;
        self.nodes[index].from_here = from_here;
        Target::Node(index)
    }

    fn emit(&self) -> Vec<SockFilter> {
        let mut leaves: Vec<(Action, usize)> = Vec::new();
        let mut tail = Vec::new();
        let targets = self.nodes.iter().flat_map(|node| [node.below, node.from_here]);
        for target in targets {
            if let Target::Leaf(action) = target
                && !leaves.iter().any(|(known, _)| *known == action)
            {
                leaves.push((action, self.nodes.len() + tail.len()));
                tail.extend(leaf(action));
            }
        }
        let place = |target| match target {
            Target::Node(index) => index,
            Target::Leaf(action) => {
                leaves.iter().find(|(known, _)| *known == action).map_or(0, |(_, at)| *at)
            }
        };
        let jump = |from: usize, target| {
            u8::try_from(place(target) - from - 1).expect("COMPACT nodes and six leaves of at most 8 fit")
        };
        let node = |(at, node): (usize, &Node)| {
            instruction(IF_AT_LEAST, jump(at, node.from_here), jump(at, node.below), node.start)
        };
        self.nodes.iter().enumerate().map(node).chain(tail).collect()
    }
}

/// Argument checks look at the low word: the kernel itself takes these arguments as 32-bit values (and the namespace
/// flags of clone lie in it), so that garbage in the high word must not decide.
fn leaf(action: Action) -> Vec<SockFilter> {
    let load = instruction(LOAD, 0, 0, OFFSET_ARGUMENT_0);
    let (allow, deny) = (instruction(RETURN, 0, 0, ALLOW), instruction(RETURN, 0, 0, EPERM));
    match action {
        Action::Allow => vec![allow],
        Action::Deny => vec![deny],
        Action::Unknown => vec![instruction(RETURN, 0, 0, ENOSYS)],
        Action::CheckSocket => vec![
            load,
            instruction(IF_EQUAL, 2, 0, libc::AF_ALG as u32),
            instruction(IF_EQUAL, 1, 0, libc::AF_VSOCK as u32),
            allow,
            deny,
        ],
        Action::CheckPersonality => vec![
            load,
            instruction(IF_EQUAL, 5, 0, 0),
            instruction(IF_EQUAL, 4, 0, 0x8),
            instruction(IF_EQUAL, 3, 0, 0x2_0000),
            instruction(IF_EQUAL, 2, 0, 0x2_0008),
            instruction(IF_EQUAL, 1, 0, 0xffff_ffff),
            deny,
            allow,
        ],
        Action::CheckClone => vec![load, instruction(IF_ANY_BIT, 1, 0, NEW_NAMESPACES), allow, deny],
    }
}
