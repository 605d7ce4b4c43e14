//! Time zones by name, out of the database that the program carries.
//!
//! The machine's own database is not asked, so that every replica says the same.

use std::sync::LazyLock;

use jiff::tz::{TimeZone, TimeZoneDatabase};

use super::invalid;
use crate::model::failure::Result;
use crate::model::text;

static ZONES: LazyLock<TimeZoneDatabase> = LazyLock::new(TimeZoneDatabase::bundled);

/// The time zone of a name such as `Europe/Copenhagen`.
pub(super) fn named(name: &str) -> Result<TimeZone> {
    let unknown = || invalid(format!("time zone `{}` is not known", text::shown(name)));
    if name.len() > 64 {
        return Err(unknown());
    }
    ZONES.get(name).map_err(|_| unknown().hint("name one of the IANA database, such as `Europe/Copenhagen` or `UTC`"))
}
