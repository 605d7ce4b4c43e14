//! The registry that what was published becomes an artifact of, and what build servers tell of a run.

use super::super::environment;
use super::{Layers, Overrides, blame};
use crate::client;
use crate::model::failure::Result;
use crate::model::{Code, Failure, FileName};
use crate::pipeline::request::{Job, Register};

/// Where build servers say which page a run has.
const PAGES: [&str; 4] =
    [environment::CI_JOB_URL, environment::BUILDKITE_BUILD_URL, environment::CIRCLE_BUILD_URL, environment::BUILD_URL];

impl Layers<'_> {
    pub(super) fn register(&mut self, flags: &Overrides) -> Result<Option<Register>> {
        let variable = self.variable(environment::CONSIGN_REGISTER);
        let file = self.file(|file| file.registry.url.clone());
        let address = self.pick("registry.url", flags.register.clone(), variable, file, "nothing is registered");
        let service = self.file(|file| file.registry.service.clone());
        let service = self.pick("registry.service", None, None, service, "the product's name");
        let service = service.map(|(name, origin)| {
            name.parse::<FileName>().map_err(|error| {
                let failure = Failure::new(Code::NameInvalid, "the name of the service is none").because(error);
                blame(failure, "registry.service", &origin)
            })
        });
        let service = service.transpose()?;
        let Some((address, origin)) = address else { return Ok(None) };
        let address = client::normal(&address).map_err(|failure| blame(failure, "registry.url", &origin))?;
        Ok(Some(Register { address, service }))
    }

    /// The run of a build server that this is part of.
    pub(super) fn job(&self) -> Job {
        let value = |name| self.variable(name).map(|(_, value)| value);
        let on_github = value(environment::GITHUB_REPOSITORY).zip(value(environment::GITHUB_RUN_ID));
        let on_github = on_github.map(|(repository, run)| {
            let server = value(environment::GITHUB_SERVER_URL).unwrap_or_else(|| "https://github.com".to_owned());
            format!("{server}/{repository}/actions/runs/{run}")
        });
        let url = on_github.or_else(|| PAGES.into_iter().find_map(value));
        Job { url, reference: value(environment::GITHUB_REF) }
    }
}
