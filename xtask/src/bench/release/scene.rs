//! A config repository with many services, made by `git fast-import`, and what is released into it.

use anyhow::{Context as _, Result, ensure};
use camino::{Utf8Path, Utf8PathBuf};
use consign::manager::deployer::git::{
    Change, ConfigRepository, Credentials, Decision, Landed, Landing, PayloadFile, Place, Settings,
};
use consign::model::artifact::Person;
use consign::model::intent::Intent;
use consign::model::release_commit::ReleaseCommit;
use consign::world::process::Program;

/// Where services lie.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Layout {
    /// Fifty to a namespace.
    Spread,
    /// All in one directory.
    Flat,
}

/// The environments.
const ENVIRONMENTS: [&str; 2] = ["dev", "prod"];
/// The manifests of a service.
const FILES: [&str; 5] = ["deployment.yaml", "service.yaml", "config.yaml", "ingress.yaml", "account.yaml"];

/// A repository that is copied for each run.
pub(super) struct Scene {
    directory: tempfile::TempDir,
    services: usize,
    layout: Layout,
}

impl Scene {
    /// A repository with as many services in two environments.
    pub(super) fn set(services: usize, layout: Layout) -> Result<Self> {
        let directory = tempfile::Builder::new().prefix("consign-bench-").tempdir()?;
        let scene = Self { directory, services, layout };
        git(scene.path(), &["init", "--quiet", "--bare", "--initial-branch=main", "base.git"])?;
        let everything: Vec<_> = (0..services * ENVIRONMENTS.len()).collect();
        let landings = scene.landings("base", &everything);
        // One commit with all of it.
        let mut stream =
            b"commit refs/heads/main\ncommitter Base <base@example.com> 1700000000 +0000\ndata 4\nbase".to_vec();
        for landing in &landings {
            files(&mut stream, landing);
        }
        import(&scene.path().join("base.git"), stream)?;
        Ok(scene)
    }

    pub(super) fn path(&self) -> &Utf8Path {
        Utf8Path::from_path(self.directory.path()).expect("a temporary directory with a plain name")
    }

    /// A remote of its own for a run.
    pub(super) fn remote(&self, name: &str) -> Result<Utf8PathBuf> {
        let remote = self.path().join(format!("{name}.git"));
        git(self.path(), &["clone", "--quiet", "--bare", "--no-local", "base.git", remote.as_str()])?;
        Ok(remote)
    }

    /// Our copy of a remote, as it is in a server that has been running for a while.
    pub(super) fn copy(&self, name: &str, address: &str) -> Result<ConfigRepository> {
        let mut repository = ConfigRepository::open(Settings {
            directory: self.path().join(format!("{name}.copy")),
            address: address.to_owned(),
            branch: "main".to_owned(),
            committer: Person { name: "Consign".to_owned(), email: "consign@example.com".to_owned() },
            signing: None,
            credentials: Credentials::None,
        })?;
        repository.refresh()?;
        Ok(repository)
    }

    pub(super) const fn services(&self) -> usize {
        self.services
    }

    /// Releases of some places, which are counted over the environments. A place may come several times.
    pub(super) fn landings(&self, mark: &str, places: &[usize]) -> Vec<Landing> {
        places.iter().enumerate().map(|(turn, place)| self.landing(&format!("{mark}-{turn}"), *place)).collect()
    }

    /// The first places, environment by environment and service by service.
    pub(super) fn first(&self, count: usize) -> Vec<usize> {
        (0..count).map(|number| number % (self.services * ENVIRONMENTS.len())).collect()
    }

