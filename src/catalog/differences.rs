//! What is different between two lists of files, in words.

use std::collections::BTreeMap;

use super::entry::{Entry, Status, release_of};
use crate::model::text;
use crate::trust::tuf::roles::Target;

/// What is different between two lists, one sentence for each version or file.
pub(super) fn differences(old: &BTreeMap<String, Target>, new: &BTreeMap<String, Target>) -> Vec<String> {
    let releases = |list: &BTreeMap<String, Target>| -> BTreeMap<String, Option<Entry>> {
        list.iter().filter_map(|(path, target)| Some((release_of(path)?.to_owned(), Entry::of(target)))).collect()
    };
    let (before, after) = (releases(old), releases(new));
    let mut out = Vec::new();
    for (release, entry) in &after {
        let status = |entry: &Option<Entry>| entry.as_ref().map(|entry| (entry.status, entry.reason.clone()));
        match before.get(release) {
            None => out.push(format!("{} added", text::shown(release))),
            Some(known) if status(known) != status(entry) => match entry {
                Some(Entry { status: Status::Yanked, reason, .. }) => {
                    let reason = reason.as_deref().unwrap_or("no reason given");
                    out.push(format!("{} yanked: {}", text::shown(release), text::shown(reason)));
                }
                _ => out.push(format!("{} is active again", text::shown(release))),
            },
            Some(_) => {}
        }
    }
    out.extend(
        before
            .keys()
            .filter(|release| !after.contains_key(*release))
            .map(|release| format!("{} removed", text::shown(release))),
    );
    let is_of = |path: &str, releases: &BTreeMap<String, Option<Entry>>| {
        path.split_once('/').is_some_and(|(release, _)| releases.contains_key(release))
    };
    let bytes = |target: &Target| (target.length, target.hashes.clone());
    for (path, target) in new {
        let known = old.get(path).map(bytes);
        if known.as_ref() != Some(&bytes(target)) && (known.is_some() || is_of(path, &before) || !is_of(path, &after)) {
            out.push(format!("{} is {}", text::shown(path), if known.is_some() { "replaced" } else { "added" }));
        }
    }
    let gone = old.keys().filter(|path| !new.contains_key(*path) && (is_of(path, &after) || !is_of(path, &before)));
    out.extend(gone.map(|path| format!("{} removed", text::shown(path))));
    out
}
