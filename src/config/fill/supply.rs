//! What is said about images, filled in: what an image says itself comes before what the file says for all.

use super::Filler;
use crate::config::Supply;
use crate::config::needs::Part;
use crate::config::raw::{RawSupply, Text};
use crate::config::validate;

/// What is said about one image; `path` is `images.NAME`.
pub(super) fn supply(filler: &mut Filler<'_>, all: &RawSupply, own: &RawSupply, path: &str) -> Supply {
    let mut supply = Supply {
        stable_digest: own.stable_digest.or(all.stable_digest).unwrap_or_default(),
        sbom: own.sbom.or(all.sbom).unwrap_or_default(),
        provenance: own.provenance.or(all.provenance).unwrap_or_default(),
        compression: own.compression.or(all.compression).unwrap_or_default(),
        ..Supply::default()
    };
    annotate(filler, &mut supply, &all.annotations, "annotations");
    annotate(filler, &mut supply, &own.annotations, &format!("{path}.annotations"));
    supply
}

/// Fills annotations in.
fn annotate(filler: &mut Filler<'_>, supply: &mut Supply, annotations: &[(Text, Text)], path: &str) {
    for (name, value) in annotations {
        let value = filler.text(value, &format!("`{path}.{}`", name.value), Some(Part::Images)).text;
        supply.annotations.insert(name.value.clone(), value);
    }
}

/// Notes names of annotations that are none.
pub(super) fn check_names(filler: &mut Filler<'_>, annotations: &[(Text, Text)]) {
    for (name, _) in annotations {
        filler.key(name, "an annotation", validate::annotation_name);
    }
}
