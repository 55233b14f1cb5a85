"""From label texts to embeddings."""
