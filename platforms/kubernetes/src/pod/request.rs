//! Makes one request of the API server, with a deadline, and tells its failures apart.
//!
//! Never asks again by itself: only the caller knows whether that is safe.

use std::error::Error;
use std::time::Duration;

/// An API server that takes longer is out of reach for this time.
const DEADLINE: Duration = Duration::from_secs(2);

/// Why there is no usable answer.
#[derive(Debug, thiserror::Error)]
pub enum RequestError {
    #[error("the API server did not answer within {DEADLINE:?}")]
    Late,
    #[error("it does not exist: the operator makes it")]
    Missing,
    #[error("it has changed in the meantime")]
    Changed,
    #[error("the API server does not know this pod's service account (401): {said}")]
    Unauthenticated { said: String },
    #[error("{said} (403): the operator restores the role of the cluster")]
    Forbidden { said: String },
    #[error("the API server refused it ({code}): {said}")]
    Refused { code: u16, said: String },
    #[error("reaching the API server")]
    Reach { source: Box<dyn Error + Send + Sync> },
    #[error("reading the API server's answer")]
    Decode { source: serde_json::Error },
    #[error("asking the API server")]
    Ask { source: kube::Error },
}

/// The answer to `request`, or why there is none. All but `Missing`, `Changed`,
/// `Unauthenticated` and `Forbidden` leave open whether a write was applied, or will be.
pub(super) async fn answer<T>(
    request: impl Future<Output = kube::Result<T>>,
) -> Result<T, RequestError> {
    match tokio::time::timeout(DEADLINE, request).await {
        Ok(answer) => answer.map_err(failure),
        Err(_late) => Err(RequestError::Late),
    }
}

fn failure(error: kube::Error) -> RequestError {
    match error {
        kube::Error::Api(status) => {
            let said = status.message;
            match status.code {
                401 => RequestError::Unauthenticated { said },
                403 => RequestError::Forbidden { said },
                404 => RequestError::Missing,
                409 => RequestError::Changed,
                code => RequestError::Refused { code, said },
            }
        }
        // Their texts have that of their cause in them, which would be told twice.
        kube::Error::Service(source) => RequestError::Reach { source },
        kube::Error::SerdeError(source) => RequestError::Decode { source },
        source => RequestError::Ask { source },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use expect_test::expect;
    use kube::core::Status;
    use pgherd_agent::chain::chain;

    fn told(error: kube::Error) -> String {
        chain(&failure(error)).to_string()
    }

    #[test]
    fn each_refusal_says_what_and_why() {
        let mut lines = Vec::new();
        for code in [401, 403, 404, 409, 422, 429, 500, 503, 504] {
            let status = Status::failure("so it is", "Reason").with_code(code);
            lines.push(told(kube::Error::Api(status.boxed())));
        }
        let garbage = serde_json::from_str::<u8>("<html>").unwrap_err();
        lines.push(told(kube::Error::SerdeError(garbage)));
        expect![[r#"
            the API server does not know this pod's service account (401): so it is
            so it is (403): the operator restores the role of the cluster
            it does not exist: the operator makes it
            it has changed in the meantime
            the API server refused it (422): so it is
            the API server refused it (429): so it is
            the API server refused it (500): so it is
            the API server refused it (503): so it is
            the API server refused it (504): so it is
            reading the API server's answer: expected value at line 1 column 1"#]]
        .assert_eq(&lines.join("\n"));
    }
}
