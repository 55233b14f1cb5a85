"""Words: templates, tokenizers, and texts that labels compete with."""
