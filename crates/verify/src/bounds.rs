//! How much of a bundle is looked at. The Sigstore crates verify whatever they are given: two thousand log entries in
//! one bundle take seconds of a processor. The counts are those of sigstore-go (after CVE-2024-45395).

/// Largest bundle, in bytes.
pub(crate) const BUNDLE_BYTES: usize = 1 << 20;
/// Most entries of transparency logs in one bundle.
pub(crate) const LOG_ENTRIES: usize = 32;
/// Most signed timestamps in one bundle.
pub(crate) const TIMESTAMPS: usize = 32;
/// Most subjects of one statement.
pub(crate) const SUBJECTS: usize = 1_024;
/// Most digests of one subject.
pub(crate) const DIGESTS: usize = 32;
/// Most certificates of one chain.
pub(crate) const CERTIFICATES: usize = 16;
/// Largest trust root, in bytes: the public good one has 12 KB.
pub(crate) const ROOT_BYTES: usize = 1 << 20;
/// Most public keys in one text.
pub(crate) const KEYS: usize = 64;
/// Most pieces of evidence about one image in one repository.
pub(crate) const EVIDENCE: usize = 64;
/// Largest manifest that lists evidence, in bytes; a signature's annotations take some kilobytes.
pub(crate) const EVIDENCE_MANIFEST_BYTES: usize = 1 << 20;
/// Most bytes of them together.
pub(crate) const EVIDENCE_BYTES: usize = 8 << 20;
/// Largest configuration of an image, in bytes.
pub(crate) const CONFIG_BYTES: usize = 4 << 20;
/// Largest statement, in bytes, with its predicate. Its JSON is nested at most 128 levels deep, which is `serde_json`'s
/// own limit.
pub(crate) const STATEMENT_BYTES: usize = 1 << 20;
/// Largest trust policy document of Notation, in bytes.
pub(crate) const TRUST_POLICY_BYTES: usize = 1 << 18;
