//! What the commands print of a log.
