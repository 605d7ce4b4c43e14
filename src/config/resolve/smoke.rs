//! What the stage `smoke` does: programs on this host, services in containers, or both.

use std::collections::BTreeMap;

use camino::Utf8Path;

use super::super::file::Commands;
use super::super::{environment, smoke_matrix, values};
use super::{Layers, Overrides, blame};
use crate::model::failure::Result;
use crate::pipeline::docker_smoke::matrix::Choice;
use crate::pipeline::request::{Containers, Smoke, SmokePlace};
use crate::world::docker;

impl Layers<'_> {
    pub(super) fn smoke(&mut self, flags: &Overrides) -> Result<Smoke> {
        let default = vec![vec!["--version".to_owned()], vec!["--help".to_owned()]];
        let commands = self.file(|file| file.smoke.commands.clone()).map(Commands::list);
        let is_configured = commands.is_some();
        let commands = self.fixed("smoke.commands", None, None, commands, default);
        let timeout = self.file(|file| file.smoke.timeout.clone());
        let timeout = self.fixed("smoke.timeout", None, None, timeout, "10s".to_owned());
        let timeout = values::duration(&timeout)
            .map_err(|failure| blame(failure, "smoke.timeout", &self.place("smoke.timeout")))?;
        let on = self.file(|file| file.smoke.on.clone());
        let on = self.fixed("smoke.on", flags.smoke.clone(), None, on, vec![SmokePlace::Host]);
        let matrix = self.file(|file| file.smoke.matrix.clone()).map(|path| self.beside_file(&path));
        let matrix = self.pick("smoke.matrix", None, None, matrix, smoke_matrix::FILE_NAME).map(|(path, _)| path);
        let labels = self.file(|file| file.smoke.labels.clone());
        let labels = self.fixed("smoke.labels", None, None, labels, Vec::new());
        let bases = self.file(|file| file.smoke.bases.clone());
        let bases = self.fixed("smoke.bases", flags.smoke_bases.clone(), None, bases, BTreeMap::new());
        let containers = if on.contains(&SmokePlace::Docker) {
            Some(self.containers(matrix.as_deref(), labels, &bases)?)
        } else {
            None
        };
        Ok(Smoke { on_host: on.contains(&SmokePlace::Host), containers, is_configured, commands, timeout })
    }

    /// The services that are run in containers.
    fn containers(
        &self,
        matrix: Option<&Utf8Path>,
        labels: Vec<String>,
        bases: &BTreeMap<String, String>,
    ) -> Result<Containers> {
        let directory = &self.settings.directory;
        let path = match matrix {
            Some(path) => path.to_owned(),
            None => smoke_matrix::find(directory)?,
        };
        let choice = Choice { labels, ..Choice::default() };
        let matrix = smoke_matrix::read(&path, directory, bases)?.select(&choice)?;
        let get = |name| self.settings.environment.get(name);
        let addresses = docker::candidates(
            get(environment::DOCKER_HOST),
            get(environment::HOME),
            get(environment::XDG_RUNTIME_DIR),
        )?;
        Ok(Containers { published: matrix.of_published(), matrix, addresses })
    }
}
