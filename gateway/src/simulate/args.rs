//! What is typed: the arguments of `tidegate simulate`.

use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use super::decimal::Decimal;
use crate::rules::settings::{TlsKeys, TlsSettings};
use crate::simulate::column::Resolution;

/// Arguments of `tidegate simulate`
#[derive(Debug, Clone, clap::Args)]
pub struct SimulateArgs {
    /// CSV file to replay; without it, a small model of a pump
    #[arg(long, value_name = "FILE.csv")]
    pub trace: Option<PathBuf>,
    /// Name of the device; with --devices N, of NAME-1 to NAME-N
    #[arg(long, value_name = "NAME")]
    pub device: String,
    /// Broker to connect to
    #[arg(long, value_name = "mqtt://HOST:PORT")]
    pub broker: BrokerAddress,
    /// Over TLS: PEM file of the only authorities to trust; the system's without it
    #[arg(long, value_name = "FILE.pem")]
    pub ca_file: Option<PathBuf>,
    /// Over TLS: PEM file of the certificate that the device shows
    #[arg(long, value_name = "FILE.pem", requires = "cert_key_file")]
    pub cert_file: Option<PathBuf>,
    /// Over TLS: PEM file of that certificate's key
    #[arg(long, value_name = "FILE.pem", requires = "cert_file")]
    pub cert_key_file: Option<PathBuf>,
    /// Site that the device belongs to
    #[arg(long)]
    pub site: String,
    /// How fast the samplers run: 1 is as it was recorded, max as the outbox has room
    #[arg(long, value_name = "1|60|max", default_value = "1")]
    pub speed: Speed,
    /// Columns to send, by title; all numeric ones by default
    #[arg(long, value_name = "A,B", value_delimiter = ',')]
    pub columns: Vec<String>,
    /// What separates the cells; found out by default
    #[arg(long, value_name = "CHAR")]
    pub delimiter: Option<char>,
    /// Column of the times; found out by default
    #[arg(long, value_name = "NAME")]
    pub time_column: Option<String>,
    /// Resolution of a column; by default the finest number of decimals in it. Repeatable
    #[arg(long, value_name = "NAME=1e-2")]
    pub resolution: Vec<ColumnValue<Resolution>>,
    /// Unit of a column. Repeatable
    #[arg(long, value_name = "NAME=bar")]
    pub unit: Vec<ColumnValue<String>>,
    /// Simulate this many devices at once
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub devices: u32,
    /// Do not wait for room in the outbox: evict the oldest frames, as a device does
    #[arg(long)]
    pub evict: bool,
    /// Keep incarnation, boot counter and a granted key in this file; without it, every run is a new
    /// incarnation
    #[arg(long, value_name = "FILE")]
    pub state: Option<PathBuf>,
    /// Seal all frames with the key in this file, a settings page or 64 hexadecimal digits; user and
    /// password for the broker follow from it. With a page that has a claim, the device, called
    /// PREFIX-something, gets a key by it and keeps that in the file of --state
    #[arg(long, value_name = "FILE")]
    pub key_file: Option<PathBuf>,
    /// Which key of the device it is, when the file has digits
    #[arg(long, value_name = "N", requires = "key_file", value_parser = clap::value_parser!(u8).range(1..))]
    pub key_id: Option<u8>,
    /// Longest time a sample waits for its batch, in seconds of the trace
    #[arg(long, value_name = "SECONDS", default_value_t = 120, value_parser = clap::value_parser!(u32).range(1..=3_600))]
    pub hold: u32,
    /// How long the model runs, in seconds of its own time (without --trace)
    #[arg(
        long,
        value_name = "SECONDS",
        default_value_t = 3_600,
        conflicts_with = "trace"
    )]
    pub duration: u64,
    /// Seed of the model's noise; by default drawn from the device's name
    #[arg(long, conflicts_with = "trace")]
    pub seed: Option<u64>,
    /// Write progress as JSON lines
    #[arg(long)]
    pub json: bool,
}

impl SimulateArgs {
    /// A simulation of the model, everything else as by default.
    pub fn plant(device: &str, site: &str, broker: BrokerAddress) -> Self {
        Self {
            trace: None,
            device: device.to_owned(),
            broker,
            ca_file: None,
            cert_file: None,
            cert_key_file: None,
            site: site.to_owned(),
            speed: Speed::Times(1.0),
            columns: Vec::new(),
            delimiter: None,
            time_column: None,
            resolution: Vec::new(),
            unit: Vec::new(),
            devices: 1,
            evict: false,
            state: None,
            key_file: None,
            key_id: None,
            hold: 120,
            duration: 3_600,
            seed: None,
            json: false,
        }
    }

    /// How TLS is spoken to the broker, if it is.
    pub(super) fn tls(&self) -> Option<TlsSettings> {
        let client = self.cert_file.clone().zip(self.cert_key_file.clone());
        self.broker.is_secure.then(|| TlsSettings {
            ca: self.ca_file.clone(),
            client,
            keys: TlsKeys {
                ca: "--ca-file",
                cert: "--cert-file",
                key: "--cert-key-file",
            },
        })
    }
}

/// How fast samplers run.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Speed {
    /// Seconds of the trace per second; above 0.
    Times(f64),
    /// As fast as the outbox has room.
    Max,
}

impl Speed {
    /// How much wall time a stretch of trace time takes.
    pub fn wall(self, trace_us: u64) -> Duration {
        match self {
            Self::Times(times) => {
                Duration::try_from_secs_f64(trace_us as f64 / 1e6 / times).unwrap_or(Duration::MAX)
            }
            Self::Max => Duration::ZERO,
        }
    }
}

/// A speed that is none.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("a speed is a number above 0, or max")]
pub struct NotASpeed;

