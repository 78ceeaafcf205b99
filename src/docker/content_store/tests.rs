use super::*;
use crate::docker::address::Connection;
use crate::docker::gathered::{Gathered, brought, gather};
use crate::docker::session::Services;
use crate::image::Manifest;
use futures::{FutureExt as _, stream};
use hyper_util::rt::TokioIo;
use tokio::task::JoinSet;
use tonic::transport::{Channel, Endpoint};

/// `BuildKit`'s end of a session that serves a store.
struct Exporter {
    /// The calls.
    client: tonic::client::Grpc<Channel>,
    /// Who answers them.
    serving: JoinSet<()>,
}

impl Exporter {
    /// Connects to a store.
    async fn of(store: &ContentStore) -> Self {
        let services = Services {
            folders: Arc::default(),
            secrets: Arc::default(),
            logins: Arc::new(|_| async { None }.boxed()),
            export: Some(store.clone()),
        };
        let (ours, theirs) = tokio::io::duplex(64 * 1024);
        let mut serving = JoinSet::new();
        serving.spawn(services.serve(Box::new(ours) as Box<dyn Connection>));
        let mut once = Some(TokioIo::new(theirs));
        let connector = tower::service_fn(move |_| {
            let connection = once.take().ok_or_else(|| std::io::Error::other("one connection only"));
            async move { connection }
        });
        let channel = Endpoint::from_static("http://session").connect_with_connector(connector).await.unwrap();
        Self { client: tonic::client::Grpc::new(channel), serving }
    }

    /// Writes a blob as containerd's client does: it asks how far the write is, twice, then sends pieces, then commits.
    async fn write(&mut self, kind: &str, digest: &Digest, bytes: &[u8]) -> Result<(), Status> {
        let request = |action: Action, offset: usize, data: &[u8]| WriteRequest {
            action: action.into(),
            offset: i64::try_from(offset).unwrap(),
            data: Bytes::copy_from_slice(data),
            ..WriteRequest::default()
        };
        let total = i64::try_from(bytes.len()).unwrap();
        let (reference, expected) = (format!("{kind}-{digest}"), digest.to_string());
        let first = WriteRequest { reference, total, expected: expected.clone(), ..request(Action::Stat, 0, b"") };
        let (half, end) = (bytes.len() / 2, bytes.len());
        let commit = WriteRequest { total, expected, ..request(Action::Commit, end, b"") };
        let requests = [
            first,
            request(Action::Stat, 0, b""),
            request(Action::Write, 0, &bytes[..half]),
            request(Action::Write, half, &bytes[half..]),
            commit,
        ];
        let mut answers = self.call(WRITE, requests.into()).await?;
        while let Some(answer) = answers.message().await? {
            if answer.action() == Action::Commit {
                assert_eq!((answer.offset, answer.digest), (total, digest.to_string()));
                return Ok(());
            }
        }
        panic!("the commit was not answered");
    }

    /// Calls a method.
    async fn call(
        &mut self,
        method: &'static str,
        requests: Vec<WriteRequest>,
    ) -> Result<Streaming<WriteResponse>, Status> {
        self.client.ready().await.unwrap();
        let codec = tonic_prost::ProstCodec::<WriteRequest, WriteResponse>::default();
        let path = http::uri::PathAndQuery::from_static(method);
        let answer = self.client.streaming(Request::new(stream::iter(requests)), path, codec).await?;
        Ok(answer.into_inner())
    }
}

/// What gzip makes of it.
fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    std::io::Write::write_all(&mut encoder, bytes).unwrap();
    encoder.finish().unwrap()
}

/// An image of a compressed base layer and a plain layer on it.
struct Image {
    /// The base layer as it is pushed.
    base: Vec<u8>,
    /// The layer on it.
    plain: Vec<u8>,
    /// The configuration.
    config: Vec<u8>,
    /// The manifest, in which the second layer is plain.
    manifest: Vec<u8>,
}

impl Image {
    /// One for amd64.
    fn new() -> Self {
        let (base, plain) = (gzip(b"base"), b"the files of a build".repeat(1000));
        let diff_ids = [Digest::of(b"base"), Digest::of(&plain)];
        let rootfs = serde_json::json!({ "type": "layers", "diff_ids": diff_ids });
        let config = serde_json::json!({ "architecture": "amd64", "os": "linux", "rootfs": rootfs });
        let config = config.to_string().into_bytes();
        let describe = |kind: &str, bytes: &[u8]| Descriptor::new(kind, Digest::of(bytes), bytes.len() as u64);
        let layers = vec![
            describe(media_type::OCI_LAYER_GZIP, &base),
            describe("application/vnd.oci.image.layer.v1.tar", &plain),
        ];
        let manifest = Manifest::new(describe(media_type::OCI_CONFIG, &config), layers).to_bytes().unwrap();
        Self { base, plain, config, manifest }
    }