    fn landing(&self, mark: &str, number: usize) -> Landing {
        let (service, environment) = (number / ENVIRONMENTS.len(), ENVIRONMENTS[number % ENVIRONMENTS.len()]);
        let namespace = match self.layout {
            Layout::Spread => format!("team-{}", service / 50),
            Layout::Flat => "team".to_owned(),
        };
        let name = format!("service-{service:05}");
        let artifact_id = format!("main-{mark}-{number}");
        let people = || Person { name: "Dev Eloper".to_owned(), email: "dev@example.com".to_owned() };
        let record = ReleaseCommit {
            environment: environment.to_owned(),
            service: name.clone(),
            artifact_id: artifact_id.clone(),
            released_by: people(),
            created_by: people(),
            intent: Intent::ReleaseArtifact,
        };
        let manifests = FILES.map(|file| PayloadFile {
            path: file.to_owned(),
            bytes: manifest(file, &name, environment, &artifact_id).into_bytes(),
            is_executable: false,
        });
        let artifact_json = format!(
            "{{\n  \"id\": \"{artifact_id}\",\n  \"service\": \"{name}\",\n  \"application\": {{\n    \"branch\": \"main\",\n    \"sha\": \"0123456789abcdef0123456789abcdef01234567\"\n  }},\n  \"stages\": []\n}}\n"
        );
        Landing {
            release_id: format!("{mark}-{number}"),
            tried_before: false,
            change: Change::Release {
                place: Place { environment: environment.to_owned(), namespace, service: name },
                artifact_json: artifact_json.into_bytes(),
                files: manifests.to_vec(),
            },
            message: record.message(),
            author: None,
        }
    }
}

/// What changes from release to release is the image, as it is in life.
fn manifest(file: &str, service: &str, environment: &str, artifact_id: &str) -> String {
    let labels =
        format!("  labels:\n    app: {service}\n    environment: {environment}\n    artifact: {artifact_id}\n");
    let rules: String =
        (0..12).map(|number| format!("  - name: SETTING_{number}\n    value: \"{file}-{number}\"\n")).collect();
    format!(
        "apiVersion: v1\nkind: Thing\nmetadata:\n  name: {service}\n{labels}spec:\n  image: registry.example.com/{service}:{artifact_id}\n  env:\n{rules}"
    )
}

/// Lands a batch, all of which has to arrive.
pub(super) fn land(repository: &mut ConfigRepository, landings: &[Landing]) -> Result<()> {
    let landed = repository.land(landings, consign::world::clock::now(), &mut |_| Decision::Commit)?;
    ensure!(landed.iter().all(|one| matches!(one, Landed::Pushed(_))), "not everything was pushed");
    Ok(())
}

/// The same as `git fast-import` reads it: one commit each, on top of the branch.
pub(super) fn stream(landings: &[Landing]) -> Vec<u8> {
    let mut out = Vec::new();
    for (number, landing) in landings.iter().enumerate() {
        let message = format!("{}Release-ID: {}\n", landing.message, landing.release_id);
        out.extend(b"commit refs/heads/main\ncommitter Consign <consign@example.com> 1700000001 +0000\n");
        out.extend(format!("data {}\n{message}", message.len()).bytes());
        if number == 0 {
            out.extend(b"from refs/heads/main^0\n");
        }
        if let Change::Release { place, .. } = &landing.change {
            out.extend(format!("D {}\n", directory(place)).bytes());
        }
        files(&mut out, landing);
    }
    out
}

/// `git fast-import` into a repository.
pub(super) fn import(repository: &Utf8Path, stream: Vec<u8>) -> Result<()> {
    let program = Program::new("git").args(["fast-import", "--quiet"]).directory(repository).input(stream);
    let output = program.output()?;
    ensure!(output.status.success(), "`{}` failed:\n{}", program.shown(), output.complaint());
    Ok(())
}

fn files(out: &mut Vec<u8>, landing: &Landing) {
    let Change::Release { place, artifact_json, files } = &landing.change else { return };
    let record = [("artifact.json", artifact_json)];
    for (path, bytes) in files.iter().map(|file| (file.path.as_str(), &file.bytes)).chain(record) {
        out.extend(format!("M 100644 inline {}/{path}\ndata {}\n", directory(place), bytes.len()).bytes());
        out.extend(bytes);
        out.push(b'\n');
    }
}

fn directory(place: &Place) -> String {
    format!("{}/releases/{}/{}", place.environment, place.namespace, place.service)
}

/// Git, which has to succeed, as nobody in particular.
pub(super) fn git(directory: &Utf8Path, arguments: &[&str]) -> Result<String> {
    let program = ["AUTHOR", "COMMITTER"].into_iter().fold(Program::new("git"), |program, who| {
        program.env(format!("GIT_{who}_NAME"), "Stranger").env(format!("GIT_{who}_EMAIL"), "stranger@example.com")
    });
    let program = program.env("GIT_CONFIG_GLOBAL", "/dev/null").env("GIT_CONFIG_NOSYSTEM", "1");
    program.args(arguments).directory(directory).read().with_context(|| format!("git {arguments:?}"))
}
