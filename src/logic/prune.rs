//! Which jobs that have ended are removed, and why the others stay. Pure: what is on disk is looked at by whoever asks.

use std::borrow::Cow;

use jiff::{SignedDuration, Timestamp};

use crate::model::id::JobId;
use crate::model::status::JobPhase;

/// What somebody wants removed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Rule {
    /// Jobs that ended longer ago than that.
    pub older_than: Option<SignedDuration>,
    /// The newest ones stay, that many.
    pub keep: Option<usize>,
    /// The oldest go until all together have no more bytes than that.
    pub max_bytes: Option<u64>,
    /// Only jobs that ended so; of none named, all.
    pub states: Vec<JobPhase>,
    /// Also those whose result is on no branch but their own.
    pub unmerged: bool,
}

/// Where the result of a job is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Standing {
    /// It landed nothing, or what it landed is no longer known.
    Nothing,
    /// It is part of another branch than the job's own.
    Merged,
    /// It is part of the branch of another job, by its name, and of none of the user's.
    InJob(String),
    /// Its branch was deleted: nobody wants it.
    Discarded,
    /// It is on the job's own branch alone.
    Unmerged,
    /// It lies in a repository in the run folder, and goes with that.
    Within,
    /// Its repository cannot be looked at.
    Unknown,
}

impl Standing {
    /// In a word or two.
    pub fn as_str(&self) -> Cow<'static, str> {
        Cow::Borrowed(match self {
            Self::Nothing => "none",
            Self::Merged => "merged",
            Self::InJob(branch) => return Cow::Owned(format!("in {branch}")),
            Self::Discarded => "discarded",
            Self::Unmerged => "not merged",
            Self::Within => "in the run folder",
            Self::Unknown => "unknown",
        })
    }

    /// Whether removing the job takes a result away, or out of sight, that nobody has taken over yet.
    fn is_wanted(&self) -> bool {
        matches!(self, Self::Unmerged | Self::Within | Self::Unknown)
    }
}

/// A job that has ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ended {
    /// The job.
    pub job: JobId,
    /// How.
    pub phase: JobPhase,
    /// When.
    pub at: Timestamp,
    /// What it takes on disk.
    pub bytes: u64,
    /// Where its result is.
    pub result: Standing,
    /// What has not ended and needs it, by its `after` or `retry_of`: a job, or a file that nobody has taken yet.
    pub waited_for_by: Option<String>,
}

/// What becomes of one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// It goes.
    Goes,
    /// It was not asked for.
    Stays,
    /// It was asked for, but its result is on no other branch.
    NotMerged,
    /// It was asked for, but another job needs it.
    WaitedFor,
}

/// Decides over all of them, in the order given.
pub fn decide(ended: &[Ended], rule: &Rule, now: Timestamp) -> Vec<Fate> {
    let mut order: Vec<usize> = (0..ended.len()).collect();
    order.sort_by(|a, b| (ended[*b].at, &ended[*b].job).cmp(&(ended[*a].at, &ended[*a].job)));
    let is_asked = |one: &Ended| rule.states.is_empty() || rule.states.contains(&one.phase);
    let of_rule: Vec<usize> = order.into_iter().filter(|i| is_asked(&ended[*i])).collect();
    let may_go = of_rule.get(rule.keep.unwrap_or(0)..).unwrap_or_default();
    let mut fates = vec![Fate::Stays; ended.len()];
    let is_bounded = rule.older_than.is_some() || rule.max_bytes.is_some();
    for &i in may_go {
        let is_old = rule.older_than.is_some_and(|age| now.duration_since(ended[i].at) > age);
        if is_old || !is_bounded {
            fates[i] = fate(&ended[i], rule);
        }
    }
    if let Some(most) = rule.max_bytes {
        // Of all that have ended: room is short whoever takes it, and the rule says only who may make some.
        let stays = ended.iter().zip(&fates).filter(|(_, fate)| **fate != Fate::Goes);
        let mut bytes: u64 = stays.map(|(one, _)| one.bytes).sum();
        for &i in may_go.iter().rev() {
            if bytes <= most {
                break;
            }
            let went = std::mem::replace(&mut fates[i], fate(&ended[i], rule)) == Fate::Goes;
            if !went && fates[i] == Fate::Goes {
                bytes -= ended[i].bytes;
            }
        }
    }
    fates
}

