//! What a `Cargo.toml` has to say so that cargo-binstall finds the releases.
//!
//! cargo-binstall reads it from the crate and not from the release, so it is printed for a person to put
//! there. It holds for every version: where an address or a name has the version in it, cargo-binstall's
//! own placeholder stands.

use super::super::plan::{Plan, PlatformPlan};
use crate::model::failure::Result;
use crate::model::index::ArchiveFormat;
use crate::model::{Code, Failure};
use crate::trust::key::PublicKey;
use crate::trust::minisign;

/// What stands where the version does.
const VERSION: &str = "{ version }";

/// The tables for the manifest, and the key that signatures are checked with, if there is one.
pub fn metadata(plan: &Plan, base_url: &str, key: Option<&PublicKey>) -> Result<String> {
    let mut out = String::new();
    for platform in &plan.platforms {
        out.push_str(&table(plan, platform, base_url));
    }
    if let Some(key) = key {
        let line = minisign::public_line(key).ok_or_else(|| {
            Failure::new(Code::KeyInvalid, format!("key {} is not an Ed25519 key", key.id()))
                .hint("cargo-binstall checks signatures by no other")
        })?;
        out.push_str(&format!(
            "[package.metadata.binstall.signing]\nalgorithm = \"minisign\"\npubkey = \"{line}\"\nfile = \"{{ url }}{}\"\n",
            minisign::ENDING
        ));
    }
    Ok(out.trim_end().to_owned() + "\n")
}

fn table(plan: &Plan, platform: &PlatformPlan, base_url: &str) -> String {
    let version = plan.release.version.to_string();
    let any = |text: &str| text.replace(&version, VERSION);
    let base = base_url.replace("{tag}", &any(&plan.release.tag)).replace("{version}", VERSION);
    let (archive, stem) = (any(platform.archive.as_str()), any(platform.stem.as_str()));
    let format = match platform.format {
        ArchiveFormat::TarGz => "tgz",
        ArchiveFormat::TarZst => "tzstd",
        ArchiveFormat::Zip => "zip",
    };
    format!(
        "[package.metadata.binstall.overrides.{}]\npkg-url = \"{base}/{archive}\"\n\
         bin-dir = \"{stem}/bin/{{ bin }}{{ binary-ext }}\"\npkg-fmt = \"{format}\"\n\n",
        platform.target
    )
}
