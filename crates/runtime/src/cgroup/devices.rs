//! Which devices a container may open: Docker's list. Without it the default `CAP_MKNOD` would give every container the
//! host's disks.

use std::io;
use std::os::fd::AsFd;
use std::path::Path;

use rustix::fs::OFlags;

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
    fs_err::write(parent.join("devices.deny"), "a")?;
    // Making any node is allowed, opening it is not.
    for rule in ["b *:* m", "c *:* m"] {
        fs_err::write(parent.join("devices.allow"), rule)?;
    }
    for (major, minor) in ALLOWED {
        let minor = minor.map_or("*".to_owned(), |minor| minor.to_string());
        fs_err::write(parent.join("devices.allow"), format!("c {major}:{minor} rwm"))?;
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
    let program = bpf::load_device_program(&program())?;
    bpf::attach_device_program(directory.as_fd(), program.as_fd())?;
    Ok(())
}

const ACCESS_MKNOD: i32 = 1;
const TYPE_CHARACTER: i32 = 2;

/// The same rules as a program: returns 1 to allow. Context: access type (low half: device type, high half: access),
/// major, minor.
fn program() -> Vec<Instruction> {
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
        // Anything but a character device: denied.
        op(0x15, 2, 2, TYPE_CHARACTER),
        mov(0, 0),
        exit,
    ];
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

    #[test]
    fn the_program_passes_the_kernels_verifier() {
        if !rustix::process::geteuid().is_root() {
            eprintln!("skipped: bpf needs root");
            return;
        }
        bpf::load_device_program(&program()).expect("verifier");
    }
}
