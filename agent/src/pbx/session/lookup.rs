//! Finding the user or queue that is meant.

use std::collections::{BTreeSet, HashMap};

use shared::address::{Address, ObjectNames, is_extension};
use shared::numbering::DialPrefixes;

use super::{Session, User};
use crate::calls::{UserGuid, UserIdentity};

/// Why nobody is meant.
#[derive(Debug)]
pub enum AddressError<'a> {
    Nobody,
    /// More than one answers to it.
    Several(Vec<&'a User>),
}

/// Who is listed with which extension, and whose share of an extension has changed.
#[derive(Debug, Default)]
pub(super) struct Extensions {
    of: HashMap<UserGuid, String>,
    users: HashMap<String, BTreeSet<UserGuid>>,
    changed: BTreeSet<UserGuid>,
}

impl Extensions {
    pub(super) fn set(&mut self, guid: &UserGuid, extension: &str) {
        self.changed.insert(guid.clone());
        if self.of.get(guid).is_some_and(|known| known == extension) {
            return;
        }
        self.remove(guid);
        self.of.insert(guid.clone(), extension.to_owned());
        if !extension.is_empty() {
            let users = self.users.entry(extension.to_owned()).or_default();
            users.insert(guid.clone());
            self.changed.extend(users.iter().cloned());
        }
    }

    pub(super) fn remove(&mut self, guid: &UserGuid) {
        let Some(extension) = self.of.remove(guid) else { return };
        let Some(users) = self.users.get_mut(&extension) else { return };
        users.remove(guid);
        self.changed.extend(users.iter().cloned());
        if users.is_empty() {
            self.users.remove(&extension);
        }
    }

    fn is_shared(&self, extension: &str) -> bool {
        self.users.get(extension).is_some_and(|users| users.len() > 1)
    }
}

impl Session {
    /// What a user or queue is called.
    pub fn names_of<'a>(&self, user: &'a User) -> ObjectNames<'a> {
        user.info.names(self.extensions.is_shared(&user.info.e164))
    }

    /// The one visible user or queue of those that count which answers to this address.
    pub fn find(&self, address: &str, counts: impl Fn(&ObjectNames<'_>) -> bool) -> Result<&User, AddressError<'_>> {
        // Where the PBX tells no guids, the key is the Long Name.
        let by_key = self.users.get(address).filter(|user| !user.leaving && counts(&self.names_of(user)));
        if let (Some(user), false) = (by_key, is_extension(address)) {
            return Ok(user);
        }
        let address = Address::read(address);
        let answers = |user: &&User| {
            let names = self.names_of(user);
            names.answers_to(address) && counts(&names)
        };
        let mut found: Vec<&User> = self.visible().filter(answers).collect();
        match found.len() {
            0 => Err(AddressError::Nobody),
            1 => Ok(found.remove(0)),
            _ => Err(AddressError::Several(found)),
        }
    }

    /// The visible user or queue that is reached by this extension from within a node.
    pub fn in_node(&self, node: &str, extension: &str) -> Option<&User> {
        self.visible().find(|user| user.info.e164 == extension && user.info.node == node)
    }

    /// The visible users who are at home here.
    pub fn at_home(&self) -> impl Iterator<Item = &User> {
        self.visible().filter(|user| !self.is_elsewhere(&user.info))
    }

    /// Whether what the directory says of users has changed since the last time.
    pub fn take_directory_change(&mut self) -> bool {
        std::mem::take(&mut self.directory_changed)
    }

    pub fn identities(&self) -> impl Iterator<Item = (UserGuid, UserIdentity)> {
        self.users.iter().map(|(guid, user)| (guid.clone(), self.identity(user)))
    }

    /// The identities that have changed since the last time.
    pub fn changed_identities(&mut self) -> Vec<(UserGuid, UserIdentity)> {
        let changed = std::mem::take(&mut self.extensions.changed);
        let identity = |guid: UserGuid| self.users.get(&guid).map(|user| self.identity(user)).map(|user| (guid, user));
        changed.into_iter().filter_map(identity).collect()
    }

    fn identity(&self, user: &User) -> UserIdentity {
        UserIdentity {
            extension: user.info.e164.clone(),
            name: user.info.display_name(),
            node: user.info.node.clone(),
            h323: user.info.h323.clone(),
            is_shared: self.extensions.is_shared(&user.info.e164),
            queue: user.info.pseudo == "waiting",
        }
    }

    /// The prefixes that all monitored users have, for who does not know whom they belong to. None where nodes differ.
    pub fn common_prefixes(&self) -> DialPrefixes {
        let mut told = self.visible().filter(|user| user.handle.is_some()).map(|user| &user.prefixes);
        match told.next() {
            Some(first) if told.all(|prefixes| prefixes == first) => first.clone(),
            _ => DialPrefixes::default(),
        }
    }
}