impl FromStr for Speed {
    type Err = NotASpeed;

    fn from_str(text: &str) -> Result<Self, NotASpeed> {
        if text == "max" {
            return Ok(Self::Max);
        }
        let times: f64 = text.parse().map_err(|_| NotASpeed)?;
        if times.is_finite() && times > 0.0 {
            Ok(Self::Times(times))
        } else {
            Err(NotASpeed)
        }
    }
}

/// A broker.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BrokerAddress {
    /// Host name or address, an IPv6 one without brackets.
    pub host: String,
    /// TCP port.
    pub port: u16,
    /// Whether TLS is spoken there.
    pub is_secure: bool,
}

/// A broker address that is none.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NotABroker {
    /// Another way to reach a broker.
    #[error("simulated devices speak MQTT over TCP: give mqtt://HOST:PORT or mqtts://HOST:PORT")]
    Scheme,
    /// No host.
    #[error("give mqtt://HOST:PORT, such as mqtt://127.0.0.1:1883")]
    Host,
    /// A port that is no number from 1 to 65535.
    #[error("a port is a number from 1 to 65535")]
    Port,
}

impl FromStr for BrokerAddress {
    type Err = NotABroker;

    fn from_str(text: &str) -> Result<Self, NotABroker> {
        let (is_secure, rest) = match text.split_once("://") {
            Some(("mqtt" | "tcp", rest)) => (false, rest),
            Some(("mqtts", rest)) => (true, rest),
            Some(_) => return Err(NotABroker::Scheme),
            None => (false, text),
        };
        let rest = rest.strip_suffix('/').unwrap_or(rest);
        let (host, port) = match rest.rsplit_once(':') {
            Some((host, port)) if !host.contains(':') || host.ends_with(']') => (host, Some(port)),
            _ => (rest, None),
        };
        let host = host.trim_start_matches('[').trim_end_matches(']');
        if host.is_empty() || host.contains(['/', '@', '?']) {
            return Err(NotABroker::Host);
        }
        let port = port
            .map_or(Ok(if is_secure { 8883 } else { 1883 }), str::parse)
            .map_err(|_| NotABroker::Port)?;
        if port == 0 {
            return Err(NotABroker::Port);
        }
        Ok(Self {
            host: host.to_owned(),
            port,
            is_secure,
        })
    }
}

/// `NAME=VALUE`: something said of a column.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ColumnValue<V> {
    /// The column's title in the file, or its name as a sensor.
    pub name: String,
    /// What is said.
    pub value: V,
}

/// `NAME=VALUE` that is none.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NotAColumnValue {
    /// No equals sign.
    #[error("give COLUMN=VALUE")]
    Equals,
    /// The value is not a resolution.
    #[error("a resolution is a decimal number above 0, such as 0.01, 5e-2 or 1")]
    Resolution,
}

fn split(text: &str) -> Result<(String, &str), NotAColumnValue> {
    let (name, value) = text.rsplit_once('=').ok_or(NotAColumnValue::Equals)?;
    Ok((name.to_owned(), value))
}

impl FromStr for ColumnValue<Resolution> {
    type Err = NotAColumnValue;

    fn from_str(text: &str) -> Result<Self, NotAColumnValue> {
        let (name, value) = split(text)?;
        let value = Decimal::parse(value).and_then(Resolution::of);
        Ok(Self {
            name,
            value: value.ok_or(NotAColumnValue::Resolution)?,
        })
    }
}

impl FromStr for ColumnValue<String> {
    type Err = NotAColumnValue;

    fn from_str(text: &str) -> Result<Self, NotAColumnValue> {
        let (name, value) = split(text)?;
        Ok(Self {
            name,
            value: value.to_owned(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn speeds() {
        assert_eq!("60".parse(), Ok(Speed::Times(60.0)));
        assert_eq!("max".parse(), Ok(Speed::Max));
        for wrong in ["0", "-1", "fast", "inf", ""] {
            assert_eq!(wrong.parse::<Speed>(), Err(NotASpeed));
        }
        assert_eq!(Speed::Times(60.0).wall(60_000_000), Duration::from_secs(1));
    }

    #[test]
    fn brokers() {
        let address = |host: &str, port| {
            Ok(BrokerAddress {
                host: host.to_owned(),
                port,
                is_secure: false,
            })
        };
        assert_eq!(
            "mqtt://127.0.0.1:21883".parse(),
            address("127.0.0.1", 21_883)
        );
        assert_eq!("broker.example".parse(), address("broker.example", 1_883));
        assert_eq!("mqtt://[::1]:1884/".parse(), address("::1", 1_884));
        let secure: BrokerAddress = "mqtts://x".parse().unwrap();
        assert!(secure.is_secure && secure.port == 8_883);
        assert_eq!(
            "wss://x:1".parse::<BrokerAddress>(),
            Err(NotABroker::Scheme)
        );
        assert_eq!("mqtt://:1".parse::<BrokerAddress>(), Err(NotABroker::Host));
        assert_eq!("mqtt://x:0".parse::<BrokerAddress>(), Err(NotABroker::Port));
    }

    #[test]
    fn column_values() {
        let value = "Volume Flow RateRMS=1e-2"
            .parse::<ColumnValue<Resolution>>()
            .unwrap();
        assert_eq!(value.name, "Volume Flow RateRMS");
        assert_eq!((value.value.step, value.value.exponent), (1, -2));
        assert_eq!(
            "x".parse::<ColumnValue<String>>(),
            Err(NotAColumnValue::Equals)
        );
        for wrong in ["x=0", "x=-1", "x=a"] {
            assert_eq!(
                wrong.parse::<ColumnValue<Resolution>>(),
                Err(NotAColumnValue::Resolution)
            );
        }
    }
}
