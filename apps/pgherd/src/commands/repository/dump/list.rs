//! Lists the dumps that a repository holds.
//!
//! Never leaves one out because it cannot be used: why it cannot is told.

use super::super::super::local::status::table;
use super::super::{Answer, Opened, second};
use pgherd_backup::dump::{Description, DumpedDatabase, DumpedFormat, DumpedPart, Found};
use pgherd_core::units::Bytes;
use pgherd_local::failure::Failure;
use serde::{Deserialize, Serialize};

/// List the dumps that there are
#[derive(Debug, Clone, clap::Args, Serialize, Deserialize)]
pub(crate) struct List {}

/// All dumps, the oldest first, and where they lie.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Listing {
    pub(crate) place: String,
    pub(crate) all: Vec<Listed>,
}

/// One dump, as it is told.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Listed {
    /// Its id in the repository; none as long as it is not there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) id: Option<String>,
    /// The Dump object that asked for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) object: Option<String>,
    /// How far that object is, if nothing is there of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) status: Option<String>,
    /// Why it cannot be used.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) problem: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) stored_bytes: Option<Bytes>,
    #[serde(flatten)]
    pub(crate) description: Option<Description>,
}

pub(crate) async fn answer(opened: &Opened) -> Result<Listing, Failure> {
    let found = opened.dumps().list().await.map_err(|error| opened.dump_failed(&error))?;
    Ok(Listing { place: opened.place(), all: found.iter().map(Listed::of).collect() })
}

impl Answer for Listing {
    type Document = Vec<Listed>;

    fn document(&self) -> &Vec<Listed> {
        &self.all
    }

    fn names(&self) -> Vec<String> {
        self.all.iter().flat_map(Listed::names).collect()
    }

    fn lines(&self) -> Vec<String> {
        if self.all.is_empty() {
            return vec![format!("no dumps in {}", self.place)];
        }
        lines(&self.all)
    }
}

impl Answer for Listed {
    type Document = Self;

    fn document(&self) -> &Self {
        self
    }

    fn names(&self) -> Vec<String> {
        self.id.iter().map(|id| format!("dump/{id}")).collect()
    }

    fn lines(&self) -> Vec<String> {
        self.page()
    }
}

fn lines(all: &[Listed]) -> Vec<String> {
    let header = ["DUMP", "NAME", "AS OF", "DATABASES", "FORMAT", "SIZE", "STORED", "FROM"];
    let rows: Vec<Vec<String>> = all.iter().map(Listed::row).collect();
    table(&header, &rows)
}

fn format_name(format: DumpedFormat) -> &'static str {
    match format {
        DumpedFormat::Custom => "custom",
        DumpedFormat::Directory => "directory",
    }
}

impl Listed {
    pub(crate) fn of(found: &Found) -> Self {
        let description = found.description.as_ref().ok().cloned();
        Self {
            id: Some(found.id.to_string()),
            object: None,
            status: None,
            problem: found.description.as_ref().err().cloned(),
            stored_bytes: description.as_ref().map(Description::stored),
            description,
        }
    }

    pub(crate) fn databases(&self) -> Vec<String> {
        let description = self.description.iter();
        description.flat_map(|it| it.databases.iter().map(|one| one.name.clone())).collect()
    }

    fn row(&self) -> Vec<String> {
        let id = self.id.clone().unwrap_or_else(|| "-".to_owned());
        let Some(it) = &self.description else {
            let object = self.object.clone().unwrap_or_else(|| "-".to_owned());
            return vec![id, object, self.state()];
        };
        let mut databases = self.databases().join(",");
        if !it.tables.is_empty() {
            databases = format!("{databases} ({})", it.tables.join(","));
        }
        let as_of = it.databases.first().map(|one| second(one.snapshot.at));
        vec![
            id,
            self.object.clone().unwrap_or_else(|| it.name.clone()),
            as_of.unwrap_or_else(|| "-".to_owned()),
            databases,
            format_name(it.stored_as).to_owned(),
            it.size().to_string(),
            it.stored().to_string(),
            it.from.instance.clone(),
        ]
    }

    /// Why there is none that could be used.
    fn state(&self) -> String {
        let known = [&self.status, &self.problem];
        known.into_iter().flatten().cloned().collect::<Vec<_>>().join(": ")
    }

    /// Everything, one line each.
    fn page(&self) -> Vec<String> {
        let id = self.id.clone().unwrap_or_else(|| "-".to_owned());
        let Some(it) = &self.description else {
            return vec![format!("dump {id}"), format!("  problem    {}", self.state())];
        };
        let object = self.object.iter().map(|object| format!("  object     {object}"));
        let part = match it.from.part {
            DumpedPart::Primary => "the primary",
            DumpedPart::Standby => "a standby",
        };
        let tables = if it.tables.is_empty() { "all".to_owned() } else { it.tables.join(", ") };
        let mut page = vec![
            format!("dump {id}"),
            format!("  name       {}", it.name),
            format!("  taken      {} to {}", second(it.began), second(it.ended)),
            format!(
                "  from       {}, {part} then, on timeline {}",
                it.from.instance, it.from.timeline
            ),
            format!("  PostgreSQL {}", it.from.version),
            format!("  system id  {}", it.from.system),
            format!("  format     {}, {} at once", format_name(it.stored_as), it.jobs),
            format!("  tables     {tables}"),
            format!("  stored     {}", it.stored()),
            format!("  taken by   {}", it.taken_by),
        ];
        page.extend(object);
        page.extend(it.databases.iter().flat_map(database));
        page
    }
}

fn database(it: &DumpedDatabase) -> [String; 4] {
    [
        format!("  database {}", it.name),
        format!("    as of    {} at {}", second(it.snapshot.at), it.snapshot.lsn),
        format!("    size     {}, {} stored in {} files", it.size, it.stored, it.files),
        format!("    roles    {}", it.roles.join(", ")),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;
    use pgherd_core::units::SystemId;
    use serde_json::json;

    #[test]
    fn a_dump_travels_whole() {
        let file = json!({"name": "5.dump", "bytes": 700, "sha256": "00"});
        let described = json!({
            "id": "20261122T112233", "storedBytes": 1400, "format": 1, "name": "nightly",
            "began": "2026-11-22T11:22:33Z", "ended": "2026-11-22T11:22:40Z",
            "takenBy": "pgherd 0.1.0", "storedAs": "custom", "jobs": 1, "tables": [],
            "from": {
                "instance": "db-2", "part": "standby", "system": SystemId(7_000_000_000_000_000_000),
                "timeline": 3, "version": 150_018,
            },
            "globals": {"name": "globals.sql.gz", "bytes": 700, "sha256": "00"},
            "databases": [{
                "name": "app", "oid": 5, "owner": "app", "encoding": "UTF8", "collate": "C",
                "ctype": "C", "size": 9000, "roles": ["app"], "file": file, "files": 1,
                "stored": 700, "snapshot": {"at": "2026-11-22T11:22:34Z", "lsn": "0/4000028"},
            }],
        });
        let listed: Listed = serde_json::from_value(described.clone()).unwrap();
        assert_eq!(listed.databases(), ["app"]);
        assert_eq!(serde_json::to_value(&listed).unwrap(), described);
        let alone = json!({"object": "next", "status": "pending"});
        let listed: Listed = serde_json::from_value(alone.clone()).unwrap();
        assert_eq!(serde_json::to_value(&listed).unwrap(), alone);
        expect_test::expect!["-   next   pending"].assert_eq(&listed.row().join("   "));
    }
}
