//! Shows the pods that manifests make, and in what they differ.
//!
//! Never what Kubernetes makes of them.

use super::super::fixtures::{Sample, difference};
use super::*;
use expect_test::expect;

fn first(blueprint: &Blueprint<'_>) -> Pod {
    pod(blueprint, &InstanceName::new(&blueprint.checked.name, 1))
}

#[test]
fn the_smallest_manifest_makes_a_pod_that_is_known_by_its_labels() {
    expect![[r#"
        annotations:
          cnpg.io/nodeSerial: "1"
          pgherd.dev/pod-spec: "97ef07a300af5acac37c42d445087d49"
        labels:
          app.kubernetes.io/component: database
          app.kubernetes.io/instance: db
          app.kubernetes.io/managed-by: cloudnative-pg
          app.kubernetes.io/name: postgresql
          app.kubernetes.io/version: "18"
          cnpg.io/cluster: db
          cnpg.io/instanceName: db-1
          cnpg.io/podRole: instance
        name: db-1
        namespace: shop
        ownerReferences:
          - apiVersion: postgresql.cnpg.io/v1
            blockOwnerDeletion: true
            controller: true
            kind: Cluster
            name: db
            uid: "5f2c"
    "#]]
    .assert_eq(&Sample::minimal().shown(|it| first(it).metadata));
}

#[test]
fn the_smallest_manifest_makes_a_pod_that_may_do_little() {
    let spec = |it: &Blueprint<'_>| {
        let spec = first(it).spec.unwrap();
        PodSpec { volumes: None, containers: Vec::new(), ..spec }
    };
    expect![[r#"
        affinity:
          podAntiAffinity:
            preferredDuringSchedulingIgnoredDuringExecution:
              - podAffinityTerm:
                  labelSelector:
                    matchExpressions:
                      - {key: cnpg.io/cluster, operator: In, values: [db]}
                      - {key: cnpg.io/podRole, operator: In, values: [instance]}
                  topologyKey: kubernetes.io/hostname
                weight: 100
        automountServiceAccountToken: true
        containers: []
        enableServiceLinks: false
        hostname: db-1
        initContainers:
          - command: [/pgherd, bootstrap, /controller]
            image: ghcr.io/pgherd/pgherd:1.2.3
            name: bootstrap-controller
            securityContext:
              allowPrivilegeEscalation: false
              capabilities: {drop: [ALL]}
              privileged: false
              readOnlyRootFilesystem: true
            volumeMounts: [{mountPath: /controller, name: scratch-data}]
        restartPolicy: Always
        securityContext:
          fsGroup: 26
          fsGroupChangePolicy: OnRootMismatch
          runAsGroup: 26
          runAsNonRoot: true
          runAsUser: 26
          seccompProfile: {type: RuntimeDefault}
        serviceAccountName: db
        subdomain: db-pods
        terminationGracePeriodSeconds: 1800
    "#]]
    .assert_eq(&Sample::minimal().shown(spec));
}

#[test]
fn the_smallest_manifest_makes_a_pod_with_one_container() {
    let containers = |it: &Blueprint<'_>| first(it).spec.unwrap().containers;
    expect![[r#"
        - command: [/controller/pgherd, agent, "--in-pod"]
          env:
            - {name: PGDATA, value: /var/lib/postgresql/data/pgdata}
            - {name: POD_NAME, valueFrom: {fieldRef: {fieldPath: metadata.name}}}
            - {name: NAMESPACE, valueFrom: {fieldRef: {fieldPath: metadata.namespace}}}
            - {name: POD_IP, valueFrom: {fieldRef: {fieldPath: status.podIP}}}
            - {name: CLUSTER_NAME, value: db}
            - {name: PGPORT, value: "5432"}
            - {name: PGHOST, value: /controller/run}
            - {name: PSQL_HISTORY, value: /controller/tmp/.psql_history}
            - {name: TMPDIR, value: /controller/tmp}
          image: ghcr.io/cloudnative-pg/postgresql:18.4-system-trixie
          livenessProbe:
            failureThreshold: 3
            httpGet: {path: /healthz, port: 8000, scheme: HTTPS}
            periodSeconds: 10
            timeoutSeconds: 5
          name: postgres
          ports:
            - {containerPort: 5432, name: postgresql, protocol: TCP}
            - {containerPort: 9187, name: metrics, protocol: TCP}
            - {containerPort: 8000, name: status, protocol: TCP}
            - {containerPort: 8001, name: agent, protocol: TCP}
          readinessProbe:
            httpGet: {path: /readyz, port: 8000, scheme: HTTPS}
            periodSeconds: 2
            timeoutSeconds: 5
          securityContext:
            allowPrivilegeEscalation: false
            capabilities: {drop: [ALL]}
            privileged: false
            readOnlyRootFilesystem: true
          startupProbe:
            failureThreshold: 360
            httpGet: {path: /startupz, port: 8000, scheme: HTTPS}
            periodSeconds: 10
            timeoutSeconds: 5
          terminationMessagePolicy: FallbackToLogsOnError
          volumeMounts:
            - {mountPath: /var/lib/postgresql/data, name: pgdata}
            - {mountPath: /controller, name: scratch-data}
            - {mountPath: /dev/shm, name: shm}
            - {mountPath: /controller/identity, name: identity, readOnly: true}
    "#]]
    .assert_eq(&Sample::minimal().shown(containers));
}

#[test]
fn the_smallest_manifest_makes_a_pod_with_an_identity() {
    let volumes = |it: &Blueprint<'_>| first(it).spec.unwrap().volumes;
    expect![[r#"
        - {name: pgdata, persistentVolumeClaim: {claimName: db-1}}
        - {emptyDir: {}, name: scratch-data}
        - {emptyDir: {medium: Memory}, name: shm}
        - name: identity
          projected:
            defaultMode: 288
            sources:
              - secret:
                  items:
                    - {key: tls.crt, path: tls/tls.crt}
                    - {key: tls.key, path: tls/tls.key}
                    - {key: ca.crt, path: tls/ca.crt}
                    - {key: server.crt, path: tls/server/tls.crt}
                    - {key: server.key, path: tls/server/tls.key}
                    - {key: client-ca.crt, path: tls/server/ca.crt}
                    - {key: replication.crt, path: tls/replication/tls.crt}
                    - {key: replication.key, path: tls/replication/tls.key}
                    - {key: server-ca.crt, path: tls/replication/ca.crt}
                    - {key: replication-password, path: secrets/replication}
                    - {key: app-password, path: secrets/app}
                  name: db-1-agent
              - secret:
                  items: [{key: superuser-password, path: secrets/superuser}]
                  name: db-1-agent
                  optional: true
    "#]]
    .assert_eq(&Sample::minimal().shown(volumes));
}

#[test]
fn one_instance_has_the_same_pod_as_one_of_many() {
    let alone = Sample::spec("instances: 1\nstorage: {size: 1Gi}");
    expect![[""]].assert_eq(&alone.differs(first));
}

#[test]
fn another_instance_differs_by_its_names_only() {
    let sample = Sample::minimal();
    let second = sample.instance(2);
    let (first, second) = (sample.made(first), sample.made(|it| pod(it, &second)));
    expect![[r#"
        - metadata.annotations.cnpg.io/nodeSerial: "1"
        + metadata.annotations.cnpg.io/nodeSerial: "2"
        + metadata.annotations.pgherd.dev/pod-spec: "672e15d0e1bff6f19fd81b84b4ec0dd3"
        - metadata.annotations.pgherd.dev/pod-spec: "97ef07a300af5acac37c42d445087d49"
        - metadata.labels.cnpg.io/instanceName: "db-1"
        + metadata.labels.cnpg.io/instanceName: "db-2"
        - metadata.name: "db-1"
        + metadata.name: "db-2"
        - spec.hostname: "db-1"
        + spec.hostname: "db-2"
        - spec.volumes[identity].projected.sources[0].secret.name: "db-1-agent"
        + spec.volumes[identity].projected.sources[0].secret.name: "db-2-agent"
        - spec.volumes[identity].projected.sources[1].secret.name: "db-1-agent"
        + spec.volumes[identity].projected.sources[1].secret.name: "db-2-agent"
        - spec.volumes[pgdata].persistentVolumeClaim.claimName: "db-1"
        + spec.volumes[pgdata].persistentVolumeClaim.claimName: "db-2"
    "#]]
    .assert_eq(&difference(&first, &second));
}

#[test]
fn volumes_resources_placement_and_environment_are_as_wanted() {
    let sample = Sample::spec(
        "instances: 3
storage: {size: 1Gi}
walStorage: {size: 1Gi}
ephemeralVolumesSizeLimit: {temporaryData: 2Gi}
resources: {requests: {memory: 1Gi}, limits: {memory: 1Gi}}
affinity:
  podAntiAffinityType: required
  topologyKey: topology.kubernetes.io/zone
  nodeSelector: {disk: fast}
  nodeAffinity:
    requiredDuringSchedulingIgnoredDuringExecution:
      nodeSelectorTerms: [{matchExpressions: [{key: a, operator: Exists}]}]
  tolerations: [{key: database, operator: Exists}]
  additionalPodAffinity:
    requiredDuringSchedulingIgnoredDuringExecution: [{topologyKey: near}]
  additionalPodAntiAffinity:
    requiredDuringSchedulingIgnoredDuringExecution: [{topologyKey: far}]
    preferredDuringSchedulingIgnoredDuringExecution: [{weight: 1, podAffinityTerm: {topologyKey: farther}}]
env: [{name: TZ, value: UTC}]
envFrom: [{secretRef: {name: more}}]",
    );
    expect![[r#"
        - metadata.annotations.pgherd.dev/pod-spec: "97ef07a300af5acac37c42d445087d49"
        + metadata.annotations.pgherd.dev/pod-spec: "cf6e0e35acd0618339c8cc4140237eed"
        + spec.affinity.nodeAffinity.requiredDuringSchedulingIgnoredDuringExecution.nodeSelectorTerms[0].matchExpressions[0].key: "a"
        + spec.affinity.nodeAffinity.requiredDuringSchedulingIgnoredDuringExecution.nodeSelectorTerms[0].matchExpressions[0].operator: "Exists"
        + spec.affinity.podAffinity.requiredDuringSchedulingIgnoredDuringExecution[0].topologyKey: "near"
        - spec.affinity.podAntiAffinity.preferredDuringSchedulingIgnoredDuringExecution[0].podAffinityTerm.labelSelector.matchExpressions[0].key: "cnpg.io/cluster"
        - spec.affinity.podAntiAffinity.preferredDuringSchedulingIgnoredDuringExecution[0].podAffinityTerm.labelSelector.matchExpressions[0].operator: "In"
        - spec.affinity.podAntiAffinity.preferredDuringSchedulingIgnoredDuringExecution[0].podAffinityTerm.labelSelector.matchExpressions[0].values[0]: "db"
        - spec.affinity.podAntiAffinity.preferredDuringSchedulingIgnoredDuringExecution[0].podAffinityTerm.labelSelector.matchExpressions[1].key: "cnpg.io/podRole"
        - spec.affinity.podAntiAffinity.preferredDuringSchedulingIgnoredDuringExecution[0].podAffinityTerm.labelSelector.matchExpressions[1].operator: "In"
        - spec.affinity.podAntiAffinity.preferredDuringSchedulingIgnoredDuringExecution[0].podAffinityTerm.labelSelector.matchExpressions[1].values[0]: "instance"
        + spec.affinity.podAntiAffinity.preferredDuringSchedulingIgnoredDuringExecution[0].podAffinityTerm.topologyKey: "farther"
        - spec.affinity.podAntiAffinity.preferredDuringSchedulingIgnoredDuringExecution[0].podAffinityTerm.topologyKey: "kubernetes.io/hostname"
        + spec.affinity.podAntiAffinity.preferredDuringSchedulingIgnoredDuringExecution[0].weight: 1
        - spec.affinity.podAntiAffinity.preferredDuringSchedulingIgnoredDuringExecution[0].weight: 100
        + spec.affinity.podAntiAffinity.requiredDuringSchedulingIgnoredDuringExecution[0].labelSelector.matchExpressions[0].key: "cnpg.io/cluster"
        + spec.affinity.podAntiAffinity.requiredDuringSchedulingIgnoredDuringExecution[0].labelSelector.matchExpressions[0].operator: "In"
        + spec.affinity.podAntiAffinity.requiredDuringSchedulingIgnoredDuringExecution[0].labelSelector.matchExpressions[0].values[0]: "db"
        + spec.affinity.podAntiAffinity.requiredDuringSchedulingIgnoredDuringExecution[0].labelSelector.matchExpressions[1].key: "cnpg.io/podRole"
        + spec.affinity.podAntiAffinity.requiredDuringSchedulingIgnoredDuringExecution[0].labelSelector.matchExpressions[1].operator: "In"
        + spec.affinity.podAntiAffinity.requiredDuringSchedulingIgnoredDuringExecution[0].labelSelector.matchExpressions[1].values[0]: "instance"
        + spec.affinity.podAntiAffinity.requiredDuringSchedulingIgnoredDuringExecution[0].topologyKey: "topology.kubernetes.io/zone"
        + spec.affinity.podAntiAffinity.requiredDuringSchedulingIgnoredDuringExecution[1].topologyKey: "far"
        + spec.containers[postgres].envFrom[0].secretRef.name: "more"
        + spec.containers[postgres].env[TZ].name: "TZ"
        + spec.containers[postgres].env[TZ].value: "UTC"
        + spec.containers[postgres].resources.limits.memory: "1Gi"
        + spec.containers[postgres].resources.requests.memory: "1Gi"
        + spec.containers[postgres].volumeMounts[pg-wal].mountPath: "/var/lib/postgresql/wal"
        + spec.containers[postgres].volumeMounts[pg-wal].name: "pg-wal"
        + spec.initContainers[bootstrap-controller].resources.limits.memory: "1Gi"
        + spec.initContainers[bootstrap-controller].resources.requests.memory: "1Gi"
        + spec.nodeSelector.disk: "fast"
        + spec.tolerations[0].key: "database"
        + spec.tolerations[0].operator: "Exists"
        + spec.volumes[pg-wal].name: "pg-wal"
        + spec.volumes[pg-wal].persistentVolumeClaim.claimName: "db-1-wal"
        + spec.volumes[scratch-data].emptyDir.sizeLimit: "2Gi"
    "#]].assert_eq(&sample.differs(first));
}

#[test]
fn images_and_rights_are_as_wanted() {
    let sample = Sample::spec(
        "instances: 3
storage: {size: 1Gi}
imageName: postgres:17
imagePullPolicy: Always
imagePullSecrets: [{name: mine}]
serviceAccountName: existing
postgresUID: 999
postgresGID: 998
podSecurityContext: {supplementalGroups: [7], seccompProfile: {type: Unconfined}}
securityContext: {readOnlyRootFilesystem: false, capabilities: {add: [SYS_NICE]}}
seccompProfile: {type: Localhost, localhostProfile: mine.json}",
    )
    .with("PULL_SECRET_NAME", "login");
    expect![[r#"
        + metadata.annotations.pgherd.dev/pod-spec: "41caa1ae4c88c6962f0550e305b232da"
        - metadata.annotations.pgherd.dev/pod-spec: "97ef07a300af5acac37c42d445087d49"
        + metadata.labels.app.kubernetes.io/version: "17"
        - metadata.labels.app.kubernetes.io/version: "18"
        - spec.containers[postgres].image: "ghcr.io/cloudnative-pg/postgresql:18.4-system-trixie"
        + spec.containers[postgres].image: "postgres:17"
        + spec.containers[postgres].imagePullPolicy: "Always"
        + spec.containers[postgres].securityContext.capabilities.add[0]: "SYS_NICE"
        + spec.containers[postgres].securityContext.readOnlyRootFilesystem: false
        - spec.containers[postgres].securityContext.readOnlyRootFilesystem: true
        + spec.imagePullSecrets[db-pull-secret].name: "db-pull-secret"
        + spec.imagePullSecrets[mine].name: "mine"
        + spec.initContainers[bootstrap-controller].imagePullPolicy: "Always"
        + spec.initContainers[bootstrap-controller].securityContext.capabilities.add[0]: "SYS_NICE"
        + spec.initContainers[bootstrap-controller].securityContext.readOnlyRootFilesystem: false
        - spec.initContainers[bootstrap-controller].securityContext.readOnlyRootFilesystem: true
        - spec.securityContext.fsGroup: 26
        + spec.securityContext.fsGroup: 998
        - spec.securityContext.runAsGroup: 26
        + spec.securityContext.runAsGroup: 998
        - spec.securityContext.runAsUser: 26
        + spec.securityContext.runAsUser: 999
        - spec.securityContext.seccompProfile.type: "RuntimeDefault"
        + spec.securityContext.seccompProfile.type: "Unconfined"
        + spec.securityContext.supplementalGroups[0]: 7
        - spec.serviceAccountName: "db"
        + spec.serviceAccountName: "existing"
    "#]]
    .assert_eq(&sample.differs(first));
}

#[test]
fn everything_else_that_can_be_wanted_of_a_pod_reaches_it() {
    let sample = Sample::spec(
        "instances: 3
storage: {size: 1Gi}
affinity: {enablePodAntiAffinity: false}
topologySpreadConstraints: [{maxSkew: 1, topologyKey: zone, whenUnsatisfiable: DoNotSchedule}]
schedulerName: other
priorityClassName: high
stopDelay: 60
enableSuperuserAccess: true
ephemeralVolumeSource: {volumeClaimTemplate: {spec: {accessModes: [ReadWriteOnce]}}}
ephemeralVolumesSizeLimit: {shm: 1Gi}
projectedVolumeTemplate: {sources: [{configMap: {name: files}}]}",
    );
    expect![[r#"
        + metadata.annotations.pgherd.dev/pod-spec: "9616b0b2f070ab4fcf2327ec8178ccda"
        - metadata.annotations.pgherd.dev/pod-spec: "97ef07a300af5acac37c42d445087d49"
        - spec.affinity.podAntiAffinity.preferredDuringSchedulingIgnoredDuringExecution[0].podAffinityTerm.labelSelector.matchExpressions[0].key: "cnpg.io/cluster"
        - spec.affinity.podAntiAffinity.preferredDuringSchedulingIgnoredDuringExecution[0].podAffinityTerm.labelSelector.matchExpressions[0].operator: "In"
        - spec.affinity.podAntiAffinity.preferredDuringSchedulingIgnoredDuringExecution[0].podAffinityTerm.labelSelector.matchExpressions[0].values[0]: "db"
        - spec.affinity.podAntiAffinity.preferredDuringSchedulingIgnoredDuringExecution[0].podAffinityTerm.labelSelector.matchExpressions[1].key: "cnpg.io/podRole"
        - spec.affinity.podAntiAffinity.preferredDuringSchedulingIgnoredDuringExecution[0].podAffinityTerm.labelSelector.matchExpressions[1].operator: "In"
        - spec.affinity.podAntiAffinity.preferredDuringSchedulingIgnoredDuringExecution[0].podAffinityTerm.labelSelector.matchExpressions[1].values[0]: "instance"
        - spec.affinity.podAntiAffinity.preferredDuringSchedulingIgnoredDuringExecution[0].podAffinityTerm.topologyKey: "kubernetes.io/hostname"
        - spec.affinity.podAntiAffinity.preferredDuringSchedulingIgnoredDuringExecution[0].weight: 100
        + spec.containers[postgres].volumeMounts[projected].mountPath: "/projected"
        + spec.containers[postgres].volumeMounts[projected].name: "projected"
        + spec.containers[postgres].volumeMounts[projected].readOnly: true
        + spec.priorityClassName: "high"
        + spec.schedulerName: "other"
        - spec.terminationGracePeriodSeconds: 1800
        + spec.terminationGracePeriodSeconds: 60
        + spec.topologySpreadConstraints[0].maxSkew: 1
        + spec.topologySpreadConstraints[0].topologyKey: "zone"
        + spec.topologySpreadConstraints[0].whenUnsatisfiable: "DoNotSchedule"
        + spec.volumes[projected].name: "projected"
        + spec.volumes[projected].projected.sources[0].configMap.name: "files"
        + spec.volumes[scratch-data].ephemeral.volumeClaimTemplate.spec.accessModes[0]: "ReadWriteOnce"
        + spec.volumes[shm].emptyDir.sizeLimit: "1Gi"
    "#]].assert_eq(&sample.differs(first));
}

#[test]
fn probes_follow_the_manifest() {
    let sample = Sample::spec(
        "instances: 3
storage: {size: 1Gi}
startDelay: 25
livenessProbeTimeout: 60
probes:
  startup: {periodSeconds: 2, successThreshold: 3}
  readiness: {type: streaming, maximumLag: 1Gi, periodSeconds: 7, failureThreshold: 9, terminationGracePeriodSeconds: 5}
  liveness: {initialDelaySeconds: 4, timeoutSeconds: 1, terminationGracePeriodSeconds: 5}",
    );
    expect![[r#"
        + metadata.annotations.pgherd.dev/pod-spec: "36565ce42e01601a51af7ca15d757d99"
        - metadata.annotations.pgherd.dev/pod-spec: "97ef07a300af5acac37c42d445087d49"
        - spec.containers[postgres].livenessProbe.failureThreshold: 3
        + spec.containers[postgres].livenessProbe.failureThreshold: 6
        + spec.containers[postgres].livenessProbe.initialDelaySeconds: 4
        + spec.containers[postgres].livenessProbe.terminationGracePeriodSeconds: 5
        + spec.containers[postgres].livenessProbe.timeoutSeconds: 1
        - spec.containers[postgres].livenessProbe.timeoutSeconds: 5
        + spec.containers[postgres].readinessProbe.failureThreshold: 9
        - spec.containers[postgres].readinessProbe.periodSeconds: 2
        + spec.containers[postgres].readinessProbe.periodSeconds: 7
        + spec.containers[postgres].startupProbe.failureThreshold: 13
        - spec.containers[postgres].startupProbe.failureThreshold: 360
        - spec.containers[postgres].startupProbe.periodSeconds: 10
        + spec.containers[postgres].startupProbe.periodSeconds: 2
    "#]]
    .assert_eq(&sample.differs(first));
}

#[test]
fn secrets_of_the_user_take_the_place_of_ours() {
    let sample = Sample::spec(
        "instances: 3
storage: {size: 1Gi}
enableSuperuserAccess: true
superuserSecret: {name: boss}
bootstrap: {initdb: {database: app, owner: app, secret: {name: login}}}
certificates: {serverCASecret: server-ca, serverTLSSecret: server, clientCASecret: client-ca, replicationTLSSecret: standby}",
    );
    expect![[r#"
        + metadata.annotations.pgherd.dev/pod-spec: "86f12a3c9a906ee27203b0d73a344805"
        - metadata.annotations.pgherd.dev/pod-spec: "97ef07a300af5acac37c42d445087d49"
        - spec.volumes[identity].projected.sources[0].secret.items[10].key: "app-password"
        - spec.volumes[identity].projected.sources[0].secret.items[10].path: "secrets/app"
        + spec.volumes[identity].projected.sources[0].secret.items[3].key: "replication-password"
        - spec.volumes[identity].projected.sources[0].secret.items[3].key: "server.crt"
        + spec.volumes[identity].projected.sources[0].secret.items[3].path: "secrets/replication"
        - spec.volumes[identity].projected.sources[0].secret.items[3].path: "tls/server/tls.crt"
        + spec.volumes[identity].projected.sources[0].secret.items[4].key: "app-password"
        - spec.volumes[identity].projected.sources[0].secret.items[4].key: "server.key"
        + spec.volumes[identity].projected.sources[0].secret.items[4].path: "secrets/app"
        - spec.volumes[identity].projected.sources[0].secret.items[4].path: "tls/server/tls.key"
        - spec.volumes[identity].projected.sources[0].secret.items[5].key: "client-ca.crt"
        - spec.volumes[identity].projected.sources[0].secret.items[5].path: "tls/server/ca.crt"
        - spec.volumes[identity].projected.sources[0].secret.items[6].key: "replication.crt"
        - spec.volumes[identity].projected.sources[0].secret.items[6].path: "tls/replication/tls.crt"
        - spec.volumes[identity].projected.sources[0].secret.items[7].key: "replication.key"
        - spec.volumes[identity].projected.sources[0].secret.items[7].path: "tls/replication/tls.key"
        - spec.volumes[identity].projected.sources[0].secret.items[8].key: "server-ca.crt"
        - spec.volumes[identity].projected.sources[0].secret.items[8].path: "tls/replication/ca.crt"
        - spec.volumes[identity].projected.sources[0].secret.items[9].key: "replication-password"
        - spec.volumes[identity].projected.sources[0].secret.items[9].path: "secrets/replication"
        - spec.volumes[identity].projected.sources[1].secret.items[0].key: "superuser-password"
        + spec.volumes[identity].projected.sources[1].secret.items[0].key: "tls.crt"
        - spec.volumes[identity].projected.sources[1].secret.items[0].path: "secrets/superuser"
        + spec.volumes[identity].projected.sources[1].secret.items[0].path: "tls/server/tls.crt"
        - spec.volumes[identity].projected.sources[1].secret.name: "db-1-agent"
        + spec.volumes[identity].projected.sources[1].secret.name: "server"
        - spec.volumes[identity].projected.sources[1].secret.optional: true
        + spec.volumes[identity].projected.sources[2].secret.items[0].key: "tls.key"
        + spec.volumes[identity].projected.sources[2].secret.items[0].path: "tls/server/tls.key"
        + spec.volumes[identity].projected.sources[2].secret.name: "server"
        + spec.volumes[identity].projected.sources[3].secret.items[0].key: "ca.crt"
        + spec.volumes[identity].projected.sources[3].secret.items[0].path: "tls/server/ca.crt"
        + spec.volumes[identity].projected.sources[3].secret.name: "client-ca"
        + spec.volumes[identity].projected.sources[4].secret.items[0].key: "tls.crt"
        + spec.volumes[identity].projected.sources[4].secret.items[0].path: "tls/replication/tls.crt"
        + spec.volumes[identity].projected.sources[4].secret.name: "standby"
        + spec.volumes[identity].projected.sources[5].secret.items[0].key: "tls.key"
        + spec.volumes[identity].projected.sources[5].secret.items[0].path: "tls/replication/tls.key"
        + spec.volumes[identity].projected.sources[5].secret.name: "standby"
        + spec.volumes[identity].projected.sources[6].secret.items[0].key: "ca.crt"
        + spec.volumes[identity].projected.sources[6].secret.items[0].path: "tls/replication/ca.crt"
        + spec.volumes[identity].projected.sources[6].secret.name: "server-ca"
        + spec.volumes[identity].projected.sources[7].secret.items[0].key: "superuser-password"
        + spec.volumes[identity].projected.sources[7].secret.items[0].path: "secrets/superuser"
        + spec.volumes[identity].projected.sources[7].secret.name: "db-1-agent"
        + spec.volumes[identity].projected.sources[7].secret.optional: true
    "#]]
    .assert_eq(&sample.differs(first));
}

#[test]
fn variables_that_are_ours_cannot_be_replaced() {
    let ours = Sample::minimal().made(environment);
    let written = ours.iter().map(|it| format!("{{name: {}, value: wrong}}", it.name));
    let written = written.collect::<Vec<_>>().join(", ");
    let spec =
        format!("instances: 3\nstorage: {{size: 1Gi}}\nenv: [{written}, {{name: LANG, value: C}}]");
    let mut variables = Sample::spec(&spec).made(environment);
    let last = variables.pop().unwrap();
    assert_eq!((last.name.as_str(), last.value.as_deref()), ("LANG", Some("C")));
    assert_eq!(variables, ours);
    let names: Vec<_> = ours.iter().map(|it| it.name.as_str()).collect();
    expect!["PGDATA POD_NAME NAMESPACE POD_IP CLUSTER_NAME PGPORT PGHOST PSQL_HISTORY TMPDIR"]
        .assert_eq(&names.join(" "));
}

#[test]
fn the_fingerprint_changes_if_and_only_if_the_specification_does() {
    let of = |sample: &Sample| fingerprint(&sample.made(first));
    let minimal = of(&Sample::minimal());
    expect!["97ef07a300af5acac37c42d445087d49"].assert_eq(&minimal);

    let decorated = Sample::spec(
        "instances: 5
storage: {size: 2Gi}
inheritedMetadata: {labels: {team: blue}, annotations: {note: all}}
postgresql: {parameters: {work_mem: 8MB}}",
    );
    assert_eq!(of(&decorated), minimal);
    let annotated = Sample::minimal().made(first);
    let kept = annotated.metadata.annotations.as_ref().unwrap()[labels::POD_SPEC].clone();
    assert_eq!((kept, fingerprint(&annotated)), (minimal.clone(), minimal.clone()));

    let changes = [
        "imageName: postgres:17",
        "stopDelay: 1",
        "walStorage: {size: 1Gi}",
        "resources: {limits: {cpu: 1}}",
        "env: [{name: A, value: b}]",
        "probes: {readiness: {periodSeconds: 1}}",
    ];
    for change in changes {
        let changed = Sample::spec(&format!("instances: 3\nstorage: {{size: 1Gi}}\n{change}"));
        assert_ne!(of(&changed), minimal, "{change}");
    }
    // Passwords are statements for PostgreSQL, whoever gives them.
    let passwords = [
        "enableSuperuserAccess: true",
        "superuserSecret: {name: a}",
        "superuserSecret: {name: b}\nenableSuperuserAccess: true",
        "bootstrap: {initdb: {database: app, owner: app, secret: {name: login}}}",
    ];
    for change in passwords {
        let changed = Sample::spec(&format!("instances: 3\nstorage: {{size: 1Gi}}\n{change}"));
        assert_eq!(of(&changed), minimal, "{change}");
    }
    let upgraded = Sample::minimal().with("OPERATOR_IMAGE_NAME", "ghcr.io/pgherd/pgherd:1.2.4");
    assert_eq!(of(&upgraded), minimal);
    let image = |sample: &Sample| agent_image(&sample.made(first)).map(str::to_owned);
    expect![[r#"Some("ghcr.io/pgherd/pgherd:1.2.3") Some("ghcr.io/pgherd/pgherd:1.2.4")"#]]
        .assert_eq(&format!("{:?} {:?}", image(&Sample::minimal()), image(&upgraded)));
}
