//! Profiles: which faults a run is about, and how often they come.

/// A fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// A device loses its power for a while.
    DeviceReset,
    /// A device comes back with other firmware: another catalog.
    FirmwareChange,
    /// A device's store is erased.
    StoreErased,
    /// A device's image is copied onto a second one.
    Cloned,
    /// A device's connection breaks.
    DeviceCutOff,
    /// A device samples much faster for a while.
    Burst,
    /// A device is told of a frame that it does not hold: an answer that was meant for another.
    Astray,
    /// A gateway's connection breaks.
    GatewayCutOff,
    /// Messages are lost, repeated, late and out of order for a while.
    Storm,
    /// The broker starts again and has forgotten everything.
    BrokerForgets,
    /// A gateway's process is killed.
    GatewayKilled,
    /// A gateway's power goes, at once or in the middle of a later write.
    PowerCut,
    /// A gateway is stopped cleanly and started again.
    GatewayStopped,
    /// A later sync fails.
    SyncFails,
    /// The disk is full for a while.
    DiskFull,
    /// The file system is read-only for a while.
    ReadOnly,
    /// The disk's image is copied, to come back later.
    ImageKept,
    /// The disk is what it was when its image was copied.
    ImageRestored,
    /// The wall clock jumps.
    ClockJumps,
    /// The wall clock is not to be trusted for a while.
    ClockUntrusted,
    /// A sink fails, hangs, refuses or lies for a while.
    SinkFails,
    /// The gateway is away for long: outboxes run over.
    Outage,
    /// The configuration is written anew, and read.
    Rewritten,
}

/// A mixture of faults.
#[derive(Debug)]
pub struct Profile {
    pub name: &'static str,
    /// Faults, and how often one comes up against the others.
    pub faults: &'static [(Fault, u64)],
    /// Mean time between faults, in s.
    pub every_s: u64,
    /// Whether a second gateway serves the site.
    pub second_gateway: bool,
}

use Fault::{
    Astray, BrokerForgets, Burst, ClockJumps, ClockUntrusted, Cloned, DeviceCutOff, DeviceReset,
    DiskFull, FirmwareChange, GatewayCutOff, GatewayKilled, GatewayStopped, ImageKept,
    ImageRestored, Outage, PowerCut, ReadOnly, Rewritten, SinkFails, StoreErased, Storm, SyncFails,
};

/// All profiles, in the order in which seeds go through them.
pub const PROFILES: [Profile; 12] = [
    Profile {
        name: "calm",
        faults: &[(GatewayStopped, 1), (DeviceCutOff, 1), (Rewritten, 1)],
        every_s: 600,
        second_gateway: false,
    },
    Profile {
        name: "network",
        faults: &[
            (Storm, 4),
            (Burst, 4),
            (Astray, 4),
            (BrokerForgets, 2),
            (DeviceCutOff, 3),
            (GatewayCutOff, 2),
            (Outage, 1),
            (Rewritten, 3),
        ],
        every_s: 60,
        second_gateway: false,
    },
    Profile {
        name: "devices",
        faults: &[
            (DeviceReset, 4),
            (FirmwareChange, 2),
            (StoreErased, 2),
            (Cloned, 1),
            (DeviceCutOff, 2),
            (Outage, 2),
            (Storm, 1),
            (Burst, 1),
            (Astray, 2),
            (GatewayKilled, 1),
            (Rewritten, 3),
        ],
        every_s: 90,
        second_gateway: false,
    },
    Profile {
        name: "clones",
        faults: &[
            (Cloned, 3),
            (DeviceReset, 2),
            (StoreErased, 1),
            (DeviceCutOff, 3),
            (GatewayKilled, 2),
            (Outage, 1),
            (Rewritten, 2),
        ],
        every_s: 90,
        second_gateway: false,
    },
    Profile {
        name: "power",
        faults: &[
            (PowerCut, 4),
            (GatewayKilled, 3),
            (GatewayStopped, 1),
            (Storm, 1),
            (Rewritten, 1),
        ],
        every_s: 60,
        second_gateway: false,
    },
    Profile {
        name: "disk",
        faults: &[
            (SyncFails, 4),
            (DiskFull, 3),
            (ReadOnly, 2),
            (PowerCut, 3),
            (GatewayKilled, 1),
            (Rewritten, 2),
        ],
        every_s: 60,
        second_gateway: false,
    },
    Profile {
        name: "restore",
        faults: &[
            (ImageKept, 3),
            (ImageRestored, 3),
            (PowerCut, 1),
            (DeviceReset, 1),
            (GatewayStopped, 1),
            (Rewritten, 1),
        ],
        every_s: 120,
        second_gateway: false,
    },
    Profile {
        name: "clock",
        faults: &[
            (ClockJumps, 4),
            (ClockUntrusted, 2),
            (GatewayStopped, 2),
            (GatewayKilled, 1),
            (DeviceReset, 1),
            (Rewritten, 2),
        ],
        every_s: 120,
        second_gateway: false,
    },
    Profile {
        name: "sinks",
        faults: &[
            (SinkFails, 6),
            (PowerCut, 1),
            (GatewayKilled, 1),
            (Rewritten, 1),
        ],
        every_s: 60,
        second_gateway: false,
    },
    Profile {
        name: "two-gateways",
        faults: &[
            (GatewayKilled, 2),
            (GatewayCutOff, 3),
            (GatewayStopped, 2),
            (BrokerForgets, 1),
            (Storm, 1),
            (DeviceReset, 1),
            (Rewritten, 2),
        ],
        every_s: 120,
        second_gateway: true,
    },
    Profile {
        name: "everything",
        faults: &[
            (DeviceReset, 2),
            (FirmwareChange, 1),
            (StoreErased, 1),
            (DeviceCutOff, 2),
            (GatewayCutOff, 2),
            (Storm, 2),
            (Burst, 1),
            (Astray, 2),
            (BrokerForgets, 1),
            (GatewayKilled, 2),
            (PowerCut, 2),
            (GatewayStopped, 1),
            (SyncFails, 1),
            (DiskFull, 1),
            (ReadOnly, 1),
            (ClockJumps, 1),
            (SinkFails, 2),
            (Outage, 1),
            (Rewritten, 5),
        ],
        every_s: 60,
        second_gateway: false,
    },
    Profile {
        name: "rules",
        faults: &[
            (Rewritten, 6),
            (DeviceCutOff, 2),
            (Storm, 1),
            (GatewayKilled, 1),
            (PowerCut, 1),
            (GatewayStopped, 1),
            (SinkFails, 1),
        ],
        every_s: 20,
        second_gateway: false,
    },
];
