//! What keys do.

use serde_json::json;

use super::*;

pub(in crate::cli::top) fn board(job: &str, state: &str, tasks: &[(&str, &str)]) -> Board {
    let task = |(id, state): &(&str, &str)| {
        let waits_for = if *state == "blocked" { json!(["first-abc234/api"]) } else { json!([]) };
        json!({"id": id, "summary": format!("do {id}"), "role": "executor", "state": state,
               "attempt": 1, "waits_for": waits_for, "until": null, "message": "",
               "tokens": {"input_tokens": 1200, "output_tokens": 34}})
    };
    let status = json!({
        "version": 1, "job_id": job, "state": state, "reason": null, "message": "",
        "until": null, "pid": 77, "workspace": "/src/shop", "branch": null,
        "objective": "Fix the login\u{1b}[31m and all that belongs to it",
        "created_at": "2026-03-04T11:55:00Z", "updated_at": "2026-03-04T11:59:00Z",
        "tokens": {"input_tokens": 12300, "cached_input_tokens": 300, "output_tokens": 45},
        "tasks": tasks.iter().map(task).collect::<Vec<_>>(),
    });
    Board::at_rest(serde_json::from_value(status).expect("status"), state == "running")
}

/// Three jobs that have not ended, and one that has.
pub(in crate::cli::top) fn screen() -> Screen {
    let jobs = vec![
        board("first-abc234", "running", &[("api", "executing"), ("docs", "pending")]),
        board("second-abc234", "running", &[("site", "blocked")]),
        board("third-abc234", "paused", &[]),
        board("old-abc234", "succeeded", &[("all", "succeeded")]),
    ];
    let mut screen = Screen::default();
    let log = (1..=30).map(|n| (Tone::Plain, format!("line {n}"))).collect();
    screen.read(Overview { jobs, log, ..Overview::default() });
    screen
}

fn press(screen: &mut Screen, keys: &str) -> Wish {
    let mut wish = Wish::Draw;
    for letter in keys.chars() {
        wish = screen.press(match letter {
            '\n' => Key::Enter,
            '\u{1b}' => Key::Escape,
            letter => Key::Char(letter),
        });
    }
    wish
}

fn chosen(screen: &Screen) -> (String, String) {
    let text = |id: Option<String>| id.unwrap_or_default();
    let (job, task) = (screen.job.as_ref(), screen.task.as_ref());
    (text(job.map(ToString::to_string)), text(task.map(ToString::to_string)))
}

fn pair(job: &str, task: &str) -> (String, String) {
    (job.to_owned(), task.to_owned())
}

#[test]
fn the_selection_moves_among_jobs_and_in_an_open_one_among_its_tasks() {
    let mut screen = screen();
    assert_eq!(chosen(&screen), pair("first-abc234", ""));
    press(&mut screen, "jjjjjj");
    assert_eq!(chosen(&screen), pair("old-abc234", ""));
    press(&mut screen, "g\nj");
    assert_eq!((screen.page, chosen(&screen)), (Page::Job, pair("first-abc234", "api")));
    press(&mut screen, "jjj");
    assert_eq!(chosen(&screen), pair("first-abc234", "docs"));
    press(&mut screen, "kk");
    assert_eq!(chosen(&screen), pair("first-abc234", ""));
    press(&mut screen, "\u{1b}j");
    assert_eq!((screen.page, chosen(&screen)), (Page::Jobs, pair("second-abc234", "")));
}

#[test]
fn what_is_selected_stays_selected_as_long_as_it_is_there() {
    let mut screen = screen();
    press(&mut screen, "j");
    let mut overview = screen.overview.clone();
    overview.jobs.rotate_left(1);
    screen.read(overview.clone());
    assert_eq!(chosen(&screen), pair("second-abc234", ""));
    overview.jobs.retain(|b| b.status.job_id.as_str() != "second-abc234");
    screen.read(overview);
    assert_eq!(chosen(&screen), pair("third-abc234", ""));
    screen.read(Overview::default());
    assert_eq!((chosen(&screen), press(&mut screen, "j\nK")), (pair("", ""), Wish::Draw));
}

#[test]
fn a_job_is_killed_by_a_y_alone() {
    let first = || "first-abc234".to_owned();
    for (keys, wish) in [
        ("Ky", Wish::Do(Act::Kill, first())),
        ("K\n", Wish::Draw),
        ("Kn", Wish::Draw),
        ("Kk", Wish::Draw),
        ("K", Wish::Draw),
        ("y", Wish::Draw),
        ("GKy", Wish::Draw),
    ] {
        assert_eq!(press(&mut screen(), keys), wish, "{keys:?}");
    }
    let mut ended = screen();
    press(&mut ended, "GK");
    assert_eq!(ended.said, "old-abc234 has ended already");
}

