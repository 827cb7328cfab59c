//! Writes samples down in Prometheus' text, which all that scrape take.
//!
//! Never writes a metric that is not in the catalogue.

use super::catalogue::{ALL, Kind, Metric};
use super::measure::Sample;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::prometheus_text::{self, encode};
use prometheus_client::encoding::{DescriptorEncoder, MetricEncoder, NoLabelSet};
use prometheus_client::metrics::MetricType;
use prometheus_client::registry::Registry;
use std::fmt;

/// What the text is, for its header.
pub(super) const KIND: &str = prometheus_text::CONTENT_TYPE;

pub(super) fn text(samples: Vec<Sample>) -> Result<String, fmt::Error> {
    let mut registry = Registry::default();
    registry.register_collector(Box::new(Samples(samples)));
    let mut text = String::new();
    encode(&mut text, &registry)?;
    Ok(text)
}

#[derive(Debug)]
struct Samples(Vec<Sample>);

impl Collector for Samples {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        for metric in ALL {
            let samples = || self.0.iter().filter(|sample| sample.metric == metric);
            if samples().next().is_none() {
                continue;
            }
            let kind = match metric.kind {
                Kind::Gauge => MetricType::Gauge,
                Kind::Counter => MetricType::Counter,
            };
            // The encoder adds it to counters by itself.
            let name = metric.name.strip_suffix("_total").unwrap_or(metric.name);
            let mut family = encoder.encode_descriptor(name, metric.meaning, None, kind)?;
            for sample in samples() {
                one(metric, sample, &mut family)?;
            }
        }
        Ok(())
    }
}

fn one(metric: &Metric, sample: &Sample, family: &mut MetricEncoder<'_>) -> fmt::Result {
    let values = sample.labels.iter().map(String::as_str);
    let labels: Vec<(&str, &str)> = metric.labels.iter().copied().zip(values).collect();
    if labels.is_empty() {
        return value(metric, sample, family);
    }
    value(metric, sample, &mut family.encode_family(&labels)?)
}

fn value(metric: &Metric, sample: &Sample, written: &mut MetricEncoder<'_>) -> fmt::Result {
    match metric.kind {
        Kind::Gauge => written.encode_gauge(&sample.value),
        Kind::Counter => written.encode_counter::<NoLabelSet, _, f64>(&sample.value, None),
    }
}

#[cfg(test)]
mod tests {
    use super::super::fixtures::{MARKS, NOW, all};
    use super::super::measure::measure;
    use super::*;
    use expect_test::expect;

    #[test]
    fn each_metric_is_told_once_with_its_help_and_type() {
        let text = text(measure(&all(), Some(MARKS), NOW)).unwrap();
        assert!(text.ends_with('\n') && text.len() < 16 << 10, "{}", text.len());
        for Metric { name, .. } in ALL {
            let types = text.matches(&format!("# TYPE {name} ")).count();
            assert_eq!(types, 1, "{name}");
        }
        // Where it is archived to, and what went wrong there, is for those who may ask the agent.
        assert!(!text.contains("secret-place") && !text.contains("nobody answers"), "{text}");
        let some = [
            "cnpg_collector_pg_wal_archive_status",
            "cnpg_collector_postgres_version",
            "pgherd_archive_bytes",
        ];
        expect![[r##"
            # HELP cnpg_collector_pg_wal_archive_status Files of the log that PostgreSQL has marked as to be archived (ready) and as archived (done).
            # TYPE cnpg_collector_pg_wal_archive_status gauge
            cnpg_collector_pg_wal_archive_status{value="ready"} 3.0
            cnpg_collector_pg_wal_archive_status{value="done"} 5.0
            # HELP cnpg_collector_postgres_version PostgreSQL's version, such as 15.18.
            # TYPE cnpg_collector_postgres_version gauge
            cnpg_collector_postgres_version{full="15.18",cluster="contract"} 15.18
            # HELP pgherd_archive_bytes_total How much log those segments are, before it is packed.
            # TYPE pgherd_archive_bytes_total counter
            pgherd_archive_bytes_total 671088640.0
        "##]].assert_eq(&some.map(|name| lines(&text, name)).concat());
    }

    fn lines(text: &str, name: &str) -> String {
        let lines = text.lines().filter(|line| line.contains(name));
        lines.map(|line| line.to_owned() + "\n").collect()
    }
}
