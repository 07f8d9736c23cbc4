use super::*;
use shards::{Driver, runtime};

const CLOSED: AddressPolicy = AddressPolicy { allow_localhost: false, allow_private: false };
const OPEN: AddressPolicy = AddressPolicy { allow_localhost: true, allow_private: true };

fn verdict(policy: AddressPolicy, address: &str) -> &'static str {
    match policy.check(address.parse().unwrap()) {
        Ok(()) => "ok",
        Err(Forbidden::Always(_)) => "always",
        Err(Forbidden::Localhost) => "localhost",
        Err(Forbidden::Private) => "private",
    }
}

#[test]
fn sorts_addresses_by_what_would_allow_them() {
    let table = [
        ("ok", "1.1.1.1 8.8.8.8 9.255.255.255 11.0.0.0 100.63.255.255 100.128.0.0 172.15.255.255"),
        ("ok", "172.32.0.0 192.167.255.255 198.17.255.255 198.20.0.0 223.255.255.255"),
        ("ok", "2606:4700::1111 2a00:1450::1 64:ff9b::8.8.8.8 ::ffff:8.8.8.8 2002:808:808::1"),
        ("private", "10.0.0.1 172.16.0.1 172.31.255.255 192.168.1.1 100.64.0.1 100.127.255.255"),
        ("private", "192.0.0.8 192.0.2.1 198.18.0.1 198.19.255.255 198.51.100.1 203.0.113.9"),
        ("private", "fc00::1 fdff::1 fec0::1 2001:db8::1 100::1 2001:2::1 ::ffff:10.0.0.1"),
        ("private", "::10.0.0.1 64:ff9b::10.0.0.1 2002:a00:1::1 64:ff9b:1::8.8.8.8"),
        ("private", "2a00::5efe:10.0.0.1 ::ffff:0:192.168.0.1 2001:0:808:808::f7f7:f7f7"),
        ("localhost", "127.0.0.1 127.255.255.254 ::1 ::ffff:127.0.0.1 ::127.0.0.1"),
        ("localhost", "64:ff9b::127.0.0.1 2002:7f00:1::1 64:ff9b:1::127.0.0.1"),
        ("always", "169.254.169.254 169.254.0.1 100.100.100.200 168.63.129.16 192.0.0.192"),
        ("always", "0.0.0.0 0.1.2.3 224.0.0.1 239.255.255.255 240.0.0.1 255.255.255.255"),
        ("always", "fe80::1 febf::1 ff02::1 :: fd00:ec2::254 ::ffff:169.254.169.254"),
        ("always", "64:ff9b::169.254.169.254 2002:a9fe:a9fe::1 ::169.254.169.254 ::ffff:0.0.0.0"),
        ("always", "2001:0:808:808::5601:5601"),
    ];
    for (expected, addresses) in table {
        for address in addresses.split(' ') {
            assert_eq!(verdict(CLOSED, address), expected, "{address}");
            let open = if expected == "always" { "always" } else { "ok" };
            assert_eq!(verdict(OPEN, address), open, "{address} with everything allowed");
        }
    }
}

#[test]
fn each_setting_allows_only_its_own_kind() {
    let localhost = AddressPolicy { allow_localhost: true, allow_private: false };
    let private = AddressPolicy { allow_localhost: false, allow_private: true };
    assert_eq!(verdict(localhost, "127.0.0.1"), "ok");
    assert_eq!(verdict(localhost, "10.0.0.1"), "private");
    assert_eq!(verdict(private, "127.0.0.1"), "localhost");
    assert_eq!(verdict(private, "10.0.0.1"), "ok");
}

fn resolved(policy: AddressPolicy, host: &'static str) -> Result<Vec<SocketAddr>, String> {
    let within = Duration::from_secs(10);
    let answer = async move { resolve(policy, "up", host, 80, within).await };
    let answer = runtime::block_on(Driver::Epoll, answer).expect("epoll is everywhere");
    answer.map_err(|failure| failure.to_string())
}

#[test]
fn names_the_setting_that_would_allow_an_address() {
    let text = resolved(CLOSED, "127.0.0.1").unwrap_err();
    assert!(text.contains("127.0.0.1 is loopback; SSRF_ALLOW_LOCALHOST=true"), "{text}");
    let text = resolved(CLOSED, "10.1.2.3").unwrap_err();
    assert!(text.contains("SSRF_ALLOW_PRIVATE_NETWORKS=true"), "{text}");
    let text = resolved(OPEN, "169.254.169.254").unwrap_err();
    assert!(text.contains("never allowed"), "{text}");
}

#[test]
fn checks_what_a_name_resolves_to() {
    let text = resolved(CLOSED, "localhost").unwrap_err();
    assert!(text.contains("localhost resolves to"), "{text}");
    let found = resolved(OPEN, "localhost").unwrap();
    assert!(found.iter().all(|address| address.ip().is_loopback() && address.port() == 80));
    // getaddrinfo takes the short and the numeric forms of an address.
    for host in ["127.1", "2130706433", "0x7f.0.0.1"] {
        let text = resolved(CLOSED, host).unwrap_err();
        assert!(text.contains("SSRF_ALLOW_LOCALHOST"), "{host}: {text}");
    }
}

#[test]
fn refuses_metadata_names_without_asking_for_them() {
    for host in ["metadata.google.internal", "METADATA.google.internal.", "metadata"] {
        let text = resolved(OPEN, host).unwrap_err();
        assert!(text.contains("a metadata service"), "{host}: {text}");
    }
}

#[test]
fn says_that_a_name_does_not_exist() {
    let text = resolved(OPEN, "no-such-host.invalid").unwrap_err();
    assert!(text.starts_with("Unable to connect to up"), "{text}");
}

#[test]
fn reads_the_parts_of_a_url() {
    let parse = |url| Endpoint::parse(url, 200).unwrap();
    let endpoint = parse("http://Example.COM/mcp?x=1#part");
    assert_eq!(endpoint.path_and_query, "/mcp?x=1");
    assert_eq!((endpoint.host.as_str(), endpoint.port, endpoint.tls), ("example.com", 80, false));
    assert_eq!(endpoint.authority(), "example.com");
    let endpoint = parse("https://[2001:DB8::1]:8443");
    assert_eq!((endpoint.host.as_str(), endpoint.path_and_query.as_str()), ("2001:db8::1", "/"));
    assert_eq!(endpoint.origin(), "https://[2001:db8::1]:8443");
    assert_eq!(parse("https://a.example:443/").authority(), "a.example");
    assert_eq!(parse("http://0x7f.1/").host, "127.0.0.1");
    assert_eq!(parse("http://b\u{fc}cher.example/").host, "xn--bcher-kva.example");
}

#[test]
fn refuses_what_no_upstream_url_may_be() {
    let table = [
        ("ftp://a/", "http:// or https://"),
        ("file:///etc/passwd", "http:// or https://"),
        ("example.com/mcp", "no URL"),
        ("http://", "no URL"),
        ("http://user@a/", "authentication fields"),
        ("http://:secret@a/", "authentication fields"),
        ("http://a:0/", "port"),
        ("http://a:70000/", "no URL"),
        ("http://a\t.example/", "no spaces"),
        ("http://a\\@b/", "backslashes"),
        (" http://a/", "no spaces"),
    ];
    for (url, expected) in table {
        let text = Endpoint::parse(url, 200).unwrap_err();
        assert!(text.contains(expected), "{url}: {text}");
    }
    let long = format!("http://a/{}", "x".repeat(200));
    assert!(Endpoint::parse(&long, 200).unwrap_err().contains("200 bytes"));
}
