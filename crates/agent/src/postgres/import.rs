//! Brings databases of a server outside into a new cluster, with pg_dump and pg_restore.
//!
//! Never keeps what was dumped, nor what opened the server, and never imports half a database: a
//! cluster whose import fails is made anew.

mod origin;

use crate::durable::{self, DurableError};
use crate::postgres::config::quote::{identifier, literal};
use crate::postgres::config::{REPLICATION_ROLE, Settings};
use crate::postgres::external::{self, ExternalError, Source};
use crate::postgres::folder::{self, FolderError};
use crate::postgres::globals::{self, GlobalsError, Superusers};
use crate::postgres::initdb::Application;
use crate::postgres::roles;
use crate::postgres::session::{SUPERUSER, Session, SessionError};
use crate::postgres::site::Site;
use crate::process::flow::Flow;
use crate::process::tool::{Tool, ToolError};
use origin::Database;
use pgherd_api::agent::{ImportChoice, ImportSpec, ImportWhat};
use pgherd_core::units::Bytes;
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;
use tracing::{info, warn};

const ASK: Duration = Duration::from_mins(2);
/// To dump a database, to restore a part of it, or to gather its statistics.
const COPY: Duration = Duration::from_hours(24);
/// Roles that every cluster has, or that belong to its upkeep.
const NEVER: [&str; 3] = [SUPERUSER, REPLICATION_ROLE, "cnpg_pooler_pgbouncer"];
/// What is left free beside the data.
const MARGIN: Bytes = Bytes(128 << 20);

/// What is imported, and what opens its server.
#[derive(Debug, Clone)]
pub struct Import {
    pub spec: ImportSpec,
    pub source: Source,
}

impl Import {
    /// Whether there is a database for applications, and the import goes into it.
    pub(crate) fn fills_application(&self) -> bool {
        match self.spec.what {
            ImportWhat::Database { .. } => true,
            ImportWhat::Server { .. } => false,
        }
    }
}

#[derive(Debug, thiserror::Error)]
pub enum ImportError {
    #[error("keeping the password for as long as it is needed")]
    KeepKey(#[source] Box<ExternalError>),
    #[error("forgetting the password")]
    ForgetKey(#[source] DurableError),
    #[error("preparing the folder that dumps pass through")]
    Prepare(#[source] FolderError),
    #[error("looking how much room there is in {path:?}")]
    Look { path: PathBuf, source: io::Error },
    #[error(
        "the disk is too small: database {database:?} takes {needed} there, and {free} are free: use a \
         larger disk"
    )]
    NoRoom { database: String, needed: Bytes, free: Bytes },
    #[error(
        "asking the server for its databases: see that it runs and lets this cluster in, or correct its \
         entry in externalClusters"
    )]
    Ask(#[source] ToolError),
    #[error("the server did not answer as PostgreSQL does")]
    Understand(#[source] serde_json::Error),
    #[error(
        "the server has no database {name:?} that can be imported; it has {there}: correct \
         spec.bootstrap.initdb.import.databases"
    )]
    NoDatabase { name: String, there: String },
    #[error("the server has no role {name:?}: correct spec.bootstrap.initdb.import.roles")]
    NoRole { name: String },
    #[error(
        "dumping the server's roles, which only its superuser may: let its entry in externalClusters \
         log in as one"
    )]
    DumpRoles(#[source] ToolError),
    #[error("making the server's roles")]
    MakeRoles(#[source] GlobalsError),
    #[error("connecting to the new server")]
    Connect(#[source] SessionError),
    #[error(
        "making database {database:?}, which belongs to {owner:?}: name that role in \
         spec.bootstrap.initdb.import.roles"
    )]
    MakeDatabase { database: String, owner: String, source: SessionError },
    #[error("lending {owner:?} the rights to restore its database")]
    Lend { owner: String, source: SessionError },
    #[error(
        "dumping database {database:?}: the user of its entry in externalClusters has to be able to read \
         all of it"
    )]
    Dump { database: String, source: ToolError },
    #[error("restoring the {section} of database {database:?}")]
    Restore { database: String, section: &'static str, source: ToolError },
    #[error("removing what was dumped")]
    Remove(#[source] FolderError),
    #[error("gathering statistics of database {database:?}")]
    Analyze { database: String, source: SessionError },
    #[error(
        "running statement {number} of postImportApplicationSQL: correct it in the cluster's definition"
    )]
    RunStatement { number: usize, source: SessionError },
}

