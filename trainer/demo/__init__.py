"""The demo model, trained on rendered scenes: phrases, footage, targets, batches, task and figures."""
