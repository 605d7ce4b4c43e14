//! Flags that several verbs share: what is released, how it is built, where it goes.
//!
//! A verb flattens [`ReleaseArgs`] (and [`PublishArgs`]) into its own arguments and asks
//! [`ReleaseArgs::request`] for the request, with the settings already below the flags.

use camino::{Utf8Path, Utf8PathBuf};
use clap::Args;
use clap::builder::{PossibleValuesParser, TypedValueParser};

use super::Context;
use super::pubkeys::PubkeyArgs;
use super::signing::SigningArgs;
use crate::config::Overrides;
use crate::config::environment::{CONSIGN_CATALOG_KEY, CONSIGN_SIGNING_KEY};
use crate::model::failure::Result;
use crate::pipeline::request::{Builder, Mode, Request};
use crate::provider::ProviderKind;
use crate::trust::key::Signer;

/// What is released and how it is built.
#[derive(Clone, Debug, Default, Args)]
pub struct ReleaseArgs {
    /// The release: `v1.2.3`, `1.2.3` or `<package>-v1.2.3` [default: v and the workspace's version]
    #[arg(value_name = "VERSION")]
    pub version: Option<String>,
    /// A cargo package to release (repeatable) [default: those with binaries]
    #[arg(short, long = "package", value_name = "PACKAGE", value_delimiter = ',')]
    pub packages: Vec<String>,
    /// The product's name [default: the package's]
    #[arg(long, value_name = "NAME")]
    pub name: Option<String>,
    /// A binary to release (repeatable) [default: all of the packages']
    #[arg(long = "bin", value_name = "BINARY", value_delimiter = ',')]
    pub binaries: Vec<String>,
    /// A platform such as linux-amd64 (repeatable, or separated by commas) [default: this host]
    #[arg(long = "platform", visible_alias = "platforms", value_name = "PLATFORM", value_delimiter = ',')]
    pub platforms: Vec<String>,
    /// Where everything is written [default: dist]
    #[arg(long, value_name = "DIR")]
    pub dist: Option<Utf8PathBuf>,
    #[command(flatten)]
    pub(super) build: CompileArgs,
}

/// How it is built. Its name is also the id of a group, which no verb's own arguments may share.
#[derive(Clone, Debug, Default, Args)]
#[command(next_help_heading = "Build options")]
pub(super) struct CompileArgs {
    /// Features to switch on (repeatable, or separated by commas)
    #[arg(short = 'F', long, value_name = "FEATURES", value_delimiter = ',')]
    features: Vec<String>,
    /// Switch on every feature
    #[arg(long)]
    all_features: bool,
    /// Leave the default features off
    #[arg(long)]
    no_default_features: bool,
    /// The cargo profile [default: release]
    #[arg(long, value_name = "PROFILE")]
    profile: Option<String>,
    /// What builds [default: cargo]
    #[arg(long, value_name = "BUILDER", value_parser = builder_values())]
    builder: Option<Builder>,
}

impl ReleaseArgs {
    /// What the flags say, to be put on top of the settings.
    pub fn overrides(&self) -> Overrides {
        let list = |given: &[String]| (!given.is_empty()).then(|| given.to_vec());
        let switch = |given: bool| given.then_some(true);
        Overrides {
            version: self.version.clone(),
            packages: list(&self.packages),
            name: self.name.clone(),
            binaries: list(&self.binaries),
            platforms: list(&self.platforms),
            dist: self.dist.clone(),
            features: list(&self.build.features),
            all_features: switch(self.build.all_features),
            no_default_features: switch(self.build.no_default_features),
            profile: self.build.profile.clone(),
            builder: self.build.builder,
            ..Overrides::default()
        }
    }

    /// The request: flags over environment over file over defaults.
    pub fn request(&self, context: &Context) -> Result<Request> {
        context.request(&self.overrides())
    }
}

/// Where a release is published and fetched from again.
#[derive(Clone, Debug, Default, Args)]
#[command(next_help_heading = "Publishing options")]
pub struct PublishArgs {
    /// The kind of place to publish to
    #[arg(long, value_name = "PROVIDER", value_parser = provider_values())]
    pub provider: Option<ProviderKind>,
    /// The place: a directory, or a repository (`OWNER/REPOSITORY`, with the server before it if it is not github.com)
    #[arg(long, value_name = "TARGET")]
    pub target: Option<String>,
    /// Where what was published can be fetched from [default: the target itself]
    #[arg(long, value_name = "URL")]
    pub base_url: Option<String>,
    /// A private key that adds the version to the catalog at the target [default: that of `CONSIGN_CATALOG_KEY`]
    #[arg(long, value_name = "FILE")]
    pub catalog_key: Option<Utf8PathBuf>,
}

impl PublishArgs {
    /// The keys that sign the catalog: the one for it and, beside that, the release key. None of them
    /// may lie in what is published.
    pub fn catalog_signers(&self, context: &Context, published: Option<&Utf8Path>) -> Result<Vec<Box<dyn Signer>>> {
        let of = |keys: Vec<Utf8PathBuf>| SigningArgs { keys, ..SigningArgs::default() };
        let mut signers = match &self.catalog_key {
            Some(path) => of(vec![path.clone()]).signers(context, &PubkeyArgs::default(), published)?,
            None => of(Vec::new()).of_variable(context, CONSIGN_CATALOG_KEY, published)?.into_iter().collect(),
        };
        if !signers.is_empty() {
            signers.extend(of(Vec::new()).of_variable(context, CONSIGN_SIGNING_KEY, published)?);
        }
        Ok(signers)
    }

    /// Adds what these flags say.
    pub fn apply(&self, overrides: &mut Overrides) {
        overrides.provider = self.provider;
        overrides.target.clone_from(&self.target);
        overrides.base_url.clone_from(&self.base_url);
    }
}

fn builder_values() -> impl TypedValueParser<Value = Builder> {
    const ALL: [Builder; 4] = [Builder::Cargo, Builder::Zigbuild, Builder::Cross, Builder::Command];
    PossibleValuesParser::new(ALL.map(Builder::as_str))
        .map(|word| ALL.into_iter().find(|builder| builder.as_str() == word).unwrap_or_default())
}

/// The providers, as clap reads them.
pub fn provider_values() -> impl TypedValueParser<Value = ProviderKind> {
    PossibleValuesParser::new(ProviderKind::ALL.map(ProviderKind::as_str)).map(|word| {
        ProviderKind::ALL.into_iter().find(|provider| provider.as_str() == word).unwrap_or(ProviderKind::Directory)
    })
}

/// The modes, as clap reads them.
pub fn mode_values() -> impl TypedValueParser<Value = Mode> {
    PossibleValuesParser::new(["validate", "release"])
        .map(|word| if word == "release" { Mode::Release } else { Mode::Validate })
}
