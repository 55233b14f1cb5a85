"""What `make bench` measures of the serving side."""
