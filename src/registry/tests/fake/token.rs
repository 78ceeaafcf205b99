//! The token service: GET only, as DigitalOcean's, unless a switch says otherwise.

use super::{Asked, Fake};
use axum::body::Body;
use axum::http::{Method, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use base64::Engine as _;

/// Gives a token to whoever has the password.
pub(super) async fn token(fake: &Fake, asked: &Asked, body: Body) -> Response {
    let body = axum::body::to_bytes(body, usize::MAX).await.unwrap();
    let mut contents = fake.contents();
    let by_post = contents.faults.token_by_post;
    if (asked.method == Method::POST) != by_post {
        let status = contents.faults.other_method.unwrap_or(405);
        return StatusCode::from_u16(status).unwrap().into_response();
    }
    let (user, password) = contents.faults.login.clone().unwrap_or_default();
    let wanted = base64::engine::general_purpose::STANDARD.encode(format!("{user}:{password}"));
    let good = if by_post {
        let form: Vec<_> = url::form_urlencoded::parse(&body).into_owned().collect();
        form.contains(&("username".to_owned(), user)) && form.contains(&("password".to_owned(), password))
    } else {
        asked.header("authorization") == Some(&format!("Basic {wanted}"))
    };
    if !good {
        return StatusCode::UNAUTHORIZED.into_response();
    }
    let scopes = asked.query.iter().filter(|(name, _)| name == "scope").map(|(_, scope)| scope.as_str());
    if let Some(own) = &contents.faults.own_scopes_only
        && let Some(foreign) = scopes.into_iter().find(|scope| !scope.starts_with(&format!("repository:{own}/")))
    {
        return (StatusCode::BAD_REQUEST, format!("invalid scope {foreign}")).into_response();
    }
    if contents.faults.one_repository_a_token && asked.query.iter().filter(|(name, _)| name == "scope").count() > 1 {
        return StatusCode::FORBIDDEN.into_response();
    }
    let scopes: Vec<&str> =
        asked.query.iter().filter(|(name, _)| name == "scope").map(|(_, scope)| scope.as_str()).collect();
    let token = format!("token-{}:{}", contents.log.len(), scopes.join("+"));
    contents.tokens.push(token.clone());
    let (name, life) = (if by_post { "access_token" } else { "token" }, contents.faults.token_life);
    axum::Json(serde_json::json!({ name: token, "expires_in": life })).into_response()
}

/// The refusal of a request without a good token.
pub(super) fn unauthorized(fake: &Fake, asked: &Asked) -> Option<Response> {
    let contents = fake.contents();
    contents.faults.login.as_ref()?;
    let given = asked.header("authorization");
    let good = contents.tokens.iter().any(|token| given == Some(&format!("Bearer {token}")))
        && !(contents.faults.no_delete && asked.method == Method::DELETE);
    let challenge = format!(r#"Bearer realm="http://{}/token",service="fake",scope="a:b:pull,push""#, fake.host);
    (!good).then(|| (StatusCode::UNAUTHORIZED, [(header::WWW_AUTHENTICATE, challenge)]).into_response())
}
