"""The bundle: one immutable directory that holds a whole model, checked file by file against its manifest.

Export writes a draft, calibration seals it; only sealed bundles load without a flag. A bundle holds nothing executable:
ONNX, JSON, and npz without pickle.
"""

from __future__ import annotations

import hashlib
import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from engines.bundle.manifest import (
    DRAFT,
    LEARNED_FILE,
    MANIFEST_FILE,
    Encoder,
    EventOverride,
    Events,
    EventSettings,
    Head,
    Input,
    Manifest,
    Memory,
    Producer,
    Score,
    Space,
    Text,
    Tolerance,
    Variant,
    Window,
    check_deployment,
    manifest_id,
    parse,
    space_id,
    variant_file,
)
from engines.errors import BundleError, BundleNotFound, IncompatibleBundle, TamperedBundle

if TYPE_CHECKING:
    from engines.bundle.arrays import Golden, Learned, References

__all__ = [
    "Bundle",
    "Encoder",
    "EventOverride",
    "EventSettings",
    "Events",
    "Head",
    "Input",
    "Manifest",
    "Memory",
    "Producer",
    "Score",
    "Space",
    "Text",
    "Tolerance",
    "Window",
    "add_variant",
    "check_deployment",
    "load",
    "seal",
    "write_draft",
]


@dataclass(frozen=True, slots=True)
class Bundle:
    """A bundle whose files have been checked against its manifest."""

    path: Path
    manifest: Manifest

    @property
    def label(self) -> str:
        """NAME@VERSION, for messages."""
        return f"{self.manifest.name}@{self.manifest.version}"

    def read(self, name: str) -> bytes:
        """Return the bytes of a file, checked against its hash in the manifest. Raises TamperedBundle."""
        content = _read_file(self.path, name)
        _check_hash(self.path, name, content, self.manifest.files[name])
        return content

    def golden(self) -> Golden:
        """Return the golden probe. Raises BundleError when it does not fit the manifest."""
        from engines.bundle.arrays import parse_golden

        return parse_golden(self.read("golden.npz"), self.manifest, self.path / "golden.npz")

    def references(self) -> References:
        """Return the reference texts. Raises BundleError when they do not fit the manifest."""
        from engines.bundle.arrays import parse_references

        return parse_references(self.read("references.npz"), self.manifest, self.path / "references.npz")

    def learned(self) -> Learned | None:
        """Return the names with a context of their own; None for bundles without. Raises BundleError as above."""
        if not self.manifest.text.learned:
            return None
        from engines.bundle.arrays import parse_learned

        return parse_learned(self.read(LEARNED_FILE), self.manifest, self.path / LEARNED_FILE)


def load(path: Path, *, allow_draft: bool = False, check_files: bool = True) -> Bundle:
    """Check the bundle in the directory `path` and return it.

    check_files: hash every file now; else each is hashed when it is read, which is quick where only one is needed.
    Raises BundleNotFound when there is none, TamperedBundle naming the file that differs from the manifest,
    IncompatibleBundle for an unsealed bundle (unless `allow_draft`) or another schema, and BundleError otherwise.
    """
    path = Path(path)
    if not (path / MANIFEST_FILE).is_file():
        raise BundleNotFound(f"no bundle at {path}: it has no {MANIFEST_FILE}; check the path")
    manifest, data = parse(_read_file(path, MANIFEST_FILE), str(path / MANIFEST_FILE))
    if not manifest.sealed and not allow_draft:
        raise IncompatibleBundle(
            f"bundle {path} is a draft; seal it with `actionwire-trainer calibrate`, or allow drafts if you only try it"
        )
    expected = manifest_id(data) if manifest.sealed else DRAFT
    if manifest.id != expected:
        raise TamperedBundle(f"{path / MANIFEST_FILE} does not match its own id: changed after sealing; fetch it again")
    _check_names(path, manifest)
    bundle = Bundle(path, manifest)
    for name in manifest.file_names if check_files else ():
        bundle.read(name)
    if manifest.space.id != space_id(manifest.files, manifest.kind):
        raise TamperedBundle(f"{path / MANIFEST_FILE} names a space that is not that of its networks; fetch it again")
    return bundle


