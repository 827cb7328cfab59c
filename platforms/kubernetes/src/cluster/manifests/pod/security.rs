//! Says what the processes of an instance may do: as little as PostgreSQL needs.
//!
//! Never weaker than the `restricted` level unless the manifest says so, field by field.

use super::super::Blueprint;
use k8s_openapi::DeepMerge as _;
use k8s_openapi::api::core::v1::{
    Capabilities, PodSecurityContext, SeccompProfile, SecurityContext,
};

pub(super) fn of_pod(blueprint: &Blueprint<'_>) -> PodSecurityContext {
    let wanted = blueprint.spec();
    let mut context = PodSecurityContext {
        fs_group: Some(wanted.postgres_gid),
        // Else every file of a large volume would be visited before every start.
        fs_group_change_policy: Some("OnRootMismatch".to_owned()),
        run_as_group: Some(wanted.postgres_gid),
        run_as_non_root: Some(true),
        run_as_user: Some(wanted.postgres_uid),
        seccomp_profile: Some(seccomp(blueprint)),
        ..PodSecurityContext::default()
    };
    if let Some(given) = &wanted.pod_security_context {
        let given = given.clone();
        // One profile replaces the other as a whole: their fields exclude each other.
        if given.seccomp_profile.is_some() {
            context.seccomp_profile = None;
        }
        context.merge_from(given);
    }
    context
}

/// What a container says besides: nothing that would win over what its pod was given.
pub(super) fn of_container(blueprint: &Blueprint<'_>) -> SecurityContext {
    let mut context = SecurityContext {
        allow_privilege_escalation: Some(false),
        capabilities: Some(Capabilities { add: None, drop: Some(vec!["ALL".to_owned()]) }),
        privileged: Some(false),
        read_only_root_filesystem: Some(true),
        ..SecurityContext::default()
    };
    if let Some(given) = &blueprint.spec().security_context {
        context.merge_from(given.clone());
    }
    context
}

fn seccomp(blueprint: &Blueprint<'_>) -> SeccompProfile {
    let default = || SeccompProfile { type_: "RuntimeDefault".to_owned(), localhost_profile: None };
    blueprint.spec().seccomp_profile.clone().unwrap_or_else(default)
}
