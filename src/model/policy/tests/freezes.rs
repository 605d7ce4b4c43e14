//! When nothing is released.

use super::*;

fn weekly(zone: &str, spans: &[(&str, &str)]) -> Freeze {
    let spans = spans.iter().map(|(from, until)| Span { from: from.parse().unwrap(), until: until.parse().unwrap() });
    Freeze {
        name: name("quiet"),
        environments: vec![name("prod")],
        window: Window::Weekly { time_zone: zone.to_owned(), spans: spans.collect() },
        actions: Vec::new(),
        actors: Vec::new(),
        reason: None,
    }
}

fn once(from: &str, until: &str) -> Freeze {
    Freeze { window: Window::Once { from: at(from), until: at(until) }, ..weekly("UTC", &[]) }
}

/// The end of the freeze at an instant, where it is on.
fn end(freeze: &Freeze, instant: &str) -> Option<String> {
    freeze.check().unwrap();
    freeze.end(at(instant)).unwrap().map(|end| end.unwrap().to_string())
}

fn asked(instant: &str) -> Request {
    Request { at: at(instant), ..request("main", "prod") }
}

#[test]
fn once_is_from_the_first_instant_until_before_the_last() {
    let christmas = once("2026-12-20T00:00:00+01:00", "2027-01-02T00:00:00+01:00");
    let last = Some("2027-01-01T23:00:00Z".to_owned());
    assert_eq!(end(&christmas, "2026-12-19T22:59:59.999Z"), None);
    assert_eq!(end(&christmas, "2026-12-19T23:00:00Z"), last);
    assert_eq!(end(&christmas, "2027-01-01T22:59:59.999Z"), last);
    assert_eq!(end(&christmas, "2027-01-01T23:00:00Z"), None);
}

#[test]
fn every_week_over_midnights_and_the_end_of_the_week() {
    // The 20th of November 2026 is a Friday.
    let weekend = weekly("Europe/Copenhagen", &[("friday 16:00", "monday 08:00")]);
    let monday = Some("2026-11-23T07:00:00Z".to_owned());
    for (instant, expected) in [
        ("2026-11-20T14:59:59Z", None),
        ("2026-11-20T15:00:00Z", monday.clone()),
        ("2026-11-22T23:30:00Z", monday.clone()),
        ("2026-11-23T06:59:59Z", monday),
        ("2026-11-23T07:00:00Z", None),
    ] {
        assert_eq!(end(&weekend, instant), expected, "{instant}");
    }
    let night = weekly("Europe/Copenhagen", &[("sunday 22:00", "monday 06:00")]);
    assert_eq!(end(&night, "2026-11-22T21:00:00Z").as_deref(), Some("2026-11-23T05:00:00Z"));
    assert_eq!(end(&night, "2026-11-23T04:59:00Z").as_deref(), Some("2026-11-23T05:00:00Z"));
    // Nearly the whole week: from Monday noon to Monday 11:59.
    let long = weekly("UTC", &[("monday 12:00", "monday 11:59")]);
    assert_eq!(end(&long, "2026-11-23T11:58:00Z").as_deref(), Some("2026-11-23T11:59:00Z"));
    assert_eq!(end(&long, "2026-11-23T11:59:30Z"), None);
    assert_eq!(end(&long, "2026-11-23T12:00:00Z").as_deref(), Some("2026-11-30T11:59:00Z"));
}

#[test]
fn windows_that_touch_are_one() {
    let nights = weekly(
        "UTC",
        &[("monday 20:00", "tuesday 00:00"), ("tuesday 00:00", "tuesday 12:00"), ("tuesday 11:00", "tuesday 13:00")],
    );
    assert_eq!(end(&nights, "2026-11-23T21:00:00Z").as_deref(), Some("2026-11-24T13:00:00Z"));
}

