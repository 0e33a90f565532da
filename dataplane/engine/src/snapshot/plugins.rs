//! The store's plugins: built when they come, and again when their program gets better code.

use super::clusters::Cluster;
use crate::plugins::{Plugin, PluginIndex, values};
use crate::program::image::Image;
use crate::protocol;
use std::collections::HashMap;
use std::sync::Arc;

type FindCluster<'a> = &'a dyn Fn(&str) -> Option<Arc<Cluster>>;

#[derive(Default)]
pub(super) struct PluginBook {
    index: Arc<PluginIndex>,
    messages: HashMap<Box<str>, protocol::Plugin>,
}

impl PluginBook {
    pub fn index(&self) -> Arc<PluginIndex> {
        self.index.clone()
    }

    pub fn put(
        &mut self,
        message: protocol::Plugin,
        image: Option<Arc<Image>>,
        find_cluster: FindCluster<'_>,
    ) -> Result<(), String> {
        let image = image.ok_or_else(|| format!("no image of program {}", message.program))?;
        let plugin = Plugin::compile(&message, image, find_cluster)?;
        Arc::make_mut(&mut self.index).insert(plugin);
        self.messages.insert(message.name.as_str().into(), message);
        Ok(())
    }

    pub fn remove(&mut self, name: &str) {
        Arc::make_mut(&mut self.index).remove(name);
        self.messages.remove(name);
        values::forget(name);
    }

    /// Better code of a program goes to its plugins at once.
    pub fn adopt_image(&mut self, name: &str, image: &Arc<Image>, find_cluster: FindCluster<'_>) {
        for message in self.messages.values().filter(|message| message.program == name) {
            // It was built of the same message before: only the code differs.
            if let Ok(plugin) = Plugin::compile(message, image.clone(), find_cluster) {
                Arc::make_mut(&mut self.index).insert(plugin);
            }
        }
    }
}
