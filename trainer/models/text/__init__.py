"""Text: templates, tokenizers, and the reference texts that labels compete with."""
