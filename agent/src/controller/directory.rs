//! Who is at home at this PBX, for the directory.

use std::sync::Arc;

use shared::tables::DirectoryEntry;

use super::state::ControllerState;
use crate::pbx::session::User;
use crate::peers::directory::HomeList;

impl ControllerState {
    /// Tells the writer of the directory, once all users are listed and their monitors answered, whenever something has changed.
    pub(super) fn tell_directory(&mut self) {
        let Some(pbx_id) = &self.pbx_id else { return };
        if !self.identified || !self.session.is_complete() || !self.session.take_directory_change() {
            return;
        }
        let entry = |user: &User| {
            let info = &user.info;
            let entry = DirectoryEntry {
                guid: info.guid.clone(),
                pbx: pbx_id.to_string(),
                extension: info.e164.clone(),
                node: info.node.clone(),
                name: info.h323.clone(),
                display_name: info.display_name(),
                kind: if info.pseudo.is_empty() { "user".to_owned() } else { info.pseudo.clone() },
                prefixes: user.prefixes.clone(),
            };
            (info.guid.clone(), Arc::new(entry))
        };
        let users = self.session.at_home().map(entry).collect();
        self.home_list.send_replace(Some(Arc::new(HomeList { pbx_id: pbx_id.clone(), users })));
    }
}
