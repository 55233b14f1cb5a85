"""Commands that look at a cluster or a file, and change labels. Each module offers what `pipeline.cli` wires in."""
