"""Recorded frames through the worker's own path, without a worker, and the measurement of the resulting events."""
