//! A Redis Cluster of three primaries and three replicas, one primary of which is killed.

use std::{process::Command, time::Duration};

use futures_util::future::join_all;
use storage::shared::{BusItem, Reach};

use crate::{
    harness::{LONG, drivers, eventually, next, on_shard, options, started},
    server::{Server, free_port, says, wait_until},
};

/// The six nodes of a cluster.
struct Cluster(Vec<Server>);

impl Cluster {
    fn start() -> Cluster {
        let nodes: Vec<Server> = (0..6).map(|_| start_node()).collect();
        let addresses = nodes.iter().map(|node| format!("127.0.0.1:{}", node.port));
        let created = Command::new("redis-cli")
            .args(["--cluster", "create"])
            .args(addresses)
            .args(["--cluster-replicas", "1", "--cluster-yes"])
            .output()
            .expect("redis-cli runs; `make test` installs it");
        assert!(created.status.success(), "{}", String::from_utf8_lossy(&created.stdout));
        wait_until("every node serves", || {
            nodes.iter().all(|node| node.says("CLUSTER INFO", "cluster_state:ok"))
        });
        Cluster(nodes)
    }

    fn url(&self) -> String {
        let hosts: Vec<String> =
            self.0.iter().map(|node| format!("127.0.0.1:{}", node.port)).collect();
        format!("redis://{}?cluster=true", hosts.join(","))
    }
}

fn start_node() -> Server {
    // The cluster's own port must be free too; below the limit the usual offset would exceed.
    let port = free_port();
    let bus = free_port().to_string();
    Server::on(
        port,
        &[
            "--cluster-enabled",
            "yes",
            "--cluster-port",
            &bus,
            "--cluster-node-timeout",
            "1500",
            "--cluster-config-file",
            "{dir}/nodes.conf",
            "--repl-diskless-sync-delay",
            "0",
        ],
    )
}

#[test]
fn keys_are_spread_over_the_cluster_and_survive_a_killed_primary() {
    let mut cluster = Cluster::start();
    let options = options(&cluster.url());
    on_shard(*drivers().last().unwrap(), move || async move {
        let one = started(&options, 0).await;
        let two = started(&options, 1).await;
        let state = &one.state;
        let keys: Vec<String> = (0..60).map(|index| format!("k{index}")).collect();
        let set = async |value: &'static [u8]| {
            join_all(keys.iter().map(|key| state.set(key, value, LONG))).await
        };
        assert!(set(b"before").await.iter().all(Result::is_ok));
        assert_eq!(two.state.increment("n", 2, LONG).await, Ok(2));
        assert!(state.compare_and_set("c", None, Some(b"1"), LONG).await.unwrap());

        // A message reaches every shard, whichever node each is connected to.
        let mut first = one.bus.subscribe("news").await.unwrap();
        let mut second = two.bus.subscribe("news").await.unwrap();
        assert_eq!(one.bus.publish("news", b"x").await, Ok(Reach::Unknown));
        let hello = BusItem::Message(b"x".as_slice().into());
        assert_eq!((next(&mut first).await, next(&mut second).await), (hello.clone(), hello));

        // Shard 0 listens at the first node, a primary: both its keys and its topics must move.
        let ports: Vec<u16> = cluster.0.iter().map(|node| node.port).collect();
        assert!(cluster.0[0].says("ROLE", "master"));
        wait_replicated(&ports[3..]).await;
        cluster.0[0].kill();
        eventually("all keys can be written again", async || {
            set(b"after").await.iter().all(Result::is_ok)
        })
        .await;
        let values = join_all(keys.iter().map(|key| two.state.get(key))).await;
        assert!(values.iter().all(|value| *value == Ok(Some(b"after".to_vec()))));
        eventually("messages flow again", async || {
            let _ = two.bus.publish("news", b"again").await;
            shards::time::sleep(Duration::from_millis(20)).await;
            std::iter::from_fn(|| first.try_next())
                .any(|item| item == BusItem::Message(b"again".as_slice().into()))
        })
        .await;
        eventually("all is well", async || one.is_up() && two.is_up()).await;
    });
}

