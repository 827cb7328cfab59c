//! Writes `backup_manifest`, with which PostgreSQL's `pg_verifybackup` proves a restored folder.
//!
//! Never holds the whole text: it is made twice, once to know its size.

use super::CHUNK;
use super::ledger::Whole;
use super::session::{Started, Stopped};
use aws_lc_rs::digest::{Context, SHA256};

pub(super) const NAME: &str = "backup_manifest";

pub(super) struct Manifest<'a> {
    pub(super) files: &'a [Whole],
    pub(super) started: &'a Started,
    pub(super) stopped: &'a Stopped,
}

impl Manifest<'_> {
    pub(super) fn size(&self) -> u64 {
        let digits = "0".repeat(64);
        let lines = self.lines().map(|line| line.len() as u64);
        lines.sum::<u64>() + last_line(&digits).len() as u64
    }

    /// The text, in blocks that fit into a chunk.
    pub(super) fn blocks(&self) -> impl Iterator<Item = Vec<u8>> {
        let mut lines = self.lines();
        let mut context = Some(Context::new(&SHA256));
        std::iter::from_fn(move || {
            let mut block = Vec::new();
            let running = context.as_mut()?;
            for line in lines.by_ref() {
                running.update(line.as_bytes());
                block.extend(line.into_bytes());
                // A line is at most as long as a path may be.
                if block.len() + (64 << 10) > CHUNK {
                    return Some(block);
                }
            }
            let digest = context.take()?.finish();
            let digits = digest.as_ref().iter().map(|byte| format!("{byte:02x}"));
            block.extend(last_line(&digits.collect::<String>()).into_bytes());
            Some(block)
        })
    }

    fn lines(&self) -> impl Iterator<Item = String> {
        let version = if self.started.version >= 170_000 {
            let system = self.started.system;
            format!(
                "{{ \"PostgreSQL-Backup-Manifest-Version\": 2,\n\"System-Identifier\": {system},\n"
            )
        } else {
            "{ \"PostgreSQL-Backup-Manifest-Version\": 1,\n".to_owned()
        };
        let last = self.files.len().saturating_sub(1);
        let files = self.files.iter().enumerate().map(move |(number, whole)| {
            let comma = if number == last { "" } else { "," };
            format!("{}{comma}\n", file(whole))
        });
        let wal = format!(
            "],\n\"WAL-Ranges\": [\n{{ \"Timeline\": {}, \"Start-LSN\": \"{}\", \"End-LSN\": \"{}\" \
             }}\n],\n",
            self.started.timeline, self.started.begin, self.stopped.end
        );
        [version, "\"Files\": [\n".to_owned()].into_iter().chain(files).chain([wal])
    }
}

fn last_line(digits: &str) -> String {
    format!("\"Manifest-Checksum\": \"{digits}\"}}\n")
}

fn file(whole: &Whole) -> String {
    // As it lies in PostgreSQL's memory.
    let sum = u32::from_le_bytes(whole.crc32c.to_be_bytes());
    let seconds = i64::try_from(whole.modified).unwrap_or_default();
    let modified = jiff::Timestamp::from_second(seconds).unwrap_or_default();
    let modified = modified.strftime("%Y-%m-%d %H:%M:%S GMT");
    let path = serde_json::Value::from(&*whole.path);
    format!(
        "{{ \"Path\": {path}, \"Size\": {}, \"Last-Modified\": \"{modified}\", \
         \"Checksum-Algorithm\": \"CRC32C\", \"Checksum\": \"{sum:08x}\" }}",
        whole.size
    )
}
