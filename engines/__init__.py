"""Bundles and the engines built from them: all between pixels and embeddings. Imports neither pipeline nor trainer."""
