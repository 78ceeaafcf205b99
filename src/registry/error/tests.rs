//! What people read of a registry's refusals.

use super::*;
use crate::error::{Failure, render};

/// The refusal that this answer stands for.
fn refusal(status: u16, body: &str) -> Refusal {
    Refusal::read(StatusCode::from_u16(status).unwrap(), &HeaderMap::new(), body.as_bytes())
}

#[test]
fn any_error_body_is_read() {
    for (body, wanted) in [
        (r#"{"errors":[{"code":"DENIED","message":"no"}]}"#, "403 Forbidden (DENIED: no)"),
        (r#"{"id":"forbidden","message":"no"}"#, "403 Forbidden (forbidden: no)"),
        (r#"{"details":"no"}"#, "403 Forbidden (no)"),
        ("no\n", "403 Forbidden (no)"),
        ("<html>…", "403 Forbidden"),
        ("", "403 Forbidden"),
    ] {
        assert_eq!(refusal(403, body).to_string(), wanted, "{body}");
    }
}

#[test]
fn a_full_registry_is_told_and_not_tried_again() {
    // What docker-registry 2.8 answers on a full disk, to a POST and to a PUT.
    let started = r#"{"errors":[{"code":"UNKNOWN","message":"unknown error","detail":{"DriverName":"filesystem","Enclosed":{"Op":"write","Path":"/x/startedat","Err":28}}}]}"#;
    let put = r#"{"errors":[{"code":"UNKNOWN","message":"unknown error","detail":"write /x/data: no space left on device"}]}"#;
    for (status, body) in [(500, started), (500, put), (507, "")] {
        let refusal = refusal(status, body);
        assert_eq!((refusal.retry, refusal.is_full()), (Retry::Never, true), "{body}");
        let (registry, action) = ("r.test".to_owned(), "take a layer".to_owned());
        let error = Error::Refused { registry, action, refusal: Box::new(refusal) };
        assert_eq!(error.kind(), FailureKind::Infrastructure);
        assert!(error.to_string().contains(FULL) && error.hint().unwrap().starts_with("free some space"), "{error}");
    }
    assert!(!refusal(500, "").is_full() && !refusal(400, put).is_full());
}

#[test]
fn a_wrong_login_is_configuration_and_says_what_may_be_wrong() {
    let error = Error::Login {
        registry: DIGITALOCEAN_REGISTRY.to_owned(),
        action: "push `shop/api`".to_owned(),
        had_login: true,
        refusal: Box::new(refusal(401, "")),
    };
    assert_eq!(error.kind(), FailureKind::Configuration);
    insta::assert_snapshot!(render(&Failure::from(error)), @r"
    error: registry `registry.digitalocean.com` does not accept the login to push `shop/api`: 401 Unauthorized
      help: likely causes:
            - the login is wrong, expired or revoked
            - the registry's name is wrong
            - a garbage collection runs, and pushes must wait until it has ended
            with `DIGITALOCEAN_ACCESS_TOKEN` set, seaway asks the account which it is
    ");
}

#[test]
fn the_repository_cap_of_a_plan_is_named() {
    let body = r#"{"errors":[{"code":"DENIED","message":"registry contains 1 repositories, limit is 1"}]}"#;
    let error = Error::Refused {
        registry: DIGITALOCEAN_REGISTRY.to_owned(),
        action: "push `a`".to_owned(),
        refusal: Box::new(refusal(403, body)),
    };
    assert!(error.hint().unwrap().starts_with("the plan's number of repositories"));
}

/// What a person reads of an error.
fn shown(error: Error) -> String {
    let (kind, text) = (error.kind(), render(&Failure::from(error)));
    format!("{text}exit {}\n", kind.exit_code())
}

#[test]
fn each_error_says_where_why_and_what_to_do() {
    let (r, action) = (|| "r.example".to_owned(), || "take blob 2a22f28b for `shop/api`".to_owned());
    let refused = |refusal: Refusal| Error::Refused { registry: r(), action: action(), refusal: Box::new(refusal) };
    let answered = |status, body: &str| refused(refusal(status, body));
    let later = |seconds: &str| {
        let headers = HeaderMap::from_iter([(reqwest::header::RETRY_AFTER, seconds.parse().unwrap())]);
        refused(Refusal::read(StatusCode::TOO_MANY_REQUESTS, &headers, b""))
    };
    let unreached = |obstacle, cause: &str| Error::Transport {
        registry: r(),
        at: "https://r.example/".to_owned(),
        action: action(),
        retry: Retry::Later,
        obstacle,
        unreached: true,
        source: TransportCause(cause.to_owned()),
    };
    let mut broken = unreached(None, "connection closed before message completed");
    if let Error::Transport { unreached, .. } = &mut broken {
        *unreached = false;
    }
    let nonsense = |problem: &str| Error::Nonsense { registry: r(), action: action(), problem: problem.to_owned() };
    let errors = [
        unreached(None, "Connection refused (os error 111)"),
        unreached(Some(Obstacle::Certificate), "invalid peer certificate: UnknownIssuer"),
        unreached(Some(Obstacle::Plain), "received corrupt message of type InvalidContentType"),
        broken,
        answered(403, r#"{"errors":[{"code":"DENIED","message":"requested access to the resource is denied"}]}"#),
        answered(404, r#"{"errors":[{"code":"NAME_UNKNOWN","message":"repository name not known to registry"}]}"#),
        answered(405, r#"{"errors":[{"code":"UNSUPPORTED","message":"The operation is unsupported."}]}"#),
        answered(413, "<html><h1>413 Request Entity Too Large</h1></html>"),
        answered(400, r#"{"errors":[{"code":"MANIFEST_INVALID","message":"manifest invalid"}]}"#),
        answered(
            500,
            r#"{"errors":[{"code":"UNKNOWN","message":"unknown error","detail":"s3: \u001b[31mno bucket"}]}"#,
        ),
        answered(502, ""),
        answered(507, ""),
        later("30"),
        later("3601"),
        nonsense("it redirects to nowhere"),
        nonsense(UNENCRYPTED),
        Error::Stalled { registry: r(), action: action(), seconds: 60 },
        Error::LostUpload { registry: r(), what: "a layer".to_owned(), problem: "it takes no chunks".to_owned() },
        Error::Source { what: "a blob".to_owned(), source: std::io::Error::other("the disk is broken") },
        Error::DockerConfig { registry: r(), problem: "Unable to parse".to_owned(), helper: None },
    ];
    let texts: Vec<String> = errors.into_iter().map(shown).collect();
    insta::assert_snapshot!(texts.join("\n"));
}