#[test]
fn where_clocks_are_changed_a_window_is_never_shorter_than_it_says() {
    // New York, the 8th of March 2026: 02:00 becomes 03:00. The 1st of November: 02:00 becomes 01:00.
    let spring = weekly("America/New_York", &[("saturday 22:00", "sunday 02:30")]);
    assert_eq!(end(&spring, "2026-03-08T06:59:00Z").as_deref(), Some("2026-03-08T07:30:00Z"));
    assert_eq!(end(&spring, "2026-03-15T06:00:00Z").as_deref(), Some("2026-03-15T06:30:00Z"));
    let from_within = weekly("America/New_York", &[("sunday 02:30", "sunday 05:00")]);
    assert_eq!(end(&from_within, "2026-03-08T06:30:00Z").as_deref(), Some("2026-03-08T09:00:00Z"));
    assert_eq!(end(&from_within, "2026-03-08T06:29:59Z"), None);

    // The second half past one is the end, the first one the beginning.
    let autumn = weekly("America/New_York", &[("saturday 22:00", "sunday 01:30")]);
    assert_eq!(end(&autumn, "2026-11-01T06:15:00Z").as_deref(), Some("2026-11-01T06:30:00Z"));
    let twice = weekly("America/New_York", &[("sunday 01:30", "sunday 03:00")]);
    assert_eq!(end(&twice, "2026-11-01T05:30:00Z").as_deref(), Some("2026-11-01T08:00:00Z"));

    // By the clocks of the zone, in summer as in winter.
    let morning = weekly("Europe/Copenhagen", &[("wednesday 08:00", "wednesday 09:00")]);
    assert_eq!(end(&morning, "2026-07-15T06:00:00Z").as_deref(), Some("2026-07-15T07:00:00Z"));
    assert_eq!(end(&morning, "2026-11-18T07:00:00Z").as_deref(), Some("2026-11-18T08:00:00Z"));
    // A day that Samoa never had: the 30th of December 2011, a Friday.
    let skipped = weekly("Pacific/Apia", &[("friday 08:00", "friday 20:00")]);
    assert!(end(&skipped, "2011-12-30T10:30:00Z").is_some());
}

#[test]
fn what_cannot_be_used_is_refused_when_it_is_written() {
    for (wrong, expected) in [
        (weekly("Europe/Nowhere", &[("monday 00:00", "monday 01:00")]), "time zone `Europe/Nowhere` is not known"),
        (weekly("../../etc/passwd", &[("monday 00:00", "monday 01:00")]), "time zone `../../etc/passwd` is not known"),
        (weekly("UTC", &[]), "the freeze has no spans"),
        (weekly("UTC", &[("monday 00:00", "monday 00:00")]), "a span of the freeze ends where it begins"),
        (
            weekly("UTC", &[("monday 00:00", "friday 00:00"), ("thursday 12:00", "monday 00:00")]),
            "the freeze leaves no minute of the week",
        ),
        (once("2026-12-20T00:00:00Z", "2026-12-20T00:00:00Z"), "the freeze ends before it begins"),
    ] {
        assert_eq!(set([]).apply(Policy::Freeze(wrong)).unwrap_err().to_string(), expected);
    }
    for wrong in
        ["", "monday", "monday 24:00", "monday 8:00", "Monday 08:00", "mon 08:00", "monday 08:00:00", "monday +8:00"]
    {
        assert!(wrong.parse::<WeekTime>().is_err(), "{wrong}");
    }
    assert_eq!("sunday 23:59".parse::<WeekTime>().unwrap().to_string(), "sunday 23:59");
}

#[test]
fn a_freeze_is_about_environments_actions_and_actors() {
    let freeze = |change: fn(&mut Freeze)| {
        let mut freeze = once("2026-11-18T00:00:00Z", "2026-11-19T00:00:00Z");
        change(&mut freeze);
        set([Policy::Freeze(freeze), automatic("main", "prod"), automatic("main", "dev")])
    };
    let everything = freeze(|freeze| freeze.environments.clear());
    let automation = freeze(|freeze| freeze.actors = vec![ActorKind::Automation]);
    let releases = freeze(|freeze| freeze.actions = vec![Action::Release]);
    let promote = Intent::Promote { from_environment: "dev".to_owned() };
    let branch = Intent::ReleaseBranch { branch: "main".to_owned() };
    for (set, environment, intent, actor, live_before, allowed) in [
        (&everything, "dev", Intent::ReleaseArtifact, user("ann"), false, false),
        (&automation, "dev", Intent::AutoRelease, robot("ci"), false, true),
        (&automation, "prod", Intent::AutoRelease, robot("ci"), false, false),
        (&automation, "prod", Intent::ReleaseArtifact, robot("ci"), false, false),
        (&automation, "prod", Intent::ReleaseArtifact, user("ann"), false, true),
        // What goes by itself is automation, whoever says so.
        (&automation, "prod", Intent::AutoRelease, user("ann"), false, false),
        (&releases, "prod", branch, user("ann"), false, false),
        (&releases, "prod", promote, user("ann"), false, true),
        (&releases, "prod", rollback(), user("ann"), true, true),
        // To call it a rollback is not enough.
        (&releases, "prod", rollback(), user("ann"), false, false),
    ] {
        let mut asked = Request { environment: name(environment), intent, actor, ..request("main", "prod") };
        asked.history.live_before = live_before;
        let decision = decide(set, &asked);
        assert_eq!(decision.is_allowed(), allowed, "{asked:?}");
        assert_eq!(codes(&decision).is_empty(), allowed);
    }
}

