"""One file a way to train: `vla train`."""
