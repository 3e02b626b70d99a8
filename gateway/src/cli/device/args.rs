//! Arguments of `device`.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Subcommand};
use tidegate_firmware::settings::Broker;
use tidegate_shared::claim::ClaimId;
use tidegate_shared::ids::DeviceName;

use super::page::Board;
use crate::registry::{CLAIM_DAYS_MAX, CLAIM_DEVICES_MAX};
use crate::rules::duration_us;

/// What is done with devices.
#[derive(Debug, Clone, Subcommand)]
pub enum DeviceCommand {
    /// Register a device: make its key, and the settings page that goes into its flash
    ///
    /// The page holds site, name, broker and key. Frames of the device are taken under this key
    /// alone from now on; a device that was revoked gets a further one.
    Add(IssueArgs),
    /// List the devices and what keys they have
    List(ListArgs),
    /// Show one device
    Show(ShowArgs),
    /// Make another key for a device, and the page that brings it there
    ///
    /// The former key stays valid until the first frame under the new one is on the gateway's disk.
    Rotate(IssueArgs),
    /// End all keys of a device: none of its frames is taken any more
    Revoke(ShowArgs),
    /// Let a device out of quarantine
    ///
    /// The gateway puts it there when it does what no honest device does; tidegate audit show says
    /// what that was. If its key may be in other hands, rotate or revoke it first.
    Release(ShowArgs),
    /// Give a device another name, and make the page that tells it
    Rename(RenameArgs),
    /// Let a batch of devices enrol by themselves
    #[command(subcommand)]
    Claim(ClaimCommand),
    /// Write all devices and their keys into one sealed file, for another gateway
    Export(ExportArgs),
    /// Take over the devices and keys of another gateway
    Import(ImportArgs),
    /// Write the files by which a Mosquitto lets in registered devices alone, each on its own topics
    ///
    /// They are DIR/acl and DIR/passwords, for Mosquitto's options of like names. Make them anew when a
    /// device was added, rotated, renamed or revoked, and have Mosquitto read them (SIGHUP).
    Mosquitto(MosquittoArgs),
}

/// What is done with claims.
#[derive(Debug, Clone, Subcommand)]
pub enum ClaimCommand {
    /// Open a claim: make its code, and the settings page for every device of the batch
    ///
    /// A device with this page and no key asks for one at first contact, under the name PREFIX- and
    /// eight digits of its board. Each name is enrolled once; the claim ends when so many are, when
    /// its time is over, or when it is closed.
    Open(Box<OpenArgs>),
    /// List the claims, and who enrolled by them
    List(ListArgs),
    /// Close a claim: nobody enrols by it any more; who did keeps the key
    Close(CloseArgs),
}

/// Arguments of `device claim open`.
#[derive(Debug, Clone, Args)]
pub struct OpenArgs {
    /// What the devices' names begin with, before a `-`: 1 to 23 of A-Z a-z 0-9 . _ -
    #[arg(long, value_name = "NAME")]
    pub prefix: DeviceName,
    /// How many devices may enrol
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=i64::from(CLAIM_DEVICES_MAX)))]
    pub devices: u32,
    /// How long it is open, such as 30m, 24h or 7d
    #[arg(long = "for", value_name = "TIME", default_value = "24h", value_parser = open_for)]
    pub open_for: Duration,
    /// The page
    #[command(flatten)]
    pub page: PageArgs,
    /// Where the registry is
    #[command(flatten)]
    pub common: CommonArgs,
}

/// Arguments of `device claim close`.
#[derive(Debug, Clone, Args)]
pub struct CloseArgs {
    /// The claim: its eight digits in the list
    #[arg(value_name = "CLAIM", value_parser = claim)]
    pub claim: ClaimId,
    /// Where the registry is
    #[command(flatten)]
    pub common: CommonArgs,
}

/// Arguments of `device add` and `device rotate`.
#[derive(Debug, Clone, Args)]
pub struct IssueArgs {
    /// The device: 1 to 32 of A-Z a-z 0-9 . _ -
    #[arg(value_name = "NAME")]
    pub device: DeviceName,
    /// The page
    #[command(flatten)]
    pub page: PageArgs,
    /// Where the registry is
    #[command(flatten)]
    pub common: CommonArgs,
}

/// Arguments of `device rename`.
#[derive(Debug, Clone, Args)]
pub struct RenameArgs {
    /// Its name
    #[arg(value_name = "OLD")]
    pub from: DeviceName,
    /// Its name from now on
    #[arg(value_name = "NEW")]
    pub to: DeviceName,
    /// The page
    #[command(flatten)]
    pub page: PageArgs,
    /// Where the registry is
    #[command(flatten)]
    pub common: CommonArgs,
}

/// Arguments of `device list` and `device claim list`.
#[derive(Debug, Clone, Args)]
pub struct ListArgs {
    /// Where the registry is
    #[command(flatten)]
    pub common: CommonArgs,
}

