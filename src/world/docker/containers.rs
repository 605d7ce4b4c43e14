//! Containers: making, starting, asking, taking down; and the networks between them.

use std::collections::HashMap;

use bollard::body_try_stream;
use bollard::errors::Error;
use bollard::exec::{CreateExecOptions, StartExecOptions, StartExecResults};
use bollard::models::{
    ContainerCreateBody, EndpointSettings, HostConfig, HostConfigLogConfig, NetworkCreateRequest, NetworkingConfig,
    PortBinding,
};
use bollard::query_parameters::{
    AttachContainerOptionsBuilder, ContainerArchiveInfoOptionsBuilder, CreateContainerOptionsBuilder,
    InspectContainerOptions, KillContainerOptions, RemoveContainerOptionsBuilder, StartContainerOptions,
    UploadToContainerOptionsBuilder, WaitContainerOptions,
};

use futures_util::StreamExt as _;

use super::archive::{self, Entry};
use super::{Engine, Gateway, Output, Patience, trouble};
use crate::model::failure::Result;

/// A container to make.
#[derive(Clone, Debug, Default)]
pub struct Container {
    /// Its name at the engine.
    pub name: String,
    /// The name that it has for others on its network, and for itself.
    pub host_name: String,
    /// The image's id.
    pub image: String,
    /// The platform, in Docker's words: `linux/arm64`.
    pub platform: Option<String>,
    /// What to run; nothing: what the image says.
    pub command: Vec<String>,
    /// Variables.
    pub environment: Vec<(String, String)>,
    /// The user to run as; nothing: the image's.
    pub user: Option<String>,
    /// Labels.
    pub labels: HashMap<String, String>,
    /// The network: an id, `bridge` or `none`.
    pub network: String,
    /// Ports that are reachable from this machine.
    pub ports: Vec<u16>,
    /// Capabilities to keep; all others are dropped.
    pub capabilities: Vec<String>,
    /// How much memory it may use, in bytes, swap included.
    pub memory_bytes: u64,
    /// How much processor time it may use, in thousandths of one processor.
    pub cpu_millis: u64,
    /// How many processes it may have.
    pub max_pids: u64,
}

/// How a container is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct State {
    /// Whether its process runs.
    pub is_running: bool,
    /// What its process ended with.
    pub exit_code: i64,
    /// Whether a process in it was ended because it used too much memory.
    pub is_out_of_memory: bool,
    /// What the image's own health check says: `starting`, `healthy`, `unhealthy`.
    pub health: Option<String>,
    /// Why it could not be started.
    pub error: Option<String>,
}

/// A command that runs in a container beside its process.
#[derive(Debug)]
pub struct Exec {
    id: String,
    /// What it prints.
    pub output: Output,
}

impl Engine {
    /// Makes a network and gives back its id.
    pub fn create_network(&self, name: &str, labels: &HashMap<String, String>, patience: &Patience) -> Result<String> {
        let request = NetworkCreateRequest {
            name: name.to_owned(),
            driver: Some("bridge".to_owned()),
            labels: Some(labels.clone()),
            ..NetworkCreateRequest::default()
        };
        let made = self.call(&format!("create the network `{name}`"), patience, self.docker.create_network(request))?;
        Ok(made.id)
    }

    /// Makes a container and gives back its id.
    pub fn create_container(&self, container: &Container, patience: &Patience) -> Result<String> {
        let options = CreateContainerOptionsBuilder::new().name(&container.name);
        let options = match &container.platform {
            Some(platform) => options.platform(platform),
            None => options,
        };
        let deed = format!("create the container `{}`", container.name);
        let body = body_of(container);
        Ok(self.call(&deed, patience, self.docker.create_container(Some(options.build()), body))?.id)
    }

    /// What the container's process is going to print; asked for before it is started, so that nothing is missed.
    pub fn attach(&self, id: &str, patience: &Patience) -> Result<Output> {
        let options = AttachContainerOptionsBuilder::new().stream(true).stdout(true).stderr(true).build();
        let attached =
            self.call("attach to the container", patience, self.docker.attach_container(id, Some(options)))?;
        Ok(Output(attached.output))
    }

    /// Starts it.
    pub fn start(&self, id: &str, patience: &Patience) -> Result<()> {
        let start = self.docker.start_container(id, None::<StartContainerOptions>);
        self.call("start the container", patience, start)
    }