/// The roles of the server, before any of the cluster's own is made.
pub(crate) async fn import_roles(
    staged: &Site,
    settings: &Settings,
    import: &Import,
) -> Result<(), ImportError> {
    let ImportWhat::Server { roles, .. } = &import.spec.what else { return Ok(()) };
    if *roles == ImportChoice::Named(BTreeSet::new()) {
        return Ok(());
    }
    let reach = Reach::open(staged, settings, import)?;
    let text = reach.roles().await?;
    reach.close()?;
    let there = globals::roles(&text);
    let wanted = match roles {
        ImportChoice::All => there,
        ImportChoice::Named(names) => {
            if let Some(name) = names.difference(&there).next() {
                return Err(ImportError::NoRole { name: name.clone() });
            }
            names.clone()
        }
    };
    let may_be = |name: &String| !NEVER.contains(&name.as_str()) && !name.starts_with("pg_");
    let wanted = wanted.into_iter().filter(may_be).collect();
    let mut session = connect(staged, SUPERUSER).await?;
    let made = globals::make(&mut session, &wanted, &text, Superusers::Degraded).await;
    for complaint in made.map_err(ImportError::MakeRoles)? {
        warn!(complaint, "an imported role is incomplete");
    }
    Ok(())
}

/// The databases, when roles and the applications' database are there.
pub(crate) async fn import_databases(
    staged: &Site,
    settings: &Settings,
    import: &Import,
    application: &Application,
) -> Result<(), ImportError> {
    let reach = Reach::open(staged, settings, import)?;
    let there = reach.databases().await?;
    match &import.spec.what {
        ImportWhat::Database { name, statements } => {
            let database = find(&there, name)?;
            let Application { database: into, owner, .. } = application;
            reach.bring(database, &Into { database: into, as_role: Some(owner) }).await?;
            let mut session = connect(staged, into).await?;
            for (index, statement) in statements.iter().enumerate() {
                let run = session.run(statement, COPY).await;
                let number = index + 1;
                run.map_err(|source| ImportError::RunStatement { number, source })?;
            }
            analyze(staged, into).await?;
        }
        ImportWhat::Server { databases, .. } => {
            let wanted: Vec<&Database> = match databases {
                ImportChoice::All => there.iter().filter(|it| it.name != SUPERUSER).collect(),
                ImportChoice::Named(names) => {
                    let found = names.iter().map(|name| find(&there, name));
                    found.collect::<Result<_, _>>()?
                }
            };
            for database in wanted {
                make_database(staged, database).await?;
                let into = Into { database: &database.name, as_role: None };
                reach.bring(database, &into).await?;
                analyze(staged, &database.name).await?;
            }
        }
    }
    reach.close()
}

fn find<'a>(there: &'a [Database], name: &str) -> Result<&'a Database, ImportError> {
    there.iter().find(|database| database.name == name).ok_or_else(|| {
        let there: Vec<&str> = there.iter().map(|database| database.name.as_str()).collect();
        ImportError::NoDatabase { name: name.to_owned(), there: there.join(", ") }
    })
}

async fn connect(staged: &Site, database: &str) -> Result<Session, ImportError> {
    roles::connect_for_users(staged, database, ASK).await.map_err(ImportError::Connect)
}