/// Arguments of `device show`, `device revoke` and `device release`.
#[derive(Debug, Clone, Args)]
pub struct ShowArgs {
    /// The device
    #[arg(value_name = "NAME")]
    pub device: DeviceName,
    /// Where the registry is
    #[command(flatten)]
    pub common: CommonArgs,
}

/// What the page says beside site, name and key, and how it is told.
#[derive(Debug, Clone, Args)]
pub struct PageArgs {
    /// Where the device finds its broker; that of the configuration when left out, if it is one
    /// that others can reach
    #[arg(long, value_name = "HOST:PORT", value_parser = broker)]
    pub broker: Option<Broker>,
    /// Where the page is written, a file that is not there yet; NAME.page when left out, of a claim
    /// PREFIX-claim.page
    #[arg(long, value_name = "FILE")]
    pub out: Option<PathBuf>,
    /// Which board the device is: its chip, and where in the flash the page lies
    #[arg(long, value_enum)]
    pub board: Option<Board>,
    /// The chip, as probe-rs calls it
    #[arg(
        long,
        value_name = "CHIP",
        requires = "address",
        conflicts_with = "board"
    )]
    pub chip: Option<String>,
    /// Where in the chip's flash the page lies, such as 0x08108000
    #[arg(long, value_name = "ADDRESS", requires = "chip", value_parser = address)]
    pub address: Option<u32>,
    /// Show no QR code of the page
    #[arg(long)]
    pub no_qr: bool,
    /// Show the key, too; of a claim its code
    #[arg(long)]
    pub show_key: bool,
}

/// Arguments of every command about devices.
#[derive(Debug, Clone, Args)]
pub struct CommonArgs {
    /// The configuration that names data directory, site and broker
    #[arg(long, value_name = "FILE", default_value = "tidegate.toml")]
    pub config: PathBuf,
    /// Print one JSON object instead of text
    #[arg(long)]
    pub json: bool,
}

/// Arguments of `device export`.
#[derive(Debug, Clone, Args)]
pub struct ExportArgs {
    /// Where the sealed registry is written, a file that is not there yet
    #[arg(long, value_name = "FILE")]
    pub out: PathBuf,
    /// Seal it under the key in this file, written as security.key is, instead of that one
    #[arg(long, value_name = "FILE")]
    pub key_file: Option<PathBuf>,
    /// Where the registry is
    #[command(flatten)]
    pub common: CommonArgs,
}

/// Arguments of `device mosquitto`.
#[derive(Debug, Clone, Args)]
pub struct MosquittoArgs {
    /// The folder that the files are written into, over those of before
    #[arg(long, value_name = "DIR")]
    pub out: PathBuf,
    /// Where the registry is
    #[command(flatten)]
    pub common: CommonArgs,
}

/// Arguments of `device import`.
#[derive(Debug, Clone, Args)]
pub struct ImportArgs {
    /// What `device export` wrote
    #[arg(value_name = "FILE")]
    pub file: PathBuf,
    /// It is sealed under the key in this file instead of security.key
    #[arg(long, value_name = "FILE")]
    pub key_file: Option<PathBuf>,
    /// Take the keys of the file also for devices that are known with others
    #[arg(long)]
    pub replace: bool,
    /// Where the registry is
    #[command(flatten)]
    pub common: CommonArgs,
}

fn broker(text: &str) -> Result<Broker, String> {
    Broker::parse(text)
        .ok_or_else(|| "write a host of at most 64 signs and a port: 192.168.1.10:1883".to_owned())
}

/// Reads how long a claim is open.
fn open_for(text: &str) -> Result<Duration, String> {
    let us = duration_us(text).map_err(|why| format!("{why}: write it as 30m, 24h or 7d"))?;
    if !(1..=i64::from(CLAIM_DAYS_MAX) * 86_400_000_000).contains(&us) {
        return Err(format!("write a time above 0, at most {CLAIM_DAYS_MAX}d"));
    }
    Ok(Duration::from_micros(us.unsigned_abs()))
}

/// Reads a claim's number.
fn claim(text: &str) -> Result<ClaimId, String> {
    let is_whole = text.len() == 8 && text.bytes().all(|digit| digit.is_ascii_hexdigit());
    let id = u32::from_str_radix(text, 16).ok().filter(|_| is_whole);
    id.map(ClaimId)
        .ok_or_else(|| "write its eight digits as `tidegate device claim list` does".to_owned())
}

/// Reads an address of a chip's flash.
fn address(text: &str) -> Result<u32, String> {
    let digits = text.strip_prefix("0x").unwrap_or("none");
    u32::from_str_radix(digits, 16)
        .map_err(|_| "write the address in hexadecimal: 0x08108000".to_owned())
}
