//! What can be typed: verbs, flags and their help. What it means is decided in [`super::settings`].

use crate::config::{self, Config, ImageSource, MaxAge};
use crate::image::compress::gzip_codec;
use clap::{ArgAction, Args, Parser, Subcommand, ValueEnum};
use std::path::PathBuf;
use std::sync::LazyLock;

/// What is said below the list of verbs.
const AFTER_HELP: &str = "\
Examples:
  seaway check                      every mistake in deploy.yml, offline
  seaway plan --env staging         what `up` would change there
  seaway up                         build, push, apply, wait, smoke test

Access: a DigitalOcean token in DIGITALOCEAN_ACCESS_TOKEN (or
DIGITALOCEAN_TOKEN), or any cluster with --kubeconfig and --context.

Exit codes: 0 done, 1 the application is at fault, 2 wrong configuration
or usage, 3 infrastructure (worth a retry), 4 timed out while everything
was still progressing, 5 changes (plan --exit-code), 130 and 143 stopped.";

/// What `--version` says: with the codec of layers, since another codec gives every layer another digest.
fn long_version() -> &'static str {
    static TEXT: LazyLock<String> =
        LazyLock::new(|| format!("{} (gzip by {})", env!("CARGO_PKG_VERSION"), gzip_codec()));
    &TEXT
}

/// What is said of `--var`.
const VAR_HELP: &str = "Set a variable for `${NAME}`; repeatable. Other users of the machine can see it: \
    secrets belong into the environment [env: SEAWAY_VAR, one a line]";

/// What is said of `--verbose`.
const VERBOSE_HELP: &str = "Say why (-v), and show requests without secrets (-vv) [env: SEAWAY_VERBOSE, 1 or 2]";

/// What is said below the flags of `check`.
const CHECK_HELP: &str = "\
Nothing is contacted. Variables must have values, since `up` would need them;
--no-env lets them be.

Example:
  seaway check --no-env";

/// What is said below the flags of `plan`.
const PLAN_HELP: &str = "\
The cluster and the registry are asked what exists; nothing is changed. Shown
are the images to build or reuse, and what changes in each object.

Example:
  seaway plan --env staging --exit-code";

/// What is said below the flags of `up`.
const UP_HELP: &str = "\
What has not changed is neither built nor pushed nor applied; an image whose
build reaches the network is built again after 7 days. Ctrl-C stops within
seconds; the next `up` goes on from there.

Example:
  seaway up --env staging --var LOG_LEVEL=debug";

/// What is said below the flags of `down`.
const DOWN_HELP: &str = "\
At a terminal the application's name must be typed; scripts say --yes.

Example:
  seaway down --env staging --yes";

/// What is said below the flags of `push`.
const PUSH_HELP: &str = "\
Images whose inputs have not changed are not built again; those whose build
reaches the network are after 7 days. No cluster is needed.

Example:
  seaway push --output json";

/// What is said below the verbs of `registry`.
const REGISTRY_HELP: &str = "\
Example:
  seaway registry clean             what nothing needs any more";

/// What is said below the flags of `registry clean`.
const CLEAN_HELP: &str = "\
What a cluster names stays, in all namespaces, and what its ReplicaSets can
roll back to: the cluster of deploy.yml, and every other one of a DigitalOcean
account. While one of them does not answer, nothing goes. The newest tags stay,
tags that no pattern matches, and everything that those need: platforms,
attestations, signatures. Without --yes nothing is deleted. What cannot be read
whole is left alone.

Examples:
  seaway registry clean                        what could go
  seaway registry clean --yes --keep-tags 5
  seaway registry clean --pattern 'pr-*' --older-than 2w --yes --garbage-collect";

/// What is said below the flags of `action`.
const ACTION_HELP: &str = "\
Reads the inputs (INPUT_*) and the event, then deploys or says why it does not.

