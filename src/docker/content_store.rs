//! Takes an image out of `BuildKit` blob by blob: containerd's content service, served on the session of a build.
//!
//! The `oci` exporter with `tar=false` writes into a store of the client's named `export`
//! (<https://github.com/moby/buildkit/blob/v0.32.0/exporter/oci/export.go>): configuration and layers side by side, the
//! manifest last. Each write begins with the digest and the size, so a blob that the registry has is refused with
//! "already exists" and never leaves `BuildKit`; the others go on to the push as they come. What a refusal cannot spare is the
//! pull of base layers that `BuildKit` has not needed so far: the exporter fetches them before it asks. The service:
//! <https://github.com/containerd/containerd/blob/v2.2.0/api/services/content/v1/content.proto>.

use super::assembly::{Assembly, blob_name, unusable};
use super::error::Error;
use super::save::Kind;
use super::squeeze::{Parts, Shared, Squeeze, UNWANTED, lock};
use crate::image::descriptor::media_type;
use crate::image::part::{Answer, LayerSender};
use crate::image::{Descriptor, KnownLayers, Part};
use crate::model::{Digest, Platform};
use bytes::Bytes;
use futures::future::BoxFuture;
use std::convert::Infallible;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use tokio::sync::{mpsc, oneshot};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Code, Request, Response, Status, Streaming};

/// A request of a write (`WriteContentRequest`).
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct WriteRequest {
    /// [`Action`].
    #[prost(enumeration = "Action", tag = "1")]
    action: i32,
    /// What is written, `layer-sha256:…`; only in the first request.
    #[prost(string, tag = "2")]
    reference: String,
    /// The size of the whole in bytes.
    #[prost(int64, tag = "3")]
    total: i64,
    /// The digest of the whole.
    #[prost(string, tag = "4")]
    expected: String,
    /// Where the data belongs, in bytes from the start.
    #[prost(int64, tag = "5")]
    offset: i64,
    /// The next bytes.
    #[prost(bytes = "bytes", tag = "6")]
    data: Bytes,
}

/// The answer to each request of a write (`WriteContentResponse`); times are left out.
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct WriteResponse {
    /// The action that is answered.
    #[prost(enumeration = "Action", tag = "1")]
    action: i32,
    /// How many bytes have been taken.
    #[prost(int64, tag = "4")]
    offset: i64,
    /// The size of the whole in bytes.
    #[prost(int64, tag = "5")]
    total: i64,
    /// The digest of the whole, when it is complete.
    #[prost(string, tag = "6")]
    digest: String,
}

/// What a request wants (`WriteAction`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, prost::Enumeration)]
#[repr(i32)]
enum Action {
    /// To know how far the write is.
    Stat = 0,
    /// To write.
    Write = 1,
    /// To end the write.
    Commit = 2,
}

/// The one method that the exporter calls.
pub(crate) const WRITE: &str = "/containerd.services.content.v1.Content/Write";

/// Manifests, indexes and configurations are not larger than this.
const LARGEST_DOCUMENT: i64 = 4 * 1024 * 1024;

/// `BuildKit` writes in pieces of up to 8 MiB.
const LARGEST_MESSAGE: usize = 16 * 1024 * 1024;

/// The store into which one image is exported. Cheap to clone.
#[derive(Clone)]
pub(crate) struct ContentStore {
    /// What has come.
    assembly: Shared,
    /// Where parts go.
    parts: Parts,
    /// The platform that the image must be for.
    platform: Platform,
    /// Whether the image has been put together.
    complete: Arc<AtomicBool>,
    /// Why a write was refused, if one was: `BuildKit` tells it only in words.
    problem: Arc<Mutex<Option<Error>>>,
}

impl ContentStore {
    /// A store that gives what it gets to `parts`, without what is known.
    pub(crate) fn new(known: KnownLayers, platform: Platform, parts: Parts) -> Self {
        let assembly = Arc::new(Mutex::new(Assembly::new(known)));
        Self { assembly, parts, platform, complete: Arc::default(), problem: Arc::default() }
    }

