"""The bundle store, wherever it is: a folder, or an object store.

A folder is `engines.bundle.folder_store`, an address such as s3://BUCKET/PREFIX `engines.bundle.object_store`; both
keep the same promises, which are said at the functions for folders.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import TypeAlias

from engines.bundle import folder_store, object_store
from engines.bundle.channels import STABLE
from engines.bundle.files import Bundle
from engines.bundle.folder_store import DEMO, KEPT_VERSIONS, Entry, demo_path, followed
from engines.bundle.objects import Objects, open_objects
from engines.folders import data_directory

__all__ = [
    "DEMO",
    "Entry",
    "Store",
    "add",
    "attach",
    "default_store",
    "demo_path",
    "entries",
    "followed",
    "open_store",
    "prune",
    "publish",
    "put_back",
    "resolve",
    "rollback",
    "watch",
]

Store: TypeAlias = Path | Objects


def default_store() -> Store:
    """Return the store of all commands: the user's own, or the one that $ACTIONWIRE_STORE names. Raises BundleError."""
    chosen = os.environ.get("ACTIONWIRE_STORE")
    return open_store(chosen) if chosen else data_directory() / "bundles"


def open_store(name: str) -> Store:
    """Return the store of a folder's name or of an address. Raises BundleError for an address that cannot be opened."""
    return open_objects(name) if "://" in name else Path(name).expanduser().resolve()


def add(store: Store, source: Path) -> Bundle:
    """See `engines.bundle.folder_store.add`."""
    return folder_store.add(store, source) if isinstance(store, Path) else object_store.add(store, source)


def publish(store: Store, source: Path, channel: str = STABLE) -> Bundle:
    """See `engines.bundle.folder_store.publish`."""
    if isinstance(store, Path):
        return folder_store.publish(store, source, channel)
    return object_store.publish(store, source, channel)


def rollback(store: Store, name: str, channel: str = STABLE) -> Bundle:
    """See `engines.bundle.folder_store.rollback`."""
    if isinstance(store, Path):
        return folder_store.rollback(store, name, channel)
    return object_store.rollback(store, name, channel)


def put_back(store: Store, reference: str, *, bad: str, good: str) -> bool:
    """See `engines.bundle.folder_store.put_back`."""
    if isinstance(store, Path):
        return folder_store.put_back(store, reference, bad=bad, good=good)
    return object_store.put_back(store, reference, bad=bad, good=good)


def prune(store: Store, name: str, keep: int = KEPT_VERSIONS) -> list[str]:
    """See `engines.bundle.folder_store.prune`. Return where the removed bundles were."""
    if isinstance(store, Path):
        return [str(path) for path in folder_store.prune(store, name, keep)]
    return object_store.prune(store, name, keep)


def entries(store: Store) -> list[Entry]:
    """See `engines.bundle.folder_store.entries`."""
    return folder_store.entries(store) if isinstance(store, Path) else object_store.entries(store)


def resolve(reference: str, store: Store | None = None) -> Path:
    """See `engines.bundle.folder_store.resolve`. From an object store: the directory of this host's copy."""
    if store is None or isinstance(store, Path):
        return folder_store.resolve(reference, store)
    if folder_store.is_bundle(Path(reference)):
        return Path(reference)
    if (path := object_store.resolve(reference, store)) is not None:
        return path
    if reference == DEMO:
        return demo_path()
    raise folder_store.not_found(reference, str(store), object_store.entries(store))


def watch(store: Store, reference: str) -> Iterator[Path | None]:
    """See `engines.bundle.folder_store.watch`."""
    return folder_store.watch(store, reference) if isinstance(store, Path) else object_store.watch(store, reference)


def attach(store: Store, bundle: Bundle, text: str) -> str:
    """Keep a card, Markdown, beside a stored bundle, and return where."""
    if isinstance(store, Path):
        return folder_store.attach(bundle, text)
    return object_store.attach(store, bundle, text)
