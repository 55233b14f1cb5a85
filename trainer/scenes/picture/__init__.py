"""Drawing: from a scene to pictures, and from pictures to a file."""
