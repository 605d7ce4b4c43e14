//! Where bundles are published to, and what the environment says of that place.

use camino::Utf8Path;

use super::super::environment;
use super::super::values::invalid;
use super::{Layers, Origin, Overrides, blame};
use crate::model::failure::Result;
use crate::model::{Code, Failure, text};
use crate::pipeline::request::{Mode, Publish};
use crate::provider::github::{self, Access, Token};
use crate::provider::{ProviderKind, Target};

impl Layers<'_> {
    pub(super) fn publish(&mut self, flags: &Overrides, mode: Mode) -> Result<Option<Publish>> {
        let variable = match self.variable(environment::CONSIGN_PUBLISH_PROVIDER) {
            Some((name, value)) => Some((name, provider(&value, name)?)),
            None => None,
        };
        let file = self.file(|file| file.publish.provider);
        let provider = self.pick("publish.provider", flags.provider, variable, file, "none");
        let is_path = provider.as_ref().is_none_or(|(provider, _)| *provider == ProviderKind::Directory);
        let below = |directory: &Utf8Path, target: String| {
            if is_path { directory.join(target).into_string() } else { target }
        };
        let here = |target: String| below(&self.settings.directory, target);
        let flag = flags.target.clone().map(here);
        let variable = self.variable(environment::CONSIGN_PUBLISH_TARGET).map(|(name, target)| (name, here(target)));
        let variable = variable.or_else(|| self.variable(environment::GITHUB_REPOSITORY).filter(|_| !is_path));
        let file = self.file(|file| file.publish.target.clone());
        let file = file.map(|target| if is_path { self.beside_file(&target).into_string() } else { target });
        let target = self.pick("publish.target", flag, variable, file, "none");
        match (provider, target) {
            (Some((provider, _)), Some((target, _))) => {
                let place = self.destination(provider, &target)?;
                Ok(Some(Publish { provider, target, place }))
            }
            (None, None) => Ok(None),
            (provider, _) => {
                let missing = if provider.is_none() { "a target but no provider" } else { "a provider but no target" };
                let message = format!("publishing has {missing}");
                if mode == Mode::Release {
                    return Err(Failure::new(Code::ProviderMissing, message)
                        .hint("set both `publish.provider` and `publish.target`, or neither"));
                }
                self.warnings.push(format!("{message}; nothing could be published"));
                Ok(None)
            }
        }
    }

    /// What the target means, with what the environment says of it.
    fn destination(&self, provider: ProviderKind, target: &str) -> Result<Target> {
        match provider {
            ProviderKind::Directory if target.contains("://") => {
                let shown = text::shown(&text::without_credentials(target)).into_owned();
                Err(Failure::new(Code::ConfigInvalid, format!("the publishing target `{shown}` is no directory"))
                    .subject("publish.target")
                    .hint("the provider `directory` takes a path, of a mounted place too"))
            }
            ProviderKind::Directory => Ok(Target::Directory(target.into())),
            ProviderKind::Github => Ok(Target::Github(github::Target::parse(target, &self.access()?)?)),
        }
    }

    fn access(&self) -> Result<Access> {
        let value = |name| self.variable(name).map(|(_, value)| value);
        let token = |first, second| value(first).or_else(|| value(second)).map(|text| Token::new(&text)).transpose();
        Ok(Access {
            token: token(environment::GH_TOKEN, environment::GITHUB_TOKEN)?,
            enterprise_token: token(environment::GH_ENTERPRISE_TOKEN, environment::GITHUB_ENTERPRISE_TOKEN)?,
            host: value(environment::GH_HOST),
            server_url: value(environment::GITHUB_SERVER_URL),
            api_url: value(environment::GITHUB_API_URL),
        })
    }

    pub(super) fn base_url(&mut self, flags: &Overrides) -> Option<String> {
        let variable = self.variable(environment::CONSIGN_REMOTE_BASE_URL);
        let file = self.file(|file| file.publish.base_url.clone());
        let url = self.pick("publish.base-url", flags.base_url.clone(), variable, file, "the target itself");
        url.map(|(url, _)| url)
    }
}

fn provider(given: &str, name: &'static str) -> Result<ProviderKind> {
    if let Some(provider) = ProviderKind::ALL.into_iter().find(|provider| provider.as_str() == given) {
        return Ok(provider);
    }
    let failure =
        invalid(format!("unknown provider {:?}", text::shown(given))).hint("there are `directory` and `github`");
    Err(blame(failure, name, &Origin::Environment(name)))
}
