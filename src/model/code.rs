//! Stable error codes and the exit codes that they lead to.
//!
//! A [`Code`] is a promise to scripts: its string never changes its meaning. `docs/codes.md` is
//! written from this list.

use std::fmt;

/// The process exit codes of every command.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum Exit {
    /// Done. Nothing to do is done too.
    Done = 0,
    /// Failed here: disk, permission, a build or a test that fails.
    Failed = 1,
    /// The command line is wrong: unknown flag, not a version, unknown platform.
    Usage = 2,
    /// The configuration or a tool is wrong or missing.
    Configuration = 3,
    /// Something did not verify: digest, signature, size, content.
    Verification = 4,
    /// Something outside is unavailable: 404, time-out, rate limit.
    Remote = 5,
    /// Refused by a rule: guard, dirty tree, version already published.
    Refused = 6,
}

impl From<Exit> for std::process::ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

macro_rules! codes {
    ($($variant:ident = $text:literal, $exit:ident, $doc:literal;)*) => {
        /// What went wrong, as a stable word.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Code {
            $(#[doc = $doc] $variant,)*
        }

        impl Code {
            /// Every code, in the order of the documentation.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)*];

            /// The stable string of this code.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $text,)* }
            }

            /// One sentence on when it is used.
            pub const fn meaning(self) -> &'static str {
                match self { $(Self::$variant => $doc,)* }
            }

            /// The exit code of a command that ends with it.
            pub const fn exit(self) -> Exit {
                match self { $(Self::$variant => Exit::$exit,)* }
            }
        }
    };
}

