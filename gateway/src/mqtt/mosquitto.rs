//! Mosquitto: what the embedded broker does by itself, as files for one of your own.
//!
//! Two files: who may connect (`password_file`), and what each may say and hear (`acl_file`).
//! Whoever is in neither is let in nowhere, given `allow_anonymous false`. Mosquitto knows one
//! password per user, so a device whose key is rotated is shut out between the two unless the
//! file is made again in that moment; and it lets a device connect under another's client id
//! unless `use_username_as_clientid true` is set.

use std::fmt::Write as _;
use std::num::NonZeroU32;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use ring::pbkdf2;
use tidegate_shared::ids::{DeviceName, SiteName};
use tidegate_shared::topic::{PREFIX, Topic};

/// Rounds of PBKDF2, Mosquitto's own number. More would slow down those who guess; a password of
/// 128 random bits is not guessed.
const ROUNDS: NonZeroU32 = NonZeroU32::new(101).expect("it is not zero");
/// Bytes of salt, as Mosquitto has.
const SALT_BYTES: usize = 12;

/// The text of an `acl_file`: the gateway has its site, each device its own topics.
pub fn acl(site: &SiteName, gateway: &str, devices: &[DeviceName]) -> String {
    let mut text = format!(
        "# Made by Tidegate for the site {site}; make it anew when devices change.\n\
         user {gateway}\n\
         topic readwrite {PREFIX}{site}/#\n"
    );
    for device in devices {
        let topics = [
            ("write", Topic::Up(device.clone())),
            ("write", Topic::Status(device.clone())),
            ("read", Topic::Down(device.clone())),
            ("read", Topic::Gateway),
        ];
        let _ = writeln!(text, "\nuser {device}");
        for (access, topic) in topics {
            let _ = writeln!(text, "topic {access} {}", topic.text(site));
        }
    }
    text
}

/// The text of a `password_file`: users with their passwords, which cannot be read from it.
///
/// # Errors
/// The system has no entropy for the salts.
pub fn passwords<'a>(
    users: impl IntoIterator<Item = (&'a str, &'a str)>,
) -> std::io::Result<String> {
    let mut text = String::new();
    for (user, password) in users {
        let mut salt = [0; SALT_BYTES];
        getrandom::fill(&mut salt).map_err(std::io::Error::other)?;
        let _ = writeln!(text, "{user}:{}", hashed(password, &salt));
    }
    Ok(text)
}

/// `$7$ROUNDS$SALT$HASH`: PBKDF2 with HMAC-SHA-512, both parts in Base64.
fn hashed(password: &str, salt: &[u8]) -> String {
    let mut hash = [0; 64];
    let algorithm = pbkdf2::PBKDF2_HMAC_SHA512;
    pbkdf2::derive(algorithm, ROUNDS, salt, password.as_bytes(), &mut hash);
    let (salt, hash) = (STANDARD.encode(salt), STANDARD.encode(hash));
    format!("$7${ROUNDS}${salt}${hash}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_device_has_its_own_topics_and_the_gateway_the_site() {
        let site = SiteName::try_from("plant").unwrap();
        let device = DeviceName::try_from("pump-1").unwrap();
        let text = acl(&site, "tidegate-gateway", &[device]);
        let expected = "\
user tidegate-gateway
topic readwrite tidegate/v1/plant/#

user pump-1
topic write tidegate/v1/plant/pump-1/up
topic write tidegate/v1/plant/pump-1/status
topic read tidegate/v1/plant/pump-1/down
topic read tidegate/v1/plant/gateway
";
        let (comment, rest) = text.split_once('\n').unwrap();
        assert!(comment.starts_with('#'));
        assert_eq!(rest, expected);
    }

    #[test]
    fn a_password_is_hashed_as_mosquitto_passwd_does() {
        // `mosquitto_passwd -b` of Mosquitto 2.0.11 made this.
        let line = MADE_BY_MOSQUITTO_PASSWD;
        let salt = STANDARD.decode(line.split('$').nth(3).unwrap()).unwrap();
        assert_eq!(hashed("sesame", &salt), line);
        let text = passwords([("a", "sesame"), ("b", "sesame")]).unwrap();
        let hashes: Vec<&str> = text.lines().map(|line| &line[2..]).collect();
        assert_ne!(hashes[0], hashes[1], "each has a salt of its own");
        assert!(!text.contains("sesame"));
    }

    const MADE_BY_MOSQUITTO_PASSWD: &str = "$7$101$6QoCFytx7lJn+6jI$C9/vALoW8euHMyG19c/8bvJ/Yr8FjT+N4m0+lrMss/hlghCqcOe95lShOjxHpoMXCcCinWJjzAVjQr066/LqCQ==";
}
