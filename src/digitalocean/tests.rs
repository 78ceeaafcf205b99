//! The door against a server of our own, answer by answer.

use super::error::Error;
use super::*;
use crate::error::{Failure, FailureKind, Hint as _, render};
use crate::http::{self, Recipe, RetryPolicy};
use crate::model::{Redactor, Secret};
use serde_json::json;
use std::time::Duration;
use wiremock::matchers::{header, method, path, query_param, query_param_is_missing};
use wiremock::{Mock, MockServer, ResponseTemplate};

/// The token of all tests.
const TOKEN: &str = "dop_v1_0123456789abcdef";

/// A client without pauses, and its redactor.
fn client(address: &str) -> (Client, Redactor) {
    let redactor = Redactor::default();
    let http = http::client(&Recipe::default()).unwrap();
    let client = Client::new(http, address, Some(Secret::new(TOKEN)), redactor.clone()).unwrap();
    let policy = RetryPolicy { tries: 3, first: Duration::ZERO, longest: Duration::ZERO };
    (client.with_policy(policy), redactor)
}

/// A server that answers GET on a path.
async fn server(route: &str, answer: ResponseTemplate) -> MockServer {
    let server = MockServer::start().await;
    Mock::given(method("GET")).and(path(route)).respond_with(answer).mount(&server).await;
    server
}

/// A cluster as the API gives it.
fn cluster(id: &str, name: &str, region: &str) -> serde_json::Value {
    json!({"id": id, "name": name, "region": region, "version": "1.33.1-do.0", "status": {"state": "running"}})
}

/// An error body.
fn refusal(id: &str, message: &str) -> serde_json::Value {
    json!({"id": id, "message": message, "request_id": "r-1"})
}

/// What a person reads of a failure.
fn read(error: Error) -> String {
    render(&Failure::from(error))
}

#[tokio::test]
async fn a_cluster_is_found_by_name_or_id_on_a_later_page() {
    let server = MockServer::start().await;
    let route = "/v2/kubernetes/clusters";
    // As behind a proxy: the link names another host, which must not be asked.
    let next = "https://api.digitalocean.invalid/v2/kubernetes/clusters?page=2&per_page=200";
    let first = json!({"kubernetes_clusters": [cluster("id-1", "other", "nyc1")], "links": {"pages": {"next": next}}});
    let second = json!({"kubernetes_clusters": [cluster("id-2", "todo-prod", "ams3")], "links": {}});
    let page = |number| Mock::given(path(route)).and(number).and(header("authorization", format!("Bearer {TOKEN}")));
    Mock::given(path(route))
        .and(query_param_is_missing("page"))
        .respond_with(ResponseTemplate::new(200).set_body_json(first))
        .mount(&server)
        .await;
    page(query_param("page", "2")).respond_with(ResponseTemplate::new(200).set_body_json(second)).mount(&server).await;

    let (client, _) = client(&server.uri());
    let by_name = client.find_cluster("todo-prod").await.unwrap();
    assert_eq!((by_name.id.as_str(), by_name.to_string().as_str()), ("id-2", "todo-prod (ams3)"));
    assert_eq!(client.find_cluster("id-1").await.unwrap().name, "other");
}

#[tokio::test]
async fn a_page_that_links_to_itself_ends_the_list() {
    let next = "https://x.invalid/v2/kubernetes/clusters?per_page=200";
    let body = json!({"kubernetes_clusters": null, "links": {"pages": {"next": next}}});
    let server = server("/v2/kubernetes/clusters", ResponseTemplate::new(200).set_body_json(body)).await;
    assert_eq!(client(&server.uri()).0.clusters().await.unwrap(), []);
}

#[tokio::test]
async fn unknown_names_are_answered_with_the_existing_ones() {
    let clusters = json!({"kubernetes_clusters": [cluster("1", "todo-prod", "nyc1"), cluster("2", "shop", "fra1")]});
    let server = server("/v2/kubernetes/clusters", ResponseTemplate::new(200).set_body_json(clusters)).await;
    let registries = json!({"registries": []});
    Mock::given(path("/v2/registries"))
        .respond_with(ResponseTemplate::new(200).set_body_json(registries))
        .mount(&server)
        .await;
    let (client, _) = client(&server.uri());
    insta::assert_snapshot!("unknown_cluster", read(client.find_cluster("todo-prd").await.unwrap_err()));
    insta::assert_snapshot!("unknown_registry", read(client.find_registry("todo-app").await.unwrap_err()));
}

#[tokio::test]
async fn a_name_that_two_clusters_have_is_refused() {
    let body = json!({"kubernetes_clusters": [cluster("a", "x", "nyc1"), cluster("b", "x", "fra1")]});
    let server = server("/v2/kubernetes/clusters", ResponseTemplate::new(200).set_body_json(body)).await;
    let error = client(&server.uri()).0.find_cluster("x").await.unwrap_err();
    assert_eq!(read(error), "error: 2 clusters are named `x`\n  help: name one by its id: `a`, `b`\n");
}

