//! Puts measurements together: percentiles, and how they compare.
//!
//! Never averages: an outage that one in a hundred sees is still an outage.

use super::{Measurement, Product};
use crate::rig::{Durability, Fault};
use serde::Serialize;
use std::collections::BTreeMap;
use std::fmt;

/// The figures of one fault for one product.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Summary {
    pub fault: Fault,
    pub durability: Durability,
    pub product: Product,
    pub rounds: usize,
    pub p50_seconds: f64,
    pub p99_seconds: f64,
    pub max_seconds: f64,
    pub acknowledged: u64,
    pub lost: u64,
    /// How many times as long as with pgherd, at the median; none without pgherd's figure.
    pub ratio: Option<f64>,
}

/// Puts measurements together, in the order of fault, durability, product.
pub fn summarise(all: &[Measurement]) -> Vec<Summary> {
    let mut groups: BTreeMap<(Fault, Durability, Product), Vec<&Measurement>> = BTreeMap::new();
    for one in all {
        groups.entry((one.fault, one.durability, one.product)).or_default().push(one);
    }
    let medians: BTreeMap<_, _> =
        groups.iter().map(|(key, group)| (*key, percentile(group, 50))).collect();
    let summary = |((fault, durability, product), group): (_, Vec<&Measurement>)| {
        let ours = medians.get(&(fault, durability, Product::Pgherd));
        let p50 = percentile(&group, 50);
        Summary {
            fault,
            durability,
            product,
            rounds: group.len(),
            p50_seconds: p50,
            p99_seconds: percentile(&group, 99),
            max_seconds: percentile(&group, 100),
            acknowledged: group.iter().map(|one| one.acknowledged).sum(),
            lost: group.iter().map(|one| one.lost).sum(),
            ratio: ours.filter(|ours| **ours > 0.0).map(|ours| p50 / ours),
        }
    };
    groups.into_iter().map(summary).collect()
}

/// The smallest gap that `percent` of all do not exceed, in seconds.
fn percentile(group: &[&Measurement], percent: usize) -> f64 {
    let mut gaps: Vec<u64> = group.iter().map(|one| one.gap_milliseconds).collect();
    gaps.sort_unstable();
    let rank = (gaps.len() * percent).div_ceil(100).max(1);
    let gap = gaps.get(rank - 1).copied().unwrap_or_default();
    std::time::Duration::from_millis(gap).as_secs_f64()
}

/// A table for people.
pub struct Table<'a>(pub &'a [Summary]);

impl fmt::Display for Table<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let title = format!("{:<17}{:<7}{:<17}{:>6}", "FAULT", "COMMIT", "PRODUCT", "ROUNDS");
        writeln!(f, "{title}{:>9}{:>9}{:>9}{:>6}{:>8}", "P50", "P99", "MAX", "LOST", "RATIO")?;
        for one in self.0 {
            let (fault, durability) = (one.fault.to_string(), one.durability.to_string());
            let product = one.product.to_string();
            write!(f, "{fault:<17}{durability:<7}{product:<17}{:>6}", one.rounds)?;
            for seconds in [one.p50_seconds, one.p99_seconds, one.max_seconds] {
                write!(f, "{:>9}", format!("{seconds:.2} s"))?;
            }
            let ratio = one.ratio.map_or_else(|| "-".to_owned(), |ratio| format!("{ratio:.1}"));
            writeln!(f, "{:>6}{ratio:>8}", one.lost)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn measured(product: Product, gaps: &[u64]) -> Vec<Measurement> {
        let one = |(round, gap): (u32, &u64)| Measurement {
            product,
            durability: Durability::Sync,
            fault: Fault::NodeLoss,
            round,
            gap_milliseconds: *gap,
            unluckiest_milliseconds: *gap,
            acknowledged: 100,
            lost: u64::from(*gap > 30_000),
            unknown: 0,
            wrong: String::new(),
        };
        (1..).zip(gaps).map(one).collect()
    }

    #[test]
    fn figures_stand_side_by_side() {
        let ours = measured(Product::Pgherd, &[3_300, 2_900, 3_100, 3_900]);
        let theirs = measured(Product::PatroniDefault, &[29_000, 31_000]);
        let table = Table(&summarise(&[ours, theirs].concat())).to_string();
        expect_test::expect![[r"
            FAULT            COMMIT PRODUCT          ROUNDS      P50      P99      MAX  LOST   RATIO
            node loss        sync   pgherd                4   3.10 s   3.90 s   3.90 s     0     1.0
            node loss        sync   Patroni default       2  29.00 s  31.00 s  31.00 s     1     9.4
        "]]
        .assert_eq(&table);
    }
}
