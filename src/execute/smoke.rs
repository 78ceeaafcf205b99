//! The smoke test: requests in order against the address, within one budget for whatever still warms up.

use super::event::{Diagnosis, EventKind, SmokeResult};
use super::progress::Progress;
use crate::config::{Expectation, SmokeStep, Template};
use crate::error::{Failure, FailureKind};
use crate::http::transport_cause;
use crate::plan::OperationId;
use jsonpath_rust::JsonPath as _;
use serde_json::Value;
use std::collections::BTreeMap;
use std::time::Duration;
use tokio::time::{Instant, sleep};

/// From here on the address has to answer as expected: a load balancer needs some seconds until it finds its targets.
const BUDGET: Duration = Duration::from_secs(30);

/// A wrong answer may still become right (a cache, a counter), but not for as long as none may become one.
const SECOND_THOUGHTS: Duration = Duration::from_secs(10);

/// The pause between two tries of a step.
const PAUSE: Duration = Duration::from_millis(500);

/// A request that is not answered within this is not answered.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(10);

/// How many lines of an answer are shown.
const SHOWN_LINES: usize = 10;

/// What to look at when the address answers and the application does not.
const UNREACHED: &str = "no pod answered: check that the `selector` and `targetPort` of the Service lead to\n\
                         ready pods (`kubectl get endpointslices`)";

/// Values that earlier answers gave, by name.
type Saved = BTreeMap<String, Value>;

/// Sends all steps in order.
pub(super) async fn smoke(
    run: &Progress,
    id: OperationId,
    steps: &[SmokeStep],
    host: Option<&str>,
) -> Result<String, Diagnosis> {
    let Some(address) = run.address() else {
        return Err(Failure::new(FailureKind::Infrastructure, "the smoke test has no address to go to").into());
    };
    let tester = Tester { http: run.doors.http.clone(), base: address.base, host: host.map(str::to_owned) };
    let (deadline, mut saved) = (Instant::now() + BUDGET, Saved::new());
    for step in steps {
        let answered = tokio::select! {
            answered = tester.step(step, &saved, deadline, |message| run.say(id, message)) => answered,
            () = run.stop.cancel.cancelled() => {
                return Err(Failure::new(FailureKind::Interrupted, "the smoke test was stopped").into());
            }
        };
        let verdict = answered.map_err(Diagnosis::from)?;
        run.events.send(EventKind::SmokeAnswered { result: verdict.result.clone() });
        if let Some(failure) = &verdict.result.failure {
            return Err(verdict.diagnosis(step, failure));
        }
        saved.extend(verdict.saved);
    }
    let count = steps.len();
    Ok(format!("{count} {} as expected", if count == 1 { "answer" } else { "answers" }))
}

/// Sends steps.
struct Tester {
    /// The client.
    http: reqwest::Client,
    /// Where to: `http://203.0.113.10`.
    base: String,
    /// The host name that requests carry.
    host: Option<String>,
}

/// What came of a step.
struct Verdict {
    /// For the reports.
    result: SmokeResult,
    /// Values that the answer gave.
    saved: Saved,
    /// The first lines of the answer.
    excerpt: Vec<String>,
    /// How long after the first try another may come out differently.
    patience: Duration,
}

impl Verdict {
    /// The failure of the smoke test.
    fn diagnosis(&self, step: &SmokeStep, failure: &str) -> Diagnosis {
        let SmokeResult { method, path, .. } = &self.result;
        let message = format!("smoke test `{method} {path}` failed: {failure}");
        let place = format!("the step stands in line {} of deploy.yml", step.line);
        let hint = match self.result.status {
            None | Some(502..=504) => format!("{UNREACHED}\n{place}"),
            Some(_) => place,
        };
        let evidence = if self.excerpt.is_empty() {
            Vec::new()
        } else {
            vec![("the answer begins with".to_owned(), self.excerpt.clone())]
        };
        Diagnosis {
            failure: Failure::new(FailureKind::Application, message).with_hint(hint),
            chain: Vec::new(),
            evidence,
        }
    }
}

impl Tester {
    /// Sends a step until it is answered as expected or the budget is spent.
    ///
    /// `say` is told why it is sent again, once a reason.
    async fn step(
        &self,
        step: &SmokeStep,
        saved: &Saved,
        deadline: Instant,
        say: impl Fn(String),
    ) -> Result<Verdict, Failure> {
        let filled = Filled::of(step, saved)?;
        let (begin, mut said) = (Instant::now(), String::new());
        loop {
            let verdict = self.once(&filled).await;
            let Some(failure) = &verdict.result.failure else { return Ok(verdict) };
            if Instant::now() + PAUSE >= deadline.min(begin + verdict.patience) {
                return Ok(verdict);
            }
            if *failure != said {
                said.clone_from(failure);
                say(format!("{} {}: {failure}, trying again", filled.method, filled.path));
            }
            sleep(PAUSE).await;
        }
    }

