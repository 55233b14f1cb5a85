"""From pixels and words to one embedding space: towers, temporal heads, text."""
