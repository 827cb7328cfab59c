//! Names the objects of one server in a repository, in barman-cloud's layout.
//!
//! Never names one of our own under `base` or `wals`: barman's tools read and delete those.

use crate::compression::Compression;
use crate::destination::{Prefix, ServerName};
use crate::dump::DumpFile;
use object_store::path::Path;
use pgherd_core::backup::BackupId;
use pgherd_core::wal::stream::Piece;
use pgherd_core::wal::{Segment, WalFile};
use std::fmt;

/// What an object is stored under.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key(Path);

impl Key {
    pub(crate) fn from_path(path: Path) -> Self {
        Self(path)
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }

    pub fn as_str(&self) -> &str {
        self.0.as_ref()
    }

    /// The last part.
    pub fn name(&self) -> &str {
        self.as_str().rsplit('/').next().unwrap_or_default()
    }

    /// All but the last part.
    pub(crate) fn folder(&self) -> Self {
        let folder = self.as_str().rsplit_once('/').map_or("", |(folder, _)| folder);
        Self(Path::parse(folder).unwrap_or_default())
    }

    /// An object in this folder.
    fn with(&self, part: &str) -> Self {
        // Every part comes from a type that has been parsed: joining cannot lead elsewhere.
        let whole = if self.as_str().is_empty() {
            part.to_owned()
        } else {
            format!("{}/{part}", self.as_str())
        };
        Self(Path::parse(&whole).unwrap_or_else(|_| Path::from(whole)))
    }

    /// What follows the folder's name in this key.
    pub fn within(&self, folder: &Self) -> Option<&str> {
        self.as_str().strip_prefix(folder.as_str())?.strip_prefix('/')
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The keys of one server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Layout {
    server: ServerName,
    /// Of all that is the server's, and of what is read and written.
    whole: Key,
    root: Key,
    form: Form,
}

/// Whether what lies there can be read by whoever gets at it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    Clear,
    /// Below a folder of its own, where barman's tools do not look for what they could not read.
    Encrypted,
}

/// Where our own objects lie, beside barman's folders.
const OWN: &str = "pgherd";
/// Where all objects lie if they are encrypted, in the folder of our own ones.
const ENCRYPTED: &str = "encrypted";

impl Layout {
    pub fn new(prefix: &Prefix, server: &ServerName) -> Self {
        Self::of(Form::Clear, prefix, server)
    }

    /// The same keys below a folder of their own if it is encrypted.
    pub fn of(form: Form, prefix: &Prefix, server: &ServerName) -> Self {
        let root =
            Key(Path::parse(prefix.as_str()).unwrap_or_else(|_| Path::from(prefix.as_str())));
        let whole = root.with(server.as_str());
        let root = match form {
            Form::Clear => whole.clone(),
            Form::Encrypted => whole.with(OWN).with(ENCRYPTED),
        };
        Self { server: server.clone(), whole, root, form }
    }

    pub fn server(&self) -> &ServerName {
        &self.server
    }

    pub fn form(&self) -> Form {
        self.form
    }

    /// Where everything lies that is encrypted, whether this layout is or not.
    pub(crate) fn encrypted_root(&self) -> Key {
        self.clear_own().with(ENCRYPTED)
    }

    /// Where our own objects lie that are not encrypted.
    pub(crate) fn clear_own(&self) -> Key {
        self.whole.with(OWN)
    }

    /// The folders that barman's tools read.
    pub(crate) fn barmans(&self) -> [Key; 2] {
        ["base", "wals"].map(|folder| self.whole.with(folder))
    }

    /// The folder of folders of backups.
    pub fn base(&self) -> Key {
        self.root.with("base")
    }

    pub fn backup(&self, id: &BackupId) -> Key {
        self.base().with(id.as_str())
    }

    /// Its presence makes a folder a backup.
    pub fn backup_info(&self, id: &BackupId) -> Key {
        self.backup_object(id, "backup.info")
    }

    /// An object of a backup: a part of its data, or what is told of it.
    pub fn backup_object(&self, id: &BackupId, name: &str) -> Key {
        self.backup(id).with(name)
    }

    /// A file of a backup: `data.tar.gz`.
    pub(crate) fn archive(&self, id: &BackupId, name: &str) -> Key {
        self.backup(id).with(name)
    }

    /// Our own table of contents of a backup, which barman's tools do not see.
    pub fn index(&self, id: &BackupId) -> Key {
        self.root.with(OWN).with("base").with(id.as_str()).with("index.zst")
    }

    /// Who takes a backup, as long as that is going on.
    pub fn taker(&self, id: &BackupId) -> Key {
        self.root.with(OWN).with("base").with(id.as_str()).with("taker")
    }

