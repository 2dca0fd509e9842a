//! `store/metrics.prom`: what `node_exporter` reads, in the format that it takes, with numbers that are right.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;

use crate::yard::Yard;

/// What a file of that format says: each series with its value. Panics where it is not valid.
fn parsed(text: &str) -> BTreeMap<String, f64> {
    assert!(text.ends_with('\n') && !text.contains('\r'), "whole lines: {text:?}");
    let (mut series, mut known) = (BTreeMap::new(), BTreeSet::new());
    let mut current: Option<(String, String)> = None;
    let mut helped = String::new();
    for line in text.lines() {
        let words: Vec<&str> = line.splitn(4, ' ').collect();
        match words.as_slice() {
            ["#", "HELP", name, help] => {
                assert!(is_name(name) && !help.trim().is_empty() && !help.contains('\\'), "{line}");
                assert!(known.insert((*name).to_owned()), "told once: {line}");
                (helped, current) = ((*name).to_owned(), None);
            }
            ["#", "TYPE", name, kind @ ("counter" | "gauge")] => {
                assert_eq!(*name, helped, "right after its help: {line}");
                assert_eq!(*kind == "counter", name.ends_with("_total"), "{line}");
                current = Some(((*name).to_owned(), (*kind).to_owned()));
            }
            _ => {
                let (name, kind) = current.as_ref().expect(line);
                let (id, value) = line.rsplit_once(' ').expect(line);
                let labels = id.strip_prefix(name.as_str()).expect(line);
                assert!(labels.is_empty() || is_labels(labels), "{line}");
                let value: f64 = value.parse().expect(line);
                assert!(value.is_finite() && (kind == "gauge" || value >= 0.0), "{line}");
                assert!(series.insert(id.to_owned(), value).is_none(), "twice: {line}");
            }
        }
    }
    series
}

fn is_name(name: &str) -> bool {
    let letters = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
    name.starts_with("numerus_") && name.chars().all(letters)
}

fn is_labels(text: &str) -> bool {
    let Some(inner) = text.strip_prefix('{').and_then(|t| t.strip_suffix('}')) else {
        return false;
    };
    let word = |w: &str| !w.is_empty() && w.chars().all(|c| c.is_ascii_lowercase() || c == '_');
    inner.split(',').all(|pair| {
        let quoted = pair.split_once('=').map(|(name, value)| {
            (name, value.strip_prefix('"').and_then(|v| v.strip_suffix('"')).unwrap_or_default())
        });
        quoted.is_some_and(|(name, value)| word(name) && word(value))
    })
}

fn read(yard: &Yard) -> BTreeMap<String, f64> {
    parsed(&fs::read_to_string(yard.site.root().join("store/metrics.prom")).unwrap())
}

