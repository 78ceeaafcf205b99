//! The account that a token belongs to.

use super::client::{Client, Read};
use super::error::Error;
use serde::Deserialize;

/// Who the token belongs to, and what it may have.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq)]
pub(crate) struct Account {
    /// `active`, `warning`, `locked`; an open list.
    pub(crate) status: String,
    /// The e-mail address of the owner.
    #[serde(default)]
    pub(crate) email: String,
    /// How many Droplets it may have; hidden without the scope `droplet:read`.
    pub(crate) droplet_limit: Option<u64>,
    /// The team, where there is one.
    pub(crate) team: Option<Team>,
}

/// A team of people.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq)]
pub(crate) struct Team {
    /// Its name.
    pub(crate) name: String,
}

/// The account as it comes.
#[derive(Deserialize)]
struct Root {
    /// The account.
    account: Account,
}

impl Client {
    /// Who the token belongs to: the cheapest way to find out whether it is valid. Scope `account:read`.
    pub(crate) async fn account(&self) -> Result<Account, Error> {
        let read = Read { doing: "reading the account", scope: "account:read", path: &["account"], query: &[] };
        self.get::<Root>(read).await.map(|root| root.account)
    }
}
