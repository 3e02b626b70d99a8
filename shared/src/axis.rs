//! Time axes: the sample times that several blocks of a batch share.