    /// Exports it, layers first; the codes of the layers' writes, and what a push gets.
    async fn export(&self, known: KnownLayers, there: &[Digest]) -> (Vec<Code>, Gathered) {
        let (sender, parts) = mpsc::channel(1);
        let store = ContentStore::new(known, Platform::default(), sender);
        let writing = async {
            let mut exporter = Exporter::of(&store).await;
            let mut codes = Vec::new();
            for layer in [&self.base, &self.plain] {
                let written = exporter.write("layer", &Digest::of(layer), layer).await;
                codes.push(written.map_or_else(|status| status.code(), |()| Code::Ok));
            }
            exporter.write("config", &Digest::of(&self.config), &self.config).await.unwrap();
            exporter.write("manifest", &Digest::of(&self.manifest), &self.manifest).await.unwrap();
            store.finish(&Digest::of(&self.manifest)).await.unwrap();
            drop((exporter, store));
            codes
        };
        let (codes, gathered) = tokio::join!(writing, gather(parts, there));
        (codes, gathered.unwrap())
    }
}

#[tokio::test]
async fn layers_come_as_they_are_or_compressed_and_the_manifest_says_so() {
    let image = Image::new();
    let (codes, got) = image.export(KnownLayers::default(), &[]).await;
    assert_eq!(codes, [Code::Ok, Code::Ok]);
    assert_eq!(got.plain_layers(), [Some(b"base".to_vec()), Some(image.plain.clone())]);
    assert_eq!(got.read().layers[0].digest, Digest::of(&image.base));
    assert_eq!((got.blobs.len(), got.given_up, got.refused), (3, 1, 0), "the offer of the plain layer is taken back");
}

#[tokio::test]
async fn what_the_registry_has_never_leaves_the_builder() {
    let image = Image::new();
    let (codes, got) = image.export(KnownLayers::default(), &[Digest::of(&image.base)]).await;
    assert_eq!((codes, got.refused, got.blobs.len()), (vec![Code::AlreadyExists, Code::Ok], 1, 2));
    let there = Descriptor::new(media_type::OCI_LAYER_GZIP, Digest::of(b"compressed elsewhere"), 5);
    let known = KnownLayers::new([(Digest::of(&image.plain), there.clone())]);
    let (codes, got) = image.export(known, &[]).await;
    assert_eq!((codes, got.blobs.len()), (vec![Code::Ok, Code::AlreadyExists], 2));
    assert_eq!((got.read().layers[1].digest.clone(), got.layers.known), (there.digest, 1));
}

#[tokio::test]
async fn a_plain_layer_that_another_image_brings_goes_nowhere() {
    let image = Image::new();
    let there = brought(&Digest::of(&image.plain));
    let (codes, got) = image.export(KnownLayers::default(), std::slice::from_ref(&there.digest)).await;
    assert_eq!((codes, got.put_off.len(), got.blobs.len()), (vec![Code::Ok, Code::Ok], 1, 2));
    assert_eq!(got.read().layers[1].digest, there.digest);
}

#[tokio::test]
async fn content_that_is_not_its_digest_is_refused_and_remembered() {
    let (sender, _parts) = mpsc::channel(1);
    let store = ContentStore::new(KnownLayers::default(), Platform::default(), sender);
    let mut exporter = Exporter::of(&store).await;
    let refusal = exporter.write("config", &Digest::of(b"{}"), b"[]").await.unwrap_err();
    assert_eq!(refusal.code(), Code::Aborted);
    assert!(matches!(store.problem(), Some(Error::Image { .. })));
    let image = Digest::of(b"image");
    assert!(store.finish(&image).await.is_err(), "the manifest never came");
}

#[tokio::test]
async fn a_session_that_is_let_go_keeps_no_push_waiting() {
    let (sender, mut parts) = mpsc::channel(1);
    let store = ContentStore::new(KnownLayers::default(), Platform::default(), sender);
    let mut exporter = Exporter::of(&store).await;
    exporter.write("config", &Digest::of(b"{}"), b"{}").await.unwrap();
    drop(store);
    exporter.serving.shutdown().await;
    // The builder has not closed its end, as an Engine does not for seconds.
    let next = tokio::time::timeout(std::time::Duration::from_secs(10), parts.recv()).await;
    assert!(next.expect("the end of the parts").is_none());
    assert!(exporter.call(WRITE, Vec::new()).await.is_err());
}

#[tokio::test]
async fn a_push_that_has_ended_ends_the_export() {
    let (sender, parts) = mpsc::channel(1);
    drop(parts);
    let store = ContentStore::new(KnownLayers::default(), Platform::default(), sender);
    let mut exporter = Exporter::of(&store).await;
    let refusal = exporter.write("layer", &Digest::of(b"x"), b"x").await.unwrap_err();
    assert_eq!(refusal.code(), Code::Aborted);
    assert!(matches!(store.problem(), Some(Error::Cancelled)));
}

#[tokio::test]
async fn other_methods_are_not_offered() {
    let (sender, _parts) = mpsc::channel(1);
    let mut exporter = Exporter::of(&ContentStore::new(KnownLayers::default(), Platform::default(), sender)).await;
    let refusal = exporter.call("/containerd.services.content.v1.Content/Read", Vec::new()).await.unwrap_err();
    assert_eq!(refusal.code(), Code::Unimplemented);
}
