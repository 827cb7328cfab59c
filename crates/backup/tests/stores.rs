//! One contract for all kinds of stores, on real servers and in a folder.
//!
//! Never reaches outside this machine, and leaves no process and no folder behind. Google Cloud is
//! not among them: no emulator that can be had speaks the protocol that is spoken there.

#[path = "stores/catalogue.rs"]
mod catalogue;
#[path = "stores/contract.rs"]
mod contract;
#[path = "stores/interchange.rs"]
mod interchange;
#[path = "stores/segments.rs"]
mod segments;
#[path = "stores/servers.rs"]
mod servers;
#[path = "stores/troubles.rs"]
mod troubles;
#[path = "stores/wal.rs"]
mod wal;

use contract::Races;
use servers::Server;

#[tokio::test]
async fn a_folder_keeps_the_contract() {
    contract::check(&Server::folder(), Races::OneWins).await;
}

#[tokio::test]
async fn s3_of_one_maker_keeps_the_contract() {
    contract::check(&Server::s3s(), Races::Lost).await;
}

#[tokio::test]
async fn s3_of_another_maker_keeps_the_contract() {
    contract::check(&Server::moto(), Races::OneWins).await;
}

#[tokio::test]
async fn azure_keeps_the_contract() {
    contract::check(&Server::azurite(), Races::OneWins).await;
}