Example, a step of a workflow:
  - uses: seaway-deploy/seaway@v0
    with: { token: \"${{ secrets.DIGITALOCEAN_ACCESS_TOKEN }}\" }";

/// What is said below the flags of `schema`.
const SCHEMA_HELP: &str = "\
Editors complete and check deploy.yml with it.

Example:
  seaway schema > deploy.schema.json";

/// From one deploy.yml to a live URL on Kubernetes: builds and pushes images, applies manifests, waits until everything
/// is ready, and tests the address that users will open
#[derive(Debug, Parser)]
#[command(name = "seaway", version, long_version = long_version(), max_term_width = 80, after_help = AFTER_HELP, disable_help_subcommand = true)]
pub(crate) struct Arguments {
    /// What to do.
    #[command(subcommand)]
    pub(crate) verb: Verb,
    /// The flags of every verb.
    #[command(flatten)]
    pub(crate) global: GlobalFlags,
}

/// The verbs.
#[derive(Debug, Subcommand)]
pub(crate) enum Verb {
    /// Read deploy.yml and the manifests, and show every mistake at once
    #[command(after_help = CHECK_HELP)]
    Check(CheckFlags),
    /// Show what `up` would do, without doing it
    #[command(after_help = PLAN_HELP)]
    Plan(PlanFlags),
    /// Deploy: build, push, apply, wait until ready, smoke test
    #[command(after_help = UP_HELP)]
    Up(PushFlags),
    /// Remove the application's objects from the cluster
    #[command(after_help = DOWN_HELP)]
    Down(DownFlags),
    /// Build the images and push them, nothing else
    #[command(after_help = PUSH_HELP)]
    Push(PushFlags),
    /// Look after the container registry
    #[command(subcommand, disable_help_subcommand = true, after_help = REGISTRY_HELP)]
    Registry(RegistryVerb),
    /// What the GitHub Action runs
    #[command(after_help = ACTION_HELP)]
    Action,
    /// Print the JSON Schema of deploy.yml
    #[command(after_help = SCHEMA_HELP)]
    Schema,
}

/// The flags of `check`.
#[derive(Args, Debug, Default)]
pub(crate) struct CheckFlags {
    /// Let variables without a value be
    #[arg(long, env = "SEAWAY_NO_ENV", hide_env_values = true)]
    pub(crate) no_env: bool,
}

/// The flags of `plan`.
#[derive(Args, Debug, Default)]
pub(crate) struct PlanFlags {
    /// End with code 5 when there are changes
    #[arg(long, env = "SEAWAY_EXIT_CODE", hide_env_values = true)]
    pub(crate) exit_code: bool,
    /// How images come to be built.
    #[command(flatten)]
    pub(crate) builds: BuildFlags,
}

/// The flags of verbs that build images.
#[derive(Args, Debug, Default)]
pub(crate) struct BuildFlags {
    /// Build every image anew: nothing is reused, neither from the registry nor from the builder's cache
    #[arg(long, env = "SEAWAY_NO_CACHE", hide_env_values = true)]
    pub(crate) no_cache: bool,

    /// Build images again that are older than this, `7d`, `12h`, `none`; over `max_age` in deploy.yml
    #[arg(long, value_name = "AGE", value_parser = max_age, env = "SEAWAY_MAX_AGE", hide_env_values = true)]
    pub(crate) max_age: Option<MaxAge>,

    /// What is said about images.
    #[command(flatten)]
    pub(crate) supply: SupplyFlags,
}

/// What is said about images, for all of a run; deploy.yml can ask for one.
#[derive(Args, Debug, Default)]
pub(crate) struct SupplyFlags {
    /// Put a list of its packages (SPDX) beside every image in the registry
    #[arg(long, env = "SEAWAY_SBOM", hide_env_values = true)]
    pub(crate) sbom: bool,

    /// Put beside every image that is built how it was made (SLSA)
    #[arg(long, env = "SEAWAY_PROVENANCE", hide_env_values = true)]
    pub(crate) provenance: bool,

    /// Leave out the annotations that change with every commit
    #[arg(long, env = "SEAWAY_STABLE_DIGEST", hide_env_values = true)]
    pub(crate) stable_digest: bool,
}

/// An age; an empty variable means nothing, which is not a mistake of whoever typed no flag.
fn max_age(text: &str) -> Result<MaxAge, String> {
    if text.is_empty() { Ok(MaxAge::ByNetwork) } else { config::max_age(text) }
}

impl BuildFlags {
    /// Lets the flags decide over deploy.yml.
    pub(crate) fn apply(&self, config: &mut Config) {
        for image in &mut config.images {
            image.supply.sbom |= self.supply.sbom;
            image.supply.provenance |= self.supply.provenance;
            image.supply.stable_digest |= self.supply.stable_digest;
            if let ImageSource::Build(build) = &mut image.source {
                build.anew = self.no_cache;
                build.max_age = self.max_age.filter(|age| *age != MaxAge::ByNetwork).unwrap_or(build.max_age);
            }
        }
    }
}

/// The flags of `down`.
#[derive(Args, Debug, Default)]
pub(crate) struct DownFlags {
    /// Do not ask
    #[arg(short, long, env = "SEAWAY_YES", hide_env_values = true)]
    pub(crate) yes: bool,
}

/// The flags of verbs that push images.
#[derive(Args, Debug, Default)]
pub(crate) struct PushFlags {
    /// How images come to be built.
    #[command(flatten)]
    pub(crate) builds: BuildFlags,

    /// What to do while DigitalOcean's registry collects garbage: wait, cancel (the collection) or fail
    #[arg(long, value_name = "WHAT", default_value = "wait", hide_possible_values = true)]
    #[arg(env = "SEAWAY_ON_GC", hide_env_values = true)]
    pub(crate) on_gc: OnGc,
}

/// What becomes of a push that meets a garbage collection.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum OnGc {
    /// It waits for its end.
    #[default]
    Wait,
    /// It cancels it.
    Cancel,
    /// It fails.
    Fail,
}

