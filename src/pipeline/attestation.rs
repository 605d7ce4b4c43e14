//! A forge's own attestation becomes evidence of a bundle.
//!
//! Forges sign, with a short-lived certificate, what a workflow has built: a Sigstore bundle around an
//! in-toto statement. [`attach`] puts it beside the assets under a name that says what it is. It checks that
//! the statement is about every asset; certificates are not judged here, so it never makes a bundle
//! authentic: `gh attestation verify`, or any Sigstore client, does.

use camino::{Utf8Path, Utf8PathBuf};

use super::plan::Plan;
use super::verify::{self, Requirements};
use crate::model::events::Listener;
use crate::model::failure::Result;
use crate::model::{Code, Failure, checksums};
use crate::trust::Bundle;
use crate::trust::sigstore::{self, ENDING};
use crate::world::files;

/// The largest attestation that is read, in bytes.
const MAX_BYTES: usize = 4 << 20;

/// Puts the attestation in a file, or the only one in a directory, beside the assets of the plan's bundle.
///
/// One that is there already and fits stays: it differs from any other by its time alone.
pub fn attach(plan: &Plan, given: &Utf8Path, listener: &dyn Listener) -> Result<()> {
    let path = file(given)?;
    let bytes = files::read_bounded(&path, MAX_BYTES)?;
    let directory = &plan.places.bundle;
    let bundle = verify::verify(directory, Some(&plan.release), &Requirements::default(), listener)?.accept()?;
    check(&path, &bytes, &bundle)?;
    let place = directory.join(format!("{}{ENDING}", checksums::FILE_NAME));
    let fits = |bytes: &[u8]| check(&place, bytes, &bundle).is_ok();
    if place.is_file() && files::read_bounded(&place, MAX_BYTES).is_ok_and(|there| fits(&there)) {
        return Ok(());
    }
    files::write(&place, &bytes)
}

fn file(given: &Utf8Path) -> Result<Utf8PathBuf> {
    if !given.is_dir() {
        return Ok(given.to_owned());
    }
    match files::list(given)?.as_slice() {
        [(name, true)] => Ok(given.join(name)),
        _ => Err(Failure::new(Code::Usage, format!("`{given}` does not hold exactly one attestation"))
            .subject(given.as_str())
            .hint("name the file itself with `--attestation`")),
    }
}

/// An attestation has to be about every asset: one of another run, or of a part, is none of this bundle.
fn check(path: &Utf8Path, bytes: &[u8], bundle: &Bundle) -> Result<()> {
    let refused = |code: Code, message: String| {
        Err(Failure::new(code, message)
            .subject(path.as_str())
            .hint("attest the very files of the bundle that is published, all of them"))
    };
    let attestation = match sigstore::Bundle::parse(bytes) {
        Ok(attestation) if attestation.is_attestation() => attestation,
        Ok(_) => return refused(Code::DocumentInvalid, format!("`{path}` is not the attestation of a forge")),
        Err(why) => return refused(why.code, format!("`{path}` cannot be used as an attestation: {}", why.message)),
    };
    match bundle.assets.iter().find(|asset| !attestation.attests(asset.sha256)) {
        Some(asset) => refused(Code::SubjectMismatch, format!("`{path}` is not about `{}`", asset.name)),
        None => Ok(()),
    }
}
