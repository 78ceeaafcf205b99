//! `environments`: an overlay is laid over the rest of deploy.yml. Mappings merge deep, lists are replaced, null removes.

use super::node::{Entry, Node, NodeKind};

/// The key that holds the overlays.
pub(super) const KEY: &str = "environments";

/// The root with an overlay on it; `environments` itself stays.
pub(super) fn lay(base: &Node, overlay: &Node) -> Node {
    let (NodeKind::Map(under), NodeKind::Map(over)) = (&base.kind, &overlay.kind) else { return overlay.clone() };
    let mut entries: Vec<Entry> = Vec::new();
    for entry in under {
        match over.iter().find(|other| other.key == entry.key) {
            None => entries.push(entry.clone()),
            Some(other) if other.value.is_null() => {}
            // The place of the base: a mapping of both is the base's, its changed entries have places of their own.
            Some(other) => entries.push(Entry {
                value: Node { span: span_of(&entry.value, &other.value), ..lay(&entry.value, &other.value) },
                ..other.clone()
            }),
        }
    }
    let new = over.iter().filter(|entry| !under.iter().any(|known| known.key == entry.key) && !entry.value.is_null());
    entries.extend(new.cloned());
    Node { kind: NodeKind::Map(entries), span: base.span }
}

/// The place of a merged value.
fn span_of(base: &Node, overlay: &Node) -> super::source::Span {
    let both = matches!((&base.kind, &overlay.kind), (NodeKind::Map(_), NodeKind::Map(_)));
    if both { base.span } else { overlay.span }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::node::parse;
    use crate::config::scalar::Dialect;
    use serde_json::json;

    #[test]
    fn mappings_merge_lists_are_replaced_null_removes() {
        let base = parse("{ a: { b: 1, c: 2, g: 3 }, d: [1, 2], e: x, f: 1 }").0.remove(0);
        let overlay = parse("{ a: { c: 3, h: 4 }, d: [3], e: null, i: 5, f: { deep: true }, j: ~ }").0.remove(0);
        let wanted = json!({ "a": { "b": 1, "c": 3, "g": 3, "h": 4 }, "d": [3], "f": { "deep": true }, "i": 5 });
        assert_eq!(lay(&base, &overlay).to_json(Dialect::Strict), wanted);
    }

    #[test]
    fn laying_nothing_changes_nothing() {
        let base = parse("{ a: { b: 1 } }").0.remove(0);
        let nothing = parse("{}").0.remove(0);
        assert_eq!(lay(&base, &nothing), base);
    }
}
