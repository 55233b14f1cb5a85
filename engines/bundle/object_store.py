"""The bundle store in an object store: the same names, and pointers that are written only if nobody else did meanwhile.

    NAME/VERSION/FILE       a bundle; its manifest is written last, so that what has none is not there yet
    NAME/current.json       where the channel `stable` stands; NAME/CHANNEL.json every other one

A bundle is used from a copy in the cache of this host, checked file by file against its manifest as everywhere.
"""

from __future__ import annotations

import hashlib
import json
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from engines.bundle import folder_store
from engines.bundle.channels import STABLE, Pointer, channel_of, check_channel, file_of, parse_pointer
from engines.bundle.files import Bundle, load
from engines.bundle.folder_store import Entry, kept_versions, split
from engines.bundle.manifest import MANIFEST_FILE, parse
from engines.bundle.objects import Objects
from engines.errors import BundleError, BundleNotFound, IncompatibleBundle
from engines.folders import cache_directory

LOOK_SECONDS = 10.0
"""How often a watcher asks: every question is a request that somebody pays for."""
_ATTEMPTS = 50
"""Times that a pointer is read anew because another publisher was quicker."""


def add(store: Objects, source: Path) -> Bundle:
    """See `engines.bundle.folder_store.add`."""
    bundle = load(source)
    name, version = bundle.manifest.name, bundle.manifest.version
    there = store.read(f"{name}/{version}/{MANIFEST_FILE}")
    if there is None:
        for file in (*bundle.manifest.file_names, MANIFEST_FILE):
            path, content = f"{name}/{version}/{file}", (bundle.path / file).read_bytes()
            if not store.create(path, content) and (known := store.read(path)) and known[0] != content:
                raise IncompatibleBundle(  # what both wrote would be a bundle of neither
                    f"{store}/{path} is of another bundle, which somebody publishes at the moment or never finished; "
                    f"give this one a new version, or remove the other with `actionwire-engines prune {name}`"
                )
        there = store.read(f"{name}/{version}/{MANIFEST_FILE}")
    if there is None or parse(there[0], f"{store}/{name}/{version}/{MANIFEST_FILE}")[0].id != bundle.manifest.id:
        raise IncompatibleBundle(
            f"{store} holds another bundle {bundle.label} already; give this one a new version: "
            "`actionwire-trainer publish`, `calibrate` and `bundle` take --version"
        )
    return folder_store.add(_mirror(store), source)


def publish(store: Objects, source: Path, channel: str = STABLE) -> Bundle:
    """See `engines.bundle.folder_store.publish`."""
    check_channel(channel)
    stored = add(store, source)
    name, version = stored.manifest.name, stored.manifest.version
    _change(store, name, channel, lambda before: before.to(version) if before else Pointer(version))
    return stored


def rollback(store: Objects, name: str, channel: str = STABLE) -> Bundle:
    """See `engines.bundle.folder_store.rollback`."""

    def step(before: Pointer | None) -> Pointer:
        if before is None or not before.history:
            raise BundleNotFound(
                f"{store} knows no earlier version of {name} on the channel {channel}; publish the one you want"
            )
        load(_copied(store, name, before.history[-1]))
        return Pointer(before.history[-1], before.history[:-1])

    check_channel(channel)
    pointer = _change(store, name, channel, step)
    return load(_copied(store, name, pointer.version))


def put_back(store: Objects, reference: str, *, bad: str, good: str) -> bool:
    """See `engines.bundle.folder_store.put_back`."""
    (name, channel), moved = split(reference), list[bool]()

    def step(before: Pointer | None) -> Pointer:
        if before is None:
            raise BundleNotFound(f"{store} has no channel {channel} of {name}; `actionwire-engines list` shows them")
        after = before.back(bad, good)
        if after != before:
            load(_copied(store, name, good))
        moved.append(after != before)
        return after

    _change(store, name, channel, step)
    return moved[-1]


def prune(store: Objects, name: str, keep: int = folder_store.KEPT_VERSIONS) -> list[str]:
    """See `engines.bundle.folder_store.prune`."""
    paths = [path for path in store.paths(f"{name}/") if len(path.split("/")) == 3]
    if not paths:
        raise BundleNotFound(f"{store} holds no bundle {name}; `actionwire-engines list` shows what there is")
    pointers = _pointers(store, name)
    kept = {version for pointer in pointers.values() for version in kept_versions(pointer, keep)}

    def step(before: Pointer | None) -> Pointer:
        assert before is not None
        return Pointer(before.version, tuple(version for version in before.history if version in kept))

    for channel in pointers:  # first of all: nobody rolls back to what is half gone
        if (moved := _change(store, name, channel, step)).version not in kept:
            raise BundleError(f"the channel {channel} of {name} moved meanwhile, to {moved.version}; prune again")
    gone = sorted({path.split("/")[1] for path in paths} - kept)
    for version in gone:
        files = [path for path in paths if path.split("/")[1] == version]
        store.remove([f"{name}/{version}/{MANIFEST_FILE}"])
        store.remove([*files, f"{name}/{version}.md"])
    return [f"{store}/{name}/{version}" for version in gone]


