//! When nothing is released.
//!
//! A [`Freeze`] has its window once, or every week by the clocks of a time zone. Where clocks are changed a
//! window begins at the earlier and ends at the later of two readings: it is never shorter than it says.

use std::fmt;
use std::str::FromStr;

use jiff::civil::{Date, Time, Weekday};
use jiff::tz::TimeZone;
use jiff::{Timestamp, ToSpan};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::decision::{Reason, ReasonCode, Request};
use super::{ActorKind, check_list, check_text, invalid, zone};
use crate::model::failure::Result;
use crate::model::intent::Intent;
use crate::model::{FileName, text};

/// How many windows that touch each other are looked through for their end.
const MOST_WINDOWS: usize = 2 * MAX_SPANS;
/// The most spans of a week: three for each day.
const MAX_SPANS: usize = 21;

/// Nothing is released at some times.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "server", derive(utoipa::ToSchema))]
pub struct Freeze {
    /// What it is called.
    #[cfg_attr(feature = "server", schema(value_type = String))]
    pub name: FileName,
    /// The environments; all of them, where none is named.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[cfg_attr(feature = "server", schema(value_type = Vec<String>))]
    pub environments: Vec<FileName>,
    /// When.
    pub window: Window,
    /// What is not done; nothing at all, where none is named.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub actions: Vec<Action>,
    /// Whom it is about; everybody, where none is named.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub actors: Vec<ActorKind>,
    /// Why, to be shown.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// When a freeze is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
#[cfg_attr(feature = "server", derive(utoipa::ToSchema))]
pub enum Window {
    /// From one instant until before another one.
    Once {
        /// The first instant.
        #[cfg_attr(feature = "server", schema(value_type = String, format = DateTime))]
        from: Timestamp,
        /// The first instant that is free again.
        #[cfg_attr(feature = "server", schema(value_type = String, format = DateTime))]
        until: Timestamp,
    },
    /// Every week.
    Weekly {
        /// Whose clocks: `Europe/Copenhagen`.
        time_zone: String,
        /// The parts of the week.
        spans: Vec<Span>,
    },
}

/// A part of the week. It may reach over midnight and into the next week.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "server", derive(utoipa::ToSchema))]
pub struct Span {
    /// When it begins.
    #[cfg_attr(feature = "server", schema(value_type = String, example = "friday 16:00"))]
    pub from: WeekTime,
    /// When it is over.
    #[cfg_attr(feature = "server", schema(value_type = String, example = "monday 08:00"))]
    pub until: WeekTime,
}

/// A minute of the week, written `friday 16:00`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WeekTime {
    /// The day.
    pub day: Weekday,
    /// The hour and the minute.
    pub time: Time,
}

/// What a release does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[cfg_attr(feature = "server", derive(utoipa::ToSchema))]
pub enum Action {
    /// Brings an artifact in.
    Release,
    /// Brings on what runs elsewhere.
    Promote,
    /// Brings back what was live there before.
    Rollback,
    /// Happens by itself.
    AutoRelease,
}

impl Action {
    /// What the request would do. Who goes back to something that never was there goes nowhere but forward.
    pub fn of(request: &Request) -> Self {
        match request.intent {
            Intent::Promote { .. } => Self::Promote,
            Intent::Rollback { .. } if request.is_proven_rollback() => Self::Rollback,
            Intent::AutoRelease => Self::AutoRelease,
            Intent::Rollback { .. } | Intent::ReleaseArtifact | Intent::ReleaseBranch { .. } => Self::Release,
        }
    }
}

impl Freeze {
    pub(super) fn check(&self) -> Result<()> {
        check_list("environments", &self.environments)?;
        check_list("actions", &self.actions)?;
        check_list("actors", &self.actors)?;
        self.reason.as_deref().map_or(Ok(()), |reason| check_text("reason", reason))?;
        match &self.window {
            Window::Once { from, until } if from < until => Ok(()),
            Window::Once { .. } => Err(invalid("the freeze ends before it begins")),
            Window::Weekly { time_zone, spans } => {
                zone::named(time_zone)?;
                if spans.len() > MAX_SPANS {
                    return Err(invalid(format!("there are more than {MAX_SPANS} spans")));
                }
                check_spans(spans)
            }
        }
    }

    /// Whether it is about the request, whatever the time is.
    pub fn is_about(&self, request: &Request) -> bool {
        (self.environments.is_empty() || self.environments.contains(&request.environment))
            && (self.actions.is_empty() || self.actions.contains(&Action::of(request)))
            && (self.actors.is_empty() || self.actors.contains(&request.acts_as()))
    }

    /// When it is over, where it is on at that instant. Windows that touch are one.
    ///
    /// The inner value is nothing where the end cannot be told.
    pub fn end(&self, at: Timestamp) -> Result<Option<Option<Timestamp>>> {
        match &self.window {
            Window::Once { from, until } => Ok((*from <= at && at < *until).then_some(Some(*until))),
            Window::Weekly { time_zone, spans } => {
                let zone = zone::named(time_zone)?;
                let mut end = None;
                for _ in 0..MOST_WINDOWS {
                    match last_end(&zone, spans, end.unwrap_or(at)) {
                        Some(later) => end = Some(later),
                        None => return Ok(end.map(Some)),
                    }
                }
                Ok(Some(None))
            }
        }
    }