#[test]
fn a_freeze_is_passed_with_permission_and_a_reason_and_it_is_on_record() {
    let set = set([Policy::Freeze(once("2026-11-18T00:00:00Z", "2026-11-19T00:00:00Z")), only("main", "prod")]);
    let over = |permitted: bool, reason: &str, asked: Request| {
        decide(&set, &Request { over_freeze: Some(Override { reason: reason.to_owned(), permitted }), ..asked })
    };
    let asked = request("main", "prod");
    let decision = over(true, "the shop is down", asked.clone());
    assert!(decision.is_allowed());
    assert_eq!(
        decision.overridden,
        [Overridden {
            policy: "freeze-quiet".to_owned(),
            scope: Scope::Service,
            by: "ann".to_owned(),
            reason: "the shop is down".to_owned(),
        }]
    );
    assert_eq!(codes(&over(false, "please", asked.clone())), [ReasonCode::Frozen, ReasonCode::OverrideForbidden]);
    assert_eq!(codes(&over(true, " \n", asked.clone())), [ReasonCode::Frozen, ReasonCode::OverrideUnexplained]);
    let automatic = Request { actor: robot("ci"), ..asked.clone() };
    assert_eq!(codes(&over(true, "now", automatic)), [ReasonCode::Frozen, ReasonCode::OverrideForbidden]);
    // It passes nothing but freezes.
    let other = over(true, "now", Request { artifact: artifact("feature"), ..asked });
    assert_eq!(codes(&other), [ReasonCode::BranchRestricted]);
    // Where nothing is frozen there is nothing to pass.
    let later = over(true, "now", Request { at: at("2026-11-20T00:00:00Z"), ..request("main", "prod") });
    assert!(later.is_allowed() && later.overridden.is_empty());
}

#[test]
fn what_is_queued_does_not_slip_through() {
    let set = set([Policy::Freeze(weekly("UTC", &[("friday 16:00", "monday 08:00")]))]);
    let decision = decide(&set, &asked("2026-11-20T15:59:59Z"));
    assert!(decision.is_allowed());
    let decision = decide(&set, &asked("2026-11-20T16:00:00Z"));
    assert_eq!((codes(&decision), decision.outcome), (vec![ReasonCode::Frozen], Outcome::Waiting));
    assert_eq!(decision.reasons[0].sentence, "`prod` is frozen by `quiet`");
    assert_eq!(decision.earliest, Some(at("2026-11-23T08:00:00Z")));
    assert!(decide(&set, &asked("2026-11-23T08:00:00Z")).is_allowed());
}

#[test]
fn when_it_will_be_is_found_through_all_that_waits() {
    // Soaking ends in the weekend, the weekend in an early freeze, and that on Monday at ten.
    let soak = r#"{"kind":"soak","environment":"prod","upstream":["dev"],"duration":"24h"}"#;
    let early = Freeze { name: name("early"), ..once("2026-11-23T07:00:00Z", "2026-11-23T10:00:00Z") };
    let weekend = weekly("UTC", &[("friday 16:00", "monday 08:00")]);
    let set = set([written(soak), Policy::Freeze(weekend), Policy::Freeze(early)]);
    let mut asked = asked("2026-11-20T12:00:00Z");
    asked.history.running_since = [(name("dev"), at("2026-11-20T11:00:00Z"))].into();
    let decision = decide(&set, &asked);
    assert_eq!(codes(&decision), [ReasonCode::Soaking]);
    assert_eq!(decision.earliest, Some(at("2026-11-23T10:00:00Z")));
    asked.at = decision.earliest.unwrap();
    assert!(decide(&set, &asked).is_allowed());
}