/// The verbs below `registry`.
#[derive(Debug, Subcommand)]
pub(crate) enum RegistryVerb {
    /// Show the images that nothing needs any more, and delete them with --yes
    #[command(after_help = CLEAN_HELP)]
    Clean(CleanFlags),
}

/// The flags of `registry clean`.
#[derive(Args, Debug)]
pub(crate) struct CleanFlags {
    /// Delete what is shown
    #[arg(short, long, env = "SEAWAY_YES", hide_env_values = true)]
    pub(crate) yes: bool,

    /// Keep so many tags of each repository, the newest
    #[arg(long, value_name = "N", default_value_t = 10, env = "SEAWAY_KEEP_TAGS", hide_env_values = true)]
    pub(crate) keep_tags: usize,

    /// Keep what is younger: 36h, 30d, 8w; 0 asks for no age
    #[arg(long, value_name = "AGE", default_value = "7d", value_parser = super::age::parse)]
    #[arg(env = "SEAWAY_OLDER_THAN", hide_env_values = true)]
    pub(crate) older_than: jiff::SignedDuration,

    /// Only tags like `v1.*`; repeatable. The default: the tags that seaway makes of commits
    #[arg(long = "pattern", value_name = "PATTERN", value_delimiter = ',')]
    #[arg(env = "SEAWAY_PATTERN", hide_env_values = true)]
    pub(crate) patterns: Vec<String>,

    /// Only this repository, `backend`; repeatable. The default: those of the images in deploy.yml
    #[arg(long = "repository", value_name = "NAME", value_delimiter = ',')]
    #[arg(env = "SEAWAY_REPOSITORY", hide_env_values = true)]
    pub(crate) repositories: Vec<String>,

    /// Keep what this DOKS cluster runs too; repeatable
    #[arg(long = "cluster", value_name = "NAME", value_delimiter = ',')]
    #[arg(env = "SEAWAY_CLUSTER", hide_env_values = true)]
    pub(crate) clusters: Vec<String>,

    /// Do not ask this cluster of the account, whose images may go; repeatable, `*` for all but those that are named
    #[arg(long = "ignore-cluster", value_name = "NAME", value_delimiter = ',')]
    #[arg(env = "SEAWAY_IGNORE_CLUSTER", hide_env_values = true)]
    pub(crate) ignored_clusters: Vec<String>,

