//! Tokens against forged requests, for pages.

use serde_json::json;

use super::{Ask, Backend, RestAnswer, answer};
use crate::failure::Failure;
use crate::web::cookie::Readers;
use crate::web::csrf::Session;

/// `GET /auth/csrf-token`: the token of the caller's session, which comes as a cookie too.
pub fn token<B: Backend>(ask: &Ask<'_, B>) -> Result<RestAnswer, Failure> {
    let client = ask.request.client.ok_or_else(|| {
        Failure::Internal("a token against forged requests is for those who come by HTTP".into())
    })?;
    let (csrf, caller) = (ask.backend.csrf(), ask.caller);
    let session = Session { email: &caller.email, id: caller.token_id.as_deref() };
    let now = storage::record::now() / 1_000_000;
    let token = csrf.token(session, now.try_into().unwrap_or_default());
    let cookies = ask.backend.cookies().strict();
    let cookie = cookies.set(&client, csrf.cookie_name(), &token, csrf.lifetime(), Readers::Pages);
    Ok(RestAnswer { cookies: vec![cookie], ..answer::ok(&json!({ "csrf_token": token })) })
}
