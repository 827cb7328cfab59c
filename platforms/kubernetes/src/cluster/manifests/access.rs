//! Makes the account of the agents, and says what it may do.
//!
//! Never lets it read a Secret, or write what another cluster or the operator owns.

use super::Blueprint;
use super::labels::add_wanted;
use crate::rights;
use k8s_openapi::api::core::v1::ServiceAccount;
use k8s_openapi::api::rbac::v1::{Role, RoleBinding, RoleRef, Subject};

impl Blueprint<'_> {
    /// The account that the pods run under.
    pub fn service_account(&self) -> String {
        self.spec().service_account_name.clone().unwrap_or_else(|| self.name().to_owned())
    }
}

/// The account, unless the manifest names one that exists already.
pub fn service_account(blueprint: &Blueprint<'_>) -> Option<ServiceAccount> {
    let wanted = blueprint.spec();
    if wanted.service_account_name.is_some() {
        return None;
    }
    let mut metadata = blueprint.metadata(blueprint.service_account());
    if let Some(template) = &wanted.service_account_template {
        add_wanted(&mut metadata, &template.metadata.labels, &template.metadata.annotations);
    }
    Some(ServiceAccount { metadata, ..ServiceAccount::default() })
}

/// What the agents of a cluster may do.
pub fn role(blueprint: &Blueprint<'_>) -> Role {
    let rules = Some(rights::agents(blueprint));
    Role { metadata: blueprint.metadata(blueprint.name().to_owned()), rules }
}

/// Gives the account what agents may do.
pub fn role_binding(blueprint: &Blueprint<'_>) -> RoleBinding {
    let subject = Subject {
        api_group: None,
        kind: "ServiceAccount".to_owned(),
        name: blueprint.service_account(),
        namespace: Some(blueprint.namespace.to_owned()),
    };
    RoleBinding {
        metadata: blueprint.metadata(blueprint.name().to_owned()),
        role_ref: RoleRef {
            api_group: Some("rbac.authorization.k8s.io".to_owned()),
            kind: "Role".to_owned(),
            name: blueprint.name().to_owned(),
        },
        subjects: Some(vec![subject]),
    }
}

#[cfg(test)]
mod tests {
    use super::super::fixtures::Sample;
    use super::*;
    use expect_test::expect;

    #[test]
    fn agents_may_do_little() {
        let made = |it: &Blueprint<'_>| (service_account(it), role(it), role_binding(it));
        expect![[r#"
            - {apiVersion: v1, kind: ServiceAccount, metadata: {name: db}}
            - apiVersion: rbac.authorization.k8s.io/v1
              kind: Role
              metadata: {name: db}
              rules:
                - apiGroups: [coordination.k8s.io]
                  resourceNames: [db]
                  resources: [leases]
                  verbs: [get, update]
                - apiGroups: [discovery.k8s.io]
                  resourceNames: [db-rw]
                  resources: [endpointslices]
                  verbs: [get, update]
                - apiGroups: [discovery.k8s.io]
                  resources: [endpointslices]
                  verbs: [list, watch]
                - apiGroups: [""]
                  resourceNames: [db-specification]
                  resources: [configmaps]
                  verbs: [get, list, watch]
                - apiGroups: [postgresql.cnpg.io]
                  resourceNames: [db]
                  resources: [clusters]
                  verbs: [get, watch]
            - apiVersion: rbac.authorization.k8s.io/v1
              kind: RoleBinding
              metadata: {name: db}
              roleRef: {apiGroup: rbac.authorization.k8s.io, kind: Role, name: db}
              subjects: [{kind: ServiceAccount, name: db, namespace: shop}]
        "#]]
        .assert_eq(&Sample::minimal().shown(made));
    }

    #[test]
    fn an_account_can_be_given_or_decorated() {
        let account = |it: &Blueprint<'_>| (service_account(it), role_binding(it));
        let given =
            Sample::spec("instances: 3\nstorage: {size: 1Gi}\nserviceAccountName: existing");
        let decorated = Sample::spec(
            "instances: 3
storage: {size: 1Gi}
serviceAccountTemplate:
  metadata: {name: ignored, labels: {team: blue}, annotations: {iam: arn}}",
        );
        expect![[r#"
            + [0]: null
            - [0].apiVersion: "v1"
            - [0].kind: "ServiceAccount"
            - [0].metadata.labels.app.kubernetes.io/component: "database"
            - [0].metadata.labels.app.kubernetes.io/instance: "db"
            - [0].metadata.labels.app.kubernetes.io/managed-by: "cloudnative-pg"
            - [0].metadata.labels.app.kubernetes.io/name: "postgresql"
            - [0].metadata.labels.app.kubernetes.io/version: "18"
            - [0].metadata.labels.cnpg.io/cluster: "db"
            - [0].metadata.name: "db"
            - [0].metadata.namespace: "shop"
            - [0].metadata.ownerReferences[db].apiVersion: "postgresql.cnpg.io/v1"
            - [0].metadata.ownerReferences[db].blockOwnerDeletion: true
            - [0].metadata.ownerReferences[db].controller: true
            - [0].metadata.ownerReferences[db].kind: "Cluster"
            - [0].metadata.ownerReferences[db].name: "db"
            - [0].metadata.ownerReferences[db].uid: "5f2c"
            - [1].subjects[db].kind: "ServiceAccount"
            - [1].subjects[db].name: "db"
            - [1].subjects[db].namespace: "shop"
            + [1].subjects[existing].kind: "ServiceAccount"
            + [1].subjects[existing].name: "existing"
            + [1].subjects[existing].namespace: "shop"
        "#]]
        .assert_eq(&given.differs(account));
        expect![[r#"
            + [0].metadata.annotations.iam: "arn"
            + [0].metadata.labels.team: "blue"
        "#]]
        .assert_eq(&decorated.differs(account));
    }
}