def entries(store: Objects) -> list[Entry]:
    """See `engines.bundle.folder_store.entries`; paths are those of this host's copies, which may not be there yet."""
    parts = [path.split("/") for path in store.paths()]
    found = sorted((part[0], part[1]) for part in parts if len(part) == 3 and part[2] == MANIFEST_FILE)
    pointers = {name: _pointers(store, name) for name, _ in found}
    mirror, made = _mirror(store), []
    for name, version in found:
        here = tuple(channel for channel, pointer in pointers[name].items() if pointer.version == version)
        made.append(Entry(name, version, mirror / name / version, STABLE in here, here))
    return made


def resolve(reference: str, store: Objects) -> Path | None:
    """Return the directory of this host's copy of a bundle, fetched where it is missing; None for no such bundle."""
    name, _, version = reference.partition("@")
    name, channel = (name, "") if version else split(reference.removesuffix("@"))
    if not folder_store.is_name(name):
        return None
    pointer = _pointer(store, name, channel) if channel else None
    version = version or (pointer.version if pointer else "")
    if not folder_store.is_name(version):
        return None
    try:
        return _copied(store, name, version)
    except BundleNotFound:
        return None


def watch(store: Objects, reference: str, monotonic: Callable[[], float] = time.monotonic) -> Iterator[Path | None]:
    """See `engines.bundle.folder_store.watch`. Asks every ten seconds at most; a store that does not answer is no news.

    The directory is that of a whole copy, so a call that has news takes as long as fetching it.
    """
    (name, channel), last, again = split(reference), "", 0.0
    while True:
        news = None
        if monotonic() >= again:
            again = monotonic() + LOOK_SECONDS
            try:
                pointer = _pointer(store, name, channel)
                if pointer is not None and pointer.version != last:
                    news = _copied(store, name, pointer.version)
                    last = pointer.version
            except (BundleError, BundleNotFound):
                pass  # no answer, or pruned between two requests: asked again
        yield news


def attach(store: Objects, bundle: Bundle, text: str) -> str:
    """Keep a card beside a bundle, and return where."""
    path = f"{bundle.manifest.name}/{bundle.manifest.version}.md"
    store.write(path, text.encode())
    return f"{store}/{path}"


def _change(store: Objects, name: str, channel: str, step: Callable[[Pointer | None], Pointer]) -> Pointer:
    """Move a channel by one step: read, `step`, write if it is still what was read; else again."""
    path = f"{name}/{file_of(channel)}"
    for _ in range(_ATTEMPTS):
        found = store.read(path)
        before = parse_pointer(found[0]) if found else None
        if found and before is None:
            raise BundleError(f"{store}/{path} cannot be read, nor its history; put it back, or remove it")
        after = step(before)
        content = json.dumps({"version": after.version, "history": after.history}, indent=2).encode() + b"\n"
        if after == before or (store.replace(path, content, found[1]) if found else store.create(path, content)):
            return after
    raise BundleError(f"{store}/{path} changed {_ATTEMPTS} times while it was to be written; try again")


def _pointer(store: Objects, name: str, channel: str) -> Pointer | None:
    found = store.read(f"{name}/{file_of(channel)}")
    return parse_pointer(found[0]) if found else None


def _pointers(store: Objects, name: str) -> dict[str, Pointer]:
    """Return every channel of a name that can be read, `stable` first."""
    files = [path.removeprefix(f"{name}/") for path in store.paths(f"{name}/") if path.count("/") == 1]
    names = sorted(filter(None, map(channel_of, files)), key=lambda channel: (channel != STABLE, channel))
    found = {channel: _pointer(store, name, channel) for channel in names}
    return {channel: pointer for channel, pointer in found.items() if pointer}


def _mirror(store: Objects) -> Path:
    return cache_directory() / "bundles" / hashlib.sha256(store.url.encode()).hexdigest()[:16]


def _copied(store: Objects, name: str, version: str) -> Path:
    """Return this host's copy of a bundle, fetched where it is missing. Raises BundleNotFound, TamperedBundle."""
    path = _mirror(store) / name / version
    if (path / MANIFEST_FILE).is_file():
        return path
    where = f"{store}/{name}/{version}"
    if (found := store.read(f"{name}/{version}/{MANIFEST_FILE}")) is None:
        raise BundleNotFound(f"no bundle at {where}; `actionwire-engines list` shows what there is")
    manifest = parse(found[0], f"{where}/{MANIFEST_FILE}")[0]
    with tempfile.TemporaryDirectory(prefix="actionwire-") as folder:
        for file in manifest.file_names:
            part = store.read(f"{name}/{version}/{file}")
            if part is None:
                raise BundleNotFound(f"the bundle at {where} lacks {file}; publish it again")
            (Path(folder) / file).write_bytes(part[0])
        (Path(folder) / MANIFEST_FILE).write_bytes(found[0])
        stored = folder_store.add(_mirror(store), Path(folder))
    if (stored.manifest.name, stored.manifest.version) != (name, version):
        raise BundleError(f"the bundle at {where} says that it is {stored.label}; publish it again")
    return stored.path
