//! Sets the options of a connection, and makes the unix socket of a server.
//!
//! Never takes a path from a server that still answers, nor from a file that is no socket.

use crate::durable::Access;
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType};
use std::io;
use std::os::fd::AsFd;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};
use tokio::net::{TcpStream, UnixListener};

/// How long the kernel keeps a connection whose bytes nobody acknowledges.
const UNACKNOWLEDGED_MILLISECONDS: u32 = 2_000;
const BACKLOG: i32 = 128;

/// Small messages leave at once, and a silent peer is noticed.
pub(super) fn configure(stream: &TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    Ok(rustix::net::sockopt::set_tcp_user_timeout(stream.as_fd(), UNACKNOWLEDGED_MILLISECONDS)?)
}

/// A listening unix socket that goes away with its server.
pub(crate) struct Socket {
    pub(crate) listener: UnixListener,
    _path: Claim,
}

struct Claim {
    path: PathBuf,
    inode: u64,
}

impl Drop for Claim {
    fn drop(&mut self) {
        let is_ours = std::fs::metadata(&self.path).is_ok_and(|facts| facts.ino() == self.inode);
        if is_ours {
            // A socket that stays behind is replaced by the next server.
            let _stays = std::fs::remove_file(&self.path).is_err();
        }
    }
}

pub(crate) fn listen(path: &Path, access: Access) -> io::Result<Socket> {
    make_room(path)?;
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = rustix::net::socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)?;
    rustix::net::bind(&socket, &SocketAddrUnix::new(path)?)?;
    let claim = Claim { path: path.to_owned(), inode: std::fs::metadata(path)?.ino() };
    // Before anybody can connect: a bound socket refuses until it listens.
    access.apply(path)?;
    rustix::net::listen(&socket, BACKLOG)?;
    let listener = UnixListener::from_std(socket.into())?;
    Ok(Socket { listener, _path: claim })
}

fn make_room(path: &Path) -> io::Result<()> {
    let facts = match std::fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        other => other?,
    };
    if !facts.file_type().is_socket() {
        let why = "the path is taken by something that is no socket";
        return Err(io::Error::new(io::ErrorKind::AlreadyExists, why));
    }
    match std::os::unix::net::UnixStream::connect(path) {
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
            std::fs::remove_file(path)
        }
        Err(error) => Err(error),
        Ok(_answered) => {
            Err(io::Error::new(io::ErrorKind::AddrInUse, "another process answers there"))
        }
    }
}
