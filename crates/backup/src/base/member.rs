//! Writes what stands before, between and after the files of a tar archive.
//!
//! Never holds their content, and never ends an archive twice: readers stop at the first end.

use tar::{EntryType, Header};

const BLOCK: u64 = 512;
/// Archives end at a multiple of this many bytes.
const RECORD: u64 = 20 * BLOCK;
/// What a header has room for.
const NAME: usize = 100;

/// A file or a folder of an archive.
#[derive(Debug, Clone, Copy)]
pub(super) struct Member<'a> {
    /// Below the root of the archive, without `./`; empty for the root.
    pub(super) path: &'a str,
    pub(super) kind: Kind,
    pub(super) owner: Owner,
    /// In seconds since 1970.
    pub(super) modified: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// PostgreSQL does not start in a folder that others may enter, so all are 0700.
    Folder,
    File {
        size: u64,
        mode: u32,
    },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Owner {
    pub(super) user: u32,
    pub(super) group: u32,
}

impl Member<'_> {
    /// What stands before its content.
    pub(super) fn header(&self) -> Vec<u8> {
        let name = name(self.path);
        let mut bytes = Vec::new();
        let mut header = Header::new_ustar();
        if name.len() > NAME {
            bytes = long_name(&name);
        }
        put_name(&mut header, &name);
        match self.kind {
            Kind::Folder => {
                header.set_entry_type(EntryType::Directory);
                header.set_mode(0o700);
                header.set_size(0);
            }
            Kind::File { size, mode } => {
                header.set_entry_type(EntryType::Regular);
                header.set_mode(mode & 0o7777);
                header.set_size(size);
            }
        }
        header.set_uid(self.owner.user.into());
        header.set_gid(self.owner.group.into());
        header.set_mtime(self.modified);
        header.set_cksum();
        bytes.extend_from_slice(header.as_bytes());
        bytes
    }
}

/// barman writes names in the root with `./`, others without.
fn name(path: &str) -> String {
    match path {
        "" => ".".to_owned(),
        root if !root.contains('/') => format!("./{root}"),
        deeper => deeper.to_owned(),
    }
}

/// As much of the name as there is room for; the record before it has all.
fn put_name(header: &mut Header, name: &str) {
    for (place, byte) in header.as_old_mut().name.iter_mut().zip(name.as_bytes()) {
        *place = *byte;
    }
}

/// A record of the POSIX format of 2001, which names the next member.
fn long_name(name: &str) -> Vec<u8> {
    let content = record("path", name);
    let mut header = Header::new_ustar();
    header.set_entry_type(EntryType::XHeader);
    put_name(&mut header, "./PaxHeaders/path");
    header.set_mode(0o600);
    header.set_size(content.len() as u64);
    header.set_cksum();
    let mut bytes = header.as_bytes().to_vec();
    let padding = padding(content.len() as u64);
    bytes.extend(content);
    bytes.resize(bytes.len() + padding, 0);
    bytes
}

/// `LENGTH KEY=VALUE\n`, where the length counts itself.
fn record(key: &str, value: &str) -> Vec<u8> {
    let rest = key.len() + value.len() + 3;
    let mut length = rest + 1;
    while rest + length.to_string().len() != length {
        length += 1;
    }
    format!("{length} {key}={value}\n").into_bytes()
}

/// How many zeros follow content of this size.
pub(super) fn padding(size: u64) -> usize {
    usize::try_from((BLOCK - size % BLOCK) % BLOCK).unwrap_or_default()
}

/// What ends an archive that has so many bytes already.
pub(super) fn end(written: u64) -> Vec<u8> {
    let least = 2 * BLOCK;
    let length = least + (RECORD - (written + least) % RECORD) % RECORD;
    vec![0; usize::try_from(length).unwrap_or_default()]
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::io::Read;

    fn archive(files: &[(String, Vec<u8>)]) -> Vec<u8> {
        let owner = Owner { user: 101, group: 104 };
        let root = Member { path: "", kind: Kind::Folder, owner, modified: 1_795_346_554 };
        let mut bytes = root.header();
        for (path, content) in files {
            let size = content.len() as u64;
            let kind = Kind::File { size, mode: 0o640 };
            bytes.extend(Member { path, kind, ..root }.header());
            bytes.extend(content);
            bytes.resize(bytes.len() + padding(size), 0);
        }
        bytes.extend(end(bytes.len() as u64));
        assert_eq!(bytes.len() % 10_240, 0);
        bytes
    }

    fn read(bytes: &[u8]) -> Vec<(String, Vec<u8>)> {
        let mut archive = tar::Archive::new(bytes);
        let mut found = Vec::new();
        for entry in archive.entries().unwrap() {
            let mut entry = entry.unwrap();
            let mode = if entry.header().entry_type().is_dir() { 0o700 } else { 0o640 };
            assert_eq!(entry.header().mode().unwrap(), mode);
            let path = entry.path().unwrap().to_str().unwrap().to_owned();
            let mut content = Vec::new();
            entry.read_to_end(&mut content).unwrap();
            found.push((path, content));
        }
        found
    }

    #[test]
    fn names_are_as_barman_writes_them() {
        let file = |path: &str| (path.to_owned(), b"x".to_vec());
        let long = format!("base/{}/5", "n".repeat(300));
        let names = read(&archive(&[file("PG_VERSION"), file("base/5/1259"), file(&long)]));
        let names: Vec<&str> = names.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(names, [".", "./PG_VERSION", "base/5/1259", &long]);
    }

    #[test]
    fn sizes_above_eight_gibibytes_are_written() {
        let kind = Kind::File { size: 9 << 30, mode: 0o600 };
        let member = Member { path: "a/b", kind, owner: Owner::default(), modified: 0 };
        let header = Header::from_byte_slice(&member.header()).clone();
        assert_eq!(header.entry_size().unwrap(), 9 << 30);
    }

    proptest! {
        #[test]
        fn archives_read_back(files in proptest::collection::vec(
            ("[a-z]{1,9}/[a-zé_0-9]{1,120}(/[a-z]{1,60}){0,3}",
             proptest::collection::vec(any::<u8>(), 0..2000)), 0..6)) {
            let found = read(&archive(&files));
            prop_assert_eq!(&found[1..], files.as_slice());
        }
    }
}