    /// Why a write was refused, if one was.
    pub(crate) fn problem(&self) -> Option<Error> {
        self.problem.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    /// An error as `BuildKit` hears it.
    fn refuse(&self, error: Error) -> Status {
        let status = Status::aborted(error.to_string());
        self.problem.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(error);
        status
    }

    /// Puts the image together when the build has ended, unless it has been done before. `root` is the digest of its
    /// manifest or index.
    pub(crate) async fn finish(&self, root: &Digest) -> Result<(), Error> {
        if self.complete.load(Ordering::Acquire) { Ok(()) } else { self.complete(root).await }
    }

    /// Gives the last parts of the image that a manifest or an index describes.
    async fn complete(&self, root: &Digest) -> Result<(), Error> {
        let last = {
            let assembly = lock(&self.assembly);
            let manifest = assembly.find(&blob_name(root)).ok_or_else(|| unusable("its manifest never came"))?;
            assembly.image(manifest, &self.platform)?
        };
        self.complete.store(true, Ordering::Release);
        for part in last {
            self.give(part).await?;
        }
        Ok(())
    }

    /// Completes the image as soon as its manifest is there: the export is at its end then, while the build has its records
    /// to write. A manifest that describes something else (another platform, an attestation) waits for the index.
    async fn complete_early(&self, manifest: &Digest) {
        if !self.complete.load(Ordering::Acquire)
            && let Err(error) = self.complete(manifest).await
        {
            tracing::debug!("manifest {} is not the image's: {error}", manifest.short());
        }
    }

    /// Gives a part away.
    async fn give(&self, part: Part) -> Result<(), Error> {
        self.parts.send(Ok(part)).await.map_err(|_| UNWANTED)
    }

    /// Answers the requests of one write until its end.
    async fn write(&self, requests: &mut Streaming<WriteRequest>, answers: &Answers) -> Result<(), Status> {
        let first = requests.message().await?.ok_or_else(|| Status::invalid_argument("a write without a request"))?;
        let digest = Digest::parse(&first.expected).map_err(|error| Status::invalid_argument(error.to_string()))?;
        let Some(mut sink) = self.open(&first, &digest).await? else {
            return Err(Status::already_exists(format!("the registry has {digest}")));
        };
        let (mut offset, total, is_manifest) = (0, first.total, first.reference.starts_with("manifest-"));
        let mut next = Some(first);
        while let Some(request) = next {
            let action = request.action();
            if action != Action::Stat && request.offset != offset {
                return Err(Status::out_of_range(format!("written at {}, and {offset} is next", request.offset)));
            }
            let length = i64::try_from(request.data.len()).unwrap_or(i64::MAX);
            if action != Action::Stat && length > 0 {
                sink = sink.write(request.data, self).await.map_err(|error| self.refuse(error))?;
                offset += length;
            }
            let mut answer = WriteResponse { action: action.into(), offset, total, digest: String::new() };
            if action == Action::Commit {
                sink.commit(self, &digest).await.map_err(|error| self.refuse(error))?;
                answer.digest = digest.to_string();
                if is_manifest {
                    self.complete_early(&digest).await; // before the answer, without which the build does not end
                }
                let _ = answers.send(Ok(answer)).await;
                return Ok(());
            }
            if answers.send(Ok(answer)).await.is_err() {
                return Ok(()); // the build has been stopped
            }
            next = requests.message().await?;
        }
        Ok(())
    }

    /// Where a blob goes; `None` where the registry has it.
    async fn open(&self, first: &WriteRequest, digest: &Digest) -> Result<Option<Sink>, Status> {
        if !first.reference.starts_with("layer-") {
            if first.total > LARGEST_DOCUMENT {
                return Err(Status::resource_exhausted(format!("{} bytes are no manifest", first.total)));
            }
            return Ok(Some(Sink::Document(Vec::new())));
        }
        {
            let mut assembly = lock(&self.assembly);
            if assembly.take_known(digest) {
                return Ok(None);
            }
            if assembly.known.has(digest) {
                assembly.passed(digest.clone());
                return Ok(None);
            }
        }
        let size = u64::try_from(first.total).unwrap_or_default();
        // Whether it is compressed shows in its first bytes, which come only after the answer. A layer that is not is no blob
        // that a registry has, so the question costs one request and never gives a wrong answer.
        let descriptor = Descriptor::new(media_type::OCI_LAYER_GZIP, digest.clone(), size);
        let (answer, answered) = oneshot::channel();
        let offer = Part::Offer { descriptor: descriptor.clone(), answer };
        self.give(offer).await.map_err(|error| self.refuse(error))?;
        match answered.await {
            Ok(Answer::Have) => {
                lock(&self.assembly).passed(digest.clone());
                Ok(None)
            }
            Ok(Answer::Send(sender)) => Ok(Some(Sink::Offered { sender, descriptor })),
            Err(_) => Err(self.refuse(UNWANTED)),
        }
    }
}

/// Where answers go.
type Answers = mpsc::Sender<Result<WriteResponse, Status>>;

/// Where the bytes of a blob go.
enum Sink {
    /// Into memory: a manifest, an index, a configuration.
    Document(Vec<u8>),
    /// To the push, if its first bytes show that it is compressed.
    Offered {
        /// Where to.
        sender: LayerSender,
        /// Its digest and size.
        descriptor: Descriptor,
    },
    /// To the push, as it is.
    Blob {
        /// Where to.
        sender: LayerSender,
        /// Its digest and size.
        descriptor: Descriptor,
    },
    /// Through the compressor.
    Layer(Squeeze),
    /// Nowhere: another image of the run has brought it.
    Had,
}

impl Sink {
    /// Takes the next bytes.
    async fn write(self, data: Bytes, store: &ContentStore) -> Result<Self, Error> {
        match self {
            Self::Document(mut bytes) => {
                bytes.extend_from_slice(&data);
                Ok(Self::Document(bytes))
            }
            Self::Offered { sender, descriptor } => {
                if let Kind::Compressed(_) = Kind::of(&data) {
                    sender.send(data).await.map_err(|_| UNWANTED)?;
                    return Ok(Self::Blob { sender, descriptor });
                }
                drop(sender); // not needed after all: what is sent is the compressed layer
                let claim = Squeeze::claim(&store.assembly, &store.parts, &descriptor.digest, Some(descriptor.size));
                let Some(squeeze) = claim.await? else { return Ok(Self::Had) };
                squeeze.write(data).await?;
                Ok(Self::Layer(squeeze))
            }
            Self::Blob { sender, descriptor } => {
                sender.send(data).await.map_err(|_| UNWANTED)?;
                Ok(Self::Blob { sender, descriptor })
            }
            Self::Layer(squeeze) => {
                squeeze.write(data).await?;
                Ok(Self::Layer(squeeze))
            }
            Self::Had => Ok(Self::Had),
        }
    }

