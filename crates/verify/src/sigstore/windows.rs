//! When what a trust root names may vouch for anything, as far as the Sigstore crates leave it open: they hold an
//! authority to the time that the root states for it, and never look at the validity of its own certificates; and they
//! believe a log that was retired as long as its key is in the root.

use jiff::Timestamp;
use sigstore_verify::trust_root::trusted_root::CertChain;
use sigstore_verify::trust_root::{TimeRange, TransparencyLog, TrustedRoot};
use x509_cert::Certificate;
use x509_cert::der::Decode as _;
use x509_cert::time::Time;

/// Narrows the time of each authority to that in which all of its certificates are valid (RFC 5280, section 6.1.3; the
/// like of CVE-2026-24122). One that never had such a time vouches for nothing, and is left out.
///
/// # Errors
/// A certificate cannot be read, or a stated time ends before it begins.
pub(super) fn narrow(root: &mut TrustedRoot) -> Result<(), String> {
    for authority in &mut root.certificate_authorities {
        authority.valid_for = window(&authority.cert_chain, authority.valid_for)?;
    }
    for authority in &mut root.timestamp_authorities {
        authority.valid_for = window(&authority.cert_chain, authority.valid_for)?;
    }
    root.certificate_authorities.retain(|authority| authority.valid_for.is_none_or(is_some_time));
    root.timestamp_authorities.retain(|authority| authority.valid_for.is_none_or(is_some_time));
    Ok(())
}

/// The root without the logs that had been retired at one of these times; absent where that is none.
pub(super) fn without_retired(root: &TrustedRoot, times: &[Timestamp]) -> Option<TrustedRoot> {
    let was_retired = |log: &TransparencyLog| {
        let end = log.public_key.valid_for.and_then(|window| window.end);
        end.is_some_and(|end| times.iter().any(|time| *time > end))
    };
    root.tlogs.iter().any(was_retired).then(|| {
        let mut root = root.clone();
        root.tlogs.retain(|log| !was_retired(log));
        root
    })
}

fn window(chain: &CertChain, stated: Option<TimeRange>) -> Result<Option<TimeRange>, String> {
    if stated.is_some_and(|stated| !is_some_time(stated)) {
        return Err("an authority's `validFor` ends before it begins".to_owned());
    }
    let mut narrowed = stated;
    for entry in &chain.certificates {
        let certificate =
            Certificate::from_der(entry.raw_bytes.as_bytes()).map_err(|error| error.to_string())?;
        let validity = &certificate.tbs_certificate.validity;
        // A time that is past what can be reckoned with is no end; no beginning is.
        let start = timestamp(&validity.not_before).unwrap_or(Timestamp::MAX);
        let end = timestamp(&validity.not_after);
        narrowed = Some(match narrowed {
            None => TimeRange::new(start, end),
            Some(other) => {
                let end = [end, other.end].into_iter().flatten().min();
                TimeRange::new(start.max(other.start), end)
            }
        });
    }
    Ok(narrowed)
}

fn is_some_time(range: TimeRange) -> bool {
    range.end.is_none_or(|end| end >= range.start)
}

fn timestamp(time: &Time) -> Option<Timestamp> {
    let seconds = i64::try_from(time.to_unix_duration().as_secs()).ok()?;
    Timestamp::from_second(seconds).ok()
}

#[cfg(test)]
mod tests {
    use base64::Engine as _;
    use base64::engine::general_purpose::STANDARD;
    use rcgen::{CertificateParams, KeyPair};
    use serde_json::json;
    use sigstore_verify::trust_root::SIGSTORE_PRODUCTION_TRUSTED_ROOT;

    use super::*;

    fn at(time: &str) -> Timestamp {
        time.parse().unwrap()
    }

    /// An authority whose certificates are valid in these years.
    fn chain(years: &[(i32, i32)]) -> CertChain {
        let entry = |(from, to): &(i32, i32)| {
            let mut params = CertificateParams::default();
            params.not_before = rcgen::date_time_ymd(*from, 1, 1);
            params.not_after = rcgen::date_time_ymd(*to, 1, 1);
            let certificate = params.self_signed(&KeyPair::generate().unwrap()).unwrap();
            json!({"rawBytes": STANDARD.encode(certificate.der())})
        };
        let entries: Vec<_> = years.iter().map(entry).collect();
        serde_json::from_value(json!({"certificates": entries})).unwrap()
    }

    #[test]
    fn an_authority_vouches_while_all_of_its_certificates_are_valid() {
        let stated = TimeRange::new(at("2010-06-01T00:00:00Z"), None);
        let narrowed = |years: &[(i32, i32)], stated| window(&chain(years), stated).unwrap().unwrap();
        assert_eq!(
            narrowed(&[(2012, 2020), (2011, 2030)], Some(stated)),
            TimeRange::new(at("2012-01-01T00:00:00Z"), Some(at("2020-01-01T00:00:00Z")))
        );
        assert_eq!(narrowed(&[(2000, 2030)], Some(stated)).start, stated.start);
        assert_eq!(narrowed(&[(2000, 2030)], None).end, Some(at("2030-01-01T00:00:00Z")));
        assert!(!is_some_time(narrowed(&[(2000, 2005)], Some(stated))));
        let backwards = TimeRange::new(at("2020-01-01T00:00:00Z"), Some(at("2010-01-01T00:00:00Z")));
        assert!(window(&chain(&[]), Some(backwards)).is_err());
    }

    #[test]
    fn the_public_root_loses_no_authority_and_a_retired_log_is_none() {
        let mut root = TrustedRoot::from_json(SIGSTORE_PRODUCTION_TRUSTED_ROOT).unwrap();
        let count = |root: &TrustedRoot| {
            (root.certificate_authorities.len(), root.timestamp_authorities.len(), root.tlogs.len())
        };
        let before = count(&root);
        narrow(&mut root).unwrap();
        assert_eq!(count(&root), before);

        let end = at("2025-01-01T00:00:00Z");
        root.tlogs[0].public_key.valid_for = Some(TimeRange::new(at("2021-01-01T00:00:00Z"), Some(end)));
        assert!(without_retired(&root, &[]).is_none());
        assert!(without_retired(&root, &[end]).is_none());
        let left = without_retired(&root, &[end, at("2025-01-01T00:00:01Z")]).unwrap();
        assert_eq!(left.tlogs.len(), before.2 - 1);
    }
}
