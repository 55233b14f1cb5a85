"""Every command of the serving side, one module each. `pipeline.cli` registers them."""