    pub(super) fn judge(&self, request: &Request) -> Option<Reason> {
        if !self.is_about(request) {
            return None;
        }
        let end = match self.end(request.at) {
            Ok(end) => end?,
            Err(failure) => return Some(ReasonCode::PolicyInvalid.unusable(&failure)),
        };
        let why = self.reason.as_deref().map_or_else(String::new, |why| format!(": {}", text::shown(why)));
        let until = end.map_or_else(|| "the freeze is lifted".to_owned(), |end| format!("it is {end}"));
        Some(ReasonCode::Frozen.reason(
            format!("`{}` is frozen by `{}`{why}", request.environment, self.name),
            format!("{until}, or somebody who may overrides it with a reason"),
            end,
        ))
    }
}

/// The latest end of the windows that are on at an instant.
fn last_end(zone: &TimeZone, spans: &[Span], at: Timestamp) -> Option<Timestamp> {
    let today = at.to_zoned(zone.clone()).date();
    let monday = today.checked_sub(i64::from(today.weekday().to_monday_zero_offset()).days()).ok()?;
    let windows = spans.iter().flat_map(|span| (-2_i64..=1).filter_map(move |week| span.window(zone, monday, week)));
    windows.filter(|(from, until)| *from <= at && at < *until).map(|(_, until)| until).max()
}

impl Span {
    /// The window that begins in a week, counted from the one of a Monday.
    fn window(&self, zone: &TimeZone, monday: Date, week: i64) -> Option<(Timestamp, Timestamp)> {
        let days = week * 7 + i64::from(self.from.day.to_monday_zero_offset());
        let first = monday.checked_add(days.days()).ok()?;
        let last = first.checked_add(self.days().days()).ok()?;
        let from = zone.to_ambiguous_timestamp(first.to_datetime(self.from.time)).earlier().ok()?;
        let until = zone.to_ambiguous_timestamp(last.to_datetime(self.until.time)).later().ok()?;
        Some((from, until))
    }

    /// How many midnights are in it.
    fn days(&self) -> i64 {
        let between =
            i64::from(self.until.day.to_monday_zero_offset()) - i64::from(self.from.day.to_monday_zero_offset());
        match between.rem_euclid(7) {
            0 if self.until.time <= self.from.time => 7,
            days => days,
        }
    }
}

/// Minutes of a week.
const WEEK: i64 = 7 * 24 * 60;

fn check_spans(spans: &[Span]) -> Result<()> {
    if spans.is_empty() {
        return Err(invalid("the freeze has no spans"));
    }
    if spans.iter().any(|span| span.from == span.until) {
        return Err(invalid("a span of the freeze ends where it begins"));
    }
    let is_frozen = |minute: i64| {
        let within = |span: &Span| {
            (minute - span.from.minute()).rem_euclid(WEEK) < (span.until.minute() - span.from.minute()).rem_euclid(WEEK)
        };
        spans.iter().any(within)
    };
    // If some minute is free, so is the one that some span ends at.
    if spans.iter().all(|span| is_frozen(span.until.minute())) {
        return Err(invalid("the freeze leaves no minute of the week"));
    }
    Ok(())
}

impl WeekTime {
    fn minute(self) -> i64 {
        let hours = i64::from(self.day.to_monday_zero_offset()) * 24 + i64::from(self.time.hour());
        hours * 60 + i64::from(self.time.minute())
    }
}

const DAYS: [(&str, Weekday); 7] = [
    ("monday", Weekday::Monday),
    ("tuesday", Weekday::Tuesday),
    ("wednesday", Weekday::Wednesday),
    ("thursday", Weekday::Thursday),
    ("friday", Weekday::Friday),
    ("saturday", Weekday::Saturday),
    ("sunday", Weekday::Sunday),
];

impl fmt::Display for WeekTime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (day, _) = DAYS[usize::from(self.day.to_monday_zero_offset().unsigned_abs()) % DAYS.len()];
        write!(f, "{day} {:02}:{:02}", self.time.hour(), self.time.minute())
    }
}

/// The text is not a day and a time.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a day and a time such as `friday 16:00`")]
pub struct NotAWeekTime(String);

impl FromStr for WeekTime {
    type Err = NotAWeekTime;

    fn from_str(written: &str) -> Result<Self, NotAWeekTime> {
        let parse = || {
            let (day, time) = written.split_once(' ')?;
            let (_, day) = DAYS.into_iter().find(|(name, _)| *name == day)?;
            let (hour, minute) = time.split_once(':')?;
            let number = |digits: &str| {
                (digits.len() == 2 && digits.bytes().all(|byte| byte.is_ascii_digit())).then(|| digits.parse().ok())?
            };
            let time = Time::new(number(hour)?, number(minute)?, 0, 0).ok()?;
            Some(Self { day, time })
        };
        parse().ok_or_else(|| NotAWeekTime(written.chars().take(80).collect()))
    }
}

impl Serialize for WeekTime {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for WeekTime {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}
