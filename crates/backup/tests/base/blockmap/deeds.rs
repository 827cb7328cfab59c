//! What changes files in every way that PostgreSQL has, chosen at random.
//!
//! Never depends on time: the same seed does the same.

use crate::base::postgres::{Connection, Server, give_away};
use std::path::Path;

/// Good enough to choose with.
pub(super) struct Random(pub(super) u64);

impl Random {
    pub(super) fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (mixed ^ (mixed >> 31)) % limit
    }
}

pub(super) struct Deeds<'a> {
    pub(super) server: &'a mut Server,
    pub(super) random: Random,
    session: Connection,
    /// The numbers of what there is.
    tables: Vec<u64>,
    databases: Vec<u64>,
    next: u64,
}

impl<'a> Deeds<'a> {
    pub(super) const KINDS: u64 = 28;

    pub(super) async fn new(server: &'a mut Server, base: &Path, random: Random) -> Self {
        let space = base.join("tablespace");
        std::fs::create_dir(&space).unwrap();
        give_away(&space);
        let session = server.connect().await;
        session.sql(&format!("create tablespace space location '{}'", space.display())).await;
        session.sql("create sequence counter").await;
        let mut deeds =
            Self { server, random, session, tables: Vec::new(), databases: Vec::new(), next: 1 };
        for _ in 0..4 {
            deeds.table("").await;
        }
        deeds
    }

    /// All that was written so far is in the archive.
    pub(super) async fn archive(&self) {
        crate::base::real::archive(&self.session).await;
    }

    pub(super) async fn sql(&self, sql: &str) -> String {
        self.session.sql(sql).await
    }

    pub(super) async fn any(&mut self) {
        let kind = self.random.below(Self::KINDS);
        self.one(kind).await;
    }

    fn number(&mut self) -> u64 {
        self.next += 1;
        self.next
    }

    fn some(&mut self) -> u64 {
        let at = self.random.below(self.tables.len() as u64);
        self.tables[usize::try_from(at).unwrap()]
    }

    async fn table(&mut self, kind: &str) -> u64 {
        let (number, rows) = (self.number(), 1 + self.random.below(6000));
        let space = if self.random.below(3) == 0 { "tablespace space" } else { "" };
        self.sql(&format!(
            "create {kind} table t{number} {space} as select n, n % 97 as few, \
             md5(n::text) as t, array[n % 7, n % 11] as a, point(n % 50, n % 60) as p \
             from generate_series(1, {rows}) n"
        ))
        .await;
        self.tables.push(number);
        number
    }

    /// A table with an index of each kind, in which something is done.
    pub(super) async fn indexed(&mut self) {
        let table = self.table("").await;
        for kind in 0..7 {
            self.index(table, kind).await;
        }
        for sql in [
            "insert into $ select n, 1, 'x' || n, array[n], point(n, n) \
             from generate_series(1, 3000) n",
            "update $ set t = t || 'y' where n % 3 = 0",
            "delete from $ where n % 5 = 0",
            "vacuum $",
        ] {
            self.sql(&sql.replace('$', &format!("t{table}"))).await;
        }
    }

    async fn index(&mut self, table: u64, kind: u64) {
        let number = self.number();
        let using = match kind {
            0 => "btree (n)",
            1 => "btree (t)",
            2 => "hash (t)",
            3 => "gin (a)",
            4 => "gist (p)",
            5 => "spgist (p)",
            _ => "brin (n)",
        };
        self.sql(&format!("create index i{number} on t{table} using {using}")).await;
    }

    async fn forget(&mut self, table: u64) {
        self.tables.retain(|other| *other != table);
        if self.tables.len() < 3 {
            self.table("").await;
        }
    }

    /// One of each kind, on something or other.
    pub(super) async fn one(&mut self, kind: u64) {
        match kind {
            0..=12 => self.rows(kind).await,
            13..=21 => self.files(kind).await,
            _ => self.others(kind).await,
        }
    }

    async fn rows(&mut self, kind: u64) {
        let (table, at) = (self.some(), self.random.below(5000));
        let few = self.random.below(97);
        let sql = match kind {
            0 => format!(
                "insert into t{table} select n, 1, 'x' || n, array[n], point(n, n) \
                          from generate_series({at}, {at} + 800) n"
            ),
            1 => format!("update t{table} set t = t || 'y' where few = {few}"),
            2 => format!("update t{table} set n = n + 1 where n between {at} and {at} + 200"),
            3 => format!("delete from t{table} where few = {few}"),
            4 => format!("delete from t{table} where n > {at}"),
            5 => format!("vacuum t{table}"),
            6 => format!("vacuum (freeze) t{table}"),
            7 => format!("select count(t) from t{table}"),
            8 => format!("analyze t{table}"),
            9 => "select count(nextval('counter')) from generate_series(1, 70)".to_owned(),
            10 => format!("select count(lo_from_bytea(0, decode(repeat('ab', {at} + 1), 'hex')))"),
            11 => "select count(lo_unlink(oid)) from (select oid from pg_largeobject_metadata \
                   limit 1) as one"
                .to_owned(),
            _ => return self.locked(table).await,
        };
        self.sql(&sql).await;
    }

