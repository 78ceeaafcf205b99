//! A plan as people read it.

use super::{Change, FieldChange, OperationKind, Plan};
use crate::desired::DesiredObject;
use std::fmt::Write as _;

/// Where the explanation of an object starts on its line.
const COLUMN: usize = 78;

/// More fields than this of one object are counted instead of shown.
const SHOWN_FIELDS: usize = 12;

/// A longer value is cut: the plan says what changes, the manifest says it whole.
const LONGEST_VALUE: usize = 60;

/// What a plan does, for `seaway plan`: images, objects, then each object that changes, field by field.
pub(crate) fn text(plan: &Plan) -> String {
    let mut text = String::new();
    for line in summary(plan) {
        text.push_str(line.trim_end());
        text.push('\n');
    }
    let mut alone = true;
    for operation in &plan.operations {
        let OperationKind::Apply { object, change } = &operation.kind else { continue };
        let lines = object_lines(object, change, &operation.reason);
        // Objects of one line stand together; one with fields stands apart.
        let several = lines.lines().count() > 1;
        if !lines.is_empty() && (alone || several) {
            text.push('\n');
        }
        alone = if lines.is_empty() { alone } else { several };
        text.push_str(&lines);
    }
    text
}

impl Plan {
    /// Whether `up` would build, copy or write anything.
    pub(crate) fn has_changes(&self) -> bool {
        self.operations.iter().any(|operation| match &operation.kind {
            OperationKind::Build { .. } | OperationKind::Push { .. } | OperationKind::Mirror { .. } => true,
            OperationKind::Apply { change, .. } => *change != Change::Unchanged,
            _ => false,
        })
    }
}

/// The two lines on top.
fn summary(plan: &Plan) -> Vec<String> {
    let mut lines = Vec::new();
    let images = images(plan);
    if !images.is_empty() {
        lines.push(format!("images    {}", images.join("    ")));
    }
    lines.push(format!("objects   {}", objects(plan)));
    lines
}

/// `build backend (no image with these inputs in the registry)`, `reuse frontend, event-service`.
fn images(plan: &Plan) -> Vec<String> {
    let (mut made, mut reused) = (Vec::new(), Vec::new());
    for operation in &plan.operations {
        match &operation.kind {
            OperationKind::Build { image, .. } => made.push(format!("build {} ({})", image.key, operation.reason)),
            OperationKind::Push { image, .. } => made.push(format!("push {} ({})", image.key, operation.reason)),
            OperationKind::Mirror { image, .. } => made.push(format!("mirror {} ({})", image.key, operation.reason)),
            OperationKind::Reuse { image, .. } => reused.push(image.key.as_str()),
            _ => {}
        }
    }
    if !reused.is_empty() {
        made.push(format!("reuse {}", reused.join(", ")));
    }
    made
}

/// `3 create, 2 change (1 rolls 4 pods), 19 unchanged`.
fn objects(plan: &Plan) -> String {
    let (mut created, mut changed, mut unchanged, mut rolled, mut pods) = (0, 0, 0, 0, 0);
    for operation in &plan.operations {
        let OperationKind::Apply { object, change } = &operation.kind else { continue };
        match change {
            Change::Create => created += 1,
            Change::Unchanged => unchanged += 1,
            Change::Configure { rolls, .. } => {
                changed += 1;
                if *rolls {
                    rolled += 1;
                    pods += replicas(object).unwrap_or(0);
                }
            }
        }
    }
    let rolls = match rolled {
        0 => String::new(),
        1 => format!(" (1 rolls {pods} pods)"),
        several => format!(" ({several} roll {pods} pods)"),
    };
    let parts = [
        (created, format!("{created} create")),
        (changed, format!("{changed} change{rolls}")),
        (unchanged, format!("{unchanged} unchanged")),
    ];
    let parts: Vec<String> = parts.into_iter().filter(|(count, _)| *count > 0).map(|(_, text)| text).collect();
    if parts.is_empty() { "none".to_owned() } else { parts.join(", ") }
}

/// How many pods a workload has; `None` where their number is not its own to say.
fn replicas(object: &DesiredObject) -> Option<i64> {
    let has_replicas = matches!(object.reference.kind(), "Deployment" | "StatefulSet");
    has_replicas.then(|| object.body["spec"]["replicas"].as_i64().unwrap_or(1))
}

