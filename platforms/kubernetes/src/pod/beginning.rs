//! Decides how an agent's watches begin: many agents share one API server.
//!
//! Never gives up because an API server is too old for the better way.

use kube::runtime::watcher::{Config, Error};

/// How what exists already is learnt.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) enum Beginning {
    /// By the watch itself: one request.
    #[default]
    Streamed,
    /// By a list before it, which every API server knows: two.
    Listed,
}

impl Beginning {
    pub(super) fn of(self, watch: Config) -> Config {
        match self {
            Self::Streamed => watch.streaming_lists(),
            Self::Listed => watch,
        }
    }

    /// How to begin once that has gone wrong.
    pub(super) fn after(self, error: &Error) -> Self {
        match error {
            // It does not know what it was asked for; before 1.34 that was left to whoever started it.
            Error::WatchStartFailed(kube::Error::Api(said)) if matches!(said.code, 400 | 422) => {
                Self::Listed
            }
            _ => self,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn only_a_server_that_does_not_know_it_is_listed_first() {
        let failed = |code: u16| {
            let status = json!({"status": "Failure", "message": "no", "reason": "x", "code": code});
            let status = serde_json::from_value(status).unwrap();
            Error::WatchStartFailed(kube::Error::Api(Box::new(status)))
        };
        let after = |error: &Error| Beginning::default().after(error);
        assert_eq!(after(&failed(422)), Beginning::Listed);
        assert_eq!(after(&failed(400)), Beginning::Listed);
        assert_eq!(after(&failed(403)), Beginning::Streamed);
        assert_eq!(after(&failed(410)), Beginning::Streamed);
        assert_eq!(after(&Error::NoResourceVersion), Beginning::Streamed);
        assert_eq!(Beginning::Listed.after(&failed(500)), Beginning::Listed);
    }
}
