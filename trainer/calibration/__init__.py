"""Streams through the serving side's replay, until thresholds are known."""
