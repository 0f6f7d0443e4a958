//! Which devices a container may open: Docker's list. Without it the default `CAP_MKNOD` would give every container the
//! host's disks.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::path::Path;

use rustix::fs::OFlags;

use crate::spec::Device;
use crate::sys::bpf::{self, Instruction};

/// Character devices with full access: major and minor, `None` is any.
const ALLOWED: [(u32, Option<u32>); 9] = [
    (1, Some(3)),
    (1, Some(5)),
    (1, Some(7)),
    (1, Some(8)),
    (1, Some(9)),
    (5, Some(0)),
    (5, Some(1)),
    (5, Some(2)),
    (136, None),
];

/// Version 1: sets the rules on the parent group once; groups made below later inherit them.
pub(super) fn restrict_v1(parent: &Path) -> io::Result<()> {
    match fs_err::create_dir(parent) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
        _ => {}
    }
    if is_restricted(parent)? {
        return Ok(());
    }
    let directory = super::open(parent, OFlags::RDONLY | OFlags::DIRECTORY).map_err(io::Error::other)?;
    super::lock(directory.as_fd())?;
    if is_restricted(parent)? {
        return Ok(());
    }
    write_rules(parent, &[])
}

/// Version 1: rules for one group alone, below a parent without any.
pub(super) fn restrict_group_v1(group: &Path, also: &[Device]) -> io::Result<()> {
    write_rules(group, also)
}

fn write_rules(group: &Path, also: &[Device]) -> io::Result<()> {
    fs_err::write(group.join("devices.deny"), "a")?;
    // Making any node is allowed, opening it is not.
    for rule in ["b *:* m", "c *:* m"] {
        fs_err::write(group.join("devices.allow"), rule)?;
    }
    for device in also.iter().filter(|device| device.access.read || device.access.write) {
        let kind = if device.block { "b" } else { "c" };
        let access: String = [(device.access.read, 'r'), (device.access.write, 'w')]
            .into_iter()
            .filter_map(|(given, letter)| given.then_some(letter))
            .collect();
        let rule = format!("{kind} {}:{} {access}", device.major, device.minor);
        fs_err::write(group.join("devices.allow"), rule)?;
    }
    for (major, minor) in ALLOWED {
        let minor = minor.map_or("*".to_owned(), |minor| minor.to_string());
        fs_err::write(group.join("devices.allow"), format!("c {major}:{minor} rwm"))?;
    }
    Ok(())
}

/// The last rule written tells a finished list from one another process is still writing.
fn is_restricted(parent: &Path) -> io::Result<bool> {
    let list = fs_err::read_to_string(parent.join("devices.list"))?;
    Ok(!list.lines().any(|line| line.starts_with("a ")) && list.lines().any(|line| line == "c 136:* rwm"))
}

/// Version 2: attaches a program to the parent group once; it judges every process below.
pub(super) fn restrict_v2(parent: &Path) -> io::Result<()> {
    let directory = super::open(parent, OFlags::RDONLY | OFlags::DIRECTORY).map_err(io::Error::other)?;
    if bpf::device_programs(directory.as_fd())? > 0 {
        return Ok(());
    }
    super::lock(directory.as_fd())?;
    if bpf::device_programs(directory.as_fd())? > 0 {
        return Ok(());
    }
    attach(directory.as_fd(), &[])
}

/// Version 2: a program for one group alone, below a parent without any.
pub(super) fn restrict_group_v2(group: &Path, also: &[Device]) -> io::Result<()> {
    let directory = super::open(group, OFlags::RDONLY | OFlags::DIRECTORY).map_err(io::Error::other)?;
    attach(directory.as_fd(), also)
}

fn attach(group: BorrowedFd<'_>, also: &[Device]) -> io::Result<()> {
    let program = bpf::load_device_program(&program(also))?;
    Ok(bpf::attach_device_program(group, program.as_fd())?)
}

const ACCESS_MKNOD: i32 = 1;
const ACCESS_READ: i32 = 2;
const ACCESS_WRITE: i32 = 4;
const TYPE_BLOCK: i32 = 1;
const TYPE_CHARACTER: i32 = 2;

/// The same rules as a program: returns 1 to allow. Context: access type (low half: device type, high half: access),
/// major, minor.
fn program(also: &[Device]) -> Vec<Instruction> {
    let load = |to: u8, offset: i16| Instruction { code: 0x61, registers: 1 << 4 | to, offset, immediate: 0 };
    let op = |code: u8, registers: u8, offset: i16, immediate: i32| Instruction {
        code,
        registers,
        offset,
        immediate,
    };
    let mov = |to: u8, value: i32| op(0xb7, to, 0, value);
    let exit = op(0x95, 0, 0, 0);
    let jump_if_not_equal = |register: u8, value: i32, over: i16| op(0x55, register, over, value);
    let mut code = vec![
        load(2, 0),
        load(4, 4),
        load(5, 8),
        op(0xbf, 2 << 4 | 3, 0, 0), // r3 = r2
        op(0x54, 2, 0, 0xffff),     // w2 &= 0xffff: type
        op(0x74, 3, 0, 16),         // w3 >>= 16: access
        // Only mknod: allowed for every device.
        jump_if_not_equal(3, ACCESS_MKNOD, 2),
        mov(0, 1),
        exit,
    ];
    for device in also {
        let kind = if device.block { TYPE_BLOCK } else { TYPE_CHARACTER };
        let given = [(device.access.read, ACCESS_READ), (device.access.write, ACCESS_WRITE)];
        let given = given.into_iter().filter(|(given, _)| *given).fold(0, |sum, (_, bit)| sum | bit);
        code.extend([
            jump_if_not_equal(2, kind, 7),
            jump_if_not_equal(4, device.major as i32, 6),
            jump_if_not_equal(5, device.minor as i32, 5),
            op(0xbf, 3 << 4 | 1, 0, 0),              // r1 = r3
            op(0x54, 1, 0, !(given | ACCESS_MKNOD)), // w1 &= what was not given
            jump_if_not_equal(1, 0, 2),
            mov(0, 1),
            exit,
        ]);
    }
    // Anything but a character device: denied.
    code.extend([op(0x15, 2, 2, TYPE_CHARACTER), mov(0, 0), exit]);
    for (major, minor) in ALLOWED {
        match minor {
            Some(minor) => {
                code.push(jump_if_not_equal(4, major as i32, 3));
                code.push(jump_if_not_equal(5, minor as i32, 2));
            }
            None => code.push(jump_if_not_equal(4, major as i32, 2)),
        }
        code.push(mov(0, 1));
        code.push(exit);
    }
    code.push(mov(0, 0));
    code.push(exit);
    code
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spec::DeviceAccess;

    #[test]
    fn the_program_passes_the_kernels_verifier() {
        if !rustix::process::geteuid().is_root() {
            eprintln!("skipped: bpf needs root");
            return;
        }
        let device = |block| Device {
            path: "/dev/x".into(),
            host_path: "/dev/x".into(),
            block,
            major: 10,
            minor: 200,
            mode: 0o666,
            uid: 0,
            gid: 0,
            access: DeviceAccess { read: true, write: block, make: false },
        };
        for also in [vec![], vec![device(false)], vec![device(true), device(false)]] {
            bpf::load_device_program(&program(&also)).expect("verifier");
        }
    }
}