    /// Puts files below a directory that is there.
    pub fn upload(&self, id: &str, directory: &str, entries: Vec<Entry>, patience: &Patience) -> Result<()> {
        let options = UploadToContainerOptionsBuilder::new().path(directory).build();
        let body = body_try_stream(futures_util::stream::iter(archive::pieces(entries)));
        let deed = format!("copy files to `{directory}` in the container");
        self.call(&deed, patience, self.docker.upload_to_container(id, Some(options), body))
    }

    /// The size of a file in a container, running or not, if it is there.
    pub fn file_size(&self, id: &str, path: &str, patience: &Patience) -> Result<Option<u64>> {
        let options = ContainerArchiveInfoOptionsBuilder::new().path(path).build();
        let deed = format!("look for `{path}` in the container");
        let found = self.attempt(&deed, patience, self.docker.get_container_archive_info(id, Some(options)))?;
        match found {
            Ok(found) => Ok(Some(u64::try_from(found.size).unwrap_or(0))),
            Err(error) if trouble::is_absent(&error) => Ok(None),
            Err(error) => Err(trouble::failure(&deed, error)),
        }
    }

    /// How it is.
    pub fn state(&self, id: &str, patience: &Patience) -> Result<State> {
        let deed = "ask how the container is";
        let inspect = || self.docker.inspect_container(id, None::<InspectContainerOptions>);
        let inspected = match self.attempt(deed, patience, inspect())? {
            // Podman has a word of its own for what has ended and was not tidied up yet.
            Err(Error::JsonDataError { message, .. }) if message.contains("`stopped`") => {
                let exit_code = self.wait(id, patience)?;
                match self.attempt(deed, patience, inspect())? {
                    Ok(inspected) => inspected,
                    Err(_) => return Ok(State { exit_code, ..State::default() }),
                }
            }
            inspected => inspected.map_err(|error| trouble::failure(deed, error))?,
        };
        let state = inspected.state.unwrap_or_default();
        let health = state.health.and_then(|health| health.status).map(|status| status.to_string());
        Ok(State {
            is_running: state.running.unwrap_or(false),
            exit_code: state.exit_code.unwrap_or(0),
            is_out_of_memory: state.oom_killed.unwrap_or(false),
            health: health.filter(|health| !health.is_empty() && health != "none"),
            error: state.error.filter(|error| !error.is_empty()),
        })
    }

    /// Waits for the end of the container's process, and gives back what it ended with.
    fn wait(&self, id: &str, patience: &Patience) -> Result<i64> {
        let deed = "wait for the container's end";
        let mut waiting = Box::pin(self.docker.wait_container(id, None::<WaitContainerOptions>));
        match self.attempt(deed, patience, waiting.next())? {
            Some(Ok(ended)) => Ok(ended.status_code),
            // Any code but zero comes as an error.
            Some(Err(Error::DockerContainerWaitError { code, .. })) => Ok(code),
            Some(Err(error)) => Err(trouble::failure(deed, error)),
            None => Ok(0),
        }
    }

    /// The port of this machine that leads to a container's port.
    pub fn published_port(&self, id: &str, port: u16, patience: &Patience) -> Result<Option<u16>> {
        let inspect = self.docker.inspect_container(id, None::<InspectContainerOptions>);
        let inspected = self.call("ask for the container's ports", patience, inspect)?;
        let ports = inspected.network_settings.and_then(|network| network.ports).unwrap_or_default();
        let bindings = ports.get(&format!("{port}/tcp")).and_then(Option::as_ref);
        Ok(bindings.into_iter().flatten().find_map(|binding| binding.host_port.as_ref()?.parse().ok()))
    }

    /// Where the network of a running container meets this machine, or the engine's.
    pub fn gateway(&self, id: &str, patience: &Patience) -> Result<Option<Gateway>> {
        let inspect = self.docker.inspect_container(id, None::<InspectContainerOptions>);
        let inspected = self.call("ask for the container's network", patience, inspect)?;
        let networks = inspected.network_settings.and_then(|settings| settings.networks).unwrap_or_default();
        Ok(networks.into_values().find_map(|network| {
            let address = network.gateway?.parse().ok()?;
            Some(Gateway { address, prefix_bits: u32::try_from(network.ip_prefix_len?).ok()? })
        }))
    }