#[test]
fn the_daemons_numbers_are_valid_right_and_begin_anew_with_the_next_daemon() {
    let yard = Yard::new("metrics");
    yard.drop_job("a", "good", "");
    yard.drop_job("b", "bad-b", "");
    yard.drop_file("c.json", "{");
    let ended = yard.ask(&["daemon", "--once"]);
    assert_eq!(ended.code, Some(1), "{ended:?}");
    let first = read(&yard);
    let tokens = |of: &BTreeMap<String, f64>| {
        let series = of.iter().filter(|(name, _)| name.starts_with("numerus_tokens_total"));
        series.filter(|(name, _)| !name.contains("cached")).map(|(_, value)| value).sum::<f64>()
    };
    let journals = ["a-", "b-"].map(|start| yard.site.journal(&yard.job(start).unwrap()));
    let count = |event: &str| {
        let all = journals.iter().flatten().filter(|line| line["event"] == event);
        f64::from(u32::try_from(all.count()).unwrap())
    };
    for (name, value) in [
        ("numerus_jobs{state=\"running\"}", 0.0),
        ("numerus_jobs_ended_total{outcome=\"succeeded\"}", 1.0),
        ("numerus_jobs_ended_total{outcome=\"failed\"}", 1.0),
        ("numerus_rejected_files_total", 1.0),
        ("numerus_sessions_total", count("terminal.session_starting")),
        ("numerus_claims_total{verdict=\"go\"}", count("job.claim_approved")),
        ("numerus_degraded", 0.0),
        ("numerus_queue_oldest_timestamp_seconds", 0.0),
    ] {
        assert_eq!(first.get(name), Some(&value), "{name}: {first:?}");
    }
    assert!(tokens(&first) > 0.0, "{first:?}");

    // While jobs work, wait and rest; what the daemon before has counted is not counted again.
    let daemon = yard.daemon(&["--max-jobs", "1"]);
    yard.drop_job("hold", "hold-x", "");
    yard.until_reached("hold-x");
    yard.drop_job("waits", "good", "");
    yard.drop_job("rests", "good", "not_before: 2999-01-01T00:00:00Z\n");
    let path = yard.site.root().join("store/metrics.prom");
    let told = || fs::read_to_string(&path).map(|text| parsed(&text)).unwrap();
    yard.until("all of them are told", || {
        let now = told();
        let is = |name: &str, value: f64| now.get(name) == Some(&value);
        is("numerus_jobs{state=\"running\"}", 1.0)
            && is("numerus_jobs{state=\"queued\"}", 2.0)
            && now["numerus_queue_oldest_timestamp_seconds"] > 1.0e9
            && is("numerus_jobs_ended_total{outcome=\"failed\"}", 0.0)
            && is("numerus_rejected_files_total", 0.0)
    });
    assert!(tokens(&told()) < 0.5, "nothing has ended yet: {:?}", told());
    yard.let_go("hold-x");
    yard.until("both have ended", || {
        told()["numerus_jobs_ended_total{outcome=\"succeeded\"}"] >= 2.0
    });
    let last = told();
    assert!(tokens(&last) > 0.0 && last.len() == first.len(), "no more lines: {last:?}");
    drop(daemon);
}

#[test]
fn what_takes_jobs_and_files_away_takes_nothing_from_what_was_counted() {
    let yard = Yard::new("metrics-less");
    let _daemon = yard.daemon(&[]);
    yard.drop_job("a", "good", "");
    yard.drop_file("c.json", "{");
    let path = yard.site.root().join("store/metrics.prom");
    let is = |name: &str, value: f64| {
        let told = fs::read_to_string(&path).map(|text| parsed(&text)).unwrap_or_default();
        told.get(name) == Some(&value)
    };
    let (jobs, files) =
        ("numerus_jobs_ended_total{outcome=\"succeeded\"}", "numerus_rejected_files_total");
    yard.until("both are counted", || is(jobs, 1.0) && is(files, 1.0));
    let ended = yard.ask(&["prune", "--keep", "0", "--unmerged", "--yes"]);
    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert!(yard.job("a-").is_none(), "it is gone: {ended:?}");
    fs::write(yard.folder("rejected").join("c.json"), "{ ").unwrap();
    yard.ask(&["retry", "c.json"]);
    yard.until("the next one is one more", || is(files, 2.0) && is(jobs, 1.0));
}

#[test]
fn what_is_not_valid_is_seen() {
    let good = "# HELP numerus_x X.\n# TYPE numerus_x gauge\nnumerus_x{a=\"b\"} 1\n";
    assert_eq!(parsed(good).len(), 1);
    for bad in [
        "numerus_x 1\n",
        "# HELP numerus_x X.\n# TYPE numerus_x gauge\nnumerus_x{a=\"B-c\"} 1\n",
        "# HELP numerus_x X.\n# TYPE numerus_x gauge\nnumerus_x 1\nnumerus_x 1\n",
        "# HELP numerus_x_total X.\n# TYPE numerus_x_total gauge\nnumerus_x_total 1\n",
        "# HELP numerus_x X.\n# TYPE numerus_x gauge\nnumerus_x one\n",
        "# HELP numerus_x X.\n# TYPE numerus_x gauge\nnumerus_x 1",
    ] {
        assert!(std::panic::catch_unwind(|| parsed(bad)).is_err(), "{bad}");
    }
}