def write_draft(directory: Path, manifest: Manifest) -> Manifest:
    """Write `bundle.json` beside the other files of `directory`, and return it as written.

    Hashes and the space id are computed here; `id`, `sealed`, `space.id` and `files` of the argument are ignored.
    Raises BundleError when a file is missing or does not belong.
    """
    directory = Path(directory)
    present = sorted(entry.name for entry in directory.iterdir() if entry.name != MANIFEST_FILE)
    files = {name: hashlib.sha256(_read_file(directory, name)).hexdigest() for name in present}
    space = Space(id="", dimensions=manifest.space.dimensions)
    draft = manifest.model_copy(update={"id": DRAFT, "sealed": False, "files": files, "space": space})
    _check_names(directory, draft)
    space = Space(id=space_id(files, manifest.kind), dimensions=space.dimensions)
    draft = draft.model_copy(update={"space": space})
    _check_arrays(directory, draft)
    _write_manifest(directory, draft)
    return draft


def seal(
    directory: Path, *, score: Score | None = None, events: Events | None = None, version: str | None = None
) -> Manifest:
    """Seal the draft in `directory`, with new parts where given, and return its manifest.

    A sealed bundle that is sealed again gets a new id. Raises what `load` raises.
    """
    draft = load(directory, allow_draft=True).manifest
    changed = {
        "sealed": True,
        "version": version or draft.version,
        "score": score or draft.score,
        "events": events or draft.events,
    }
    if score or events:  # other thresholds give other events, which nobody has compared yet
        unjudged = {"top1": None, "events": None}
        changed["variants"] = {name: one.model_copy(update=unjudged) for name, one in draft.variants.items()}
    unsigned = draft.model_copy(update=changed)
    _check_arrays(Path(directory), unsigned)
    sealed = unsigned.model_copy(update={"id": manifest_id(unsigned.data())})
    _write_manifest(Path(directory), sealed)
    return sealed


def add_variant(directory: Path, variant: Variant, *, version: str | None = None) -> Manifest:
    """Enter the int8 files that lie in a sealed bundle's `directory` into its manifest, and seal it again.

    variant: what is known of them; entered again once more is known. version: of the bundle, where it is another.

    The space stays: it names the float32 networks. Raises BundleError when a file is missing or does not belong.
    """
    directory = Path(directory)
    manifest = parse(_read_file(directory, MANIFEST_FILE), str(directory / MANIFEST_FILE))[0]
    names = [variant_file(name) for name in manifest.network_names]
    files = manifest.files | {name: hashlib.sha256(_read_file(directory, name)).hexdigest() for name in names}
    changed = manifest.model_copy(
        update={"files": files, "variants": {"int8": variant}, "version": version or manifest.version}
    )
    _check_names(directory, changed)
    sealed = changed.model_copy(update={"id": manifest_id(changed.data())})
    _write_manifest(directory, sealed)
    return sealed


def _write_manifest(directory: Path, manifest: Manifest) -> None:
    text = json.dumps(manifest.data(), indent=2, ensure_ascii=False, allow_nan=False) + "\n"
    temporary = directory.parent / f".{directory.name}.{os.getpid()}.json"
    temporary.write_text(text, encoding="utf-8")
    temporary.replace(directory / MANIFEST_FILE)


def _read_file(path: Path, name: str) -> bytes:
    try:
        return (path / name).read_bytes()
    except OSError as error:
        raise BundleError(f"{path / name} cannot be read ({error.strerror}); fetch the bundle again") from error


def _check_hash(path: Path, name: str, content: bytes, expected: str) -> None:
    if hashlib.sha256(content).hexdigest() != expected:
        raise TamperedBundle(f"{path / name} does not match the sha256 in {MANIFEST_FILE}; fetch the bundle again")


def _check_arrays(path: Path, manifest: Manifest) -> None:
    bundle = Bundle(path, manifest)
    bundle.golden()
    bundle.references()
    bundle.learned()


def _check_names(path: Path, manifest: Manifest) -> None:
    wanted, hashed = set(manifest.file_names), set(manifest.files)
    present = {entry.name for entry in path.iterdir()} - {MANIFEST_FILE}
    if missing := sorted(wanted - (present & hashed)):
        raise BundleError(f"bundle {path} lacks {', '.join(missing)}; export or fetch it again")
    if extra := sorted((present | hashed) - wanted):
        raise BundleError(f"bundle {path} holds {', '.join(extra)}, which no {manifest.kind} bundle has; remove it")
