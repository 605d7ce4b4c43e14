//! The names of a log's tiles, as the C2SP writes them: see <https://c2sp.org/tlog-tiles>.
//!
//! [`Tile::parse`] reads one strictly, for each tile has one name; [`Tile`] displays as it. What is in a
//! tile is not looked at here.

use std::fmt;

/// How many hashes, or lines, a full tile has.
pub const WIDTH: u32 = 256;
/// The highest level that can be named.
const MAX_LEVEL: u32 = 63;
/// The most parts of a number that are read: more than any log can have.
const MAX_PARTS: usize = 6;

/// What is in a tile.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// The hashes of nodes, on a level of tiles: each is over 256 of the level below.
    Hashes(u32),
    /// The lines themselves.
    Entries,
}

/// One tile.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tile {
    /// What is in it.
    pub kind: Kind,
    /// Which one of its level it is.
    pub number: u64,
    /// How much of it there is: [`WIDTH`] where it is full.
    pub width: u32,
}

impl Tile {
    /// The tile of hashes over the lines with this number, in a log of this size.
    pub fn of_leaves(number: u64, size: u64) -> Self {
        let left = size.saturating_sub(number.saturating_mul(u64::from(WIDTH)));
        let width = u32::try_from(left).map_or(WIDTH, |left| left.min(WIDTH));
        Self { kind: Kind::Hashes(0), number, width }
    }

    /// Reads what stands behind `tile/`.
    pub fn parse(path: &str) -> Option<Self> {
        let (kind, rest) = path.split_once('/')?;
        let kind = match kind {
            "entries" => Kind::Entries,
            level => Kind::Hashes(u32::try_from(decimal(level)?).ok().filter(|level| *level <= MAX_LEVEL)?),
        };
        let (number, width) = match rest.split_once(".p/") {
            Some((number, width)) => {
                (number, u32::try_from(decimal(width)?).ok().filter(|width| (1..WIDTH).contains(width))?)
            }
            None => (rest, WIDTH),
        };
        Some(Self { kind, number: self::number(number)?, width })
    }

    /// Whether a log of this size has it.
    pub fn is_in(&self, size: u64) -> bool {
        let level = match self.kind {
            Kind::Hashes(level) => level,
            Kind::Entries => 0,
        };
        let there = size.checked_shr(8 * level).unwrap_or_default();
        let end = self.number.checked_mul(u64::from(WIDTH)).and_then(|first| first.checked_add(u64::from(self.width)));
        end.is_some_and(|end| end <= there)
    }
}

impl fmt::Display for Tile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.kind {
            Kind::Hashes(level) => write!(f, "{level}/")?,
            Kind::Entries => f.write_str("entries/")?,
        }
        let mut parts = vec![format!("{:03}", self.number % 1000)];
        let mut left = self.number / 1000;
        while left > 0 {
            parts.push(format!("x{:03}", left % 1000));
            left /= 1000;
        }
        parts.reverse();
        f.write_str(&parts.join("/"))?;
        if self.width < WIDTH { write!(f, ".p/{}", self.width) } else { Ok(()) }
    }
}

/// `x001/x234/067` is 1234067: three digits in each part, all but the last with an `x` before them, and
/// no part of noughts in front.
fn number(text: &str) -> Option<u64> {
    let parts: Vec<_> = text.split('/').collect();
    let (last, larger) = parts.split_last().filter(|_| parts.len() <= MAX_PARTS)?;
    let larger: Option<Vec<&str>> = larger.iter().map(|part| part.strip_prefix('x')).collect();
    let larger = larger?;
    if larger.first() == Some(&"000") {
        return None;
    }
    larger.into_iter().chain([*last]).try_fold(0_u64, |number, part| {
        let plain = part.len() == 3 && part.bytes().all(|byte| byte.is_ascii_digit());
        number.checked_mul(1000)?.checked_add(if plain { part.parse().ok()? } else { return None })
    })
}

/// A number without a sign and without noughts in front.
fn decimal(text: &str) -> Option<u64> {
    super::transparency::decimal(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_tile_has_one_name() {
        for (path, kind, number, width) in [
            ("0/000", Kind::Hashes(0), 0, 256),
            ("0/x001/x234/067", Kind::Hashes(0), 1_234_067, 256),
            ("1/007.p/9", Kind::Hashes(1), 7, 9),
            ("entries/x001/000.p/255", Kind::Entries, 1000, 255),
        ] {
            let tile = Tile { kind, number, width };
            assert_eq!(Tile::parse(path), Some(tile), "{path}");
            assert_eq!(tile.to_string(), path);
        }
        for wrong in [
            "",
            "0",
            "0/",
            "0/0",
            "0/00",
            "0/0000",
            "0/x000/000",
            "0/001/000",
            "00/000",
            "64/000",
            "-1/000",
            "0/000.p/0",
            "0/000.p/256",
            "0/000.p/01",
            "0/000.p",
            "0/000.p/",
            "entry/000",
            "0/x1/000",
            "0/+01",
            "0/000/",
            "data/000",
            "0/x999/x999/x999/x999/x999/x999/999",
        ] {
            assert_eq!(Tile::parse(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn a_log_has_the_tiles_that_it_is_long_enough_for() {
        let is_in = |path: &str, size: u64| Tile::parse(path).is_some_and(|tile| tile.is_in(size));
        assert!(is_in("0/000.p/1", 1) && !is_in("0/000.p/2", 1) && !is_in("0/000", 255) && is_in("0/000", 256));
        assert!(is_in("0/001.p/4", 260) && !is_in("0/001.p/5", 260));
        assert!(!is_in("1/000.p/1", 255) && is_in("1/000.p/1", 256) && is_in("1/000.p/1", 511));
        assert!(!is_in("9/000.p/1", u64::MAX) && !is_in("63/000.p/1", u64::MAX));
        assert_eq!(Tile::of_leaves(1, 260).to_string(), "0/001.p/4");
        assert_eq!(Tile::of_leaves(0, 260).to_string(), "0/000");
    }
}
