//! Lists the dumps that a repository holds.
//!
//! Never leaves one out because it cannot be used: why it cannot is told.

use super::super::super::repository::second;
use super::super::output::{Output, say, say_all, say_json};
use super::super::place::Place;
use super::super::status::table;
use super::opened;
use pgherd_backup::dump::{Description, DumpedDatabase, DumpedFormat, DumpedPart, Found};
use pgherd_core::units::Bytes;
use pgherd_local::failure::Failure;
use serde::Serialize;

/// List the dumps that there are
#[derive(clap::Args)]
#[command(after_help = "Example:\n  pgherd local dump list")]
pub(super) struct List {}

/// One dump, as it is told.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Listed {
    id: String,
    /// Why it cannot be used.
    #[serde(skip_serializing_if = "Option::is_none")]
    problem: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    stored_bytes: Option<Bytes>,
    #[serde(flatten)]
    description: Option<Description>,
}

impl List {
    pub(super) fn run(place: &Place) -> Result<(), Failure> {
        let output = place.output();
        place.inside(|folder| async move {
            let catalogue = opened::open(&folder)?;
            let found = catalogue.dumps.list().await.map_err(|error| catalogue.failed(&error))?;
            let all: Vec<Listed> = found.iter().map(Listed::of).collect();
            match output {
                Output::Json => say_json(&all),
                Output::Text => {
                    if all.is_empty() {
                        say(&format!("no dumps in {}", catalogue.opened.place()));
                    } else {
                        say_all(&lines(&all));
                    }
                    Ok(())
                }
            }
        })
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
    pub(super) fn of(found: &Found) -> Self {
        let description = found.description.as_ref().ok().cloned();
        Self {
            id: found.id.to_string(),
            problem: found.description.as_ref().err().cloned(),
            stored_bytes: description.as_ref().map(Description::stored),
            description,
        }
    }

    pub(super) fn stored_bytes(&self) -> u64 {
        self.stored_bytes.unwrap_or_default().0
    }

    pub(super) fn databases(&self) -> Vec<String> {
        let description = self.description.iter();
        description.flat_map(|it| it.databases.iter().map(|one| one.name.clone())).collect()
    }

    fn row(&self) -> Vec<String> {
        let Some(it) = &self.description else {
            let problem = self.problem.clone().unwrap_or_default();
            return vec![self.id.clone(), problem];
        };
        let mut databases = self.databases().join(",");
        if !it.tables.is_empty() {
            databases = format!("{databases} ({})", it.tables.join(","));
        }
        let as_of = it.databases.first().map(|one| second(one.snapshot.at));
        vec![
            self.id.clone(),
            it.name.clone(),
            as_of.unwrap_or_else(|| "-".to_owned()),
            databases,
            format_name(it.stored_as).to_owned(),
            it.size().to_string(),
            it.stored().to_string(),
            it.from.instance.clone(),
        ]
    }

    /// Everything, one line each.
    pub(super) fn page(&self) -> Vec<String> {
        let Some(it) = &self.description else {
            let problem = self.problem.clone().unwrap_or_default();
            return vec![format!("dump {}", self.id), format!("  problem    {problem}")];
        };
        let part = match it.from.part {
            DumpedPart::Primary => "the primary",
            DumpedPart::Standby => "a standby",
        };
        let tables = if it.tables.is_empty() { "all".to_owned() } else { it.tables.join(", ") };
        let mut page = vec![
            format!("dump {}", self.id),
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
