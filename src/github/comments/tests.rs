//! The sticky comment against a GitHub of our own that keeps state.

use super::*;
use crate::error::{Failure, render};
use axum::Router;
use axum::extract::{Path, Query, State};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use tokio::sync::Barrier;

/// What the fake GitHub knows.
#[derive(Default)]
struct Hub {
    /// Comments by their number: author and text.
    comments: Mutex<BTreeMap<u64, (String, String)>>,
    /// Requests so far, `PATCH`.
    requests: Mutex<Vec<String>>,
    /// Who the token stands for; `None` is a token that may not ask.
    user: Option<&'static str>,
    /// Who writes with the token.
    author: Mutex<&'static str>,
    /// Holds back every POST until so many have come.
    barrier: Option<Barrier>,
    /// So many POSTs are stored and then answered with 502.
    lost_answers: Mutex<usize>,
    /// Writes are answered with this.
    refusal: Option<(u16, &'static str)>,
}

/// A running fake.
struct Fake {
    /// What it knows.
    hub: Arc<Hub>,
    /// Its address.
    address: String,
}

/// The number of a page.
#[derive(serde::Deserialize)]
struct Page {
    /// From 1.
    page: usize,
    /// At most 100.
    per_page: usize,
}

/// A comment as GitHub gives it.
fn wire(id: u64, (author, body): &(String, String)) -> Value {
    json!({"id": id, "user": {"login": author, "type": "User"}, "body": body})
}

impl Hub {
    /// Notes a request.
    fn note(&self, method: &str) {
        self.requests.lock().unwrap().push(method.to_owned());
    }

    /// The refusal of a write, if writes are refused.
    fn refused(&self) -> Option<Response> {
        let (status, message) = self.refusal?;
        Some(answer(status, &json!({ "message": message })))
    }

    /// Adds a comment; gives its number.
    fn add(&self, author: &str, body: &str) -> u64 {
        let mut comments = self.comments.lock().unwrap();
        let id = comments.keys().last().map_or(1000, |last| last + 1);
        comments.insert(id, (author.to_owned(), body.to_owned()));
        id
    }

    /// The comments of an author: number and text.
    fn by(&self, author: &str) -> Vec<(u64, String)> {
        let comments = self.comments.lock().unwrap();
        let own = comments.iter().filter(|(_, (name, _))| name == author);
        own.map(|(id, (_, body))| (*id, body.clone())).collect()
    }

    /// How many requests of a method there were.
    fn count(&self, method: &str) -> usize {
        self.requests.lock().unwrap().iter().filter(|seen| *seen == method).count()
    }
}

/// An answer in JSON.
fn answer(status: u16, body: &Value) -> Response {
    (StatusCode::from_u16(status).unwrap(), body.to_string()).into_response()
}

/// `GET /user`.
async fn user(State(hub): State<Arc<Hub>>) -> Response {
    hub.note("GET user");
    match hub.user {
        Some(login) => answer(200, &json!({ "login": login })),
        None => answer(403, &json!({"message": "Resource not accessible by integration"})),
    }
}

/// `GET /repos/acme/todo/issues/42/comments`.
async fn list(State(hub): State<Arc<Hub>>, Query(page): Query<Page>) -> Response {
    hub.note("LIST");
    let comments = hub.comments.lock().unwrap();
    let skipped = (page.page - 1) * page.per_page;
    let part: Vec<Value> =
        comments.iter().skip(skipped).take(page.per_page.min(100)).map(|(id, comment)| wire(*id, comment)).collect();
    answer(200, &Value::Array(part))
}

/// `POST /repos/acme/todo/issues/42/comments`.
async fn create(State(hub): State<Arc<Hub>>, body: String) -> Response {
    hub.note("POST");
    if let Some(refused) = hub.refused() {
        return refused;
    }
    if let Some(barrier) = &hub.barrier {
        barrier.wait().await;
    }
    let body: Value = serde_json::from_str(&body).unwrap();
    let author = *hub.author.lock().unwrap();
    let id = hub.add(author, body["body"].as_str().unwrap());
    let mut lost = hub.lost_answers.lock().unwrap();
    if *lost > 0 {
        *lost -= 1;
        return answer(502, &json!({"message": "Bad gateway"}));
    }
    answer(201, &wire(id, &hub.comments.lock().unwrap()[&id]))
}

/// `GET`, `PATCH` and `DELETE /repos/acme/todo/issues/comments/ID`.
async fn one(State(hub): State<Arc<Hub>>, Path(id): Path<u64>, method: Method, body: String) -> Response {
    hub.note(method.as_str());
    let mut comments = hub.comments.lock().unwrap();
    if !comments.contains_key(&id) {
        return answer(404, &json!({"message": "Not Found"}));
    }
    if method != Method::GET
        && let Some(refused) = hub.refused()
    {
        return refused;
    }
    match method {
        Method::PATCH => {
            let body: Value = serde_json::from_str(&body).unwrap();
            body["body"].as_str().unwrap().clone_into(&mut comments.get_mut(&id).unwrap().1);
        }
        Method::DELETE => {
            comments.remove(&id);
            return StatusCode::NO_CONTENT.into_response();
        }
        _ => {}
    }
    answer(200, &wire(id, &comments[&id]))
}

impl Fake {
    /// Starts a GitHub below `/api/v3`, as an Enterprise Server has it.
    async fn start(hub: Hub) -> Self {
        if hub.author.lock().unwrap().is_empty() {
            *hub.author.lock().unwrap() = hub.user.unwrap_or(ACTIONS_BOT);
        }
        let hub = Arc::new(hub);
        let repository = Router::new()
            .route("/issues/42/comments", get(list).post(create))
            .route("/issues/comments/{id}", get(one).patch(one).delete(one));
        let router = Router::new()
            .nest("/api/v3/repos/acme/todo", repository)
            .route("/api/v3/user", get(user))
            .with_state(Arc::clone(&hub));
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = format!("http://{}/api/v3", listener.local_addr().unwrap());
        tokio::spawn(async move { axum::serve(listener, router).await });
        Self { hub, address }
    }

