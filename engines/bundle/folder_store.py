"""The bundle store in a folder: it keeps published bundles; channels say which version of each name is followed.

    STORE/NAME/VERSION/...        a sealed bundle, never changed once it is there
    STORE/NAME/current.json       where the channel `stable` stands; see `engines.bundle.channels`

Bundles and pointers appear by an atomic rename, so a reader sees a whole one or none.
"""

from __future__ import annotations

import os
import secrets
import shutil
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

from engines.bundle import channels
from engines.bundle.channels import STABLE, Pointer, check_channel
from engines.bundle.files import Bundle, load
from engines.bundle.manifest import MANIFEST_FILE
from engines.errors import BundleError, BundleNotFound, IncompatibleBundle

DEMO = "demo"
"""The name of the bundle that is shipped with the package."""

KEPT_VERSIONS = 3
"""Versions before the current one that `prune` leaves to roll back to."""
_HALF_WRITTEN_SECONDS = 86400.0
"""A temporary folder of this age belongs to nobody who still writes."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One published bundle."""

    name: str
    version: str
    path: Path
    current: bool
    """Whether the channel `stable` stands here."""
    channels: tuple[str, ...] = ()
    """All channels that stand here."""


def add(store: Path, source: Path) -> Bundle:
    """Copy the sealed bundle at `source` into the store, where no channel stands on it yet; return it as stored.

    Raises what `engines.bundle.files.load` raises, and IncompatibleBundle when the store holds another bundle under the
    same name and version.
    """
    bundle = load(source)
    target = store / bundle.manifest.name / bundle.manifest.version
    if not target.exists():
        _copy(bundle, target)
    stored = load(target)
    if stored.manifest.id != bundle.manifest.id:
        raise IncompatibleBundle(
            f"{store} holds another bundle {bundle.label} already; give this one a new version: "
            "`actionwire-trainer publish`, `calibrate` and `bundle` take --version"
        )
    return stored


def publish(store: Path, source: Path, channel: str = STABLE) -> Bundle:
    """Copy the sealed bundle at `source` into the store and let `channel` stand on it; return it as stored.

    Publishing the same bundle again only moves the channel. Raises what `add` raises, and BundleError for a name that
    can be none of a channel.
    """
    check_channel(channel)
    stored = add(store, source)
    name, version = stored.manifest.name, stored.manifest.version

    def step(before: Pointer | None) -> Pointer:
        if not is_bundle(stored.path):
            raise BundleError(f"{stored.path} was pruned before a channel stood on it; publish it again")
        return before.to(version) if before else Pointer(version)

    channels.change(store, name, channel, step)
    return stored


def rollback(store: Path, name: str, channel: str = STABLE) -> Bundle:
    """Let a channel stand on its version before again, and return it. Raises BundleNotFound when there is none."""
    found: list[Bundle] = []

    def step(before: Pointer | None) -> Pointer:
        if before is None or not before.history:
            raise BundleNotFound(
                f"{store} knows no earlier version of {name} on the channel {channel}; publish the one you want"
            )
        found.append(load(store / name / before.history[-1]))
        return Pointer(before.history[-1], before.history[:-1])

    check_channel(channel)
    if not (store / name).is_dir():  # where there is nothing, no lock is left either
        step(None)
    channels.change(store, name, channel, step)
    return found[-1]


def put_back(store: Path, reference: str, *, bad: str, good: str) -> bool:
    """Let the channel of NAME or NAME:CHANNEL stand on the version `good` again, if it still stands on `bad`.

    Of many who ask at once one moves it; False for the others, and where the channel never stood on `good`. Raises what
    `load` raises for a bundle that is not whole, and BundleError where the store cannot be written.
    """
    (name, channel), moved = split(reference), list[bool]()

    def step(before: Pointer | None) -> Pointer:
        if before is None:
            raise BundleNotFound(f"{store} has no channel {channel} of {name}; `actionwire-engines list` shows them")
        after = before.back(bad, good)
        if after != before:
            load(store / name / good)
        moved.append(after != before)
        return after

    channels.change(store, name, channel, step)
    return moved[-1]


def prune(store: Path, name: str, keep: int = KEPT_VERSIONS) -> list[Path]:
    """Remove the versions of a name on which no channel stands, but for the last `keep` of each; return their folders.

    Histories forget what was removed. Raises BundleNotFound where the store has no such name.
    """
    folder = store / name
    if not is_name(name) or not folder.is_dir():
        raise BundleNotFound(f"{store} holds no bundle {name}; `actionwire-engines list` shows what there is")
    with channels.alone(store, name):
        pointers = channels.channels_of(store, name)
        kept = {version for pointer in pointers.values() for version in kept_versions(pointer, keep)}
        removed = [path.parent for path in sorted(folder.glob(f"*/{MANIFEST_FILE}")) if path.parent.name not in kept]
        removed = [path for path in removed if not path.name.startswith(".")]
        for channel, pointer in pointers.items():
            history = tuple(version for version in pointer.history if version in kept)
            if history != pointer.history:  # first of all: nobody rolls back to what is half gone
                channels.write(store, name, channel, Pointer(pointer.version, history))
        for path in removed:
            aside = folder / f".{path.name}.{secrets.token_hex(4)}"
            path.rename(aside)
            shutil.rmtree(aside, ignore_errors=True)
            path.with_name(f"{path.name}.md").unlink(missing_ok=True)  # its card
        _remove_left_overs(folder)
    return removed