    /// The blob is complete. What passes through is checked by the push; what stays here is checked here.
    async fn commit(self, store: &ContentStore, digest: &Digest) -> Result<(), Error> {
        let got = match self {
            Self::Document(bytes) => {
                let got = Digest::of(&bytes);
                lock(&store.assembly).document(blob_name(digest), bytes.into());
                got
            }
            Self::Offered { sender, descriptor } | Self::Blob { sender, descriptor } => {
                lock(&store.assembly).passed(digest.clone());
                return sender.end(descriptor).await.map_err(|_| UNWANTED);
            }
            Self::Layer(squeeze) => squeeze.end().await.digest().await?,
            Self::Had => return Ok(()),
        };
        if got == *digest {
            return Ok(());
        }
        Err(unusable(format!("BuildKit wrote {} as {}", got.short(), digest.short())))
    }
}

impl tonic::server::StreamingService<WriteRequest> for ContentStore {
    type Response = WriteResponse;
    type ResponseStream = ReceiverStream<Result<WriteResponse, Status>>;
    type Future = BoxFuture<'static, Result<Response<Self::ResponseStream>, Status>>;

    fn call(&mut self, request: Request<Streaming<WriteRequest>>) -> Self::Future {
        let (answers, stream) = mpsc::channel(1);
        let store = self.clone();
        tokio::spawn(async move {
            let mut requests = request.into_inner();
            if let Err(status) = store.write(&mut requests, &answers).await {
                let _ = answers.send(Err(status)).await;
            }
        });
        Box::pin(async move { Ok(Response::new(ReceiverStream::new(stream))) })
    }
}

impl tonic::server::NamedService for ContentStore {
    const NAME: &'static str = "containerd.services.content.v1.Content";
}

impl tower::Service<http::Request<tonic::body::Body>> for ContentStore {
    type Response = http::Response<tonic::body::Body>;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Self::Response, Self::Error>>;

    fn poll_ready(&mut self, _cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<tonic::body::Body>) -> Self::Future {
        if request.uri().path() != WRITE {
            let method = request.uri().path().to_owned();
            let refusal = Status::new(Code::Unimplemented, format!("`{method}` is not needed to write an image"));
            return Box::pin(async move { Ok(refusal.into_http()) });
        }
        let store = self.clone();
        Box::pin(async move {
            let codec = tonic_prost::ProstCodec::<WriteResponse, WriteRequest>::default();
            let mut grpc = tonic::server::Grpc::new(codec).max_decoding_message_size(LARGEST_MESSAGE);
            Ok(grpc.streaming(store, request).await)
        })
    }
}

#[cfg(test)]
mod tests;