fn fate(one: &Ended, rule: &Rule) -> Fate {
    if one.waited_for_by.is_some() {
        Fate::WaitedFor
    } else if one.result.is_wanted() && !rule.unmerged {
        Fate::NotMerged
    } else {
        Fate::Goes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).expect("time")
    }

    /// Jobs a, b, c, … of which each ended a hundred seconds after the one before, and has 10 bytes.
    fn ended(results: &[Standing]) -> Vec<Ended> {
        let one = |(n, result): (usize, &Standing)| Ended {
            job: JobId::parse(&format!("j{n}")).expect("id"),
            phase: if n % 2 == 0 { JobPhase::Succeeded } else { JobPhase::Failed },
            at: at(100 * i64::try_from(n).expect("small")),
            bytes: 10,
            result: result.clone(),
            waited_for_by: None,
        };
        results.iter().enumerate().map(one).collect()
    }

    fn goes(ended: &[Ended], rule: &Rule) -> Vec<usize> {
        let fates = decide(ended, rule, at(1000));
        (0..ended.len()).filter(|i| fates[*i] == Fate::Goes).collect()
    }

    #[test]
    fn the_old_the_many_and_the_large_go_and_the_newest_stay() {
        let all = ended(&[const { Standing::Merged }; 5]);
        let old = Some(SignedDuration::from_secs(750));
        for (rule, expected) in [
            (Rule { older_than: old, ..Rule::default() }, vec![0, 1, 2]),
            (Rule { keep: Some(2), ..Rule::default() }, vec![0, 1, 2]),
            (Rule { keep: Some(9), ..Rule::default() }, vec![]),
            (Rule { older_than: old, keep: Some(4), ..Rule::default() }, vec![0]),
            (Rule { max_bytes: Some(25), ..Rule::default() }, vec![0, 1, 2]),
            (Rule { max_bytes: Some(50), ..Rule::default() }, vec![]),
            (Rule { max_bytes: Some(0), keep: Some(3), ..Rule::default() }, vec![0, 1]),
            (Rule { max_bytes: Some(45), older_than: old, ..Rule::default() }, vec![0, 1, 2]),
            (Rule { states: vec![JobPhase::Failed], ..Rule::default() }, vec![1, 3]),
            (
                Rule { states: vec![JobPhase::Failed], max_bytes: Some(45), ..Rule::default() },
                vec![1],
            ),
            (
                Rule { states: vec![JobPhase::Failed], max_bytes: Some(35), ..Rule::default() },
                vec![1, 3],
            ),
            (
                Rule { states: vec![JobPhase::Failed], max_bytes: Some(50), ..Rule::default() },
                vec![],
            ),
            (
                Rule { states: vec![JobPhase::Succeeded], keep: Some(1), ..Rule::default() },
                vec![0, 2],
            ),
        ] {
            assert_eq!(goes(&all, &rule), expected, "{rule:?}");
        }
    }

    #[test]
    fn what_is_wanted_or_waited_for_stays_and_the_answer_says_why() {
        let mut all = ended(&[
            Standing::Nothing,
            Standing::Discarded,
            Standing::Unmerged,
            Standing::Within,
            Standing::Unknown,
            Standing::Merged,
        ]);
        all[5].waited_for_by = Some("w".to_owned());
        let rule = Rule { keep: Some(0), ..Rule::default() };
        let fates = decide(&all, &rule, at(1000));
        let stays = Fate::NotMerged;
        assert_eq!(fates, [Fate::Goes, Fate::Goes, stays, stays, stays, Fate::WaitedFor]);
        let all_of_them = Rule { unmerged: true, ..rule };
        assert_eq!(goes(&all, &all_of_them), [0, 1, 2, 3, 4]);
        let room = Rule { max_bytes: Some(0), ..Rule::default() };
        assert_eq!(goes(&all, &room), [0, 1], "what cannot go makes no room");
    }
}
