//! A plan as JSON, version 1: what `seaway plan --output json` prints.

use crate::plan::{Change, OperationKind, Plan};
use serde_json::{Value, json};

/// The plan: what becomes of each image and each object. Secret values are already `***` in it.
pub(crate) fn plan_json(plan: &Plan) -> Value {
    let (mut images, mut objects) = (Vec::new(), Vec::new());
    for operation in &plan.operations {
        match &operation.kind {
            OperationKind::Build { image, .. } => images.push(one_image(&image.key, "build", &operation.reason)),
            OperationKind::Push { image, .. } => images.push(one_image(&image.key, "push", &operation.reason)),
            OperationKind::Mirror { image, .. } => images.push(one_image(&image.key, "mirror", &operation.reason)),
            OperationKind::Reuse { image, .. } => images.push(one_image(&image.key, "reuse", &operation.reason)),
            OperationKind::Apply { object, change } => {
                let mut value = json!({ "object": object.reference, "reason": operation.reason });
                describe(&mut value, change);
                objects.push(value);
            }
            _ => {}
        }
    }
    json!({
        "version": 1,
        "application": plan.target.application,
        "namespace": plan.target.namespace,
        "changes": plan.has_changes(),
        "images": images,
        "objects": objects,
    })
}

/// One image.
fn one_image(key: &str, action: &str, reason: &str) -> Value {
    json!({ "name": key, "action": action, "reason": reason })
}

/// What becomes of an object.
fn describe(value: &mut Value, change: &Change) {
    match change {
        Change::Create => value["change"] = json!("create"),
        Change::Unchanged => value["change"] = json!("unchanged"),
        Change::Configure { fields, rolls } => {
            let field = |field: &crate::plan::FieldChange| json!({ "path": field.path, "before": field.before, "after": field.after });
            value["change"] = json!("configure");
            value["rolls"] = json!(rolls);
            value["fields"] = fields.iter().map(field).collect();
        }
    }
}
