"""One file per inference runtime, each an `open(bundle, device) -> Engine`."""
