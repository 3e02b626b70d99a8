//! What has to come of each attempt.

/// The broker takes no other client id than the device's own.
pub const CLIENT_ID: &str = "refused by the broker: client id (0x85)";
/// The broker refuses user and password.
pub const LOGIN: &str = "refused by the broker: user or password (0x86)";
/// The broker refuses what belongs to others.
pub const RIGHTS: &str = "refused by the broker: not authorised (0x87)";
/// The broker closes the connection.
pub const ENDED: &str = "connection closed";
/// The broker has nothing against it.
pub const LET: &str = "let through";
/// The device takes no notice.
pub const IGNORED: &str = "ignored by the device";

/// With the broker inside, registered devices, and the key of one stolen.
pub const CLOSED: [(&str, &str); 52] = [
    ("no user name", LOGIN),
    ("a device that is not registered", LOGIN),
    ("the gateway's own user", LOGIN),
    ("own password, another's client id", CLIENT_ID),
    ("own password, no client id", CLIENT_ID),
    ("own password, another's will", RIGHTS),
    ("a client id of 60,000 bytes", ENDED),
    ("a user name of 60,000 bytes", ENDED),
    ("a will of 60,000 bytes", ENDED),
    (
        "100 guesses at another's password",
        "refused by the broker: user or password (0x86) ×100",
    ),
    ("4 KiB of garbage", ENDED),
    ("an HTTP request", ENDED),
    ("a CONNECT that says it is shorter", ENDED),
    ("a string that ends behind its packet", ENDED),
    ("PUBLISH before CONNECT", ENDED),
    ("a length of five bytes", ENDED),
    ("a second CONNECT", ENDED),
    ("a PUBLISH that says it has 256 MiB", ENDED),
    ("a packet type that is none", ENDED),
    ("QoS 3", ENDED),
    ("a subscription with QoS 3", ENDED),
    ("a topic of 60,000 bytes", ENDED),
    ("TLS where none is spoken", ENDED),
    ("subscribe to everything", RIGHTS),
    ("subscribe to all that devices send", RIGHTS),
    ("subscribe to the broker's own topics", RIGHTS),
    ("subscribe as a group", RIGHTS),
    ("subscribe to another's answers", RIGHTS),
    ("speak on another's up topic", RIGHTS),
    ("say another's status", RIGHTS),
    ("ack in the gateway's place", RIGHTS),
    ("speak as the gateway", RIGHTS),
    ("  … of these, held against the stolen device", "foreign 9"),
    ("subscribe to its own answers", LET),
    ("Hello under the stolen key", "taken: it is the device"),
    ("its Hello again", "duplicate"),
    ("Progress in reverse", "replayed"),
    ("a wrong tag", "forged"),
    ("another key id", "key"),
    ("a plain frame", "plain"),
    (
        "a frame cut in its header, and in its tag",
        "forged, truncated",
    ),
    ("8 KiB and more", "too-long"),
    ("another version, other flags", "flags, version"),
    ("frames out of order", "ahead 2"),
    ("two contents of one frame", "conflict"),
    (
        "6,000 Hellos whose answers are not read",
        "6000 sent; memory stays bounded",
    ),
    ("3,000 times the same frame", "duplicate, throttled"),
    ("50 wrong tags", "throttled"),
    ("60 words on another's topic", "foreign"),
    ("Hello after all that", "quarantined"),
    ("Hello after tidegate device release", "taken"),
    ("half a CONNECT, then silence", ENDED),
];

/// With the broker inside over TLS, and the certificate of one device stolen.
pub const SECURED: [(&str, &str); 11] = [
    ("MQTT without TLS", ENDED),
    ("garbage", ENDED),
    ("a ClientHello of garbage", ENDED),
    ("a record longer than TLS allows", ENDED),
    ("no certificate", ENDED),
    ("a certificate of an unknown authority", ENDED),
    ("an expired certificate", ENDED),
    ("another's client id", CLIENT_ID),
    ("another's user name", CLIENT_ID),
    ("its own name", LET),
    ("garbage inside TLS", ENDED),
];

/// On a broker that lets everyone in, and the key of one device stolen.
pub const OPEN: [(&str, &str); 19] = [
    (
        "take an honest device's client id",
        "it connects again, and loses nothing",
    ),
    ("replay an honest device's Hello", "replayed"),
    ("replay three of its frames, the last first", "duplicate 3"),
    ("its frame in another device's name", "forged"),
    ("its frame with a byte changed", "forged"),
    ("its frame cut", "forged, truncated"),
    ("its frame under another key id", "key"),
    ("plain frames in its name", "plain 3"),
    ("frames in its name, sealed by the stolen key", "forged 2"),
    ("a will in its name", "plain"),
    ("500 times garbage in its name", "version 500"),
    ("60 forged frames in its name", "forged 60"),
    (
        "  … and what is done about it",
        "suspicion is told, nobody is in quarantine",
    ),
    ("a plain ack of everything, to an honest device", IGNORED),
    ("the same, sealed by the stolen key", IGNORED),
    ("a plain refusal that would cost it its identity", IGNORED),
    ("the same, sealed by the stolen key", IGNORED),
    ("what the gateway said to it, again", IGNORED),
    ("what the gateway said to it, with a byte changed", IGNORED),
];

/// On a broker that lets everyone in, with a claim open: its code first unknown, then stolen.
pub const CLAIMS: [(&str, &str); 17] = [
    ("100 guesses at the code", "claim-forged 100"),
    ("a claim that nobody opened", "claim-unknown"),
    ("a device's claim, with a byte changed", "claim-forged"),
    ("a device's claim, cut", "truncated"),
    ("a device's claim, in another's name", "claim-forged"),
    (
        "a device's claim again",
        "answered with the same key, for that device alone",
    ),
    (
        "a claim of an earlier start of the device",
        "claim-replayed",
    ),
    ("the code, in a registered device's name", "claim-taken"),
    (
        "the code, in the name of a device that enrolled",
        "claim-taken",
    ),
    ("the code, under another prefix", "claim-outside"),
    (
        "the code, under a name of its prefix",
        "enrolled: it has the code",
    ),
    ("the code, for one device more", "claim-used-up"),
    ("500 claims in one name", "claim-taken, claim-throttled"),
    ("a claim that somebody closed", "claim-closed"),
    ("a claim whose time is over", "claim-expired"),
    ("  … and what is held against a device", "nothing"),
    (
        "  … and what the registry says of the honest ones",
        "what it said before",
    ),
];

/// With the broker inside and a claim open, its code stolen.
pub const CLAIMANTS: [(&str, &str); 16] = [
    (
        "100 guesses at the code's password",
        "refused by the broker: user or password (0x86) ×100",
    ),
    ("the code, as a registered device", LOGIN),
    ("the code, under another prefix", LOGIN),
    ("the code, with another's client id", CLIENT_ID),
    ("the code, with a will", RIGHTS),
    ("the code, under a name of its prefix", LET),
    ("speak on another's up topic", RIGHTS),
    ("say its own status", RIGHTS),
    ("speak as the gateway", RIGHTS),
    ("subscribe to all that devices send", RIGHTS),
    ("subscribe to another's answers", RIGHTS),
    ("subscribe to its own answers", LET),
    ("its claim", "granted: it has the code"),
    (
        "200 frames in the name that was just granted a key",
        "dropped by the broker",
    ),
    ("the code again, when the device was heard", LOGIN),
    ("  … and what is held against a device", "nothing"),
];
