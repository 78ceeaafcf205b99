//! Steps to layers: each step that copies gives one; folders that are only made go into the next.

use super::archive::TIME_TEXT;
use super::copy::{Action, Layer, Site, Trouble};
use super::source::Files;
use super::tree::{Base, Facts, Known};
use crate::image::config::Draft;

/// One step of an assembly: an instruction of a Dockerfile, an entry of `copy`, a part of an archive.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Step {
    /// The line where it was written, from 1.
    pub(crate) line: usize,
    /// It as it was written.
    pub(crate) text: String,
    /// What it does to files.
    pub(crate) action: Option<Action>,
    /// Whether archives among its sources would be unpacked: `ADD`.
    pub(crate) unpacks: bool,
}

/// An image that is ready to be made.
#[derive(Clone, Debug)]
pub(crate) struct Blueprint {
    /// The layers on top of the base, lowest first; each with the position of the step that made it.
    pub(crate) layers: Vec<(usize, Layer)>,
    /// The configuration without the layers' digests.
    pub(crate) draft: Draft,
    /// What was asked of the base.
    pub(crate) facts: Facts,
}

/// Why there is no blueprint: the step that cannot be done, and why not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Stuck {
    /// The position of the step.
    pub(crate) step: usize,
    /// What stands in its way.
    pub(crate) trouble: Trouble,
}

/// Draws the layers of some steps on a base.
pub(crate) fn draw(steps: &[Step], draft: Draft, known: &Known, files: &Files) -> Result<Blueprint, Stuck> {
    let base = Base::new(known);
    let mut site = Site::new(&base, files);
    let mut layers: Vec<(usize, Layer)> = Vec::new();
    let mut last_folder = 0;
    for (at, step) in steps.iter().enumerate() {
        let stuck = |trouble| Stuck { step: at, trouble };
        let Some(action) = &step.action else { continue };
        site.act(action).map_err(stuck)?;
        match action {
            Action::Folder { .. } => last_folder = at,
            Action::Copy(_) => layers.push((at, site.take_layer().map_err(stuck)?)),
        }
    }
    let rest = site.take_layer().map_err(|trouble| Stuck { step: last_folder, trouble })?;
    drop(site);
    layers.push((last_folder, rest));
    layers.retain(|(_, layer)| !layer.is_empty());
    let mut blueprint = Blueprint { layers, draft: Draft::default(), facts: base.into_facts() };
    blueprint.note(steps, draft);
    Ok(blueprint)
}

impl Blueprint {
    /// Takes a configuration, and notes in it what was done.
    pub(crate) fn note(&mut self, steps: &[Step], mut draft: Draft) {
        for (at, step) in steps.iter().enumerate() {
            let layer = self.layers.iter().any(|(maker, _)| *maker == at);
            draft.note(&step.text, layer, TIME_TEXT);
        }
        self.draft = draft;
    }
}

#[cfg(test)]
mod tests {
    use super::super::copy::Copy;
    use super::super::source::{Content, Item, Kind};
    use super::super::tree::Whole;
    use super::*;
    use crate::model::Platform;
    use serde_json::Value;

    /// A step.
    fn step(text: &str, action: Option<Action>) -> Step {
        Step { line: 1, text: text.to_owned(), action, unpacks: false }
    }

    #[test]
    fn each_copy_is_a_layer_and_the_history_tells_which() {
        let mut files = Files::default();
        let content = Content::Path("a".into());
        files.add("a", Item { kind: Kind::File { content, size: 1, identity: None }, mode: 0o644 });
        let copy = |source: &str, dest: &str| {
            let (sources, dest) = (vec![source.to_owned()], dest.to_owned());
            Some(Action::Copy(Copy { sources, dest, texts: Vec::new(), owner: None, mode: None, link: false }))
        };
        let folder = |path: &str| Some(Action::Folder { path: path.to_owned(), owner: None });
        let steps = [
            step("WORKDIR /x", folder("/x")),
            step("COPY a /x/", copy("a", "/x/")),
            step("COPY no* /", copy("no*", "/")),
            step("ENV A=1", None),
            step("WORKDIR /y", folder("/y")),
            step("WORKDIR /y", folder("/y")),
        ];
        let known = Known::All(Whole::default());
        let drawn = draw(&steps, Draft::scratch(&Platform::default()), &known, &files).unwrap();
        let paths: Vec<Vec<String>> =
            drawn.layers.iter().map(|(_, layer)| layer.entries().map(|(path, _)| path).collect()).collect();
        assert_eq!(paths, [vec!["x", "x/a"], vec!["y"]]);
        let config: Value = serde_json::from_slice(&drawn.draft.finish(&[], TIME_TEXT).unwrap()).unwrap();
        let empty: Vec<bool> =
            config["history"].as_array().unwrap().iter().map(|entry| entry["empty_layer"] == true).collect();
        assert_eq!(empty, [true, false, true, true, true, false]);
        let stuck =
            draw(&[step("", None), step("", copy("no", "/"))], Draft::scratch(&Platform::default()), &known, &files);
        assert_eq!(stuck.unwrap_err(), Stuck { step: 1, trouble: Trouble::Missing { source: "no".to_owned() } });
    }
}
