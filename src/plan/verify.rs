//! The plan, checked by itself: `execute` relies on every line of this.

use super::{OperationId, OperationKind, Plan};
use crate::desired::SlotImage;
use std::collections::{BTreeMap, BTreeSet};

/// What is wrong with a plan. It is a mistake of Seaway's, never of the deploy's.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the plan contradicts itself: {0}")]
pub(crate) struct Contradiction(String);

/// Checks that operations are numbered in order, that each needs only operations before it, that every object and every
/// image comes up once, that an object waits for the images it holds, and that a wait follows its apply.
pub(crate) fn verify(plan: &Plan) -> Result<(), Contradiction> {
    let mut seen = Seen::default();
    for (position, operation) in plan.operations.iter().enumerate() {
        if operation.id != position {
            return Err(Contradiction(format!("operation {} stands at place {position}", operation.id)));
        }
        if let Some(need) = operation.needs.iter().find(|need| **need >= position) {
            return Err(Contradiction(format!("operation {position} needs operation {need}, which comes after it")));
        }
        seen.check(position, &operation.kind, &operation.needs).map_err(Contradiction)?;
    }
    Ok(())
}

/// What came up so far.
#[derive(Default)]
struct Seen {
    /// Images that are made, by key.
    images: BTreeMap<String, OperationId>,
    /// Keys of all images.
    keys: BTreeSet<String>,
    /// Objects that are applied, as texts.
    applies: BTreeMap<String, OperationId>,
}

impl Seen {
    /// Checks one operation against those before it.
    fn check(&mut self, id: OperationId, kind: &OperationKind, needs: &[OperationId]) -> Result<(), String> {
        match kind {
            OperationKind::Build { image, .. }
            | OperationKind::Push { image, .. }
            | OperationKind::Mirror { image, .. } => {
                self.images.insert(image.key.clone(), id);
                self.image(&image.key)
            }
            OperationKind::Reuse { image, .. } => self.image(&image.key),
            OperationKind::Apply { object, .. } => {
                let missing = object.slots.iter().find_map(|slot| match &slot.image {
                    SlotImage::Ours(key) => self.images.get(key).filter(|made| !needs.contains(made)).map(|_| key),
                    SlotImage::Foreign(_) => None,
                });
                if let Some(key) = missing {
                    return Err(format!("{} does not wait for image `{key}`", object.reference));
                }
                match self.applies.insert(format!("{:?}", object.reference), id) {
                    Some(_) => Err(format!("{} is applied twice", object.reference)),
                    None => Ok(()),
                }
            }
            OperationKind::WaitReady { object, .. } => {
                let apply = self.applies.get(&format!("{object:?}"));
                let follows = apply.is_some_and(|apply| needs.contains(apply));
                follows.then_some(()).ok_or_else(|| format!("{object} is waited for before it is applied"))
            }
            OperationKind::Settle { .. } | OperationKind::Expose { .. } | OperationKind::Smoke { .. } => Ok(()),
        }
    }

    /// Notes an image.
    fn image(&mut self, key: &str) -> Result<(), String> {
        if self.keys.insert(key.to_owned()) { Ok(()) } else { Err(format!("image `{key}` comes up twice")) }
    }
}

#[cfg(test)]
mod tests {
    use super::super::{plan, sample};
    use super::*;

    fn sound() -> Plan {
        let desired = sample::desired(vec![sample::deployment("api", &["api"])]);
        plan(&desired, sample::absent(&desired))
    }

    /// Breaks a sound plan.
    type Spoil = fn(&mut Plan);

    #[test]
    fn every_contradiction_is_found() {
        let spoil: [(&str, Spoil); 5] = [
            ("stands at place", |plan| plan.operations.swap(0, 1)),
            ("comes after it", |plan| plan.operations[0].needs.push(1)),
            ("does not wait for image `api`", |plan| plan.operations[1].needs.clear()),
            ("waited for before", |plan| plan.operations[2].needs.clear()),
            ("comes up twice", |plan| plan.operations[1].kind = plan.operations[0].kind.clone()),
        ];
        for (wanted, spoil) in spoil {
            let mut plan = sound();
            spoil(&mut plan);
            let said = verify(&plan).expect_err(wanted).to_string();
            assert!(said.contains(wanted), "{said}");
        }
        assert_eq!(verify(&sound()), Ok(()));
    }
}