    /// Starts a command in a running container.
    pub fn exec(
        &self,
        id: &str,
        command: &[String],
        environment: &[(String, String)],
        patience: &Patience,
    ) -> Result<Exec> {
        let program = command.first().map_or("", String::as_str);
        let deed = format!("run `{}` in the container", crate::model::text::shown(program));
        let options = CreateExecOptions {
            attach_stdout: Some(true),
            attach_stderr: Some(true),
            env: Some(environment.iter().map(|(name, value)| format!("{name}={value}")).collect()),
            cmd: Some(command.to_vec()),
            ..CreateExecOptions::<String>::default()
        };
        let made = self.call(&deed, patience, self.docker.create_exec(id, options))?;
        let start = self.docker.start_exec(&made.id, None::<StartExecOptions>);
        let output = match self.call(&deed, patience, start)? {
            StartExecResults::Attached { output, .. } => output,
            StartExecResults::Detached => Box::pin(futures_util::stream::empty()),
        };
        Ok(Exec { id: made.id, output: Output(output) })
    }

    /// What a command ended with; nothing while it runs.
    pub fn exec_code(&self, exec: &Exec, patience: &Patience) -> Result<Option<i64>> {
        let inspected = self.call("ask how the command ended", patience, self.docker.inspect_exec(&exec.id))?;
        Ok(if inspected.running.unwrap_or(false) { None } else { inspected.exit_code })
    }

    /// Ends a container's processes. That they have ended already is as good.
    pub fn kill(&self, id: &str, patience: &Patience) -> Result<()> {
        let deed = format!("end the container `{id}`");
        match self.attempt(&deed, patience, self.docker.kill_container(id, None::<KillContainerOptions>))? {
            Err(error) if !trouble::is_absent(&error) && !trouble::is_conflict(&error) => {
                Err(trouble::failure(&deed, error))
            }
            _ => Ok(()),
        }
    }

    /// Ends a container and takes it away with its anonymous volumes. That it is gone already is as good.
    pub fn remove_container(&self, id: &str, patience: &Patience) -> Result<()> {
        let options = RemoveContainerOptionsBuilder::new().force(true).v(true).build();
        let deed = format!("remove the container `{id}`");
        match self.attempt(&deed, patience, self.docker.remove_container(id, Some(options)))? {
            Err(error) if !trouble::is_absent(&error) && !trouble::is_conflict(&error) => {
                Err(trouble::failure(&deed, error))
            }
            _ => Ok(()),
        }
    }
}

fn body_of(container: &Container) -> ContainerCreateBody {
    let signed = |number: u64| Some(i64::try_from(number).unwrap_or(i64::MAX));
    let key = |port: &u16| format!("{port}/tcp");
    let binding = || PortBinding { host_ip: Some("127.0.0.1".to_owned()), host_port: Some(String::new()) };
    let has_name = !matches!(container.network.as_str(), "bridge" | "none");
    let endpoint = EndpointSettings { aliases: Some(vec![container.host_name.clone()]), ..EndpointSettings::default() };
    ContainerCreateBody {
        hostname: Some(container.host_name.clone()),
        user: container.user.clone(),
        exposed_ports: Some(container.ports.iter().map(key).collect()),
        env: Some(container.environment.iter().map(|(name, value)| format!("{name}={value}")).collect()),
        // Whatever the image would run is replaced as a whole.
        entrypoint: (!container.command.is_empty()).then(|| container.command.clone()),
        image: Some(container.image.clone()),
        labels: Some(container.labels.clone()),
        host_config: Some(HostConfig {
            memory: signed(container.memory_bytes),
            memory_swap: signed(container.memory_bytes),
            nano_cpus: signed(container.cpu_millis * 1_000_000),
            pids_limit: signed(container.max_pids),
            cap_drop: Some(vec!["ALL".to_owned()]),
            cap_add: Some(container.capabilities.clone()),
            security_opt: Some(vec!["no-new-privileges".to_owned()]),
            network_mode: Some(container.network.clone()),
            port_bindings: Some(container.ports.iter().map(|port| (key(port), Some(vec![binding()]))).collect()),
            // What is printed is read from the connection; the engine need not keep it as well.
            log_config: Some(HostConfigLogConfig { typ: Some("none".to_owned()), config: None }),
            ..HostConfig::default()
        }),
        networking_config: has_name
            .then(|| NetworkingConfig { endpoints_config: Some([(container.network.clone(), endpoint)].into()) }),
        ..ContainerCreateBody::default()
    }
}