    /// Who takes the backup or the dump that this object is of, if it is of one.
    pub(crate) fn taker_of(&self, key: &Key) -> Option<Key> {
        let mut parts = key.within(&self.root)?.split('/');
        let mut next = || parts.next();
        let (kind, is_own) = match next()? {
            OWN => (next()?, true),
            other => (other, false),
        };
        let id = BackupId::parse(next()?).ok()?;
        match (kind, is_own) {
            ("base", _) | ("incr", true) => Some(self.taker(&id)),
            ("dumps", true) => Some(self.dump_taker(&id)),
            _ => None,
        }
    }

    /// All that is read and written of the server.
    pub(crate) fn root(&self) -> &Key {
        &self.root
    }

    /// The folder of folders of incremental backups. Never in `base`: barman would take what is there
    /// of one for all of it.
    pub fn increments(&self) -> Key {
        self.root.with(OWN).with("incr")
    }

    pub fn increment(&self, id: &BackupId) -> Key {
        self.increments().with(id.as_str())
    }

    /// Its presence makes a folder an incremental backup.
    pub fn increment_description(&self, id: &BackupId) -> Key {
        self.increment(id).with("increment.json")
    }

    pub fn increment_index(&self, id: &BackupId) -> Key {
        self.increment(id).with("index.zst")
    }

    /// A part of what is stored of it.
    pub(crate) fn increment_object(&self, id: &BackupId, name: &str) -> Key {
        self.increment(id).with(name)
    }

    /// The hold on an incremental backup.
    pub fn increment_keep(&self, id: &BackupId) -> Key {
        self.increment(id).with("keep")
    }

    /// The folder of folders of logical dumps.
    pub fn dumps(&self) -> Key {
        self.root.with(OWN).with("dumps")
    }

    pub fn dump(&self, id: &BackupId) -> Key {
        self.dumps().with(id.as_str())
    }

    /// Its presence makes a folder a dump.
    pub fn dump_description(&self, id: &BackupId) -> Key {
        self.dump(id).with("dump.json")
    }

    /// Who takes a dump, as long as that is going on.
    pub fn dump_taker(&self, id: &BackupId) -> Key {
        self.dump(id).with("taker")
    }

    /// A file of a dump.
    pub(crate) fn dump_file(&self, id: &BackupId, name: &DumpFile) -> Key {
        self.dump(id).with(name.as_str())
    }

    pub(crate) fn annotations(&self, id: &BackupId) -> Key {
        self.backup_object(id, "annotations")
    }

    /// The hold on a backup.
    pub fn keep(&self, id: &BackupId) -> Key {
        self.backup_object(id, "annotations/keep")
    }

    pub fn wals(&self) -> Key {
        self.root.with("wals")
    }

    /// The folder of a file of the log; histories lie beside the folders.
    pub fn wal_folder(&self, file: WalFile) -> Key {
        match file {
            WalFile::History(_) => self.wals(),
            WalFile::Segment(segment)
            | WalFile::Partial(segment)
            | WalFile::Label { segment, .. } => self.wals().with(&segment.folder()),
        }
    }

    pub fn wal(&self, file: WalFile, compression: Compression) -> Key {
        self.wal_folder(file).with(&format!("{file}{}", compression.suffix()))
    }

    /// What is stored under this key, if it is a file of the log where it belongs.
    pub fn wal_at(&self, key: &Key) -> Option<(WalFile, Compression)> {
        let (name, compression) = Compression::of(key.name());
        let file = WalFile::parse(name).ok()?;
        (self.wal(file, compression) == *key).then_some((file, compression))
    }

    /// Log that is there before its segment is, in a folder for each timeline. Never under `wals`:
    /// barman would take what is there of a segment for all of it.
    pub fn stream(&self) -> Key {
        self.root.with(OWN).with("stream")
    }

    /// What is there of one segment.
    pub fn stream_of(&self, segment: Segment) -> Key {
        self.stream().with(&format!("{:08X}", segment.timeline().0)).with(&segment.to_string())
    }

    pub fn piece(&self, piece: Piece) -> Key {
        let name = format!("{}{}", piece.name(), Compression::Zstd.suffix());
        self.stream_of(piece.segment).with(&name)
    }

    /// What is stored under this key, if it is a piece of the log where it belongs.
    pub fn piece_at(&self, key: &Key) -> Option<Piece> {
        let (folder, name) = key.as_str().rsplit_once('/')?;
        let (name, _) = Compression::of(name);
        let segment = Segment::parse(folder.rsplit('/').next()?).ok()?;
        Piece::parse(segment, name).filter(|piece| self.piece(*piece) == *key)
    }

    /// Which pages each segment changes, in folders as those of the log are.
    pub fn blockmaps(&self) -> Key {
        self.root.with(OWN).with("blockmap")
    }

