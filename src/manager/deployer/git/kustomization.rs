//! Which manifest tells Flux where the others are.
//!
//! The main item is [`is_flux`]. Only the first document of a file is looked at, and of that only the two
//! fields at its top: a text that is no YAML is some other file.

use saphyr_parser::{Event, Parser};

/// The largest file that is looked at.
const MAX_BYTES: usize = 1 << 20;
/// How many events are read until a file is taken for another one.
const MAX_EVENTS: usize = 100_000;

/// Whether a manifest is one of Flux's Kustomizations.
pub(super) fn is_flux(path: &str, bytes: &[u8]) -> bool {
    let is_yaml = [".yaml", ".yml"].iter().any(|ending| path.to_ascii_lowercase().ends_with(ending));
    if !is_yaml || bytes.len() > MAX_BYTES {
        return false;
    }
    let Ok(text) = std::str::from_utf8(bytes) else { return false };
    let Some((version, kind)) = top(text.trim_start_matches('\u{feff}')) else { return false };
    version.starts_with("kustomize.toolkit.fluxcd.io/") && kind == "Kustomization"
}

/// The values of `apiVersion` and `kind`.
fn top(text: &str) -> Option<(String, String)> {
    let (mut version, mut kind) = (None, None);
    let mut depth = 0usize;
    // The key whose value comes next, where a value comes next.
    let mut key: Option<String> = None;
    for event in Parser::new_from_str(text).take(MAX_EVENTS) {
        let is_value = key.is_some();
        match event.ok()?.0 {
            Event::Scalar(value, ..) if depth == 1 => match key.take().as_deref() {
                Some("apiVersion") => version = Some(value.into_owned()),
                Some("kind") => kind = Some(value.into_owned()),
                Some(_) => {}
                None => key = Some(value.into_owned()),
            },
            // Fields are those of a mapping.
            Event::SequenceStart(..) if depth == 0 => return None,
            Event::MappingStart(..) | Event::SequenceStart(..) => depth += 1,
            Event::MappingEnd | Event::SequenceEnd => {
                depth -= 1;
                if depth == 1 {
                    key = if is_value { None } else { Some(String::new()) };
                }
            }
            Event::Alias(_) if depth == 1 => key = if is_value { None } else { Some(String::new()) },
            Event::DocumentEnd => break,
            _ => {}
        }
    }
    Some((version?, kind?))
}

#[cfg(test)]
mod tests {
    use super::*;

    const FLUX: &str = "apiVersion: kustomize.toolkit.fluxcd.io/v1\nkind: Kustomization\nspec:\n  path: ./dev\n";

    #[test]
    fn flux_is_told_from_kustomize() {
        for right in [
            FLUX.to_owned(),
            FLUX.replace("v1", "v1beta1"),
            format!("# a comment\n---\n{FLUX}"),
            format!("\u{feff}{FLUX}"),
            "{\"kind\": \"Kustomization\", \"apiVersion\": \"kustomize.toolkit.fluxcd.io/v1\"}".to_owned(),
            format!("metadata:\n  labels: [a, {{b: c}}]\n{FLUX}"),
            format!("{FLUX}---\nkind: Other\n"),
        ] {
            assert!(is_flux("a.yaml", right.as_bytes()), "{right}");
        }
        for wrong in [
            FLUX.replace("kustomize.toolkit.fluxcd.io", "kustomize.config.k8s.io"),
            FLUX.replace("kind: Kustomization", "kind: Deployment"),
            format!("kind: Other\n---\n{FLUX}"),
            format!("nested:\n  {}", FLUX.replace('\n', "\n  ")),
            "- apiVersion: kustomize.toolkit.fluxcd.io/v1\n- kind: Kustomization\n".to_owned(),
            "apiVersion: kustomize.toolkit.fluxcd.io/v1\n".to_owned(),
            "a: [".to_owned(),
            "&a [*a]: apiVersion".to_owned(),
            "- apiVersion\n- kustomize.toolkit.fluxcd.io/v1\n- kind\n- Kustomization\n".to_owned(),
            "just text".to_owned(),
            "---\n".to_owned(),
            String::new(),
        ] {
            assert!(!is_flux("a.yaml", wrong.as_bytes()), "{wrong}");
        }
        assert!(!is_flux("a.json", FLUX.as_bytes()) && !is_flux("a.yaml", &[0xff, 0xfe]));
        assert!(is_flux("A.YML", FLUX.as_bytes()));
    }
}
