//! The machine's name as the name of a site: two gateways at one broker differ without a thought.

use tidegate_shared::ids::SiteName;
use tidegate_shared::limits::SITE_BYTES_MAX;

/// A site's name for this machine.
pub(super) fn site() -> String {
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname");
    site_of(host.unwrap_or_default().trim())
}

/// The part of a machine's name before its first dot, as far as a site may be called so.
fn site_of(host: &str) -> String {
    let first = host.split('.').next().unwrap_or_default();
    let signs = first.chars().map(|sign| match sign {
        'A'..='Z' | 'a'..='z' | '0'..='9' | '_' | '-' => sign,
        _ => '_',
    });
    let name: String = signs.take(SITE_BYTES_MAX).collect();
    match SiteName::try_from(name.as_str()) {
        Ok(_) if name != "localhost" => name,
        _ => "site-1".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_machines_name_becomes_a_sites() {
        assert_eq!(site_of("raspberrypi"), "raspberrypi");
        assert_eq!(site_of("hall-2.plant.example"), "hall-2");
        assert_eq!(site_of("Halle süd"), "Halle_s_d");
        assert_eq!(site_of(&"x".repeat(64)), "x".repeat(SITE_BYTES_MAX));
        assert_eq!(site_of(""), "site-1");
        assert_eq!(site_of("localhost"), "site-1");
        assert!(SiteName::try_from(site().as_str()).is_ok());
    }
}
