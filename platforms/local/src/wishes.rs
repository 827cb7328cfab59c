//! Understands which instance people mean, and notes what they ask of one.
//!
//! Never accepts a request that names what does not exist, or that calls back what is leaving.

use crate::failure::{Failure, Kind};
use pgherd_core::names::{ClusterName, InstanceName};
use pgherd_core::wishes::{Wish, Wishes};

/// The instance that is called so, if there is one.
pub fn find(wishes: &Wishes, cluster: &ClusterName, given: &str) -> Result<InstanceName, Failure> {
    let name = instance(cluster, given)?;
    if wishes.instances.contains_key(&name) {
        return Ok(name);
    }
    let all: Vec<String> = wishes.instances.keys().map(ToString::to_string).collect();
    let what = format!("instance {name} not found in cluster {cluster}");
    Err(Failure::new(Kind::NotFound, what).fix(format!("choose one of {}", all.join(", "))))
}

/// What people call an instance: `CLUSTER-N`, `CLUSTER/N`, or N alone.
pub fn instance(cluster: &ClusterName, given: &str) -> Result<InstanceName, Failure> {
    if let Ok(serial) = given.parse() {
        return Ok(InstanceName::new(cluster, serial));
    }
    let parsed = InstanceName::parse(&given.replacen('/', "-", 1));
    parsed.map_err(|_| {
        Failure::new(Kind::Usage, format!("{given:?} is not the name of an instance"))
            .fix(format!("write its number, or its name, for example 1 or {cluster}-1"))
    })
}

/// Lets a stopped or lost instance come back.
pub fn start(wishes: &mut Wishes, name: &InstanceName) -> Result<(), Failure> {
    change(wishes, name, Wish::Running)
}

pub fn stop(wishes: &mut Wishes, name: &InstanceName) -> Result<(), Failure> {
    change(wishes, name, Wish::Stopped)
}

pub fn lose(wishes: &mut Wishes, name: &InstanceName) -> Result<(), Failure> {
    change(wishes, name, Wish::Lost)
}

fn change(wishes: &mut Wishes, name: &InstanceName, to: Wish) -> Result<(), Failure> {
    if wishes.instances.get(name) == Some(&Wish::Leaving) {
        let what = format!("instance {name} is being removed");
        return Err(Failure::new(Kind::Refused, what)
            .fix("wait for its end, then ask for more instances with `pgherd local up`"));
    }
    wishes.instances.insert(name.clone(), to);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use pgherd_core::wishes::Shall;

    fn db() -> ClusterName {
        ClusterName::parse("db").unwrap()
    }

    fn wishes(count: u32) -> Wishes {
        let mut wishes = Wishes::default();
        wishes.scale(&db(), count, None);
        wishes
    }

    #[test]
    fn instances_go_by_name_or_number() {
        let three = wishes(3);
        let found = |given| find(&three, &db(), given).map(|name| name.to_string());
        assert_eq!(found("2"), Ok("db-2".to_owned()));
        assert_eq!(found("db-2"), Ok("db-2".to_owned()));
        assert_eq!(found("db/2"), Ok("db-2".to_owned()));
        assert_eq!(found("shop-2").unwrap_err().kind, Kind::NotFound);
        let unknown = found("7").unwrap_err();
        assert_eq!(unknown.what, "instance db-7 not found in cluster db");
        assert_eq!(unknown.fix.as_deref(), Some("choose one of db-1, db-2, db-3"));
        assert_eq!(unknown.kind, Kind::NotFound);
        assert_eq!(found("db").unwrap_err().kind, Kind::Usage);
    }

    #[test]
    fn what_is_leaving_cannot_be_called_back() {
        let mut two = wishes(2);
        let second = InstanceName::new(&db(), 2);
        lose(&mut two, &second).unwrap();
        start(&mut two, &second).unwrap();
        two.scale(&db(), 1, None);
        assert_eq!(start(&mut two, &second).unwrap_err().what, "instance db-2 is being removed");
    }

    #[test]
    fn what_was_kept_by_an_earlier_version_reads_back() {
        let kept = r#"{"exists":true,"paused":false,"instances":{"db-1":"running","db-2":"stopped","db-3":"lost","db-4":"leaving"},"count":4,"fenced":["db-2"],"switchover":{"number":2,"target":"db-2"},"restart":{"number":1,"instances":["db-1"]},"configuration":3}"#;
        let wishes: Wishes = serde_json::from_str(kept).unwrap();
        assert_eq!(serde_json::to_string(&wishes).unwrap(), kept);
        let shown = [Shall::Run, Shall::Rest].map(|shall| serde_json::to_string(&shall).unwrap());
        assert_eq!(shown, [r#""run""#, r#""rest""#]);
    }
}