#[tokio::test]
async fn a_missing_or_wrong_token_says_how_to_get_one() {
    let http = http::client(&Recipe::default()).unwrap();
    for nothing in [None, Some(Secret::new("")), Some(Secret::new(" \n"))] {
        let error = Client::new(http.clone(), DEFAULT_ADDRESS, nothing, Redactor::default()).unwrap_err();
        assert_eq!(error.kind(), FailureKind::Configuration);
        insta::assert_snapshot!("no_token", read(error));
    }
    let body = refusal("unauthorized", "Unable to authenticate you");
    let server = server("/v2/kubernetes/clusters", ResponseTemplate::new(401).set_body_json(body)).await;
    let error = client(&server.uri()).0.clusters().await.unwrap_err();
    assert_eq!(error.kind(), FailureKind::Configuration);
    insta::assert_snapshot!("wrong_token", read(error));
}

#[tokio::test]
async fn a_missing_scope_is_named() {
    let body = refusal("forbidden", "You do not have access for the attempted action.");
    let answer = ResponseTemplate::new(403).set_body_json(body);
    let server = server("/v2/kubernetes/clusters/1/credentials", answer).await;
    let error = client(&server.uri()).0.cluster_credentials("1", 600).await.unwrap_err();
    assert_eq!(error.kind(), FailureKind::Configuration);
    insta::assert_snapshot!("missing_scope", read(error));
}

#[tokio::test]
async fn a_busy_or_broken_api_is_asked_again_and_then_reported_as_infrastructure() {
    let server = MockServer::start().await;
    let busy = ResponseTemplate::new(429).insert_header("retry-after", "0");
    Mock::given(path("/v2/kubernetes/clusters")).respond_with(busy).up_to_n_times(1).mount(&server).await;
    Mock::given(path("/v2/kubernetes/clusters"))
        .respond_with(ResponseTemplate::new(502))
        .up_to_n_times(1)
        .mount(&server)
        .await;
    let clusters = json!({"kubernetes_clusters": [cluster("1", "shop", "fra1")]});
    Mock::given(path("/v2/kubernetes/clusters"))
        .respond_with(ResponseTemplate::new(200).set_body_json(clusters))
        .mount(&server)
        .await;
    assert_eq!(client(&server.uri()).0.clusters().await.unwrap()[0].name, "shop");

    let broken = ResponseTemplate::new(503).insert_header("x-request-id", "r-9");
    Mock::given(path("/v2/registries")).respond_with(broken).expect(3).mount(&server).await;
    let error = client(&server.uri()).0.registries().await.unwrap_err();
    assert_eq!(error.kind(), FailureKind::Infrastructure);
    assert_eq!(error.to_string(), "DigitalOcean refused listing the container registries (503, request r-9)");
}

#[tokio::test]
async fn an_api_that_is_away_is_infrastructure() {
    let (client, _) = client("http://127.0.0.1:1");
    let error = client.clusters().await.unwrap_err();
    assert_eq!(error.kind(), FailureKind::Infrastructure);
    insta::assert_snapshot!("unreachable", read(error));
}

#[tokio::test]
async fn an_answer_of_something_else_is_unreadable() {
    let server = server("/v2/kubernetes/clusters", ResponseTemplate::new(200).set_body_string("<html>")).await;
    let error = client(&server.uri()).0.clusters().await.unwrap_err();
    assert_eq!(error.to_string(), "cannot read DigitalOcean's answer while listing the Kubernetes clusters");
    let invalid = Client::new(reqwest::Client::new(), "nonsense", Some(Secret::new("t")), Redactor::default());
    assert_eq!(invalid.unwrap_err().to_string(), "`nonsense` is no address of a DigitalOcean API");
}

#[tokio::test]
async fn cluster_credentials_are_registered_before_they_are_handed_out() {
    let body = json!({
        "server": "https://1.k8s.ondigitalocean.com", "certificate_authority_data": "UEVN", "token": "cluster-token-1",
        "expires_at": "2026-01-01T00:00:00Z", "client_certificate_data": null
    });
    let server = MockServer::start().await;
    Mock::given(path("/v2/kubernetes/clusters/1/credentials"))
        .and(query_param("expiry_seconds", "900"))
        .respond_with(ResponseTemplate::new(200).set_body_json(body))
        .mount(&server)
        .await;
    let (client, redactor) = client(&server.uri());
    let credentials = client.cluster_credentials("1", 900).await.unwrap();
    assert_eq!((credentials.ca_pem.as_slice(), credentials.token.expose()), (&b"PEM"[..], "cluster-token-1"));
    assert_eq!(redactor.redact(&format!("{TOKEN} cluster-token-1")), "*** ***");
    assert!(!format!("{credentials:?} {client:?}").contains("token-1"));
}

/// The login `u-secret:p-secret`.
fn docker_config() -> ResponseTemplate {
    let auths = json!({"registry.digitalocean.com": {"auth": "dS1zZWNyZXQ6cC1zZWNyZXQ="}});
    ResponseTemplate::new(200).set_body_json(json!({ "auths": auths }))
}

