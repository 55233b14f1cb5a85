"""Recorded frames through the worker's own path, without a worker, and what came out measured."""