codes! {
    // Here: disk, processes.
    Io = "io", Failed, "A file or directory could not be read or written.";
    CommandFailed = "command_failed", Failed, "A program that was run ended with an error.";
    CommandTimeout = "command_timeout", Failed, "A program that was run took longer than it may.";
    BuildFailed = "build_failed", Failed, "The compiler or the build command failed.";
    TestsFailed = "tests_failed", Failed, "The workspace's tests failed.";
    HookFailed = "hook_failed", Failed, "A configured hook ended with an error.";
    ProgramUnusable = "program_unusable", Failed, "A program that was to be installed does not start here.";
    SmokeFailed = "smoke_failed", Failed, "A smoke command failed or printed something else.";
    Busy = "busy", Failed, "Another run works on the same output directory, or publishes the same release.";
    Interrupted = "interrupted", Failed, "The work was interrupted, and what it had started was taken down.";
    SummaryMissing = "summary_missing", Verification, "A published release lacks an asset that it should have.";
    // The command line.
    Usage = "usage", Usage, "The command line is not understood.";
    VersionInvalid = "version_invalid", Usage, "The text is not a semantic version or a release tag.";
    PlatformUnknown = "platform_unknown", Usage, "The platform is not one that Consign knows.";
    PackageUnknown = "package_unknown", Usage, "The workspace has no such package or binary.";
    // Configuration and tools.
    ConfigInvalid = "config_invalid", Configuration, "consign.toml, or an environment variable, cannot be used as it is.";
    WorkspaceMissing = "workspace_missing", Configuration, "There is no cargo workspace here.";
    WorkspaceInvalid = "workspace_invalid", Configuration, "cargo cannot read the workspace.";
    PackageAmbiguous = "package_ambiguous", Configuration, "Several packages could be meant, and their versions differ.";
    NoBinaries = "no_binaries", Configuration, "The package has no binary to release.";
    LockMissing = "lock_missing", Configuration, "Cargo.lock is missing.";
    LockOutdated = "lock_outdated", Configuration, "Cargo.lock does not fit the manifests.";
    ToolMissing = "tool_missing", Configuration, "A program that is needed is not installed.";
    TargetMissing = "target_missing", Configuration, "The standard library of a target is not installed.";
    LinkerMissing = "linker_missing", Configuration, "The linker of a target is not installed.";
    CompilerTooOld = "compiler_too_old", Configuration, "The compiler is older than the workspace's rust-version.";
    GitUnusable = "git_unusable", Configuration, "git is missing, or refuses to read this repository.";
    TemplateInvalid = "template_invalid", Configuration, "A template cannot be rendered.";
    NameInvalid = "name_invalid", Configuration, "A name cannot be used as a file name of a release.";
    IncludeRefused = "include_refused", Configuration, "A file may not be put into a release archive.";
    BuildMissing = "build_missing", Configuration, "A stage was started whose input has not been made.";
    BuildStale = "build_stale", Configuration, "What was built belongs to another commit, or was changed since.";
    ProviderMissing = "provider_missing", Configuration, "Publishing was asked for without a provider or a target.";
    TokenMissing = "token_missing", Configuration, "There is no token for the place to publish to.";
    KeyInvalid = "key_invalid", Configuration, "A key cannot be read or used as it is.";
    KeyMissing = "key_missing", Configuration, "Signatures are demanded and there is no key to make them with.";
    KeyExposed = "key_exposed", Configuration, "A private key lies where others can read it.";
    // Verification.
    BundleMissing = "bundle_missing", Verification, "There is no bundle at the place that was named.";
    FileMissing = "file_missing", Verification, "A file that a document lists is missing.";
    FileUnlisted = "file_unlisted", Verification, "A file is in the bundle and in no document.";
    FileIrregular = "file_irregular", Verification, "An entry of the bundle is not a regular file.";
    FileTooLarge = "file_too_large", Verification, "A file is larger than it may be.";
    SizeMismatch = "size_mismatch", Verification, "A file's size is not the one that is recorded.";
    DigestMismatch = "digest_mismatch", Verification, "A file's digest is not the one that is recorded.";
    DocumentInvalid = "document_invalid", Verification, "A document is not in the form that Consign writes.";
    DocumentsDisagree = "documents_disagree", Verification, "Two documents of a bundle contradict each other.";
    SubjectMismatch = "subject_mismatch", Verification, "The provenance's subjects are not the bundle's files.";
    SbomMismatch = "sbom_mismatch", Verification, "The SBOM does not describe the bundle's archives.";
    ArchiveInvalid = "archive_invalid", Verification, "An archive is not in the form that Consign writes.";
    ArchiveMismatch = "archive_mismatch", Verification, "An archive does not hold what the index says.";
    RemoteUnverified = "remote_unverified", Verification, "What was published was fetched again and did not verify.";
    SignatureInvalid = "sig_invalid", Verification, "A signature is not one of its key over these bytes.";
    KeyUntrusted = "key_untrusted", Verification, "No signature is by a key that is trusted.";
    Unsigned = "unsigned", Verification, "Signatures are required and there are none.";
    CatalogInvalid = "catalog_invalid", Verification, "A document of a catalog is not what its keys and the others say.";
    CatalogExpired = "catalog_expired", Verification, "A document of a catalog, or its last root, has expired.";
    CatalogRollback = "catalog_rollback", Verification, "A catalog is older than one that was seen before.";
    CatalogMissing = "catalog_missing", Configuration, "There is no catalog, or no root of one, at the place that was named.";
    TargetUnknown = "target_unknown", Verification, "The catalog does not list the file.";
    ThresholdUnmet = "threshold_unmet", Refused, "A role would have fewer keys than have to sign for it.";
    ProposalPending = "proposal_pending", Refused, "Another change of the catalog waits for signatures.";
    PartsDisagree = "parts_disagree", Verification, "Bundles that are to be merged contradict each other or the workspace.";
    RebuildDiffers = "rebuild_differs", Verification, "Building the recorded source again gives other bytes.";
    // Remote.
    RemoteNotFound = "remote_not_found", Remote, "The remote place has no such file.";
    RemoteUnavailable = "remote_unavailable", Remote, "The remote place did not answer, or answered with an error.";
    RemoteRefused = "remote_refused", Remote, "The remote place asked for something that is never done, such as plain http.";
    EngineMissing = "engine_missing", Remote, "No container engine answers.";
    EngineForbidden = "engine_forbidden", Remote, "The container engine may not be used by this user.";
    EngineArchitecture = "engine_architecture", Remote, "The container engine cannot run programs of an architecture.";
    EngineFull = "engine_full", Remote, "The container engine's disk is full, or nearly so.";
    EngineFailed = "engine_failed", Remote, "The container engine could not do what it was asked for.";
    ImageMissing = "image_missing", Remote, "An image is not there and cannot be pulled.";
    RemoteForbidden = "remote_forbidden", Remote, "The remote place does not accept the token, or does not allow it what was asked for.";
    PushRejected = "push_rejected", Remote, "A repository kept changing while it was pushed to.";
    PushRefused = "push_refused", Refused, "A repository's host does not take what is pushed to it.";
    RedirectRefused = "redirect_refused", Verification, "A redirect leads to a weaker or unknown place.";
    // The registry.
    RequestInvalid = "request_invalid", Usage, "A request to the server is not understood.";
    RequestTimeout = "request_timeout", Remote, "The server gave up on a request that took too long.";
    RouteUnknown = "route_unknown", Remote, "The server has nothing at this address, or not by this method.";
    Unauthenticated = "unauthenticated", Refused, "The server asks for a token, and none that it knows was given.";
    LoginRefused = "login_refused", Refused, "A provider of identities gave no token, or nobody confirmed the login in time.";
    Forbidden = "forbidden", Refused, "The token does not allow it.";
    TokenUnknown = "token_unknown", Refused, "The server has issued no such token.";
    ArtifactInvalid = "artifact_invalid", Verification, "A text is not a record of an artifact.";
    ArtifactUnknown = "artifact_unknown", Remote, "The registry has no such artifact, or the token may not see it.";
    ArtifactExists = "artifact_exists", Refused, "The registry has another artifact by this id.";
    ArtifactFailed = "artifact_failed", Failed, "The run that built the artifact failed.";
    ArtifactUnfinished = "artifact_unfinished", Failed, "The run that builds the artifact did not end in time.";
    BlobMissing = "blob_missing", Verification, "A record names bytes that were not uploaded.";
    UploadMisplaced = "upload_misplaced", Remote, "A piece of an upload does not begin where the one before ended.";
    KeyReused = "idempotency_key_reused", Refused, "An idempotency key was used for another request before.";
    EnvironmentUnknown = "environment_unknown", Usage, "The server manages no environment by this name.";
    ReleaseUnknown = "release_unknown", Failed, "There is no such release.";
    ReleaseFailed = "release_failed", Failed, "A release did not come to run in its environment.";
    ReleaseUnfinished = "release_unfinished", Failed, "A release did not come to its end in time.";
    ManifestsMissing = "manifests_missing", Refused, "An artifact has no manifests for an environment.";
    PolicyRefused = "policy_refused", Refused, "The policies do not allow a release, or not yet.";
    PolicyUnknown = "policy_unknown", Failed, "A service has no such policy.";
    PolicyInvalid = "policy_invalid", Usage, "A policy cannot be used as it is.";
    PolicyConflict = "policy_conflict", Refused, "A policy contradicts another one.";
    ApprovalRefused = "approval_refused", Refused, "A vote on a release is not one of an approver.";
    StoreUnavailable = "store_unavailable", Remote, "The server's database or its blobs cannot be reached.";
    StoreDamaged = "store_damaged", Verification, "The server's database, its blobs and its log contradict each other.";
    // Rules.
    GuardRef = "guard_ref", Refused, "The version is not the one of the current tag or ref.";
    GuardTag = "guard_tag", Refused, "The release tag does not exist, or is not the current commit.";
    GuardBranch = "guard_branch", Refused, "The release commit is not on the required branch.";
    GuardPrefix = "guard_prefix", Refused, "The release version must start with v.";
    GuardVersion = "guard_version", Refused, "The version is not the workspace's version.";
    FileExists = "file_exists", Refused, "A file is in the way that would have to be replaced.";
    TreeDirty = "tree_dirty", Refused, "The working tree has changes that are not committed.";
    SourceUnknown = "source_unknown", Refused, "A release needs a commit, and there is none.";
    StageRequired = "stage_required", Refused, "A stage cannot be skipped in release mode.";
    DowngradeRefused = "downgrade_refused", Refused, "An older version would take the place of a newer one.";
    TrustLowered = "trust_lowered", Refused, "What is installed was verified by more than its replacement is.";
    Yanked = "yanked", Refused, "The version was withdrawn.";
    ClientTooOld = "client_too_old", Refused, "The release needs a newer Consign to be installed.";
    PlatformMissing = "platform_missing", Refused, "The release has no package for the platform.";
    VersionPublished = "version_published", Refused, "The version is already published with other bytes.";
    NotInstalled = "not_installed", Refused, "The product is not installed under the prefix.";
    VersionNotKept = "version_not_kept", Refused, "The version is not among those that are kept.";
    ProgramTaken = "program_taken", Refused, "A program belongs to another product that is installed.";
    PrefixRefused = "prefix_refused", Refused, "The prefix, or something below it, is not a safe place to install to.";
    InstallationDamaged = "installation_damaged", Verification, "What is installed is not what its receipt says.";
    TargetForeign = "target_foreign", Refused, "The publishing target holds something else than releases.";
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl serde::Serialize for Code {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn every_code_is_its_own_word() {
        let words: BTreeSet<_> = Code::ALL.iter().map(|code| code.as_str()).collect();
        assert_eq!(words.len(), Code::ALL.len());
        assert!(
            words
                .iter()
                .all(|word| { !word.is_empty() && word.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_') })
        );
    }
}
