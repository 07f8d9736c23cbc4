use super::*;

fn upstream(kind: AuthType, headers: &[(&str, &str)]) -> Upstream {
    let record = storage::record::Gateway { auth_type: Some(kind), ..Default::default() };
    Upstream {
        record: record.into(),
        headers: headers.iter().map(|(key, value)| (key.to_string(), value.to_string())).collect(),
        environment: BTreeMap::from([("KEY".to_owned(), "secret".to_owned())]),
    }
}

fn read(stored: &Upstream, body: &str) -> Result<Option<Auth>, String> {
    let mut fields = Fields::parse(None, body.as_bytes()).unwrap();
    let auth = read_auth(&mut fields, Stored::of(Some(stored)), Ways::Headers);
    fields.finish().map(|()| auth).map_err(|failure| failure.to_string())
}

fn header(auth: Result<Option<Auth>, String>, name: &str) -> String {
    auth.unwrap().unwrap().headers[name].clone()
}

#[test]
fn the_mask_stands_for_the_stored_secret() {
    let bearer = upstream(AuthType::Bearer, &[("Authorization", "Bearer old")]);
    let masked = read(&bearer, r#"{"auth_type": "bearer", "auth_token": "*****"}"#);
    assert_eq!(header(masked, "Authorization"), "Bearer old");
    // "me:pass:word"
    let basic = upstream(AuthType::Basic, &[("Authorization", "Basic bWU6cGFzczp3b3Jk")]);
    let renamed = read(&basic, r#"{"auth_username": "you", "auth_password": "*****"}"#);
    // "you:pass:word"
    assert_eq!(header(renamed, "Authorization"), "Basic eW91OnBhc3M6d29yZA==");
    let headers = upstream(AuthType::AuthHeaders, &[("X-A", "1"), ("X-B", "2")]);
    let body =
        r#"{"auth_headers": [{"key": "x-b", "value": "*****"}, {"key": "X-C", "value": "3"}]}"#;
    let auth = read(&headers, body).unwrap().unwrap();
    let expected = [("X-C", "3"), ("x-b", "2")].map(|(k, v)| (k.to_owned(), v.to_owned()));
    assert_eq!(auth.headers, BTreeMap::from(expected));
}

#[test]
fn a_mask_for_nothing_is_refused() {
    let basic = upstream(AuthType::Basic, &[("Authorization", "Basic bWU6cHc=")]);
    for body in [
        r#"{"auth_type": "bearer", "auth_token": "*****"}"#,
        r#"{"auth_type": "authheaders", "auth_headers": [{"key": "X", "value": "*****"}]}"#,
        r#"{"auth_type": "authheaders", "auth_header_key": "X", "auth_header_value": "*****"}"#,
    ] {
        assert!(read(&basic, body).unwrap_err().contains("mask"), "{body}");
    }
}

#[test]
fn what_is_not_sent_stays_and_what_is_taken_off_goes() {
    let bearer = upstream(AuthType::Bearer, &[("Authorization", "Bearer old")]);
    assert_eq!(read(&bearer, r#"{"name": "x", "auth_token": ""}"#), Ok(None));
    assert_eq!(read(&bearer, r#"{"authType": "none"}"#), Ok(Some(Auth::default())));
}

#[test]
fn the_environment_keeps_what_is_masked() {
    let stored = upstream(AuthType::Bearer, &[]);
    let mut fields = Fields::parse(None, br#"{"env": {"KEY": "*****", "NEW": "x"}}"#).unwrap();
    let environment = read_environment(&mut fields, Some(&stored)).unwrap();
    assert_eq!(environment["KEY"], "secret");
    assert_eq!(environment["NEW"], "x");
    assert!(fields.finish().is_ok());
    let mut fields = Fields::parse(None, br#"{"env": {"OTHER": "*****"}}"#).unwrap();
    read_environment(&mut fields, Some(&stored));
    assert!(fields.finish().is_err());
}
