"""The bundles that are shipped with the package."""
