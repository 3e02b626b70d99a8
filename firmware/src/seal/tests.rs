//! The guard, frame by frame.
