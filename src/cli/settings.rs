//! What a verb of the toolchain learns besides: the settings of the workspace, and the workflow it runs in.

use camino::Utf8Path;

use super::Context;
use crate::config::environment;
use crate::config::{Overrides, Resolved, Settings};
use crate::model::failure::Result;
use crate::pipeline::request::Request;

impl Context {
    /// The settings of the environment and the file.
    pub fn settings(&self) -> Result<Settings> {
        let settings = Settings::load(&self.directory, self.config.as_deref(), &self.environment)?;
        for message in settings.warnings() {
            self.warn(message);
        }
        Ok(settings)
    }

    /// The settings with what the flags say on top, each with its origin.
    pub fn resolve(&self, flags: &Overrides) -> Result<Resolved> {
        let resolved = self.settings()?.resolve(flags)?;
        for message in &resolved.warnings {
            self.warn(message);
        }
        Ok(resolved)
    }

    /// What the pipeline is asked for: the settings with what the flags say on top.
    pub fn request(&self, flags: &Overrides) -> Result<Request> {
        self.resolve(flags).map(|resolved| resolved.request)
    }

    /// Where a workflow wants the summary of its job, if this is one.
    pub fn step_summary(&self) -> Option<&Utf8Path> {
        self.environment.get(environment::GITHUB_STEP_SUMMARY).map(Utf8Path::new)
    }

    /// Where a workflow wants what its later jobs are told, if this is one.
    pub fn step_output(&self) -> Option<&Utf8Path> {
        self.environment.get(environment::GITHUB_OUTPUT).map(Utf8Path::new)
    }

    /// The ref that a workflow runs for, if this is one.
    pub fn current_ref(&self) -> Option<String> {
        let get = |name| self.environment.get(name).map(str::to_owned);
        get(environment::GITHUB_REF_NAME).or_else(|| get(environment::GITHUB_REF))
    }
}
