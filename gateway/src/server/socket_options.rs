//! Options of Linux's sockets that socket2 and rustix do not have. The gateway's only unsafe code outside of its benches.

use std::io;
use std::os::fd::{AsFd, AsRawFd};

use libc::{c_int, socklen_t};

/// `SO_MEMINFO` of `asm-generic/socket.h`, which libc does not have; its answer begins with `SK_MEMINFO_RMEM_ALLOC`.
const SO_MEMINFO: c_int = 55;
/// `SOCK_RCVBUF_LOCK` of `linux/socket.h` is what is cleared.
const NO_LOCK: c_int = 0;
/// Of all values here.
const VALUE_BYTES: socklen_t = 4;
const _: () = assert!(size_of::<c_int>() == 4 && size_of::<u32>() == 4);

/// Lets the kernel forget that a buffer's size was set, but not the size (Linux 5.14).
pub(super) fn unlock_buffers(socket: &impl AsFd) -> io::Result<()> {
    set(socket, libc::SOL_SOCKET, libc::SO_BUF_LOCK, NO_LOCK)
}

/// The largest window that is told to the other side, as far as the buffer has room for it (tcp(7)).
pub(super) fn set_window_clamp(socket: &impl AsFd, bytes: usize) -> io::Result<()> {
    let bytes = c_int::try_from(bytes).unwrap_or(c_int::MAX);
    set(socket, libc::IPPROTO_TCP, libc::TCP_WINDOW_CLAMP, bytes)
}

/// See [`set_window_clamp`].
#[cfg(test)]
pub(super) fn window_clamp(socket: &impl AsFd) -> io::Result<usize> {
    get(socket, libc::IPPROTO_TCP, libc::TCP_WINDOW_CLAMP)
}

/// What lies in the receive buffer, in order or not, with the kernel's overhead.
pub(super) fn received_bytes(socket: &impl AsFd) -> io::Result<usize> {
    get(socket, libc::SOL_SOCKET, SO_MEMINFO)
}

#[expect(unsafe_code, reason = "a system call")]
fn get(socket: &impl AsFd, level: c_int, option: c_int) -> io::Result<usize> {
    let (mut value, mut len) = (0_u32, VALUE_BYTES);
    // SAFETY: the kernel writes at most `len` bytes to `value`, and any four are a number.
    let result = unsafe {
        let fd = socket.as_fd().as_raw_fd();
        libc::getsockopt(fd, level, option, (&raw mut value).cast(), &raw mut len)
    };
    if result == 0 { Ok(value as usize) } else { Err(io::Error::last_os_error()) }
}

#[expect(unsafe_code, reason = "a system call")]
fn set(socket: &impl AsFd, level: c_int, option: c_int, value: c_int) -> io::Result<()> {
    // SAFETY: the kernel reads `value`, which is as long as it is said to be.
    let result = unsafe {
        let fd = socket.as_fd().as_raw_fd();
        libc::setsockopt(fd, level, option, (&raw const value).cast(), VALUE_BYTES)
    };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}