    pub fn blockmap(&self, segment: Segment) -> Key {
        let name = format!("{segment}{}", Compression::Zstd.suffix());
        self.blockmaps().with(&segment.folder()).with(&name)
    }

    /// The segment whose map is stored under this key, if one is.
    pub fn blockmap_at(&self, key: &Key) -> Option<Segment> {
        let segment = Segment::parse(Compression::of(key.name()).0).ok()?;
        (self.blockmap(segment) == *key).then_some(segment)
    }

    /// What is there as long as the repository is from which this backup is restored: our mark, which
    /// one of barman's has not, or what describes the backup.
    pub fn witnesses(&self, id: &BackupId) -> [Key; 3] {
        [self.own(OwnObject::System), self.backup_info(id), self.increment_description(id)]
    }

    /// An object of our own, which barman's tools neither see nor delete.
    pub fn own(&self, name: OwnObject) -> Key {
        self.root.with(OWN).with(match name {
            OwnObject::Probe => "probe",
            OwnObject::System => "system",
        })
    }
}

/// What we keep beside barman's folders.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OwnObject {
    /// Shows whether a store refuses to create what is already there.
    Probe,
    /// Says which cluster this log is of.
    System,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dump::Oid;
    use expect_test::expect;
    use pgherd_core::units::Lsn;
    use pgherd_core::wal::SegmentSize;

    fn layout(prefix: &str) -> Layout {
        Layout::new(&Prefix::parse(prefix).unwrap(), &ServerName::parse("app-db").unwrap())
    }

    fn piece() -> Piece {
        let segment = Segment::parse("0000000100000002000000FF").unwrap();
        let start = segment.start(SegmentSize::DEFAULT);
        Piece { segment, from: start, to: Lsn(start.0 + 0x100) }
    }

    #[test]
    fn only_what_lies_where_it_belongs_is_a_piece() {
        let layout = layout("");
        let whole = layout.piece(piece());
        assert_eq!(layout.piece_at(&whole), Some(piece()));
        for other in [
            whole.as_str().replace("stream", "wals"),
            whole.as_str().replace("stream/00000001", "stream/00000002"),
            whole.as_str().replace(".zst", ""),
            whole.as_str().replace(".zst", ".gz"),
            whole.as_str().replace("app-db", "other"),
        ] {
            assert_eq!(layout.piece_at(&Key(Path::parse(&other).unwrap())), None, "{other}");
        }
    }

    #[test]
    fn only_what_lies_where_it_belongs_is_a_map() {
        let layout = layout("");
        let whole = layout.blockmap(piece().segment);
        assert_eq!(layout.blockmap_at(&whole), Some(piece().segment));
        for (from, to) in [("blockmap", "wals"), (".zst", ""), (".zst", ".gz"), ("02/", "03/")] {
            let other = whole.as_str().replace(from, to);
            assert_eq!(layout.blockmap_at(&Key(Path::parse(&other).unwrap())), None, "{other}");
        }
    }

    #[test]
    fn what_is_encrypted_lies_where_barman_does_not_look() {
        let server = ServerName::parse("app-db").unwrap();
        let layout = Layout::of(Form::Encrypted, &Prefix::parse("prod").unwrap(), &server);
        let segment = WalFile::parse("0000000100000002000000FF").unwrap();
        let (wal, mark) = (layout.wal(segment, Compression::Gzip), layout.own(OwnObject::System));
        let inside = "prod/app-db/pgherd/encrypted";
        let folder = "wals/0000000100000002";
        assert_eq!(wal.as_str(), format!("{inside}/{folder}/0000000100000002000000FF.gz"));
        assert_eq!(mark.as_str(), format!("{inside}/pgherd/system"));
        assert_eq!(layout.encrypted_root().as_str(), inside);
        assert_eq!(layout.wal_at(&wal), Some((segment, Compression::Gzip)));
        assert_eq!(layout.piece_at(&layout.piece(piece())), Some(piece()));
    }

