//! Arguments of `device`.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use tidegate_firmware::settings::Broker;
use tidegate_shared::ids::DeviceName;

use super::page::Board;

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

/// Arguments of `device list`.
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
    /// Where the page is written, a file that is not there yet; NAME.page when left out
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
    /// Show the key, too
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

/// Reads an address of a chip's flash.
fn address(text: &str) -> Result<u32, String> {
    let digits = text.strip_prefix("0x").unwrap_or("none");
    u32::from_str_radix(digits, 16)
        .map_err(|_| "write the address in hexadecimal: 0x08108000".to_owned())
}