#[test]
fn what_is_done_is_done_to_what_is_selected() {
    for (keys, wish) in [
        ("\njKy", Wish::Do(Act::Kill, "first-abc234/api".to_owned())),
        ("\njry", Wish::Do(Act::Retry, "first-abc234/api".to_owned())),
        ("Gry", Wish::Do(Act::Retry, "old-abc234".to_owned())),
        ("rn", Wish::Draw),
        ("p", Wish::Do(Act::Pause, "first-abc234".to_owned())),
        ("\njp", Wish::Do(Act::Pause, "first-abc234".to_owned())),
        ("\njo", Wish::Do(Act::Open, "first-abc234".to_owned())),
        ("jjp", Wish::Do(Act::Resume, "third-abc234".to_owned())),
    ] {
        let mut screen = screen();
        screen.overview.jobs[2].status.reason = Some("user".to_owned());
        assert_eq!(press(&mut screen, keys), wish, "{keys:?}");
    }
    assert_eq!(press(&mut Screen::default(), "pKro"), Wish::Draw);
}

#[test]
fn only_a_plan_that_waits_for_a_person_is_approved_and_by_a_y_alone() {
    let third = || "third-abc234".to_owned();
    for (keys, reason, wish) in [
        ("jjay", "approval", Wish::Do(Act::Approve(2), third())),
        ("jj\nay", "approval", Wish::Do(Act::Approve(2), third())),
        ("jjan", "approval", Wish::Draw),
        ("jjaa", "approval", Wish::Draw),
        ("jjay", "user", Wish::Draw),
        ("ay", "approval", Wish::Draw),
    ] {
        let mut screen = screen();
        screen.overview.jobs[2].status.reason = Some(reason.to_owned());
        screen.overview.jobs[2].plan = Some(2);
        assert_eq!(press(&mut screen, keys), wish, "{keys:?} {reason}");
    }
    let mut meanwhile = screen();
    meanwhile.overview.jobs[2].status.reason = Some("approval".to_owned());
    meanwhile.overview.jobs[2].plan = Some(2);
    press(&mut meanwhile, "jja");
    meanwhile.overview.jobs[2].plan = Some(3);
    let seen = Wish::Do(Act::Approve(2), third());
    assert_eq!(press(&mut meanwhile, "y"), seen, "what was seen when it was asked for");
    meanwhile.overview.jobs[2].plan = None;
    press(&mut meanwhile, "a");
    assert_eq!(meanwhile.said, "the plan of third-abc234 is being read: once more");
    let mut at_work = screen();
    press(&mut at_work, "a");
    assert_eq!(at_work.said, "first-abc234 has no plan that waits for a person");
}

#[test]
fn a_filter_narrows_the_jobs_until_it_is_taken_away() {
    let mut screen = screen();
    press(&mut screen, "/SecoQ");
    assert_eq!((screen.jobs().len(), chosen(&screen)), (0, pair("", "")));
    assert_eq!(screen.press(Key::Backspace), Wish::Look);
    assert_eq!(chosen(&screen), pair("second-abc234", ""));
    assert_eq!(press(&mut screen, "\nq"), Wish::Quit, "after Enter keys are keys again");
    press(&mut screen, "\u{1b}");
    assert_eq!(screen.jobs().len(), 4);
    press(&mut screen, "/login");
    assert_eq!(screen.jobs().len(), 4, "objectives count as well");
}

#[test]
fn the_log_scrolls_back_and_comes_back() {
    let mut screen = screen();
    screen.press(Key::PageUp);
    assert_eq!(screen.back, 10);
    for _ in 0..9 {
        screen.press(Key::PageUp);
    }
    assert_eq!(screen.back, 30);
    press(&mut screen, "j");
    assert_eq!(screen.back, 0, "another log is seen from its end");
    press(&mut screen, "l");
    assert!(screen.log_only);
    press(&mut screen, "\u{1b}");
    assert!(!screen.log_only);
}

#[test]
fn ctrl_c_quits_whatever_is_open_and_other_keys_close_the_help() {
    for keys in ["", "?", "/x", "K"] {
        let mut screen = screen();
        press(&mut screen, keys);
        assert_eq!(screen.press(Key::Interrupt), Wish::Quit, "{keys:?}");
    }
    let mut screen = screen();
    assert_eq!((press(&mut screen, "?q"), screen.mode.clone()), (Wish::Draw, Mode::Plain));
    assert_eq!((screen.press(Key::Stop), screen.press(Key::Redraw)), (Wish::Stop, Wish::Redraw));
}
