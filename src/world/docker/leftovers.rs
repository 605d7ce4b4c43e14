//! What stands at the engine with a label, and taking it away.

use std::collections::HashMap;

use bollard::errors::Error;
use bollard::query_parameters::{
    ListContainersOptionsBuilder, ListImagesOptionsBuilder, ListNetworksOptionsBuilder, ListVolumesOptionsBuilder,
    RemoveVolumeOptionsBuilder,
};

use super::{Engine, Patience, trouble};
use crate::model::failure::Result;

/// Something that stands at the engine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Leftover {
    /// What.
    pub kind: Kind,
    /// Its id, or its name.
    pub id: String,
    /// Its labels.
    pub labels: HashMap<String, String>,
}

/// What can be left, in the order in which it can be taken away.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// A container, running or not.
    Container,
    /// A network.
    Network,
    /// A volume.
    Volume,
    /// An image.
    Image,
}

impl Engine {
    /// Everything that has a label, given as `name` or `name=value`, in the order to take it away in.
    pub fn labelled(&self, label: &str, patience: &Patience) -> Result<Vec<Leftover>> {
        let deed = "list what earlier runs left";
        let filters = HashMap::from([("label", vec![label])]);
        let containers = ListContainersOptionsBuilder::new().all(true).filters(&filters).build();
        let containers = self.call(deed, patience, self.docker.list_containers(Some(containers)))?;
        let networks = ListNetworksOptionsBuilder::new().filters(&filters).build();
        let networks = self.call(deed, patience, self.docker.list_networks(Some(networks)))?;
        let volumes = ListVolumesOptionsBuilder::new().filters(&filters).build();
        let volumes = self.call(deed, patience, self.docker.list_volumes(Some(volumes)))?;
        let images = ListImagesOptionsBuilder::new().all(true).filters(&filters).build();
        let images = self.call(deed, patience, self.docker.list_images(Some(images)))?;
        let of = |kind| move |(id, labels)| Leftover { kind, id, labels };
        let containers = containers.into_iter().map(|one| (one.id.unwrap_or_default(), one.labels.unwrap_or_default()));
        let networks = networks.into_iter().map(|one| (one.id.unwrap_or_default(), one.labels.unwrap_or_default()));
        let volumes = volumes.volumes.unwrap_or_default().into_iter().map(|one| (one.name, one.labels));
        let images = images.into_iter().map(|one| (one.id, one.labels));
        Ok(containers
            .map(of(Kind::Container))
            .chain(networks.map(of(Kind::Network)))
            .chain(volumes.map(of(Kind::Volume)))
            .chain(images.map(of(Kind::Image)))
            .filter(|leftover| !leftover.id.is_empty())
            .collect())
    }

    /// Takes something away. That it is gone already is as good.
    pub fn remove(&self, leftover: &Leftover, patience: &Patience) -> Result<()> {
        match leftover.kind {
            Kind::Container => self.remove_container(&leftover.id, patience),
            Kind::Network => self.gone("network", &leftover.id, patience, self.docker.remove_network(&leftover.id)),
            Kind::Volume => {
                let options = RemoveVolumeOptionsBuilder::new().force(true).build();
                self.gone("volume", &leftover.id, patience, self.docker.remove_volume(&leftover.id, Some(options)))
            }
            Kind::Image => self.remove_image(&leftover.id, patience),
        }
    }

    fn gone(
        &self,
        what: &str,
        id: &str,
        patience: &Patience,
        work: impl Future<Output = Result<(), Error>>,
    ) -> Result<()> {
        let deed = format!("remove the {what} `{id}`");
        match self.attempt(&deed, patience, work)? {
            Err(error) if !trouble::is_absent(&error) => Err(trouble::failure(&deed, error)),
            _ => Ok(()),
        }
    }
}