    /// A client of a run.
    fn run(&self, run: Option<(u64, u64)>) -> Comments {
        let sticky = Sticky::deploy("todo", "todo-app-prod", run);
        let token = Secret::new("ghs_token");
        Comments::new(&self.address, &token, "acme/todo", 42, sticky).unwrap().without_pauses()
    }
}

/// The first line of our comments.
const MARKER: &str = "<!-- seaway:deploy:todo/todo-app-prod -->";

#[tokio::test]
async fn two_runs_leave_one_comment_that_was_edited() {
    let fake = Fake::start(Hub::default()).await;
    let mut first = fake.run(Some((7, 1)));
    assert_eq!(first.publish("building").await.unwrap(), Published::Created);
    assert_eq!(first.publish("building").await.unwrap(), Published::Unchanged);
    assert_eq!(first.publish("live").await.unwrap(), Published::Edited);
    assert_eq!(fake.run(Some((8, 1))).publish("live again").await.unwrap(), Published::Edited);
    let ours = fake.hub.by(ACTIONS_BOT);
    assert_eq!(ours, [(1000, format!("{MARKER}\n<!-- seaway:run:8-1 -->\nlive again"))]);
    assert_eq!((fake.hub.count("POST"), fake.hub.count("PATCH")), (1, 2));
}

#[tokio::test]
async fn a_deploy_stays_within_six_requests() {
    let fake = Fake::start(Hub::default()).await;
    let mut comments = fake.run(Some((7, 1)));
    comments.publish("building").await.unwrap();
    comments.publish("live").await.unwrap();
    assert_eq!(*fake.hub.requests.lock().unwrap(), ["GET user", "LIST", "POST", "LIST", "GET", "PATCH"]);
}

#[tokio::test]
async fn ours_is_found_among_many_and_forgeries_are_left_alone() {
    let fake = Fake::start(Hub::default()).await;
    let forged = format!("{MARKER}\nsend money");
    fake.hub.add("eve", &forged);
    for number in 0..129 {
        fake.hub.add("somebody", &format!("remark {number}"));
    }
    // Our own remark that only quotes the marker is no sticky comment either.
    fake.hub.add(ACTIONS_BOT, &format!("> {MARKER}"));
    let id = fake.hub.add(ACTIONS_BOT, &format!("{MARKER}\r\nold"));
    assert_eq!(fake.run(None).publish("new").await.unwrap(), Published::Edited);
    assert_eq!(fake.hub.by(ACTIONS_BOT)[1], (id, format!("{MARKER}\nnew")));
    assert_eq!(fake.hub.by("eve")[0].1, forged);
    assert_eq!((fake.hub.count("POST"), fake.hub.comments.lock().unwrap().len()), (0, 132));
}

#[tokio::test]
async fn parallel_runs_leave_one_comment() {
    for _ in 0..10 {
        // Neither may list before both have listed: each then creates one.
        let fake = Fake::start(Hub { barrier: Some(Barrier::new(2)), ..Hub::default() }).await;
        let (mut left, mut right) = (fake.run(Some((7, 1))), fake.run(Some((8, 1))));
        let (one, two) = tokio::join!(left.publish("seven"), right.publish("eight"));
        one.unwrap();
        two.unwrap();
        assert_eq!(fake.hub.count("POST"), 2);
        // And both go on to their end, in parallel.
        let (one, two) = tokio::join!(right.publish("eight is live"), left.publish("seven is live"));
        one.unwrap();
        two.unwrap();
        let ours = fake.hub.by(ACTIONS_BOT);
        assert_eq!(ours, [(1000, format!("{MARKER}\n<!-- seaway:run:8-1 -->\neight is live"))]);
    }
}

#[tokio::test]
async fn duplicates_of_ours_are_collapsed_to_the_oldest() {
    let fake = Fake::start(Hub { user: Some("me"), ..Hub::default() }).await;
    let ids: Vec<u64> = (0..3).map(|n| fake.hub.add("me", &format!("{MARKER}\n{n}"))).collect();
    fake.run(None).publish("new").await.unwrap();
    assert_eq!(fake.hub.by("me"), [(ids[0], format!("{MARKER}\nnew"))]);
}

#[tokio::test]
async fn a_deleted_comment_comes_again() {
    let fake = Fake::start(Hub::default()).await;
    let mut comments = fake.run(None);
    comments.publish("building").await.unwrap();
    fake.hub.comments.lock().unwrap().clear();
    assert_eq!(comments.publish("live").await.unwrap(), Published::Created);
    assert_eq!(fake.hub.by(ACTIONS_BOT).len(), 1);
}

#[tokio::test]
async fn an_older_run_does_not_overwrite_a_newer_one() {
    let fake = Fake::start(Hub::default()).await;
    let mut older = fake.run(Some((7, 2)));
    older.publish("seven").await.unwrap();
    fake.run(Some((8, 1))).publish("eight").await.unwrap();
    assert_eq!(older.publish("seven is live").await.unwrap(), Published::Superseded);
    assert!(fake.hub.by(ACTIONS_BOT)[0].1.ends_with("eight"));
}

#[tokio::test]
async fn an_app_learns_who_it_is_from_its_first_comment() {
    let author = Mutex::new("acme-deploys[bot]");
    let fake = Fake::start(Hub { author, ..Hub::default() }).await;
    let old = fake.hub.add("acme-deploys[bot]", &format!("{MARKER}\nold"));
    fake.run(None).publish("new").await.unwrap();
    assert_eq!(fake.hub.by("acme-deploys[bot]"), [(old, format!("{MARKER}\nnew"))]);
}

#[tokio::test]
async fn an_answer_that_was_lost_makes_no_second_comment() {
    let fake = Fake::start(Hub { lost_answers: Mutex::new(1), ..Hub::default() }).await;
    assert_eq!(fake.run(None).publish("building").await.unwrap(), Published::Created);
    assert_eq!((fake.hub.by(ACTIONS_BOT).len(), fake.hub.count("POST")), (1, 1));
}

#[tokio::test]
async fn a_token_without_permission_is_told_which() {
    let refusal = Some((403, "Resource not accessible by integration"));
    let fake = Fake::start(Hub { refusal, ..Hub::default() }).await;
    let error = fake.run(None).publish("building").await.unwrap_err();
    assert_eq!(fake.hub.count("POST"), 1);
    insta::assert_snapshot!("no_permission", render(&Failure::from(error)));
}

#[tokio::test]
async fn a_server_that_is_broken_or_away_is_reported() {
    let fake = Fake::start(Hub { refusal: Some((500, "oops")), ..Hub::default() }).await;
    let error = fake.run(None).publish("building").await.unwrap_err();
    assert_eq!(
        (error.to_string().as_str(), fake.hub.count("POST")),
        ("GitHub refused commenting on #42 (500: oops)", 3)
    );
    let sticky = Sticky::deploy("todo", "x", None);
    let away = Comments::new("http://127.0.0.1:1", &Secret::new("t"), "acme/todo", 42, sticky).unwrap();
    let error = away.without_pauses().publish("building").await.unwrap_err();
    let wanted = "cannot reach GitHub for asking who the token stands for: Connection refused (os error 111)";
    assert_eq!(error.to_string(), wanted);
}

#[test]
fn a_long_body_is_cut_where_nothing_breaks() {
    let text = format!("# head\n<details><summary>log</summary>\n\n````text\n{}", "ü``` line\n".repeat(20_000));
    let body = Sticky::deploy("todo", "x", Some((1, 2))).body(&text);
    assert!(body.len() <= LONGEST_BODY && body.starts_with("<!-- seaway:deploy:todo/x -->\n<!-- seaway:run:1-2 -->\n"));
    assert!(body.contains("\n````\n</details>\n\n_Shortened"), "{}", &body[body.len() - 200..]);
    assert_eq!(open_fence(&body), None);
    assert_eq!(fit("short", 100), "short");
}

#[test]
fn a_marker_cannot_be_broken_out_of() {
    let sticky = Sticky::deploy("x -->\n<b>", "y", None);
    assert_eq!(sticky.marker, "<!-- seaway:deploy:x -b/y -->");
}
