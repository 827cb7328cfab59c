//! What happens to processes and files of the primary.
//!
//! Never through pgherd: a signal comes from outside, and a file is gone.

use super::figures::Round;
use super::stage::Stage;
use anyhow::Result;

const KILL_POSTMASTER: &str = "kill -9 $(head -1 $PGDATA/postmaster.pid)";
const KILL_BACKEND: &str = "kill -9 $(psql -U postgres -Atc \"select pid from pg_stat_activity \
    where application_name = 'pgherd-ledger' limit 1\")";
const REMOVE_DATA: &str = "rm -rf $PGDATA/*";

impl Stage<'_> {
    pub(super) fn postmaster_killed(&self) -> Result<Round> {
        self.beside_the_primary(KILL_POSTMASTER)
    }

    pub(super) fn backend_killed(&self) -> Result<Round> {
        self.beside_the_primary(KILL_BACKEND)
    }

    fn beside_the_primary(&self, line: &str) -> Result<Round> {
        let cast = self.cast()?;
        let hurt = || self.cluster.shell(&cast.primary, line).map(drop);
        self.round(&cast, |_| hurt(), || Ok(()))
    }

    pub(super) fn primary_data_removed(&self) -> Result<Round> {
        let cast = self.cast()?;
        self.round(
            &cast,
            |_| {
                // PostgreSQL may put a file back while its folder is being emptied.
                let _said = self.cluster.shell(&cast.primary, REMOVE_DATA);
                self.cluster.wait_later(cast.epoch).map(drop)
            },
            || Ok(()),
        )
    }
}
