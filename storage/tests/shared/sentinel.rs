//! A fail-over: one primary, two replicas, three sentinels.

use std::time::Duration;

use storage::shared::BusItem;

use crate::{
    harness::{LONG, drivers, eventually, message, next, on_shard, options, started},
    server::{Server, free_port, says, wait_until},
};

/// The servers of one service. The sentinels are stopped first, so that they do nothing in the end.
struct Service {
    sentinels: Vec<Server>,
    servers: Vec<Server>,
}

impl Service {
    fn start() -> Service {
        let fast = ["--repl-diskless-sync-delay", "0"];
        let primary = Server::with(&fast);
        let port = primary.port.to_string();
        let replica = || Server::with(&[&fast[..], &["--replicaof", "127.0.0.1", &port]].concat());
        let servers = vec![primary, replica(), replica()];
        wait_until("both replicas follow", || {
            servers[1..]
                .iter()
                .all(|replica| replica.says("INFO replication", "master_link_status:up"))
        });
        let config = [
            format!("sentinel monitor mymaster 127.0.0.1 {port} 2"),
            "sentinel down-after-milliseconds mymaster 500".to_owned(),
            "sentinel failover-timeout mymaster 3000".to_owned(),
        ];
        let sentinels = (0..3).map(|_| Server::sentinel(free_port(), &config)).collect();
        let service = Service { sentinels, servers };
        wait_until("the sentinels know each other and the replicas", || {
            service
                .sentinels
                .iter()
                .all(|sentinel| sentinel.says("INFO sentinel", "slaves=2,sentinels=3"))
        });
        service
    }

    fn url(&self) -> String {
        let hosts: Vec<String> =
            self.sentinels.iter().map(|sentinel| format!("127.0.0.1:{}", sentinel.port)).collect();
        // The first one is nobody: the next is asked.
        format!("redis+sentinel://127.0.0.1:{},{}/mymaster/0", free_port(), hosts.join(","))
    }
}

#[test]
fn the_new_primary_is_found_when_the_old_one_is_killed() {
    let mut service = Service::start();
    let options = options(&service.url());
    on_shard(*drivers().last().unwrap(), move || async move {
        let shared = started(&options, 0).await;
        let mut subscription = shared.bus.subscribe("news").await.unwrap();
        shared.state.set("kept", b"v", LONG).await.unwrap();
        let replicas: Vec<u16> = service.servers[1..].iter().map(|server| server.port).collect();
        eventually("the replicas have it", async || {
            replicas.iter().all(|port| says(*port, "EXISTS mcpgw:kept", ":1"))
        })
        .await;
        service.servers[0].kill();
        eventually("writes go on", async || shared.state.set("k", b"w", LONG).await.is_ok()).await;
        assert_eq!(shared.state.get("kept").await, Ok(Some(b"v".to_vec())));
        assert_eq!(next(&mut subscription).await, BusItem::Lost);
        shared.bus.publish("news", b"after").await.unwrap();
        assert_eq!(next(&mut subscription).await, message("after"));
    });
}

#[test]
fn a_primary_that_was_frozen_and_comes_back_demoted_is_not_used() {
    let service = Service::start();
    let options = options(&service.url());
    on_shard(*drivers().last().unwrap(), move || async move {
        let shared = started(&options, 0).await;
        shared.state.set("k", b"before", LONG).await.unwrap();
        service.servers[0].freeze();
        eventually("writes go on", async || shared.state.set("k", b"after", LONG).await.is_ok())
            .await;
        service.servers[0].thaw();
        eventually("the old primary follows the new one", async || {
            service.servers[0].says("ROLE", "slave")
        })
        .await;
        for _ in 0..20 {
            shards::time::sleep(Duration::from_millis(20)).await;
            assert_eq!(shared.state.get("k").await, Ok(Some(b"after".to_vec())));
        }
        shared.state.set("k", b"later", LONG).await.unwrap();
    });
}

#[test]
fn a_service_that_no_sentinel_knows_is_named() {
    let sentinel = Server::sentinel(free_port(), &[]);
    let url = format!("redis+sentinel://127.0.0.1:{}/nobody", sentinel.port);
    let options = options(&url);
    on_shard(drivers()[0], move || async move {
        let error = storage::shared::probe(&options).await.unwrap_err().to_string();
        assert!(error.contains("does not know the service \"nobody\""), "{error}");
    });
}