#[test]
fn a_frozen_primary_is_replaced_while_the_keys_of_the_others_are_in_use() {
    let cluster = Cluster::start();
    let options = options(&cluster.url());
    on_shard(*drivers().last().unwrap(), move || async move {
        let shared = started(&options, 0).await;
        let state = &shared.state;
        // redis-cli divides the slots evenly, in the order of the nodes.
        let owner = |key: &str| {
            number(&cluster.0[0].ask(&format!("CLUSTER KEYSLOT mcpgw:{key}"))) as usize * 3 / 16384
        };
        let key_of = |node| (0..).map(|index| format!("k{index}")).find(|key| owner(key) == node);
        let (cold, warm) = (key_of(1).unwrap(), key_of(2).unwrap());
        state.set(&cold, b"v", LONG).await.unwrap();
        let ports: Vec<u16> = cluster.0.iter().map(|node| node.port).collect();
        wait_replicated(&ports[3..]).await;
        cluster.0[1].freeze();
        // Never two timeouts in a row, which would open the breaker. Until the cluster has elected
        // the new owner it serves no key at all.
        eventually("the key has a new owner that is asked", async || {
            let is_written = state.set(&cold, b"w", LONG).await.is_ok();
            let _ = state.set(&warm, b"w", LONG).await;
            is_written
        })
        .await;
        cluster.0[1].thaw();
        eventually("the old primary follows", async || cluster.0[1].says("ROLE", "slave")).await;
        eventually("all is well", async || state.get(&cold).await == Ok(Some(b"w".to_vec()))).await;
        eventually("the bus is up as well", async || shared.is_up()).await;
    });
}

#[test]
fn a_key_of_a_slot_that_is_moving_is_followed_to_its_new_node() {
    let cluster = Cluster::start();
    let options = options(&cluster.url());
    on_shard(*drivers().last().unwrap(), move || async move {
        let shared = started(&options, 0).await;
        let slot = number(&cluster.0[0].ask("CLUSTER KEYSLOT mcpgw:moving"));
        // redis-cli divides the slots evenly, in the order of the nodes.
        let source = &cluster.0[(slot * 3 / 16384) as usize];
        let target = &cluster.0[((slot * 3 / 16384 + 1) % 3) as usize];
        let id = |node: &Server| node.ask("CLUSTER MYID").lines().nth(1).unwrap().to_owned();
        let importing = format!("CLUSTER SETSLOT {slot} IMPORTING {}", id(source));
        assert_eq!(target.ask(&importing), "+OK\r\n");
        let migrating = format!("CLUSTER SETSLOT {slot} MIGRATING {}", id(target));
        assert_eq!(source.ask(&migrating), "+OK\r\n");
        // The source has no such key, so it sends us to the target.
        let state = &shared.state;
        assert!(state.compare_and_set("moving", None, Some(b"v"), LONG).await.unwrap());
        assert!(!state.compare_and_set("moving", None, Some(b"w"), LONG).await.unwrap());
        assert_eq!(state.get("moving").await, Ok(Some(b"v".to_vec())));
        for node in [target, source] {
            let done = format!("CLUSTER SETSLOT {slot} NODE {}", id(target));
            assert_eq!(node.ask(&done), "+OK\r\n");
        }
        // Now it has moved: the client learns the new place.
        assert_eq!(state.get("moving").await, Ok(Some(b"v".to_vec())));
    });
}

/// Reads an integer of the protocol.
fn number(answer: &str) -> u32 {
    answer.trim_start_matches(':').trim_end().parse().unwrap()
}

async fn wait_replicated(replicas: &[u16]) {
    eventually("the replicas follow", async || {
        replicas.iter().all(|port| says(*port, "INFO replication", "master_link_status:up"))
    })
    .await;
}
