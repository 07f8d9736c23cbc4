//! What was typed in, settings or sentences out.

use std::path::PathBuf;
use std::time::Duration;

use super::*;

/// Reads settings from lines of `.env`, `environment` and nothing else.
fn read(file: &str, environment: &[(&str, &str)]) -> Result<Loaded, SettingErrors> {
    let environment = environment.iter().map(|(name, value)| (name.into(), value.into()));
    parse(file, environment, &[])
}

fn good(file: &str) -> Settings {
    read(file, &[]).unwrap().settings
}

/// The sentences about what is wrong, one a line.
fn wrong(file: &str) -> String {
    read(file, &[]).unwrap_err().to_string()
}

#[test]
fn needs_no_setting_at_all() {
    let Loaded { settings, warnings } = read("", &[]).unwrap();
    assert_eq!(settings.address().to_string(), "127.0.0.1:4444");
    assert_eq!(settings.database_url().expose(), "sqlite:///./ringway-data/ringway.db");
    assert!(settings.auth.required && settings.tls().is_none());
    assert!(settings.stdio_allowed() && settings.localhost_allowed());
    assert_eq!(warnings, Vec::<String>::new());
}

#[test]
fn a_name_is_the_same_in_any_case_and_an_empty_value_is_none() {
    let settings = read("", &[("port", "8080"), ("Tool_Timeout", "1.5"), ("SHARDS", "")]).unwrap();
    assert_eq!(settings.settings.listen.port, 8080);
    assert_eq!(settings.settings.upstreams.tool_timeout, Duration::from_millis(1500));
    assert_eq!(settings.settings.listen.shards, ShardCount::Auto);
}

#[test]
fn the_command_line_wins_over_the_environment_and_that_over_the_file() {
    let environment = [("PORT".into(), "2".into())];
    let port = |environment: &[(OsString, OsString)], overrides: &[(&str, String)]| {
        parse("PORT=1", environment.to_vec(), overrides).unwrap().settings.listen.port
    };
    assert_eq!(port(&[], &[]), 1);
    assert_eq!(port(&environment, &[]), 2);
    assert_eq!(port(&environment, &[("PORT", "3".to_owned())]), 3);
}

#[test]
fn says_everything_that_is_wrong_at_once_with_name_value_place_and_mend() {
    let text = "PORT=70000\nTOOL_TIMEOUT=0\n\nLOG_FORMAT=xml\nnonsense\nALLOWED_HOSTS=a/b";
    assert_eq!(
        wrong(text).lines().collect::<Vec<_>>(),
        [
            ".env, line 5, has no equals sign. Write NAME=value, NAME='value' or NAME=\"value\".",
            "PORT=\"70000\" (.env, line 1) is not a port. Set PORT to a port from 1 to 65535, or 0 \
             to let the system choose one, or leave it out for 4444.",
            "ALLOWED_HOSTS=\"a/b\" (.env, line 6) holds \"a/b\", which is none. Set ALLOWED_HOSTS \
             to a list of hosts, as `mcp.example.com,10.0.0.5:4444`, or `*`, or leave it out.",
            "TOOL_TIMEOUT=\"0\" (.env, line 2) is too short. Set TOOL_TIMEOUT to seconds, from \
             0.01 to 86400, or leave it out for 60.",
            "LOG_FORMAT=\"xml\" (.env, line 4) is none of them. Set LOG_FORMAT to `auto`, `json` \
             or `text`, or leave it out for auto.",
        ]
    );
}

#[test]
fn never_shows_a_secret() {
    use std::os::unix::ffi::OsStringExt;
    let secret = OsString::from_vec(b"hunter2\xff".to_vec());
    let error = parse("", [("JWT_SECRET_KEY".into(), secret)], &[]).unwrap_err().to_string();
    assert!(
        error.starts_with("JWT_SECRET_KEY=\"*****\" (environment) is not valid UTF-8."),
        "{error}"
    );
    let settings = good("JWT_SECRET_KEY=hunter2\nDATABASE_URL=sqlite:///hunter2");
    assert!(!format!("{settings:?}").contains("hunter2"));
}

