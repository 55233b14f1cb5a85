"""The bundle store: a folder that keeps published bundles and says which version of each name is current.

    STORE/NAME/VERSION/...        a sealed bundle, never changed once it is there
    STORE/NAME/current.json       {"version": current, "history": earlier ones, oldest first}

Both appear by an atomic rename, so a reader sees a whole bundle or none.
"""

from __future__ import annotations

import json
import os
import secrets
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

from engines.bundle.files import Bundle, load
from engines.bundle.manifest import MANIFEST_FILE
from engines.errors import BundleError, BundleNotFound, IncompatibleBundle
from engines.folders import data_directory
from engines.strict_json import parse_json

DEMO = "demo"
"""The name of the bundle that is shipped with the package."""

_POINTER = "current.json"


@dataclass(frozen=True, slots=True)
class Entry:
    """One published bundle."""

    name: str
    version: str
    path: Path
    current: bool


@dataclass(frozen=True, slots=True)
class _Pointer:
    version: str
    history: tuple[str, ...]


def publish(store: Path, source: Path) -> Bundle:
    """Copy the sealed bundle at `source` into the store and make it current; return it as stored.

    Publishing the same bundle again only makes it current. Raises what `engines.bundle.files.load` raises, and
    IncompatibleBundle when the store holds another bundle under the same name and version.
    """
    bundle = load(source)
    name, version = bundle.manifest.name, bundle.manifest.version
    target = store / name / version
    if not target.exists():
        _copy(bundle, target)
    stored = load(target)
    if stored.manifest.id != bundle.manifest.id:
        raise IncompatibleBundle(
            f"{store} holds another bundle {bundle.label} already; give this one a new version: "
            "`actionwire-trainer publish`, `calibrate` and `bundle` take --version"
        )
    _point(store, name, version)
    return stored


def rollback(store: Path, name: str) -> Bundle:
    """Make the previous version current again, and return it. Raises BundleNotFound when there is none."""
    pointer = _pointer(store, name)
    if not pointer or not pointer.history:
        raise BundleNotFound(f"{store} knows no earlier version of {name}; publish the one you want")
    bundle = load(store / name / pointer.history[-1])
    _write_pointer(store, name, pointer.history[-1], pointer.history[:-1])
    return bundle


def entries(store: Path) -> list[Entry]:
    """Return all published bundles, sorted by name and version; none where the folder does not exist."""
    found = []
    for manifest in sorted(store.glob(f"*/*/{MANIFEST_FILE}")):
        path = manifest.parent
        if path.name.startswith("."):
            continue
        pointer = _pointer(store, path.parent.name)
        current = pointer is not None and pointer.version == path.name
        found.append(Entry(path.parent.name, path.name, path, current))
    return found


def resolve(reference: str, store: Path | None = None) -> Path:
    """Return the directory of the bundle that `reference` names.

    reference: a path to a bundle, NAME@VERSION or NAME (its current version) in the store, or `demo`, which is the
    shipped bundle unless the store has one of that name. Raises BundleNotFound, saying what there is.
    """
    if _is_bundle(Path(reference)):
        return Path(reference)
    name, _, version = reference.partition("@")
    if store and _is_name(name):
        pointer = _pointer(store, name)
        version = version or (pointer.version if pointer else "")
        if _is_name(version) and _is_bundle(store / name / version):
            return store / name / version
    if reference == DEMO:
        return demo_path()
    known = ", ".join(f"{entry.name}@{entry.version}" for entry in entries(store)) if store else ""
    where = f"the store {store} holds {known or 'nothing'}" if store else "no store is set"
    raise BundleNotFound(
        f"no bundle {reference}: it is no bundle directory, and {where}; give a path, a name or `demo`"
    )


def followed(reference: str) -> str | None:
    """Return the name whose current version `reference` follows; None for a path or a fixed version."""
    is_name = _is_name(reference) and "@" not in reference and not _is_bundle(Path(reference))
    return reference if is_name else None


def demo_path() -> Path:
    """Return the directory of the shipped demo bundle. Raises BundleNotFound when this build has none."""
    path = Path(str(resources.files("engines"))) / "bundles" / DEMO
    if not _is_bundle(path):
        raise BundleNotFound(f"this build ships no demo bundle ({path}); make one with `make demo-model`")
    return path


def default_store() -> Path:
    """Return the store of all commands: the user's own, or the one that $ACTIONWIRE_STORE names."""
    chosen = os.environ.get("ACTIONWIRE_STORE")
    return Path(chosen).expanduser().resolve() if chosen else data_directory() / "bundles"


def watch(store: Path, name: str) -> Iterator[Path | None]:
    """Yield on each call the directory of the version of `name` that has become current, or None for no news.

    The first call yields the current version. Each call reads one small file and never waits; the caller decides how
    often. A pointer that cannot be read yet counts as no news.
    """
    last = None
    while True:
        pointer = _pointer(store, name)
        version = pointer.version if pointer else None
        changed = version != last and version is not None
        last = version if changed else last
        yield store / name / str(version) if changed else None


def _is_bundle(path: Path) -> bool:
    return (path / MANIFEST_FILE).is_file()


def _is_name(text: str) -> bool:
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


def _pointer(store: Path, name: str) -> _Pointer | None:
    try:
        pointer = parse_json((store / name / _POINTER).read_bytes())
        return _Pointer(str(pointer["version"]), tuple(str(version) for version in pointer["history"]))
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _point(store: Path, name: str, version: str) -> None:
    pointer = _pointer(store, name)
    if pointer is None:
        _write_pointer(store, name, version, ())
    elif pointer.version != version:
        _write_pointer(store, name, version, (*pointer.history, pointer.version))


def _write_pointer(store: Path, name: str, version: str, history: tuple[str, ...]) -> None:
    path = store / name / _POINTER
    temporary = path.with_name(f".{_POINTER}.{secrets.token_hex(4)}")
    temporary.write_text(json.dumps({"version": version, "history": history}, indent=2) + "\n", encoding="utf-8")
    _sync(temporary)
    temporary.replace(path)