    /// Sends a step once.
    async fn once(&self, step: &Filled) -> Verdict {
        let begin = Instant::now();
        let answer = tokio::time::timeout(REQUEST_TIMEOUT, self.send(step)).await;
        let took = begin.elapsed();
        match answer {
            Ok(Ok((status, body))) => step.judge(status, &body, took),
            Ok(Err(error)) => step.unanswered(&transport_cause(&error), took),
            Err(_) => step.unanswered(&format!("no answer within {} s", REQUEST_TIMEOUT.as_secs()), took),
        }
    }

    /// Sends a request and reads its answer.
    async fn send(&self, step: &Filled) -> reqwest::Result<(u16, String)> {
        let mut request = self.http.request(step.method.clone(), format!("{}{}", self.base, step.path));
        if let Some(host) = &self.host {
            request = request.header(reqwest::header::HOST, host);
        }
        for (name, value) in &step.headers {
            request = request.header(name, value);
        }
        if let Some(json) = &step.json {
            request = request.json(json);
        }
        let response = request.send().await?;
        let status = response.status().as_u16();
        Ok((status, response.text().await?))
    }
}

/// A step with its templates filled in.
struct Filled {
    /// The method.
    method: reqwest::Method,
    /// The path.
    path: String,
    /// The headers.
    headers: BTreeMap<String, String>,
    /// The body.
    json: Option<Value>,
    /// What the answer must be.
    expect: Expectation,
    /// The text that its body must contain.
    contains: Option<String>,
    /// What to keep from the answer: name to JSON path.
    save: BTreeMap<String, String>,
}

impl Filled {
    /// Fills a step in.
    fn of(step: &SmokeStep, saved: &Saved) -> Result<Self, Failure> {
        let line = |text: String| {
            Failure::new(FailureKind::Configuration, format!("smoke step in line {} of deploy.yml: {text}", step.line))
        };
        let fill_text = |template: &Template| fill(&template.0, saved).map_err(line);
        let fill_json = |value: &Value| fill_value(value, saved).map_err(line);
        let method = reqwest::Method::from_bytes(step.method.as_bytes());
        let method = method.map_err(|_| line(format!("`{}` is no method", step.method)))?;
        let headers = step.headers.iter().map(|(name, value)| Ok((name.clone(), fill_text(value)?)));
        let mut expect = step.expect.clone();
        for value in expect.json.values_mut() {
            *value = fill_json(value)?;
        }
        Ok(Self {
            method,
            path: fill_text(&step.path)?,
            headers: headers.collect::<Result<_, Failure>>()?,
            json: step.json.as_ref().map(fill_json).transpose()?,
            contains: expect.body.as_ref().map(fill_text).transpose()?,
            expect,
            save: step.save.clone(),
        })
    }

    /// Judges an answer.
    fn judge(&self, status: u16, body: &str, took: Duration) -> Verdict {
        let json: Option<Value> = serde_json::from_str(body).ok();
        let mut saved = Saved::new();
        let failure = self.mismatch(status, body, json.as_ref(), took).or_else(|| {
            self.save.iter().find_map(|(name, path)| match json.as_ref().and_then(|json| at(json, path)) {
                Some(value) => {
                    saved.insert(name.clone(), value);
                    None
                }
                None => Some(format!("`{name}` cannot be saved: the answer has nothing at `{path}`")),
            })
        });
        // Until the first targets are found, balancers and ingresses answer 404, 502, 503 or 504. What was written
        // must not be written twice; a question may be asked again.
        let warming = matches!(status, 404 | 502..=504);
        let patience = match (warming, self.method.is_safe()) {
            (true, _) => BUDGET,
            (false, true) => SECOND_THOUGHTS,
            (false, false) => Duration::ZERO,
        };
        let excerpt = if failure.is_some() { excerpt(body) } else { Vec::new() };
        Verdict { result: self.result(Some(status), took, failure), saved, excerpt, patience }
    }

    /// What is wrong with an answer: expected and got.
    fn mismatch(&self, status: u16, body: &str, json: Option<&Value>, took: Duration) -> Option<String> {
        match self.expect.status {
            Some(wanted) if wanted != status => return Some(format!("expected status {wanted}, got {status}")),
            None if !(200..400).contains(&status) => return Some(format!("expected a status below 400, got {status}")),
            _ => {}
        }
        if let Some(wanted) = self.contains.as_deref().filter(|wanted| !body.contains(*wanted)) {
            return Some(format!(
                "expected a body that contains `{wanted}`, got one of {} bytes without it",
                body.len()
            ));
        }
        for (path, wanted) in &self.expect.json {
            let got = json.and_then(|json| at(json, path));
            if got.as_ref() != Some(wanted) {
                let got = got.map_or_else(|| "nothing".to_owned(), |got| format!("`{got}`"));
                return Some(format!("expected `{path}` to be `{wanted}`, got {got}"));
            }
        }
        let within = self.expect.within.filter(|within| took > *within)?;
        Some(format!("expected an answer within {} ms, got it after {} ms", within.as_millis(), took.as_millis()))
    }