    /// Ask no cluster what runs: images in use may go
    #[arg(long, env = "SEAWAY_NO_CLUSTER", hide_env_values = true)]
    pub(crate) no_cluster: bool,

    /// With --yes: let DigitalOcean free the space afterwards; nothing can be pushed meanwhile
    #[arg(long, env = "SEAWAY_GARBAGE_COLLECT", hide_env_values = true)]
    pub(crate) garbage_collect: bool,
}

/// The flags of every verb.
#[derive(Args, Debug)]
#[command(next_help_heading = "Everywhere")]
pub(crate) struct GlobalFlags {
    /// The file to read
    #[arg(short, long, global = true, value_name = "PATH", default_value = "deploy.yml")]
    #[arg(env = "SEAWAY_FILE", hide_env_values = true)]
    pub(crate) file: PathBuf,

    /// Lay this entry of `environments` over deploy.yml
    #[arg(long = "env", global = true, value_name = "NAME", env = "SEAWAY_ENV", hide_env_values = true)]
    pub(crate) overlay: Option<String>,

    /// Variables for `${NAME}`, over those of the environment. `SEAWAY_VAR` holds one a line.
    #[arg(long = "var", global = true, value_name = "NAME=VALUE", help = VAR_HELP)]
    pub(crate) variables: Vec<String>,

    /// Reach the cluster with this kubeconfig instead of a DigitalOcean token
    #[arg(long, global = true, value_name = "PATH", env = "SEAWAY_KUBECONFIG", hide_env_values = true)]
    pub(crate) kubeconfig: Option<PathBuf>,

    /// The context in the kubeconfig
    #[arg(long, global = true, value_name = "NAME", env = "SEAWAY_CONTEXT", hide_env_values = true)]
    pub(crate) context: Option<String>,

    /// How results are written: text or json
    #[arg(long, global = true, value_name = "FORMAT", default_value = "text", hide_possible_values = true)]
    #[arg(env = "SEAWAY_OUTPUT", hide_env_values = true)]
    pub(crate) output: Output,

    /// When to use colour: auto, always or never
    #[arg(long, global = true, value_name = "WHEN", default_value = "auto", hide_possible_values = true)]
    #[arg(env = "SEAWAY_COLOR", hide_env_values = true)]
    pub(crate) color: ColorChoice,

    /// How much is said. `SEAWAY_VERBOSE` is 1 or 2.
    #[arg(short, long, global = true, action = ArgAction::Count, help = VERBOSE_HELP)]
    pub(crate) verbose: u8,

    /// The address of the DigitalOcean API
    #[arg(long, global = true, value_name = "URL", env = "SEAWAY_API_URL", hide_env_values = true)]
    pub(crate) api_url: Option<String>,

    /// A folder of containerd-style `HOST/hosts.toml` files that lead a registry's name to an endpoint
    #[arg(long, global = true, value_name = "FOLDER", env = "SEAWAY_REGISTRY_CONFIG", hide_env_values = true)]
    pub(crate) registry_config: Option<PathBuf>,
}

/// How results are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Output {
    /// For people.
    Text,
    /// For programs, with a version in it.
    Json,
}

/// When to use colour.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum ColorChoice {
    /// At a terminal.
    Auto,
    /// Always.
    Always,
    /// Never.
    Never,
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory as _;

    #[test]
    fn the_arguments_are_consistent() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn every_flag_has_an_environment_variable() {
        let command = Arguments::command();
        let verbs = command.get_subcommands().flat_map(|verb| std::iter::once(verb).chain(verb.get_subcommands()));
        let verbs = verbs.flat_map(clap::Command::get_arguments);
        for flag in command.get_arguments().chain(verbs) {
            let help = flag.get_help().map(ToString::to_string).unwrap_or_default();
            let standard = matches!(flag.get_id().as_str(), "help" | "version");
            assert!(standard || flag.get_env().is_some() || help.contains("[env: SEAWAY_"), "{}", flag.get_id());
        }
    }
}
