//! What the probe sees, and that it is not seen.
