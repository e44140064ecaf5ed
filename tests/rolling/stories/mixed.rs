//! Two versions at a time: each new environment is of the one or of the other.

use std::sync::Arc;

use axum::Router;
use cloud_sim::Process;
use deliver::Transport;

use crate::machine::Chance;
use crate::release::{Program, Release};

#[derive(Debug)]
pub(crate) struct Mixed {
    pub(crate) one: Arc<dyn Release>,
    pub(crate) other: Arc<dyn Release>,
}

impl Mixed {
    fn either(&self, chance: &Chance) -> &dyn Release {
        if chance.happens(0.5) { &*self.one } else { &*self.other }
    }
}

impl Release for Mixed {
    fn fanout(&self, process: &Process, chance: &Chance) -> Program {
        self.either(chance).fanout(process, chance)
    }

    fn deliver(&self, id: &str, process: &Process, chance: &Chance, way: Arc<dyn Transport>) -> Program {
        self.either(chance).deliver(id, process, chance, way)
    }

    fn api(&self, process: &Process, chance: &Chance) -> Router {
        self.either(chance).api(process, chance)
    }
}
