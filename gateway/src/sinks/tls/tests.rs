//! Files of TLS: what is wrong with each is told with its path.

use super::authority::{Authority, Flaw};
use super::*;

fn why(settings: &TlsSettings) -> String {
    match client_config(settings) {
        Ok(_) => String::new(),
        Err(why) => why.to_string(),
    }
}

#[test]
fn files_that_are_right_make_a_client() {
    let authority = Authority::new("plant");
    let client = authority.issue("hall", Flaw::None);
    let settings = TlsSettings {
        ca: Some(authority.file()),
        client: Some((
            authority.write("cert.pem", &client.cert),
            authority.write("key.pem", &client.key),
        )),
        ..TlsSettings::default()
    };
    let config = client_config(&settings).unwrap();
    assert!(config.client_auth_cert_resolver.has_certs());
}

#[test]
fn files_that_are_missing_or_wrong_are_told_with_key_path_and_what_to_do() {
    let authority = Authority::new("plant");
    let client = authority.issue("hall", Flaw::None);
    let other = authority.issue("other", Flaw::None);
    let ca = authority.file();
    let cert = authority.write("cert.pem", &client.cert);
    let key = authority.write("key.pem", &client.key);
    let others_key = authority.write("others.pem", &other.key);
    let text = authority.write("text.pem", "sesame");
    let broken = authority.write(
        "broken.pem",
        "-----BEGIN CERTIFICATE-----\nc2VzYW1l\n-----END CERTIFICATE-----\n",
    );
    let of_ca = |ca: &Path| TlsSettings {
        ca: Some(ca.to_owned()),
        ..TlsSettings::default()
    };
    let of_client = |cert: &Path, key: &Path| TlsSettings {
        ca: Some(ca.clone()),
        client: Some((cert.to_owned(), key.to_owned())),
        ..TlsSettings::default()
    };
    let nowhere = Path::new("/nowhere/x.pem");
    for (settings, said) in [
        (
            of_ca(nowhere),
            vec!["tls.ca", "/nowhere/x.pem", "may read it"],
        ),
        (
            of_ca(&text),
            vec!["tls.ca", "text.pem", "no certificate", "BEGIN CERTIFICATE"],
        ),
        (
            of_ca(&broken),
            vec!["tls.ca", "broken.pem", "cannot be used"],
        ),
        (of_client(nowhere, &key), vec!["tls.cert", "/nowhere/x.pem"]),
        (of_client(&cert, nowhere), vec!["tls.key", "/nowhere/x.pem"]),
        (
            of_client(&cert, &cert),
            vec!["tls.key", "cert.pem", "no unencrypted private key"],
        ),
        (
            of_client(&cert, &others_key),
            vec!["tls.cert", "tls.key", "do not go together"],
        ),
    ] {
        let why = why(&settings);
        for part in said {
            assert!(why.contains(part), "wanted {part:?}, said: {why}");
        }
        assert!(!why.contains("sesame"), "{why}");
    }
    assert_eq!(why(&of_client(&cert, &key)), "");
}

#[test]
fn names_are_told_without_the_librarys_words_around_them() {
    assert_eq!(bare("DnsName(\"a.example\")"), "a.example");
    assert_eq!(bare("IpAddress(127.0.0.1)"), "127.0.0.1");
}
