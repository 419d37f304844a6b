//! The engine on the database: a limit holds however many ask at once.

use std::sync::Arc;

use oscillink_ports::Store;

use crate::room::exactly_ten_are_accepted;
use crate::scene::Folder;

async fn on_the_database(shards: u32) {
    let folder = Folder::new();
    let opened = folder.open();
    let store: Arc<dyn Store> = opened.store.clone();
    exactly_ten_are_accepted(vec![store], shards).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn exactly_ten_of_64_with_one_shard() {
    on_the_database(1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn exactly_ten_of_64_with_four_shards() {
    on_the_database(4).await;
}
