"""A labelled clip, from its file to a batch."""
