//! Scripts of (now, event) against a conductor whose store is the test.
