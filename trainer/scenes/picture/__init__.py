"""Drawing: a scene to pictures, pictures to a file."""
