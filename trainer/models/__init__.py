"""From pixels and words to one space: towers, temporal heads, texts."""
