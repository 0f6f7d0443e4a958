//! Loop devices: the few ioctls for a read-only device that goes away with its last user.

use std::os::fd::{AsRawFd, BorrowedFd};

use rustix::io::Result;

use super::check;

const LOOP_CTL_GET_FREE: libc::c_ulong = 0x4C82;
const LOOP_CONFIGURE: libc::c_ulong = 0x4C0A;
const LO_FLAGS_READ_ONLY: u32 = 1;
const LO_FLAGS_AUTOCLEAR: u32 = 4;

/// The kernel's `struct loop_info64`.
#[repr(C)]
#[derive(Clone, Copy)]
struct LoopInfo {
    device: u64,
    inode: u64,
    rdevice: u64,
    offset: u64,
    size_limit: u64,
    number: u32,
    encrypt_type: u32,
    encrypt_key_size: u32,
    flags: u32,
    file_name: [u8; 64],
    crypt_name: [u8; 64],
    encrypt_key: [u8; 32],
    init: [u64; 2],
}

/// The kernel's `struct loop_config`.
#[repr(C)]
struct LoopConfig {
    fd: u32,
    block_size: u32,
    info: LoopInfo,
    reserved: [u64; 8],
}

/// Number of a device that was free a moment ago; another process may take it first.
pub(crate) fn free_number(control: BorrowedFd<'_>) -> Result<u32> {
    // SAFETY: the ioctl takes no argument.
    let number = check(unsafe { libc::syscall(libc::SYS_ioctl, control.as_raw_fd(), LOOP_CTL_GET_FREE, 0) })?;
    Ok(number as u32)
}

/// Attaches `file` to `device`, read-only, detached by the kernel when the last user closes it. `BUSY`: taken.
pub(crate) fn configure(device: BorrowedFd<'_>, file: BorrowedFd<'_>) -> Result<()> {
    let config = LoopConfig {
        fd: file.as_raw_fd() as u32,
        block_size: 0,
        info: LoopInfo {
            device: 0,
            inode: 0,
            rdevice: 0,
            offset: 0,
            size_limit: 0,
            number: 0,
            encrypt_type: 0,
            encrypt_key_size: 0,
            flags: LO_FLAGS_READ_ONLY | LO_FLAGS_AUTOCLEAR,
            file_name: [0; 64],
            crypt_name: [0; 64],
            encrypt_key: [0; 32],
            init: [0; 2],
        },
        reserved: [0; 8],
    };
    // SAFETY: `config` has the kernel's layout and outlives the call.
    check(unsafe {
        libc::syscall(libc::SYS_ioctl, device.as_raw_fd(), LOOP_CONFIGURE, std::ptr::from_ref(&config))
    })?;
    Ok(())
}
