"""Image towers: slim ones trained from scratch, and pretrained CLIP models."""
