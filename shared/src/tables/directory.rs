//! The directory: who is at home at which PBX, keyed by what is asked, so that one small read finds a user by extension, name or guid.
//!
//! Agents write the users and queues that their PBX lists as its own. Each has one item for each thing it answers to, and one in the
//! list of its PBX, from which an agent learns at its start what it has to change. That one is written last, so that an agent which was
//! interrupted begins anew.

use aws_sdk_dynamodb::error::SdkError;
use serde::{Deserialize, Serialize};

use super::exchange::Exchange;
use super::item::{Readable, TableError, item, key, text, value};
use crate::address::{Address, ObjectNames};
use crate::numbering::DialPrefixes;

/// A user or queue, as its PBX's agents have told.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DirectoryEntry {
    pub guid: String,
    /// `pbx.id` of the PBX at which it is at home.
    pub pbx: String,
    #[serde(default)]
    pub extension: String,
    #[serde(default)]
    pub node: String,
    /// The object's Name, by which phones register.
    #[serde(default)]
    pub name: String,
    #[serde(default)]
    pub display_name: String,
    /// `user`, `waiting` …
    #[serde(rename = "type")]
    pub kind: String,
    /// What is dialled in front of numbers; known of those who are monitored.
    #[serde(default)]
    pub prefixes: DialPrefixes,
}

impl DirectoryEntry {
    pub fn names(&self, is_shared: bool) -> ObjectNames<'_> {
        ObjectNames { extension: &self.extension, node: &self.node, name: &self.name, guid: &self.guid, is_shared }
    }

    /// The partitions in which it is looked for.
    fn places(&self) -> Vec<String> {
        let by_extension = (!self.extension.is_empty()).then(|| of_extension(&self.extension));
        let by_name = (!self.name.is_empty()).then(|| of_name(&self.name));
        by_extension.into_iter().chain(by_name).chain([of_guid(&self.guid)]).collect()
    }
}

fn of_extension(extension: &str) -> String {
    format!("DIRECTORY#ext#{extension}")
}

fn of_name(name: &str) -> String {
    format!("DIRECTORY#name#{}", name.to_lowercase())
}

fn of_guid(guid: &str) -> String {
    format!("DIRECTORY#guid#{}", guid.to_lowercase())
}

fn of_pbx(pbx: &str) -> String {
    format!("DIRECTORY#pbx#{pbx}")
}

impl Exchange {
    /// Everybody who answers to an address, in no order.
    pub async fn directory(&self, address: Address<'_>) -> Result<Vec<DirectoryEntry>, TableError> {
        let place = match address {
            Address::Extension(extension) | Address::InNode { extension, .. } => of_extension(extension),
            Address::Name(name) => of_name(name),
            Address::Guid(guid) => of_guid(guid),
        };
        self.entries(place).await
    }

    /// The users and queues of a PBX, as far as they are written.
    pub async fn directory_of(&self, pbx: &str) -> Result<Vec<DirectoryEntry>, TableError> {
        self.entries(of_pbx(pbx)).await
    }

    async fn entries(&self, place: String) -> Result<Vec<DirectoryEntry>, TableError> {
        let mut items = Vec::new();
        let mut pages = self
            .client
            .query()
            .table_name(&self.table)
            .key_condition_expression("pk = :place")
            .expression_attribute_values(":place", text(place))
            .consistent_read(true)
            .into_paginator()
            .items()
            .send();
        while let Some(item) = pages.next().await {
            items.push(item.map_err(|error| TableError::request("list the directory", &error.into_service_error()))?);
        }
        Ok(Readable::of(items, value).logged("directory entry"))
    }

    /// Writes a user or queue, in place of what was written of it before.
    pub async fn enter(&self, entry: &DirectoryEntry, before: Option<&DirectoryEntry>) -> Result<(), TableError> {
        let places = entry.places();
        for place in &places {
            self.put_entry(place, entry).await?;
        }
        let left = before.map(DirectoryEntry::places).unwrap_or_default();
        for place in left.iter().filter(|place| !places.contains(place)) {
            self.delete_entry(place, entry).await?;
        }
        self.put_entry(&of_pbx(&entry.pbx), entry).await
    }

    /// Strikes a user or queue out, unless another PBX has written it since.
    pub async fn strike_out(&self, entry: &DirectoryEntry) -> Result<(), TableError> {
        for place in entry.places() {
            self.delete_entry(&place, entry).await?;
        }
        self.delete_entry(&of_pbx(&entry.pbx), entry).await
    }

    async fn put_entry(&self, place: &str, entry: &DirectoryEntry) -> Result<(), TableError> {
        self.client
            .put_item()
            .table_name(&self.table)
            .set_item(Some(item(key(place, &entry.guid), entry)?))
            .send()
            .await
            .map(drop)
            .map_err(|error| TableError::request("take a directory entry", &error.into_service_error()))
    }

    async fn delete_entry(&self, place: &str, entry: &DirectoryEntry) -> Result<(), TableError> {
        let deleted = self
            .client
            .delete_item()
            .table_name(&self.table)
            .set_key(Some(key(place, &entry.guid)))
            .condition_expression("attribute_not_exists(pk) OR pbx = :pbx")
            .expression_attribute_values(":pbx", text(&entry.pbx))
            .send()
            .await;
        match deleted.map_err(SdkError::into_service_error) {
            Ok(_) => Ok(()),
            Err(error) if error.is_conditional_check_failed_exception() => Ok(()),
            Err(error) => Err(TableError::request("strike a directory entry out", &error)),
        }
    }
}

/// Those of several entries whose PBX has an agent at the moment; all of them if none has.
pub fn of_fresh_pbxs(entries: Vec<DirectoryEntry>, is_fresh: impl Fn(&str) -> bool) -> Vec<DirectoryEntry> {
    let (fresh, stale): (Vec<_>, Vec<_>) = entries.into_iter().partition(|entry| is_fresh(&entry.pbx));
    if fresh.is_empty() { stale } else { fresh }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_object_is_found_by_everything_that_it_answers_to() {
        let entry = DirectoryEntry {
            guid: "3954AE7854c96301c9dd009033400109".to_owned(),
            pbx: "master".to_owned(),
            extension: "42".to_owned(),
            name: "Thomas".to_owned(),
            ..DirectoryEntry::default()
        };
        assert_eq!(
            entry.places(),
            ["DIRECTORY#ext#42", "DIRECTORY#name#thomas", "DIRECTORY#guid#3954ae7854c96301c9dd009033400109"]
        );
        let nameless = DirectoryEntry { extension: String::new(), name: String::new(), ..entry.clone() };
        assert_eq!(nameless.places().len(), 1);
        let branch = DirectoryEntry { pbx: "branch".to_owned(), ..entry.clone() };
        let both = || vec![entry.clone(), branch.clone()];
        assert_eq!(of_fresh_pbxs(both(), |pbx| pbx == "branch"), std::slice::from_ref(&branch));
        assert_eq!(of_fresh_pbxs(both(), |_| false).len(), 2);
    }
}