#[test]
fn an_open_gateway_stays_on_loopback_unless_it_is_forced_out() {
    let text = wrong("AUTH_REQUIRED=false\nHOST=0.0.0.0");
    assert!(
        text.starts_with("AUTH_REQUIRED=\"false\" (.env, line 1) would let everyone"),
        "{text}"
    );
    assert!(text.contains("ALLOW_OPEN_BIND=true"), "{text}");
    assert!(!good("AUTH_REQUIRED=false\nHOST=::1").auth.required);
    assert!(!good("AUTH_REQUIRED=false\nHOST=0.0.0.0\nALLOW_OPEN_BIND=true").auth.required);
}

#[test]
fn what_is_safe_on_loopback_is_off_beyond_it_unless_asked_for() {
    let beyond = good("HOST=0.0.0.0");
    assert!(!beyond.stdio_allowed());
    assert!(!beyond.localhost_allowed() && !beyond.private_networks_allowed());
    let asked = good("HOST=0.0.0.0\nALLOW_STDIO_UPSTREAMS=true\nSSRF_ALLOW_LOCALHOST=yes");
    assert!(asked.stdio_allowed() && asked.localhost_allowed());
    assert!(!good("ALLOW_STDIO_UPSTREAMS=false").stdio_allowed());
}

#[test]
fn tls_needs_both_files() {
    let both = good("CERT_FILE=c.pem\nKEY_FILE=k.pem");
    assert_eq!(both.tls().unwrap().certificate, PathBuf::from("c.pem"));
    assert!(good("SSL=false\nCERT_FILE=c.pem\nKEY_FILE=k.pem").tls().is_none());
    assert!(wrong("CERT_FILE=c.pem").starts_with("KEY_FILE is not set, and TLS needs it."));
    assert_eq!(wrong("SSL=true").lines().count(), 2);
}

#[test]
fn a_public_key_algorithm_needs_a_key_file() {
    let text = wrong("JWT_ALGORITHM=es256");
    assert!(text.starts_with("JWT_PUBLIC_KEY_PATH is not set, and JWT_ALGORITHM=ES256"), "{text}");
    assert!(!good("JWT_ALGORITHM=ES256\nJWT_PUBLIC_KEY_PATH=p.pem").auth.issuer.is_empty());
}

#[test]
fn certificates_of_clients_need_tls_and_those_who_sign_them() {
    let text = wrong("TLS_CLIENT_CA_FILE=ca.pem");
    assert!(
        text.starts_with("TLS_CLIENT_CA_FILE (.env, line 1) is set, and without TLS"),
        "{text}"
    );
    let tls = "CERT_FILE=c.pem\nKEY_FILE=k.pem\n";
    assert!(wrong(&format!("{tls}TLS_CLIENT_CERT_REQUIRED=true")).contains("TLS_CLIENT_CA_FILE"));
    assert!(good(&format!("{tls}TLS_CLIENT_CA_FILE=ca.pem")).proof.client_authorities.is_some());
}

#[test]
fn a_proxy_is_believed_only_by_name() {
    let text = wrong("MCP_CLIENT_AUTH_ENABLED=false");
    assert!(text.contains("would leave nobody to say who a caller is"), "{text}");
    let text = wrong("MCP_CLIENT_AUTH_ENABLED=false\nTRUST_PROXY_AUTH=true");
    assert!(text.contains("Set TRUSTED_PROXIES to the addresses of the proxies"), "{text}");
    let both = "MCP_CLIENT_AUTH_ENABLED=false\nTRUST_PROXY_AUTH=true\nTRUSTED_PROXIES=10.0.0.0/8";
    assert_eq!(good(both).web.trusted_proxies.len(), 1);
    let open = "MCP_CLIENT_AUTH_ENABLED=false\nAUTH_REQUIRED=false";
    assert!(read(open, &[]).is_ok() && read("TRUST_PROXY_AUTH=true", &[]).is_ok());
    assert!(wrong("TRUSTED_PROXIES=*").contains("holds \"*\""));
    assert!(wrong("PROXY_USER_HEADER='X User'").contains("no name may hold"));
}

#[test]
fn basic_authentication_has_no_password_by_default() {
    for name in ["API_ALLOW_BASIC_AUTH", "DOCS_ALLOW_BASIC_AUTH"] {
        let text = wrong(&format!("{name}=true"));
        assert!(text.starts_with(name) && text.contains("Set BASIC_AUTH_PASSWORD"), "{text}");
        assert!(read(&format!("{name}=true\nBASIC_AUTH_PASSWORD=x"), &[]).is_ok());
    }
}