    /// The verdict where no answer came.
    fn unanswered(&self, cause: &str, took: Duration) -> Verdict {
        let failure = Some(format!("expected an answer, got none: {cause}"));
        // A refused connection has written nothing; a broken one may have.
        let again = self.method.is_safe() || cause.to_lowercase().contains("refused");
        let patience = if again { BUDGET } else { Duration::ZERO };
        Verdict { result: self.result(None, took, failure), saved: Saved::new(), excerpt: Vec::new(), patience }
    }

    /// The result for the reports.
    fn result(&self, status: Option<u16>, took: Duration, failure: Option<String>) -> SmokeResult {
        let texts = self.contains.iter().map(|text| format!("contains \"{text}\""));
        let checked: Vec<String> =
            texts.chain(self.expect.json.iter().map(|(path, value)| format!("{path} = {value}"))).collect();
        SmokeResult {
            method: self.method.to_string(),
            path: self.path.clone(),
            status,
            took,
            detail: checked.join(", "),
            failure,
        }
    }
}

/// The first lines of a body.
fn excerpt(body: &str) -> Vec<String> {
    body.lines().take(SHOWN_LINES).map(|line| line.chars().take(200).collect()).collect()
}

/// The first value at a JSON path.
fn at(json: &Value, path: &str) -> Option<Value> {
    json.query(path).ok()?.first().map(|value| (*value).clone())
}

/// Fills `${smoke.NAME}` in every text of a value. A text that is nothing but one such place becomes the value itself,
/// so that numbers stay numbers.
fn fill_value(value: &Value, saved: &Saved) -> Result<Value, String> {
    Ok(match value {
        Value::String(text) => match only_place(text) {
            Some(name) => lookup(name, saved)?.clone(),
            None => Value::String(fill(text, saved)?),
        },
        Value::Array(items) => items.iter().map(|item| fill_value(item, saved)).collect::<Result<_, _>>()?,
        Value::Object(fields) => {
            let filled = fields.iter().map(|(key, value)| Ok((key.clone(), fill_value(value, saved)?)));
            filled.collect::<Result<serde_json::Map<_, _>, String>>()?.into()
        }
        other => other.clone(),
    })
}

/// The name of a text that is nothing but `${smoke.NAME}`.
fn only_place(text: &str) -> Option<&str> {
    let name = text.strip_prefix("${smoke.")?.strip_suffix('}')?;
    (!name.contains('}')).then_some(name)
}

/// Fills `${smoke.NAME}` in a text.
fn fill(text: &str, saved: &Saved) -> Result<String, String> {
    let (mut filled, mut rest) = (String::new(), text);
    while let Some((before, after)) = rest.split_once("${smoke.") {
        let (name, after) = after.split_once('}').ok_or_else(|| format!("`{text}` lacks a closing brace"))?;
        filled.push_str(before);
        match lookup(name, saved)? {
            Value::String(text) => filled.push_str(text),
            other => filled.push_str(&other.to_string()),
        }
        rest = after;
    }
    filled.push_str(rest);
    Ok(filled)
}

