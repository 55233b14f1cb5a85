"""A clip on its way from a file to a batch."""
