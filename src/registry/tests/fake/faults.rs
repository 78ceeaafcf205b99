//! The switches: what real registries do wrong, or differently.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Barrier;

/// What the registry does wrong, or differently.
#[derive(Default)]
#[expect(clippy::struct_excessive_bools, reason = "each is a switch of its own")]
pub(crate) struct Faults {
    /// So many blob PUTs are cut after half of their body.
    pub(crate) cut_puts: u32,
    /// So many chunks are cut after half of their body.
    pub(crate) cut_patches: u32,
    /// They are cut after so many bytes instead.
    pub(crate) cut_after: Option<usize>,
    /// What of a cut body was on its way comes in so many steps: one with each question how much there is.
    pub(crate) late_steps: usize,
    /// So many blob PUTs are taken in full, and not answered.
    pub(crate) swallow_put_answers: u32,
    /// These statuses answer the next blob PUTs.
    pub(crate) put_statuses: VecDeque<u16>,
    /// These statuses answer the next chunks.
    pub(crate) patch_statuses: VecDeque<u16>,
    /// These statuses answer the next manifests that are put.
    pub(crate) manifest_statuses: VecDeque<u16>,
    /// These statuses answer the next wishes to delete a manifest; 202 is granted.
    pub(crate) delete_statuses: VecDeque<u16>,
    /// These statuses answer the next requests of any kind.
    pub(crate) statuses: VecDeque<u16>,
    /// What `Retry-After` says beside those statuses.
    pub(crate) retry_after: Option<String>,
    /// Distribution 2: a request to a session with a state that is not its last ends the session, a question how much it
    /// holds included.
    pub(crate) stale_state_cancels: bool,
    /// GHCR: longer chunks are answered with 416.
    pub(crate) longest_chunk: Option<usize>,
    /// A chunk that is shorter, and not the last, is refused; said with every session.
    pub(crate) shortest_chunk: Option<usize>,
    /// Google's Artifact Registry: a chunk with a range is refused.
    pub(crate) no_chunks: bool,
    /// Artifactory, formerly: a PUT with the blob as its body finds no blob.
    pub(crate) wants_patch: bool,
    /// GHCR: so many blob PUTs are taken in full, and lost.
    pub(crate) lose_blobs: u32,
    /// Several registries behind one name that store in S3: where more PUTs than this run at once, sessions are lost.
    pub(crate) puts_at_once: Option<usize>,
    /// ECR: a chunk with a range is answered with 201, and the chunks after it are dropped.
    pub(crate) first_chunk_only: bool,
    /// What a finished upload says of the bytes that it holds is too little: as after a disk that was full.
    pub(crate) forget_half: bool,
    /// A blob that comes with the POST is taken.
    pub(crate) single_post: bool,
    /// A POST with a body is an error.
    pub(crate) no_single_post: bool,
    /// So many of the tags in a query are put, and echoed.
    pub(crate) tag_parameter: usize,
    /// A POST with a query, for a mount or a blob that comes along, is answered with this status.
    pub(crate) gamble_status: Option<u16>,
    /// A refused mount comes with a session (202) instead of an error.
    pub(crate) mount_gives_session: bool,
    /// A possible mount is done.
    pub(crate) mounts: bool,
    /// Docker Hub: a mount is done only for a token that may read the other repository.
    pub(crate) mount_wants_scope: bool,
    /// Quay: a mount that names no other repository is an error.
    pub(crate) mount_wants_from: bool,
    /// ECR: more tags on one page than this are an error.
    pub(crate) largest_page: Option<usize>,
    /// Manifests and blobs are given when so many are asked for at once.
    pub(crate) gather: Option<Arc<Barrier>>,
    /// `Location` is relative.
    pub(crate) relative_location: bool,
    /// `Location` is on this host.
    pub(crate) foreign_location: Option<String>,
    /// Manifest PUTs are answered with another digest.
    pub(crate) wrong_digest: bool,
    /// No digest header in answers.
    pub(crate) no_digest_header: bool,
    /// Blobs are redirected to this server.
    pub(crate) redirect_blobs: Option<String>,
    /// Blob PUTs are not answered as long as this holds.
    pub(crate) hang_puts: bool,
    /// Uploads into this repository are refused.
    pub(crate) refused_path: Option<String>,
    /// A token for more than one repository is refused.
    pub(crate) one_repository_a_token: bool,
    /// Blob PUTs are answered so late: the blob is copied first.
    pub(crate) commit_delay: Duration,
    /// HEAD is refused; GET is too, and says why.
    pub(crate) forbidden: Option<String>,
    /// The details of a manifest's missing blobs are left out.
    pub(crate) unnamed_blobs: bool,
    /// `Warning` in every answer.
    pub(crate) warning: Option<String>,
    /// Distribution 2: to end a session takes a right of its own, which a token for pushes does not give.
    pub(crate) no_delete: bool,
    /// The tokens die with each connection that is cut.
    pub(crate) tokens_die_with_cuts: bool,
    /// User and password that the token service wants; tokens are wanted for everything then.
    pub(crate) login: Option<(String, String)>,
    /// The life of a token in seconds, as the service says.
    pub(crate) token_life: u64,
    /// The token service knows only POST, and calls the token `access_token`.
    pub(crate) token_by_post: bool,
    /// What the token service answers to the method that it does not know; 405 where nothing is said.
    pub(crate) other_method: Option<u16>,
    /// DigitalOcean: a token for a repository outside of this registry is refused with everything else that is asked for.
    pub(crate) own_scopes_only: Option<String>,
}