async fn make_database(staged: &Site, database: &Database) -> Result<(), ImportError> {
    let Database { name, owner, encoding, collate, ctype, .. } = database;
    let mut session = connect(staged, SUPERUSER).await?;
    let look = format!("select count(*) from pg_database where datname = {}", literal(name));
    let failed =
        |source| ImportError::MakeDatabase { database: name.clone(), owner: owner.clone(), source };
    if session.value(&look, ASK).await.map_err(failed)? != "0" {
        return Ok(());
    }
    let sql = format!(
        "create database {} owner {} template template0 encoding {} lc_collate {} lc_ctype {}",
        identifier(name),
        identifier(owner),
        literal(encoding),
        literal(collate),
        literal(ctype),
    );
    session.run(&sql, COPY).await.map_err(failed)
}

async fn analyze(staged: &Site, database: &str) -> Result<(), ImportError> {
    let mut session = connect(staged, database).await?;
    let analyzed = session.run("analyze", COPY).await;
    analyzed.map_err(|source| ImportError::Analyze { database: database.to_owned(), source })
}

/// Where a database goes.
struct Into<'a> {
    database: &'a str,
    /// To whom all of it belongs, if not as there.
    as_role: Option<&'a str>,
}

/// The way to the server, and the folder that dumps pass through.
struct Reach<'a> {
    staged: &'a Site,
    import: &'a Import,
    parameters: BTreeMap<String, String>,
    spool: PathBuf,
}

impl<'a> Reach<'a> {
    fn open(
        staged: &'a Site,
        settings: &Settings,
        import: &'a Import,
    ) -> Result<Self, ImportError> {
        external::write_key(staged, import.source.password.as_ref())
            .map_err(|error| ImportError::KeepKey(Box::new(error)))?;
        let scratch = staged.base.join("scratch");
        let spool = scratch.join("import");
        folder::remove_tree(&spool).map_err(ImportError::Prepare)?;
        for path in [&scratch, &spool] {
            folder::make_private(path, staged.owner).map_err(ImportError::Prepare)?;
        }
        let parameters = external::reaching(staged, settings, &import.source);
        Ok(Self { staged, import, parameters, spool })
    }

    fn close(self) -> Result<(), ImportError> {
        folder::remove_tree(&self.spool).map_err(ImportError::Prepare)?;
        durable::remove(&self.staged.external_passfile()).map_err(ImportError::ForgetKey)
    }

    fn tool(&self, program: &str) -> Tool {
        Tool::new(self.staged.installation.tool(program))
            .argument("--no-password")
            .working_in(&self.spool)
            .run_as(self.staged.owner)
    }

    /// How a database there is reached; the one that the user names if none is.
    fn connection(&self, database: Option<&str>) -> String {
        let mut parameters = self.parameters.clone();
        if let Some(database) = database {
            parameters.insert("dbname".to_owned(), database.to_owned());
        }
        external::text(&parameters)
    }

    async fn databases(&self) -> Result<Vec<Database>, ImportError> {
        let said = self
            .tool("psql")
            .argument("--no-psqlrc")
            .argument("--quiet")
            .argument("--tuples-only")
            .argument("--no-align")
            .argument(format!("--command={}", origin::DATABASES))
            .argument("--dbname")
            .argument(self.connection(None))
            .run(ASK)
            .await
            .map_err(ImportError::Ask)?;
        serde_json::from_str(said.stdout.trim()).map_err(ImportError::Understand)
    }

    async fn roles(&self) -> Result<String, ImportError> {
        let tool = self
            .tool("pg_dumpall")
            .argument("--roles-only")
            .argument(format!("--dbname={}", self.connection(None)));
        let mut flow = Flow::start(&tool).map_err(ImportError::DumpRoles)?;
        let mut text = Vec::new();
        let read = async {
            while let Some(piece) = flow.read().await? {
                text.extend_from_slice(&piece);
            }
            flow.end().await
        };
        let late = |_| ToolError::Deadline {
            program: "pg_dumpall".into(),
            within: ASK,
            complaint: String::new(),
        };
        let read = tokio::time::timeout(ASK, read).await.map_err(late);
        read.and_then(|read| read).map_err(ImportError::DumpRoles)?;
        Ok(String::from_utf8_lossy(&text).into_owned())
    }