/// The lines about one object; none where nothing changes.
fn object_lines(object: &DesiredObject, change: &Change, reason: &str) -> String {
    let (sign, fields, rolls) = match change {
        Change::Unchanged => return String::new(),
        Change::Create => ('+', [].as_slice(), false),
        Change::Configure { fields, rolls } => ('~', fields.as_slice(), *rolls),
    };
    let reference = &object.reference;
    let place = reference.namespace.as_ref().map(|namespace| format!("{namespace}/")).unwrap_or_default();
    let head = format!("{sign} {:<10} {place}{}", reference.kind(), reference.name);
    let kept = reason.split_once("; ").map(|(_, kept)| kept.to_owned());
    let effect = match (rolls, replicas(object)) {
        (true, Some(pods)) => format!("rolls {pods} {}", if pods == 1 { "pod" } else { "pods" }),
        (true, None) => "rolls its pods".to_owned(),
        (false, _) => String::new(),
    };
    let mut text = format!("{head:<COLUMN$}{effect}").trim_end().to_owned();
    text.push('\n');
    for line in field_lines(fields).into_iter().chain(kept.map(|kept| format!("    {kept}"))) {
        text.push_str(&line);
        text.push('\n');
    }
    text
}

/// A line for each field, their paths as wide as the widest.
fn field_lines(fields: &[FieldChange]) -> Vec<String> {
    let shown = &fields[..fields.len().min(SHOWN_FIELDS)];
    let width = shown.iter().map(|field| field.path.chars().count()).max().unwrap_or(0);
    let mut lines: Vec<String> = shown.iter().map(|field| field_line(field, width)).collect();
    if fields.len() > shown.len() {
        lines.push(format!("    … and {} more fields", fields.len() - shown.len()));
    }
    lines
}

/// `    spec.replicas   3 → 5`.
fn field_line(field: &FieldChange, width: usize) -> String {
    let mut line = format!("    {:<width$}   ", field.path);
    let (before, after) = (field.before.as_deref().map(short), field.after.as_deref().map(short));
    let written = match (before, after) {
        (Some(before), Some(after)) => write!(line, "{before} → {after}"),
        (None, Some(after)) => write!(line, "+ {after}"),
        (Some(before), None) => write!(line, "- {before}"),
        (None, None) => Ok(()),
    };
    written.unwrap_or_default(); // writing to a String cannot fail
    line
}

/// A value short enough for a line: an image is known by the start of its digest.
fn short(value: &str) -> String {
    if let Some((_, digest)) = value.split_once("@sha256:") {
        return format!("…@sha256:{}…", digest.get(..4).unwrap_or(digest));
    }
    let line = value.replace('\n', "⏎");
    if line.chars().count() <= LONGEST_VALUE {
        return line;
    }
    let cut: String = line.chars().take(LONGEST_VALUE - 1).collect();
    format!("{cut}…")
}

#[cfg(test)]
mod tests {
    use super::super::{Kept, Live, plan, sample};
    use super::*;
    use serde_json::json;

    #[test]
    fn a_plan_reads_like_a_list_of_changes() {
        let desired = sample::desired(vec![
            sample::deployment("api", &["api"]),
            sample::object("v1", "ConfigMap", "features", json!({ "data": { "a": "1" } })),
            sample::object("v1", "Secret", "database", json!({ "data": { "url": "bmV3" } })),
        ]);
        let mut observed = sample::unchanged(&desired);
        observed.images.get_mut("api").unwrap().digest = None;
        let answers = sample::absent(&desired).objects;
        for (reference, object) in &mut observed.objects {
            object.dry_run = answers[reference].dry_run.clone();
            match (reference.kind(), &mut object.live) {
                ("ConfigMap", live) => *live = Live::Absent,
                ("Secret", Live::Present(live)) => live["data"]["url"] = json!("b2xk"),
                ("Deployment", Live::Present(live)) => live["spec"]["paused"] = json!(true),
                _ => {}
            }
            if reference.kind() == "Deployment" {
                let owner = "HorizontalPodAutoscaler api".to_owned();
                object.kept.push(Kept { pointer: "/spec/replicas".to_owned(), value: json!(3), owner });
            }
        }
        let plan = plan(&desired, observed);
        assert!(plan.has_changes());
        let short = sample::digest().hex()[..4].to_owned();
        insta::assert_snapshot!(text(&plan).replace(&short, "SHORT"), @r"
        images    build api (no image with these inputs in the registry)
        objects   1 create, 2 change (1 rolls 3 pods)

        + ConfigMap  todo/features

        ~ Secret     todo/database
            data.url   *** → ***

        ~ Deployment todo/api                                                         rolls 3 pods
            spec.template.spec.containers[api].image   …@sha256:SHORT… → built in this deploy
            spec.paused                                - true
            spec.replicas is left to HorizontalPodAutoscaler api
        ");
    }

    #[test]
    fn nothing_to_do_is_said_in_one_line() {
        let desired = sample::desired(vec![sample::deployment("api", &["api"])]);
        let plan = plan(&desired, sample::unchanged(&desired));
        assert!(!plan.has_changes());
        assert_eq!(text(&plan), "images    reuse api\nobjects   1 unchanged\n");
    }
}