/// A saved value.
fn lookup<'a>(name: &str, saved: &'a Saved) -> Result<&'a Value, String> {
    saved.get(name).ok_or_else(|| format!("nothing was saved as `{name}` by an earlier step"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::sample::step;
    use serde_json::json;
    use std::sync::Once;
    use wiremock::matchers::{body_json, header, method, path};
    use wiremock::{Mock, MockServer, ResponseTemplate};

    fn tester(server: &MockServer) -> Tester {
        static CRYPTO: Once = Once::new();
        CRYPTO.call_once(crate::http::install_crypto);
        Tester { http: reqwest::Client::new(), base: server.uri(), host: Some("todo.example.com".to_owned()) }
    }

    async fn answer(server: &MockServer, verb: &str, at: &str, response: ResponseTemplate) {
        Mock::given(method(verb)).and(path(at)).respond_with(response).mount(server).await;
    }

    fn soon() -> Instant {
        Instant::now() + Duration::from_secs(3)
    }

    #[tokio::test]
    async fn a_value_of_one_answer_fills_the_next_request() {
        let server = MockServer::start().await;
        Mock::given(method("POST"))
            .and(path("/api/tasks"))
            .and(header("host", "todo.example.com"))
            .and(body_json(json!({ "title": "smoke 42-1" })))
            .respond_with(ResponseTemplate::new(201).set_body_json(json!({ "id": 7 })))
            .mount(&server)
            .await;
        let listed = ResponseTemplate::new(200).set_body_json(json!({ "id": 7, "title": "smoke 42-1" }));
        answer(&server, "GET", "/api/tasks/7", listed).await;
        let mut create = step("POST", "/api/tasks");
        create.json = Some(json!({ "title": "smoke 42-1" }));
        create.expect.status = Some(201);
        create.save = BTreeMap::from([("task".to_owned(), "$.id".to_owned())]);
        let mut read = step("GET", "/api/tasks/${smoke.task}");
        read.expect.json =
            BTreeMap::from([("$.id".to_owned(), json!("${smoke.task}")), ("$.title".to_owned(), json!("smoke 42-1"))]);
        let tester = tester(&server);
        let created = tester.step(&create, &Saved::new(), soon(), |_| {}).await.unwrap();
        assert_eq!((created.result.failure, &created.saved["task"]), (None, &json!(7)));
        let found = tester.step(&read, &created.saved, soon(), |_| {}).await.unwrap();
        assert_eq!(found.result.failure, None);
        assert_eq!(
            (found.result.path.as_str(), found.result.detail.as_str()),
            ("/api/tasks/7", r#"$.id = 7, $.title = "smoke 42-1""#)
        );
    }

    #[tokio::test]
    async fn what_warms_up_is_asked_again() {
        let server = MockServer::start().await;
        Mock::given(method("GET")).respond_with(ResponseTemplate::new(503)).up_to_n_times(1).mount(&server).await;
        answer(&server, "GET", "/", ResponseTemplate::new(200)).await;
        let verdict = tester(&server).step(&step("GET", "/"), &Saved::new(), soon(), |_| {}).await.unwrap();
        assert_eq!((verdict.result.status, verdict.result.failure), (Some(200), None));
    }

    #[tokio::test]
    async fn what_was_written_is_not_written_twice() {
        let server = MockServer::start().await;
        Mock::given(method("POST")).respond_with(ResponseTemplate::new(500)).expect(1).mount(&server).await;
        let verdict = tester(&server).step(&step("POST", "/"), &Saved::new(), soon(), |_| {}).await.unwrap();
        assert_eq!(verdict.result.failure.as_deref(), Some("expected a status below 400, got 500"));
    }

    #[tokio::test]
    async fn a_failure_says_expected_and_got_and_how_the_answer_begins() {
        let server = MockServer::start().await;
        answer(&server, "POST", "/", ResponseTemplate::new(200).set_body_string("<h1>Oops</h1>\nline 2")).await;
        let mut wanted = step("POST", "/");
        wanted.expect.body = Some(Template("Todo".to_owned()));
        let verdict = tester(&server).step(&wanted, &Saved::new(), soon(), |_| {}).await.unwrap();
        let failure = verdict.result.failure.clone().unwrap();
        let diagnosis = verdict.diagnosis(&wanted, &failure);
        assert_eq!(
            diagnosis.failure.to_string(),
            "smoke test `POST /` failed: expected a body that contains `Todo`, got one of 20 bytes without it"
        );
        assert_eq!(diagnosis.evidence[0].1, ["<h1>Oops</h1>", "line 2"]);
    }

    #[test]
    fn a_slow_answer_is_a_failure_even_if_it_is_right() {
        let mut wanted = step("GET", "/");
        wanted.expect.within = Some(Duration::from_secs(1));
        let filled = Filled::of(&wanted, &Saved::new()).unwrap();
        let judged = |took| filled.judge(200, "", Duration::from_millis(took)).result.failure;
        assert_eq!(judged(900), None);
        assert_eq!(judged(1300).unwrap(), "expected an answer within 1000 ms, got it after 1300 ms");
    }

    #[test]
    fn a_name_that_nothing_was_saved_as_is_a_mistake_of_the_file() {
        let failure = Filled::of(&step("GET", "/${smoke.task}"), &Saved::new()).err().unwrap();
        assert_eq!(failure.kind, FailureKind::Configuration);
        assert_eq!(
            failure.to_string(),
            "smoke step in line 1 of deploy.yml: nothing was saved as `task` by an earlier step"
        );
    }

    #[test]
    fn a_missing_json_value_says_what_is_there() {
        let mut wanted = step("GET", "/");
        wanted.expect.json = BTreeMap::from([("$.count".to_owned(), json!(3))]);
        let filled = Filled::of(&wanted, &Saved::new()).unwrap();
        let failure = |body: &str| filled.judge(200, body, Duration::ZERO).result.failure.unwrap();
        assert_eq!(failure(r#"{"count": 2}"#), "expected `$.count` to be `3`, got `2`");
        assert_eq!(failure("not json"), "expected `$.count` to be `3`, got nothing");
    }
}