    #[test]
    fn keys_are_barmans() {
        let id = BackupId::parse("20261122T112233").unwrap();
        let wal = |name: &str| WalFile::parse(name).unwrap();
        let layout = layout("prod/eu%20");
        let keys = [
            layout.backup_info(&id),
            layout.keep(&id),
            layout.wal(wal("0000000100000002000000FF"), Compression::Gzip),
            layout.wal(wal("0000000100000002000000FF.00000028.backup"), Compression::None),
            layout.wal(wal("0000000100000002000000FF.partial"), Compression::Zstd),
            layout.wal(wal("00000002.history"), Compression::Bzip2),
            layout.increment_description(&id),
            layout.increment_object(&id, "pack_0000.zst"),
            layout.piece(piece()),
            layout.blockmap(piece().segment),
            layout.own(OwnObject::Probe),
            layout.dump_description(&id),
            layout.dump_file(&id, &DumpFile::of_folder(Oid(5), "toc.dat").unwrap()),
        ];
        expect![[r#"
            prod/eu%20/app-db/base/20261122T112233/backup.info
            prod/eu%20/app-db/base/20261122T112233/annotations/keep
            prod/eu%20/app-db/wals/0000000100000002/0000000100000002000000FF.gz
            prod/eu%20/app-db/wals/0000000100000002/0000000100000002000000FF.00000028.backup
            prod/eu%20/app-db/wals/0000000100000002/0000000100000002000000FF.partial.zst
            prod/eu%20/app-db/wals/00000002.history.bz2
            prod/eu%20/app-db/pgherd/incr/20261122T112233/increment.json
            prod/eu%20/app-db/pgherd/incr/20261122T112233/pack_0000.zst
            prod/eu%20/app-db/pgherd/stream/00000001/0000000100000002000000FF/00000002FF000000-00000002FF000100.zst
            prod/eu%20/app-db/pgherd/blockmap/0000000100000002/0000000100000002000000FF.zst
            prod/eu%20/app-db/pgherd/probe
            prod/eu%20/app-db/pgherd/dumps/20261122T112233/dump.json
            prod/eu%20/app-db/pgherd/dumps/20261122T112233/5/toc.dat
        "#]]
        .assert_eq(&keys.map(|key| format!("{key}\n")).concat());
    }

    #[test]
    fn what_is_of_a_backup_or_a_dump_has_a_taker() {
        let id = BackupId::parse("20261122T112233").unwrap();
        let server = ServerName::parse("app-db").unwrap();
        for form in [Form::Clear, Form::Encrypted] {
            let layout = Layout::of(form, &Prefix::parse("prod").unwrap(), &server);
            let of_backup = [
                layout.archive(&id, "data.tar"),
                layout.index(&id),
                layout.increment_object(&id, "pack_0000.zst"),
                layout.taker(&id),
            ];
            for key in of_backup {
                assert_eq!(layout.taker_of(&key), Some(layout.taker(&id)), "{key}");
            }
            let file = layout.dump_file(&id, &DumpFile::of_folder(Oid(5), "toc.dat").unwrap());
            assert_eq!(layout.taker_of(&file), Some(layout.dump_taker(&id)));
            for other in [layout.piece(piece()), layout.own(OwnObject::System), layout.base()] {
                assert_eq!(layout.taker_of(&other), None, "{other}");
            }
        }
    }

    #[test]
    fn only_what_lies_where_it_belongs_is_wal() {
        let layout = layout("");
        let at = |key: &str| layout.wal_at(&Key(Path::parse(key).unwrap()));
        let segment = WalFile::parse("0000000100000002000000FF").unwrap();
        let folder = "app-db/wals/0000000100000002";
        assert_eq!(
            at(&format!("{folder}/0000000100000002000000FF.gz")),
            Some((segment, Compression::Gzip))
        );
        for other in [
            "app-db/wals/0000000100000001/0000000100000002000000FF",
            "app-db/wals/0000000100000002000000FF",
            "other/wals/0000000100000002/0000000100000002000000FF",
            "app-db/wals/0000000100000002/0000000100000002000000FF.tmp",
            "app-db/wals/0000000100000002/00000002.history",
        ] {
            assert_eq!(at(other), None, "{other}");
        }
    }

    #[test]
    fn fuzzed() {
        let samples = [
            "prod/eu%20/app-db/wals/0000000100000002/0000000100000002000000FF.gz",
            "prod/eu%20/app-db/wals/0000000100000002/0000000100000002000000FF.00000028.backup",
            "prod/eu%20/app-db/wals/0000000100000002/0000000100000002000000FF.partial.zst",
            "prod/eu%20/app-db/wals/00000002.history.bz2",
            "20261122T112233",
        ];
        let layout = layout("prod/eu%20");
        let feed = |bytes: &[u8]| {
            let text = String::from_utf8_lossy(bytes);
            let mut kinds = WalFile::parse(&text).is_ok().to_string();
            if let Ok(path) = Path::parse(&text)
                && let Some((file, compression)) = layout.wal_at(&Key(path.clone()))
            {
                assert_eq!(layout.wal(file, compression), Key(path));
                assert_eq!(WalFile::parse(&file.to_string()).unwrap(), file);
                kinds.push_str(compression.suffix());
            }
            if let Ok(id) = BackupId::parse(&text) {
                assert_eq!(id.as_str(), text);
                let folder = layout.backup(&id);
                assert_eq!(layout.backup_info(&id).within(&folder), Some("backup.info"));
                kinds.push_str("id");
            }
            kinds
        };
        crate::fuzz::fuzz(5000, samples.map(Vec::from).to_vec(), feed);
    }
}
