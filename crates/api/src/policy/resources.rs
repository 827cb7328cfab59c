//! Refuses pods that Kubernetes would never make, or that could not hold what PostgreSQL is told.
//!
//! Never knows what a node has.

use super::Check;

pub(super) const CHECKS: &[Check] = &[
    Check::new(
        "cluster-requests-fit-into-limits",
        "spec.resources.requests.",
        "variables.requests.filter(name, name in variables.limits && !name.startsWith('hugepages-') && quantity(string(variables.requests[name])).isGreaterThan(quantity(string(variables.limits[name]))))",
        "is more than the limit: lower it, or raise the limit",
    ),
    Check::new(
        "cluster-huge-pages-are-reserved",
        "spec.resources.requests.",
        "variables.requests.filter(name, name in variables.limits && name.startsWith('hugepages-') && quantity(string(variables.requests[name])).compareTo(quantity(string(variables.limits[name]))) != 0)",
        "is not the limit, and huge pages cannot be shared: write the same in both",
    ),
    Check::new(
        "cluster-huge-pages-with-memory",
        "spec.resources: ",
        "variables.huge_pages.filter(name, !['cpu', 'memory'].exists(other, other in variables.requests || other in variables.limits))",
        "need cpu or memory beside them: add requests.memory",
    ),
    Check::new(
        "cluster-memory-for-shared-buffers",
        "spec.resources.requests.memory has to be at least ",
        r"['shared_buffers'].filter(name, name in variables.parameters && variables.parameters['shared_buffers'].matches(r'^\s*[0-9]+ ?(kB|MB|GB|TB)\s*$') && 'memory' in variables.requests).map(name, variables.parameters['shared_buffers'].trim().replace(' ', '').replace('kB', 'Ki').replace('MB', 'Mi').replace('GB', 'Gi').replace('TB', 'Ti')).filter(size, quantity(size).isGreaterThan(quantity(string(variables.requests.memory))) && !variables.huge_pages.exists(pages, quantity(string(pages in variables.limits ? variables.limits[pages] : variables.requests[pages])).compareTo(quantity(size)) >= 0)).map(size, 'shared_buffers')",
        "of spec.postgresql.parameters: raise it, or lower the parameter",
    ),
    Check::new(
        "cluster-log-fits-into-its-volume",
        "spec.walStorage.size has to be more than ",
        r"['min_wal_size', 'max_wal_size'].filter(name, name in variables.parameters && variables.parameters[name].matches(r'^\s*[0-9]+ ?(kB|MB|GB|TB)\s*$') && isQuantity(object.spec.?walStorage.?size.orValue('')) && quantity(variables.parameters[name].trim().replace(' ', '').replace('kB', 'Ki').replace('MB', 'Mi').replace('GB', 'Gi').replace('TB', 'Ti')).compareTo(quantity(object.spec.walStorage.size)) >= 0)",
        "of spec.postgresql.parameters: raise it, or lower the parameter",
    ),
    Check::new(
        "cluster-toleration-is-one",
        "spec.affinity.tolerations: ",
        "object.spec.?affinity.?tolerations.orValue([]).filter(one, !(one.?operator.orValue('') in ['', 'Equal', 'Exists']) || (one.?key.orValue('') == '' && one.?operator.orValue('') != 'Exists') || (one.?operator.orValue('') == 'Exists' && one.?value.orValue('') != '') || !(one.?effect.orValue('') in ['', 'NoSchedule', 'PreferNoSchedule', 'NoExecute']) || (has(one.tolerationSeconds) && one.?effect.orValue('') != 'NoExecute')).map(one, one.?key.orValue('') == '' ? 'one without a key' : one.key)",
        "is none that a pod can have: write operator Equal, or Exists without a value (also without a key), effect NoSchedule, PreferNoSchedule or NoExecute, and tolerationSeconds with NoExecute only",
    ),
];