#[tokio::test]
async fn a_login_comes_from_the_newer_routes() {
    let body = json!({"registries": [{"name": "shop", "region": "fra1"}]});
    let server = server("/v2/registries", ResponseTemplate::new(200).set_body_json(body)).await;
    Mock::given(path("/v2/registries/shop/docker-credentials"))
        .and(query_param("read_write", "true"))
        .and(query_param("expiry_seconds", "1200"))
        .respond_with(docker_config())
        .mount(&server)
        .await;
    let (client, redactor) = client(&server.uri());
    let registry = client.find_registry("shop").await.unwrap();
    let login = client.docker_credentials(&registry, true, Some(1200)).await.unwrap();
    assert_eq!(login.host, "registry.digitalocean.com");
    assert_eq!((login.username.expose(), login.password.expose()), ("u-secret", "p-secret"));
    assert_eq!(redactor.redact("u-secret p-secret dS1zZWNyZXQ6cC1zZWNyZXQ="), "*** *** ***");
}

#[tokio::test]
async fn a_login_comes_from_the_old_routes_where_only_they_exist() {
    let body = json!({"registry": {"name": "shop", "region": "fra1"}});
    let server = server("/v2/registry", ResponseTemplate::new(200).set_body_json(body)).await;
    Mock::given(path("/v2/registry/docker-credentials"))
        .and(query_param("read_write", "false"))
        .and(query_param("expiry_seconds", "0"))
        .respond_with(docker_config())
        .mount(&server)
        .await;
    let (client, _) = client(&server.uri());
    let registry = client.find_registry("shop").await.unwrap();
    assert!(client.docker_credentials(&registry, false, None).await.is_ok());
}

#[tokio::test]
async fn an_account_without_a_registry_says_so_on_the_old_routes_too() {
    let server = MockServer::start().await;
    let error = client(&server.uri()).0.find_registry("shop").await.unwrap_err();
    assert!(matches!(error, Error::UnknownRegistry { existing, .. } if existing.is_empty()));
}

/// A registry with this name, as the API gives it.
async fn registry(server: &MockServer) -> Registry {
    let body = json!({"registries": [{"name": "shop", "region": "nyc3"}]});
    Mock::given(path("/v2/registries"))
        .respond_with(ResponseTemplate::new(200).set_body_json(body))
        .mount(server)
        .await;
    client(&server.uri()).0.find_registry("shop").await.unwrap()
}

#[tokio::test]
async fn a_list_that_is_not_whole_is_an_error() {
    let manifests = json!({"manifests": [{"digest": "sha256:1"}], "meta": {"total": 2}});
    let route = "/v2/registries/shop/repositories/a/digests";
    let server = server(route, ResponseTemplate::new(200).set_body_json(manifests)).await;
    let shop = registry(&server).await;
    let error = client(&server.uri()).0.repository_manifests(&shop, "a").await.unwrap_err();
    let failure = Failure::from(error);
    assert_eq!(failure.messages[1], "only 1 of 2 came");
    assert_eq!(failure.kind, FailureKind::Infrastructure);
}

#[tokio::test]
async fn a_repository_with_a_slash_is_one_segment_and_one_that_is_gone_is_empty() {
    let server = MockServer::start().await;
    let gone = ResponseTemplate::new(404).set_body_json(refusal("not_found", "not there"));
    Mock::given(method("DELETE"))
        .and(path("/v2/registries/shop/repositories/a%2Fb/digests/sha256:1"))
        .respond_with(ResponseTemplate::new(204))
        .mount(&server)
        .await;
    let shop = registry(&server).await;
    Mock::given(wiremock::matchers::any()).respond_with(gone).with_priority(9).mount(&server).await;
    let client = client(&server.uri()).0;
    assert!(client.delete_manifest(&shop, "a/b", "sha256:1").await.unwrap());
    assert!(!client.delete_manifest(&shop, "a/b", "sha256:2").await.unwrap());
    assert_eq!(client.repository_tags(&shop, "a/b").await.unwrap(), []);
    assert_eq!(client.active_garbage_collection(&shop).await.unwrap(), None);
    assert!(!client.cancel_garbage_collection(&shop, "id").await.unwrap());
}

#[tokio::test]
async fn a_garbage_collection_that_runs_already_is_the_one_that_is_started() {
    let running = json!({"garbage_collection": {"uuid": "1", "status": "scanning manifests"}});
    let route = "/v2/registries/shop/garbage-collection";
    let server = server(route, ResponseTemplate::new(200).set_body_json(running)).await;
    Mock::given(method("POST")).and(path(route)).respond_with(ResponseTemplate::new(409)).mount(&server).await;
    let shop = registry(&server).await;
    let started = client(&server.uri()).0.start_garbage_collection(&shop).await.unwrap();
    assert_eq!((started.uuid.as_str(), started.status.as_str()), ("1", "scanning manifests"));
}
