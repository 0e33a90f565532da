//! How many worker threads: the smaller of the cores that we may run on and the cgroup's CPU quota, rounded up.
//!
//! `std::thread::available_parallelism` rounds the quota down: with a limit of 1.5 cores half a core would lie idle.

use std::fs;
use std::path::{Path, PathBuf};

const CGROUPS: &str = "/sys/fs/cgroup";

/// At least one.
pub fn default_workers() -> usize {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let cores =
        count_allowed(&status).unwrap_or_else(|| std::thread::available_parallelism().map_or(1, usize::from));
    let membership = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    choose(cores, quotas(Path::new(CGROUPS), &membership))
}

fn choose(cores: usize, quotas: impl Iterator<Item = usize>) -> usize {
    quotas.chain([cores]).min().unwrap_or(cores).max(1)
}

/// The cores of `Cpus_allowed` in /proc/self/status: groups of hex digits (proc_pid_status(5)).
fn count_allowed(status: &str) -> Option<usize> {
    let mask = status.lines().find_map(|line| line.strip_prefix("Cpus_allowed:"))?;
    let mut digits = mask.trim().chars().filter(|&digit| digit != ',');
    let cores = digits.try_fold(0, |sum, digit| Some(sum + digit.to_digit(16)?.count_ones() as usize))?;
    (cores > 0).then_some(cores)
}

/// The quotas of our cgroup and of those around it: version 2 (`cpu.max`), else version 1.
fn quotas(root: &Path, membership: &str) -> impl Iterator<Item = usize> {
    let within = membership.lines().find_map(|line| line.strip_prefix("0::")).unwrap_or("/");
    let own = root.join(within.trim_start_matches('/'));
    let unified = own
        .ancestors()
        .take_while(|folder| folder.starts_with(root))
        .filter_map(|folder| parse_quota(&fs::read_to_string(folder.join("cpu.max")).ok()?))
        .collect::<Vec<_>>();
    let divided = read_divided(&root.join("cpu"));
    unified.into_iter().chain(divided)
}

fn read_divided(folder: &Path) -> Option<usize> {
    let read = |name: &str| -> Option<String> {
        let file: PathBuf = folder.join(name);
        fs::read_to_string(file).ok()
    };
    let (quota, period) = (read("cpu.cfs_quota_us")?, read("cpu.cfs_period_us")?);
    parse_quota(&format!("{} {}", quota.trim(), period.trim()))
}

/// "QUOTA PERIOD" in microseconds as cores, rounded up; None for "max", -1 and what is no such line.
fn parse_quota(text: &str) -> Option<usize> {
    let mut words = text.split_ascii_whitespace();
    let (quota, period) = (words.next()?.parse::<u64>().ok()?, words.next()?.parse::<u64>().ok()?);
    (period > 0).then(|| usize::try_from(quota.div_ceil(period)).unwrap_or(usize::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quotas_are_rounded_up() {
        let cases = [
            ("150000 100000", Some(2)),
            ("100000 100000", Some(1)),
            ("20000 100000", Some(1)),
            ("400001 100000\n", Some(5)),
            ("max 100000", None),
            ("-1 100000", None),
            ("100000 0", None),
            ("", None),
        ];
        for (text, cores) in cases {
            assert_eq!(parse_quota(text), cores, "{text}");
        }
    }

    #[test]
    fn allowed_cores_are_the_ones_of_the_mask() {
        for (mask, cores) in [("3", Some(2)), ("ff,ffffffff", Some(40)), ("0", None), ("x", None)] {
            assert_eq!(count_allowed(&format!("Name:\tx\nCpus_allowed:\t{mask}\n")), cores, "{mask}");
        }
        assert_eq!(count_allowed(""), None);
    }

    #[test]
    fn the_tightest_bound_decides_and_one_worker_is_the_least() {
        assert_eq!(choose(8, [4, 2].into_iter()), 2);
        assert_eq!(choose(2, [4].into_iter()), 2);
        assert_eq!(choose(2, [0].into_iter()), 1);
    }

    #[test]
    fn quotas_of_the_groups_around_count_too() {
        let root = std::env::temp_dir().join(format!("zeroserve-cgroups-{}", std::process::id()));
        fs::create_dir_all(root.join("pod/engine")).unwrap();
        fs::write(root.join("pod/cpu.max"), "150000 100000").unwrap();
        fs::write(root.join("pod/engine/cpu.max"), "max 100000").unwrap();
        let found: Vec<_> = quotas(&root, "0::/pod/engine\n").collect();
        fs::remove_dir_all(&root).unwrap();
        assert_eq!(found, [2]);
    }
}