def entries(store: Path) -> list[Entry]:
    """Return all published bundles, sorted by name and version; none where the folder does not exist."""
    found = []
    for manifest in sorted(store.glob(f"*/*/{MANIFEST_FILE}")):
        path = manifest.parent
        if path.name.startswith("."):
            continue
        name = path.parent.name
        here = tuple(
            channel for channel, pointer in channels.channels_of(store, name).items() if pointer.version == path.name
        )
        found.append(Entry(name, path.name, path, STABLE in here, here))
    return found


def resolve(reference: str, store: Path | None = None) -> Path:
    """Return the directory of the bundle that `reference` names.

    reference: a path to a bundle, or in the store NAME@VERSION, NAME:CHANNEL or NAME, which is NAME:stable; `demo` is
    the shipped bundle unless the store has one of that name. Raises BundleNotFound, saying what there is.
    """
    if is_bundle(Path(reference)):
        return Path(reference)
    name, _, version = reference.partition("@")
    name, channel = (name, "") if version else split(reference.removesuffix("@"))
    if store and is_name(name):
        pointer = channels.read(store, name, channel) if channel else None
        version = version or (pointer.version if pointer else "")
        if is_name(version) and is_bundle(store / name / version):
            return store / name / version
    if reference == DEMO:
        return demo_path()
    raise not_found(reference, str(store) if store else None, entries(store) if store else [])


def not_found(reference: str, store: str | None, known: list[Entry]) -> BundleNotFound:
    """Return the error of a reference that names nothing: what there is, and what to give."""
    held = ", ".join(map(_shown, known)) or "nothing"
    where = f"the store {store} holds {held}" if store else "no store is set"
    return BundleNotFound(
        f"no bundle {reference}: it is no bundle directory, and {where}; give a path, a name or `demo`"
    )


def split(reference: str) -> tuple[str, str]:
    """Return name and channel of NAME or NAME:CHANNEL."""
    name, _, channel = reference.partition(":")
    return name, channel or STABLE


def followed(reference: str) -> str | None:
    """Return `reference` where it follows a channel, as NAME or NAME:CHANNEL; None for a path or a fixed version."""
    follows = is_name(reference) and "@" not in reference and not is_bundle(Path(reference))
    return reference if follows else None


def demo_path() -> Path:
    """Return the directory of the shipped demo bundle. Raises BundleNotFound when this build has none."""
    path = Path(str(resources.files("engines"))) / "bundles" / DEMO
    if not is_bundle(path):
        raise BundleNotFound(f"this build ships no demo bundle ({path}); make one with `make demo-model`")
    return path


def watch(store: Path, reference: str) -> Iterator[Path | None]:
    """Yield on each call the directory of the version on which a channel has come to stand, or None for no news.

    reference: NAME or NAME:CHANNEL. The first call yields the current version. Each call reads one small file and never
    waits; the caller decides how often. A pointer that cannot be read yet counts as no news.
    """
    (name, channel), last = split(reference), None
    while True:
        pointer = channels.read(store, name, channel)
        version = pointer.version if pointer else None
        changed = version != last and version is not None
        last = version if changed else last
        yield store / name / str(version) if changed else None


def attach(bundle: Bundle, text: str) -> str:
    """Keep a card beside a stored bundle, and return its path."""
    path = bundle.path.with_name(f"{bundle.manifest.version}.md")
    path.write_text(text, "utf-8")
    return str(path)


def is_bundle(path: Path) -> bool:
    """Whether a directory holds a bundle."""
    return (path / MANIFEST_FILE).is_file()


def is_name(text: str) -> bool:
    """Whether a text can be a name or version in a store, and leads nowhere else."""
    return bool(text) and text not in (".", "..") and not text.startswith(".") and Path(text).name == text


def _copy(bundle: Bundle, target: Path) -> None:
    temporary = target.parent / f".{target.name}.{secrets.token_hex(4)}"
    try:
        temporary.mkdir(parents=True)
        for name in (MANIFEST_FILE, *bundle.manifest.file_names):
            shutil.copyfile(bundle.path / name, temporary / name)
            _sync(temporary / name)
        load(temporary)
        temporary.rename(target)
    except OSError as error:
        if not target.exists():
            raise BundleError(
                f"{bundle.label} cannot be copied to {target} ({error}); check space and rights"
            ) from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _sync(path: Path) -> None:
    with path.open("rb") as file:
        os.fsync(file.fileno())


def kept_versions(pointer: Pointer, keep: int) -> Sequence[str]:
    """Return the version on which a channel stands, and the last `keep` different ones before it."""
    before = dict.fromkeys(version for version in reversed(pointer.history) if version != pointer.version)
    return [pointer.version, *list(before)[:keep]]


def _shown(entry: Entry) -> str:
    others = [channel for channel in entry.channels if channel != STABLE]
    return f"{entry.name}@{entry.version}" + (f" ({', '.join(others)})" if others else "")


def _remove_left_overs(folder: Path) -> None:
    """Remove the temporary folders of processes that died while they copied."""
    for path in folder.glob(".*"):
        if path.is_dir() and time.time() - path.stat().st_mtime > _HALF_WRITTEN_SECONDS:
            shutil.rmtree(path, ignore_errors=True)
