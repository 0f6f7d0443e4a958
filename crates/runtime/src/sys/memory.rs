//! Giving memory back to the kernel.

use std::ffi::{c_int, c_void};

use libc::{PF_W, PT_LOAD, dl_phdr_info};

/// Gives back what the heap does not use, and the pages of the program itself, which the kernel keeps in its cache and
/// maps again as they are needed. For a process that is about to sleep for long: starting it touched nearly all of a
/// large program, sleeping needs a few pages.
pub(crate) fn release() {
    #[cfg(target_env = "gnu")]
    // SAFETY: takes the allocator's own locks and frees nothing that is in use.
    unsafe {
        libc::malloc_trim(0);
    }
    // SAFETY: the callback is given valid headers, and keeps nothing.
    unsafe { libc::dl_iterate_phdr(Some(forget_constant), std::ptr::null_mut()) };
}

/// Forgets the pages of an object's segments that are never written.
unsafe extern "C" fn forget_constant(info: *mut dl_phdr_info, _: usize, _: *mut c_void) -> c_int {
    // SAFETY: the caller passes a live description, whose header table has `dlpi_phnum` entries.
    let (base, headers) = unsafe {
        let info = &*info;
        if info.dlpi_phdr.is_null() {
            return 0;
        }
        (info.dlpi_addr, std::slice::from_raw_parts(info.dlpi_phdr, info.dlpi_phnum.into()))
    };
    let page = rustix::param::page_size() as u64;
    for header in headers.iter().filter(|header| header.p_type == PT_LOAD && header.p_flags & PF_W == 0) {
        // Whole pages only: what shares one with the next segment may be written.
        let start = (base + header.p_vaddr).next_multiple_of(page);
        let end = (base + header.p_vaddr + header.p_memsz) / page * page;
        if start < end {
            // SAFETY: a mapping of a file, private and without write access, so that its pages hold what the file
            // holds and come back unchanged (there are no relocations in read-only segments). The file is a running
            // program, which the kernel lets nobody change.
            unsafe { libc::madvise(start as *mut c_void, (end - start) as usize, libc::MADV_DONTNEED) };
        }
    }
    0
}

#[cfg(test)]
mod tests {
    use super::*;

    fn resident() -> usize {
        let text = fs_err::read_to_string("/proc/self/statm").unwrap();
        let pages: usize = text.split(' ').nth(2).unwrap().parse().unwrap();
        pages * rustix::param::page_size()
    }

    #[test]
    fn the_program_goes_on_with_less() {
        let before = resident();
        release();
        let after = resident();
        assert!(after < before, "file pages: {before} before, {after} after");
        assert_eq!(format!("{:?}", "still here"), "\"still here\"");
    }
}
