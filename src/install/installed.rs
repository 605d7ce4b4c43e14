//! What is installed under a prefix, and whether it is still what was installed.
//!
//! Nothing is changed, and no turn is needed.

use semver::Version;
use serde::Serialize;

use super::prefix::{self, Prefix};
use super::receipt::{self, Receipt};
use super::{current, history};
use crate::model::FileName;
use crate::model::failure::Result;
use crate::world::files;

/// One product.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Installed {
    /// Its name.
    pub name: FileName,
    /// The version in use.
    pub current: Option<Version>,
    /// The versions that are kept, those first that were used last.
    pub versions: Vec<Kept>,
}

/// One version.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Kept {
    /// Its receipt.
    pub receipt: Receipt,
    /// What differs from the receipt, one line each.
    pub damage: Vec<String>,
}

/// Every product, by name.
pub fn installed(prefix: &Prefix) -> Result<Vec<Installed>> {
    let mut products = Vec::new();
    if prefix::look(&prefix.all_receipts())?.is_none() {
        return Ok(products);
    }
    for (entry, regular) in files::list(&prefix.all_receipts())? {
        if let (Ok(name), false) = (entry.parse(), regular) {
            products.extend(product(prefix, &name)?);
        }
    }
    Ok(products)
}

/// One product, if it is installed.
pub fn product(prefix: &Prefix, name: &FileName) -> Result<Option<Installed>> {
    prefix.inspect(name)?;
    let current = current::version(prefix, name)?;
    let mut versions = Vec::new();
    for version in history::kept(prefix, name, current.as_ref())? {
        if let Some(receipt) = receipt::read(prefix, name, &version)? {
            let damage = receipt::damage(&prefix.version(name, &version), &receipt)?;
            versions.push(Kept { receipt, damage });
        }
    }
    let there = current.is_some() || !versions.is_empty();
    Ok(there.then(|| Installed { name: name.clone(), current, versions }))
}

/// One product, which has to be there.
pub fn required(prefix: &Prefix, name: &FileName) -> Result<Installed> {
    product(prefix, name)?.ok_or_else(|| super::revert::not_installed(prefix, name))
}

impl Installed {
    /// The receipt of the version in use.
    pub fn used(&self) -> Option<&Receipt> {
        let is_used = |kept: &&Kept| Some(&kept.receipt.version) == self.current.as_ref();
        self.versions.iter().find(is_used).map(|kept| &kept.receipt)
    }
}

/// The receipt of one version, if it is kept and still what was installed.
pub fn intact(prefix: &Prefix, name: &FileName, version: &Version) -> Result<Option<Receipt>> {
    prefix.inspect(name)?;
    let Some(receipt) = receipt::read(prefix, name, version)? else { return Ok(None) };
    Ok(receipt::damage(&prefix.version(name, version), &receipt)?.is_empty().then_some(receipt))
}
