//! Which folder of an old `docker save` archive holds which layer.
//!
//! Docker up to 24 names the folder of a layer by an id that it makes up from the layer's chain (`CreateID` in
//! <https://github.com/moby/moby/blob/v24.0.9/image/v1/imagev1.go>). All that goes into it is known beforehand, except for the
//! top layer, so a layer that the registry has can be passed over without reading it. Where the Engine does it otherwise the
//! names simply do not match, and layers are told apart by their digests after they have been read.

use crate::model::Digest;
use std::collections::HashMap;

/// What the id of a layer is made from beside its chain: an image of 1970 that was configured by nobody.
const NOBODY: &str = concat!(
    r#"{"container_config":{"Hostname":"","Domainname":"","User":"","AttachStdin":false,"AttachStdout":false,"#,
    r#""AttachStderr":false,"Tty":false,"OpenStdin":false,"StdinOnce":false,"Env":null,"Cmd":null,"Image":"","#,
    r#""Volumes":null,"WorkingDir":"","Entrypoint":null,"OnBuild":null,"Labels":null},"created":"1970-01-01T00:00:00Z""#
);

/// Folders and the layers in them.
#[derive(Clone, Debug, Default)]
pub(crate) struct Names {
    /// Layers by the folder.
    layers: HashMap<String, Digest>,
    /// The folder below the top layer's, and the top layer.
    top: Option<(Option<String>, Digest)>,
}

impl Names {
    /// The names of an image's layers, lowest first.
    pub(crate) fn of(diff_ids: &[Digest]) -> Self {
        let Some((top, lower)) = diff_ids.split_last() else { return Self::default() };
        let (mut layers, mut chain, mut parent) = (HashMap::new(), None::<Digest>, None::<Digest>);
        for diff_id in lower {
            let link =
                chain.map_or_else(|| diff_id.clone(), |chain| Digest::of(format!("{chain} {diff_id}").as_bytes()));
            let above = parent.map(|parent| format!(r#","parent":"{parent}""#)).unwrap_or_default();
            let id = Digest::of(format!(r#"{NOBODY},"layer_id":"{link}"{above}}}"#).as_bytes());
            layers.insert(id.hex().to_owned(), diff_id.clone());
            (chain, parent) = (Some(link), Some(id));
        }
        Self { layers, top: Some((parent.map(|id| id.hex().to_owned()), top.clone())) }
    }

    /// Reads the `json` of a folder: the one whose parent is the last but one holds the top layer.
    pub(crate) fn learn(&mut self, folder: &str, json: &[u8]) {
        #[derive(serde::Deserialize)]
        struct Image {
            parent: Option<String>,
        }
        let Ok(image) = serde_json::from_slice::<Image>(json) else { return };
        if let Some((_, top)) = self.top.take_if(|(parent, _)| *parent == image.parent) {
            self.layers.entry(folder.to_owned()).or_insert(top);
        }
    }

    /// Folders with their layers.
    #[cfg(test)]
    pub(crate) fn folders(&self) -> Vec<(String, Digest)> {
        self.layers.iter().map(|(folder, layer)| (folder.clone(), layer.clone())).collect()
    }

    /// The digest of the layer in a folder.
    pub(crate) fn layer(&self, folder: &str) -> Option<&Digest> {
        self.layers.get(folder)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The layers of an image of four, and the folders that an Engine 20.10.24 put them in.
    const ENGINE_20: [(&str, &str); 4] = [
        (
            "sha256:6121d1e97139b15389af4e3bbbbbb30b0f35c6b5eea85f06333a5297e3b1e0fb",
            "b6c01636583dcc0ad58fe4f464a0fbae8c86efc4b6fc64332c0ec59563627cf0",
        ),
        (
            "sha256:fe1668d596304cb59c5a91686542a84b4877e39dfd65ef6556323a8fb1ef97af",
            "6e2e7e67ba470c9977408c02fa9194eafcc6a55cabc9f3fbcef360ad48af7410",
        ),
        (
            "sha256:cad796de75936f67b90b9d25bdeb44a25bc12ea8bdf87e7571c6943f693469ca",
            "b52cece9e941f9291ed154b1f5450779f4d263dcdc1cf8873851c576efcdd6d7",
        ),
        (
            "sha256:f256f96164c98fa378f1870da143879221ea53aafac7913d78bcac7600fe862a",
            "201975301041524a1a267db3dac8345f404edf89debd1460db65e4a7121cbe87",
        ),
    ];

    #[test]
    fn an_engines_folders_are_known_beforehand_except_for_the_top_which_says_what_it_stands_on() {
        let layers: Vec<Digest> = ENGINE_20.iter().map(|(layer, _)| Digest::parse(layer).unwrap()).collect();
        let mut names = Names::of(&layers);
        for (layer, (_, folder)) in layers.iter().zip(ENGINE_20).take(3) {
            assert_eq!(names.layer(folder), Some(layer));
        }
        let (below, top) = (ENGINE_20[2].1, ENGINE_20[3].1);
        assert_eq!(names.layer(top), None);
        names.learn("elsewhere", br#"{"id":"elsewhere","parent":"something else"}"#);
        names.learn(top, format!(r#"{{"id":"{top}","parent":"{below}"}}"#).as_bytes());
        assert_eq!((names.layer(top), names.layer("elsewhere")), (layers.last(), None));
    }

    #[test]
    fn an_image_of_one_layer_has_only_a_top() {
        let mut names = Names::of(&[Digest::of(b"one")]);
        names.learn("a", br#"{"id":"a"}"#);
        names.learn("b", br#"{"id":"b"}"#);
        assert_eq!((names.layer("a"), names.layer("b")), (Some(&Digest::of(b"one")), None));
        assert_eq!(Names::of(&[]).layer(""), None);
    }
}
