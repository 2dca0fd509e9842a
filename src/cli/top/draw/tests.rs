//! Whole screens, as people see them.

use ratatui::layout::Rect;

use super::*;
use crate::cli::top::state::tests::screen as three_jobs;
use crate::os::screen::Key;

/// The screen as text: what colour and weight add is not needed to read it.
fn shown(screen: &Screen, columns: u16, height: u16) -> String {
    let mut buffer = Buffer::empty(Rect::new(0, 0, columns, height));
    draw(&mut buffer, screen, &View::plain(80, "2026-03-04T12:00:00Z"));
    let row = |y| (0..columns).map(|x| buffer[(x, y)].symbol()).collect::<String>();
    (0..height).map(|y| row(y).trim_end().to_owned() + "\n").collect()
}

fn screen() -> Screen {
    let mut screen = three_jobs();
    let overview = &mut screen.overview;
    overview.root = "/srv/numerus".to_owned();
    overview.daemon = true;
    overview.counts = vec![(2, "running"), (1, "paused"), (1, "succeeded")];
    overview.jobs[2].doing = (Tone::Wait, "the plan waits for a person".to_owned());
    overview.log.truncate(5);
    screen
}

#[test]
fn the_jobs_with_who_works_and_who_waits_for_whom_fit_an_old_terminal() {
    let expected = "\
numerus /srv/numerus                                               daemon active
2 running · 1 paused · 1 succeeded
  JOB            STATE      DONE   TOKENS  AGE   WHAT
> first-abc234   running    0/2    12.3k   5m    Fix the login\\x1b[31m and all…
    api  executor  executing           1.2k    do api
  second-abc234  running    0/1    12.3k   5m    Fix the login\\x1b[31m and all…
    site  executor  blocked             1.2k    waits for first-abc234/api
  third-abc234   paused            12.3k   5m    the plan waits for a person
  old-abc234     succeeded  1/1    12.3k   1m    Fix the login\\x1b[31m and all…



── first-abc234 ────────────────────────────────────────────────────────────────
line 1
line 2
line 3
line 4
line 5


↑↓ select  Enter open  l log  K kill  p pause  r retry  / find  ? help  q quit
";
    assert_eq!(shown(&screen(), 80, 21), expected);
}

#[test]
fn the_smallest_screen_shows_what_is_selected() {
    let mut screen = screen();
    screen.press(Key::End);
    screen.overview.troubles = vec!["no new work: the disk is full".to_owned()];
    let expected = "\
numerus /srv/numerus       daemon active
2 running · 1 paused · 1 succeeded
no new work: the disk is full
  JOB            STATE      WHAT
    site  blocked             waits for…
  third-abc234   paused     the plan wa…
> old-abc234     succeeded  Fix the log…
── old-abc234 ──────────────────────────
line 3
line 4
line 5
Enter open  K kill  ? help  q quit
";
    assert_eq!(shown(&screen, 40, 12), expected);
}

#[test]
fn an_open_job_shows_its_tasks_and_the_log_of_one() {
    let mut screen = screen();
    screen.press(Key::Enter);
    screen.press(Key::Down);
    let expected = "\
numerus /srv/numerus                                    daemon active
2 running · 1 paused · 1 succeeded
  first-abc234  running · 0 of 2 tasks · 5m 00s · 12.3k tokens
    Fix the login\\x1b[31m and all that belongs to it
>   api   executing           do api
    docs  pending             do docs
── first-abc234/api ─────────────────────────────────────────────────
line 3
line 4
line 5
Enter open  K kill  ? help  q quit
";
    assert_eq!(shown(&screen, 69, 11), expected);
    screen.press(Key::Char('l'));
    let log = shown(&screen, 69, 11);
    assert!(log.contains("line 1\nline 2\n") && !log.contains("do docs"), "{log}");
}

#[test]
fn help_a_question_a_filter_and_an_empty_spool_are_told() {
    let mut screen = screen();
    screen.press(Key::Char('?'));
    let help = shown(&screen, 80, 24);
    for (keys, _) in HELP {
        assert!(help.contains(keys), "{keys}: {help}");
    }
    screen.press(Key::Enter);
    screen.press(Key::Char('K'));
    assert!(shown(&screen, 80, 24).ends_with("\nkill first-abc234? [y/n]\n"));
    screen.press(Key::Char('n'));
    assert!(shown(&screen, 80, 24).ends_with("\nnothing was done\n"));
    screen.press(Key::Char('/'));
    screen.press(Key::Char('z'));
    screen.press(Key::Char('z'));
    let filtered = shown(&screen, 80, 24);
    assert!(filtered.contains("no job holds that") && filtered.ends_with("\n/zz_\n"), "{filtered}");
    assert!(shown(&Screen::default(), 80, 24).contains("no daemon\n"));
    assert!(shown(&Screen::default(), 80, 24).contains("  no jobs\n"));
}

#[test]
fn the_key_that_approves_is_named_where_a_plan_waits_for_it() {
    let mut screen = screen();
    screen.overview.jobs[2].status.reason = Some("approval".to_owned());
    screen.overview.jobs[2].plan = Some(1);
    for (columns, keys) in [(80, "a approve  l log"), (40, "a approve  Enter open")] {
        screen.press(Key::Home);
        assert!(!shown(&screen, columns, 20).contains("a approve"));
        screen.press(Key::Down);
        screen.press(Key::Down);
        let shown = shown(&screen, columns, 20);
        assert!(shown.contains(keys) && shown.ends_with("  q quit\n"), "{shown}");
    }
    screen.press(Key::Char('a'));
    assert!(shown(&screen, 80, 20).ends_with("\napprove third-abc234? [y/n]\n"));
}

#[test]
fn no_size_is_too_small_and_none_too_large() {
    let mut opened = screen();
    opened.press(Key::Enter);
    let mut helped = screen();
    helped.press(Key::Char('?'));
    for screen in [screen(), opened, helped, Screen::default()] {
        for (columns, height) in [(1, 1), (3, 2), (10, 3), (40, 5), (300, 100)] {
            let text = shown(&screen, columns, height);
            assert_eq!(text.lines().count(), usize::from(height));
        }
    }
}