    /// One database, from there to here.
    async fn bring(&self, database: &Database, into: &Into<'_>) -> Result<(), ImportError> {
        self.refuse_without_room(database)?;
        info!(database = database.name, size = %database.size(), "a database is imported");
        let dump = self.spool.join("dump");
        self.dump(&database.name, &dump).await?;
        self.lend(into, "superuser").await?;
        let spec = &self.import.spec;
        let sections: &[(&str, &[String])] = &[
            ("pre-data", &spec.predata_options),
            ("data", &spec.data_options),
            ("post-data", &spec.postdata_options),
        ];
        for (section, options) in sections {
            self.restore(&dump, into, (section, options)).await?;
        }
        self.lend(into, "nosuperuser").await?;
        folder::remove_tree(&dump).map_err(ImportError::Remove)
    }

    fn refuse_without_room(&self, database: &Database) -> Result<(), ImportError> {
        let path = &self.staged.base;
        let found = rustix::fs::statvfs(path)
            .map_err(|errno| ImportError::Look { path: path.clone(), source: errno.into() })?;
        let free = Bytes(found.f_bavail.saturating_mul(found.f_frsize));
        let needed = Bytes(database.size().0.saturating_add(MARGIN.0));
        if free >= needed || self.import.spec.schema_only {
            return Ok(());
        }
        Err(ImportError::NoRoom { database: database.name.clone(), needed, free })
    }

    async fn dump(&self, database: &str, to: &Path) -> Result<(), ImportError> {
        let mut tool = self.tool("pg_dump");
        if self.import.spec.schema_only {
            tool = tool.argument("--schema-only");
        }
        // Ours come last: of two the last one counts.
        for option in &self.import.spec.dump_options {
            tool = tool.argument(option);
        }
        let dumped = tool
            .argument("--format=directory")
            .argument(format!("--file={}", to.display()))
            .argument("--no-sync")
            .argument(format!("--dbname={}", self.connection(Some(database))))
            .run(COPY)
            .await;
        dumped
            .map(drop)
            .map_err(|source| ImportError::Dump { database: database.to_owned(), source })
    }

    async fn restore(
        &self,
        from: &Path,
        into: &Into<'_>,
        (section, options): (&'static str, &[String]),
    ) -> Result<(), ImportError> {
        let mut tool = self.tool("pg_restore").argument("--exit-on-error");
        if let Some(role) = into.as_role {
            tool = tool.argument("--no-owner").argument("--no-privileges");
            tool = tool.argument(format!("--role={role}"));
        }
        for option in self.import.spec.restore_options.iter().chain(options) {
            tool = tool.argument(option);
        }
        let own = BTreeMap::from([
            ("host".to_owned(), self.staged.sockets.display().to_string()),
            ("port".to_owned(), self.staged.port.to_string()),
            ("user".to_owned(), SUPERUSER.to_owned()),
            ("dbname".to_owned(), into.database.to_owned()),
        ]);
        let restored = tool
            .argument(format!("--section={section}"))
            .argument(format!("--dbname={}", external::text(&own)))
            .argument(from)
            .run(COPY)
            .await;
        let database = into.database.to_owned();
        restored.map(drop).map_err(|source| ImportError::Restore { database, section, source })
    }

    /// Extensions and the like can be restored by a superuser only. Nobody else gets in meanwhile.
    async fn lend(&self, into: &Into<'_>, rights: &str) -> Result<(), ImportError> {
        let Some(owner) = into.as_role.filter(|owner| *owner != SUPERUSER) else { return Ok(()) };
        let mut session = connect(self.staged, SUPERUSER).await?;
        let lent = session.run(&format!("alter role {} {rights}", identifier(owner)), ASK).await;
        lent.map_err(|source| ImportError::Lend { owner: owner.to_owned(), source })
    }
}