    /// Two hold a lock on a row, and a part of one is undone.
    async fn locked(&mut self, table: u64) {
        let other = self.server.connect().await;
        let one = format!("(select ctid from t{table} limit 1)");
        other.sql("begin").await;
        other.sql(&format!("select 1 from t{table} where ctid = {one} for key share")).await;
        self.sql("begin").await;
        self.sql(&format!("select 1 from t{table} where ctid = {one} for key share")).await;
        self.sql("savepoint s").await;
        self.sql(&format!("update t{table} set t = 'locked' where ctid = {one}")).await;
        if self.random.below(2) == 0 {
            self.sql("rollback to s").await;
        }
        self.sql("commit").await;
        other.sql("commit").await;
    }

    async fn files(&mut self, kind: u64) {
        let table = self.some();
        match kind {
            13 | 14 => {
                let kind = ["", "unlogged"][usize::from(kind == 14)];
                self.table(kind).await;
            }
            15 => {
                for _ in 0..2 {
                    let kind = self.random.below(7);
                    self.index(table, kind).await;
                }
            }
            16 => {
                self.sql(&format!("drop table t{table}")).await;
                self.forget(table).await;
            }
            17 => drop(self.sql(&format!("truncate t{table}")).await),
            18 => drop(self.sql(&format!("vacuum full t{table}")).await),
            19 => {
                let number = self.number();
                self.sql(&format!("create index c{number} on t{table} (t)")).await;
                self.sql(&format!("cluster t{table} using c{number}")).await;
            }
            20 => {
                let to = ["space", "pg_default"][usize::from(self.random.below(2) == 0)];
                self.sql(&format!("alter table t{table} set tablespace {to}")).await;
            }
            _ => {
                let logged = ["logged", "unlogged"][usize::from(self.random.below(4) == 0)];
                self.sql(&format!("alter table t{table} set {logged}")).await;
                self.sql(&format!("alter table t{table} alter column few type bigint")).await;
                self.sql(&format!("reindex table t{table}")).await;
                self.sql("vacuum full pg_class").await;
            }
        }
    }

    async fn others(&mut self, kind: u64) {
        match kind {
            22 => self.database().await,
            23 => self.within_a_database().await,
            24 => self.undone().await,
            25 => self.prepared().await,
            26 => drop(self.sql("checkpoint").await),
            _ => {
                self.server.crash();
                self.session = self.server.connect().await;
            }
        }
    }

    /// A timeline ends, and another one begins.
    pub(super) async fn promoted(&mut self) {
        self.server.stop();
        std::fs::write(self.server.data.join("standby.signal"), "").unwrap();
        self.server.run();
        self.session = self.server.connect().await;
        self.sql("select pg_promote()").await;
        self.session.until("select not pg_is_in_recovery()").await;
    }

    async fn database(&mut self) {
        let number = self.number();
        let of = self.databases.first().map_or("template1".to_owned(), |one| format!("d{one}"));
        let how = ["wal_log", "file_copy"][usize::from(self.random.below(2) == 0)];
        let space = ["pg_default", "space"][usize::from(self.random.below(2) == 0)];
        self.sql(&format!(
            "create database d{number} template {of} strategy {how} tablespace {space}"
        ))
        .await;
        self.databases.push(number);
        if self.databases.len() > 2 {
            let gone = self.databases.remove(0);
            self.sql(&format!("drop database d{gone}")).await;
        } else {
            let to = ["pg_default", "space"][usize::from(self.random.below(2) == 0)];
            self.sql(&format!("alter database d{number} set tablespace {to}")).await;
        }
    }

    async fn within_a_database(&mut self) {
        let Some(number) = self.databases.first() else { return };
        let session = self.server.connect_to(&format!("d{number}")).await;
        session.sql("create table if not exists inside (n int)").await;
        session.sql("insert into inside select generate_series(1, 500)").await;
        let count =
            format!("select count(*) = 0 from pg_stat_activity where datname = 'd{number}'");
        drop(session);
        self.session.until(&count).await;
    }

    /// What a transaction made goes with it.
    async fn undone(&mut self) {
        self.sql("begin").await;
        let table = self.table("").await;
        let other = self.some();
        self.sql(&format!("insert into t{other} select * from t{table}")).await;
        self.sql(&format!("truncate t{other}")).await;
        self.sql("rollback").await;
        self.forget(table).await;
    }

    async fn prepared(&mut self) {
        self.sql("begin").await;
        let table = self.table("").await;
        self.sql("prepare transaction 'prepared'").await;
        if self.random.below(2) == 0 {
            self.sql("commit prepared 'prepared'").await;
        } else {
            self.sql("rollback prepared 'prepared'").await;
            self.forget(table).await;
        }
    }
}