#[test]
fn cookies_for_all_sites_need_https() {
    let text = wrong("COOKIE_SAMESITE=None\nSECURE_COOKIES=false");
    assert!(text.contains("Set SECURE_COOKIES=true, or COOKIE_SAMESITE=lax."), "{text}");
    assert_eq!(good("COOKIE_SAMESITE=None").web.same_site, SameSite::None);
}

#[test]
fn bounds_that_lean_on_each_other_must_agree() {
    let text = wrong("STDIO_RESTART_DELAY=90\nMAX_BODY_SIZE_BYTES=64KiB");
    assert_eq!(text.lines().count(), 2, "{text}");
    assert!(text.contains("Lower STDIO_RESTART_DELAY or raise STDIO_RESTART_MAX_DELAY"), "{text}");
    assert_eq!(good("MAX_BODY_SIZE_BYTES=8MiB").http.body_size_max, 8 << 20);
}

#[test]
fn workers_are_cut_down_to_the_cores_and_shards_are_not() {
    assert_eq!(good("GUNICORN_WORKERS=24").shard_count(4), 4);
    assert_eq!(good("GUNICORN_WORKERS=2").shard_count(4), 2);
    assert_eq!(good("GUNICORN_WORKERS=auto").shard_count(4), 4);
    assert_eq!(good("SHARDS=24\nGUNICORN_WORKERS=2").shard_count(4), 24);
    assert_eq!(good("").shard_count(0), 1);
}

#[test]
fn an_alias_counts_where_the_name_is_not_set() {
    assert_eq!(good("HTTPX_CONNECT_TIMEOUT=7").upstreams.connect_timeout.as_secs(), 7);
    let text = "HTTPX_CONNECT_TIMEOUT=7\nUPSTREAM_CONNECT_TIMEOUT=8";
    let Loaded { settings, warnings } = read(text, &[]).unwrap();
    assert_eq!(settings.upstreams.connect_timeout.as_secs(), 8);
    assert_eq!(
        warnings,
        ["HTTPX_CONNECT_TIMEOUT is ignored: UPSTREAM_CONNECT_TIMEOUT says the same thing"]
    );
}

#[test]
fn warns_of_what_does_nothing() {
    let text = "RINGWAY_PROT=1\nRINGWAY_URL=x\nGUNICORN_TIMEOUT=600\nOTHER=1\nTRUST_PROXY_AUTH=1\n\
                TRUSTED_PROXIES=10.0.0.1";
    let warnings = read(text, &[]).unwrap().warnings;
    let begins = [
        "TRUST_PROXY_AUTH does nothing",
        "GUNICORN_TIMEOUT is accepted and does nothing",
        "RINGWAY_PROT is no setting of this version",
    ];
    assert_eq!(warnings.len(), begins.len(), "{warnings:?}");
    for (warning, begin) in warnings.iter().zip(begins) {
        assert!(warning.starts_with(begin), "{warning}");
    }
}

#[test]
fn reads_lists_levels_paths_and_sizes() {
    let by = |text: &str| good(text).origins.allowed_hosts;
    assert_eq!(by("ALLOWED_HOSTS=a, b:1 ,"), by("ALLOWED_HOSTS='[\"a\",\"b:1\"]'"));
    assert_eq!(by("ALLOWED_HOSTS=a,*"), authority::Allowed::Any);
    assert_eq!(good("LOG_LEVEL=WARNING").log.level, "warn");
    assert_eq!(good("LOG_LEVEL=info,ringway::upstream=debug").log.level.len(), 28);
    assert!(wrong("LOG_LEVEL=loud").contains("is not a level"));
    assert_eq!(good("APP_ROOT_PATH=/gateway/").listen.root_path, "/gateway");
    assert!(wrong("APP_ROOT_PATH=gateway").contains("does not begin with a slash"));
    assert!(wrong("MAX_BODY_SIZE_BYTES=99999999999GiB").contains("is too large"));
    assert!(wrong("HOST=example.com").contains("is not an IP address"));
}

#[test]
fn no_two_settings_share_a_name() {
    let mut names: Vec<&str> = rows()
        .iter()
        .flat_map(|row| std::iter::once(row.name).chain(row.aliases.iter().copied()))
        .collect();
    names.extend(IGNORED.iter().chain(CLIENT).map(|(name, _)| *name));
    let count = names.len();
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), count);
    assert!(names.iter().all(|name| *name == name.to_ascii_uppercase()));
}
