"""Settings: one file per section, one tree, one reader of file and environment."""
