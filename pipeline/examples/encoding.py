"""What a bundle makes of the examples of labels: pictures to items, items to the prototypes that windows meet.

    disk    examples/<namespace>/<what makes items>/<example>.npy    the items of one window, frame bundles only
    memory  prototypes by label, while a set names them

A file never outlives the labels that name its example: whoever encodes a set erases the others of its deployment. Items
are no pictures, and a clip bundle's, which are, never reach the disk.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import structlog

from engines.canonical import canonical_json
from engines.contract import Embeddings, Engine, Images, Items
from engines.text.examples import Prototypes
from pipeline.analysis.example_window import window_of
from pipeline.errors import BadRecordError
from pipeline.records.examples import Example
from pipeline.records.labels import Label

Find: TypeAlias = Callable[[Collection[tuple[str, str]]], Iterable[Example]]
"""Examples by label and id; what is not there is left out."""

AT_ONCE = 4
"""Pictures in one call of the engine, which the cameras' frames wait for."""

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class WindowForm:
    """The windows of a bundle: T items, so many a second."""

    frames: int
    rate: int


@dataclass(frozen=True, slots=True)
class ExampleSource:
    """Where the examples of a deployment are found, and where their items are kept."""

    find: Find
    folder: Path | None = None
    """Of this deployment alone, created when missing; what the labels in use do not name is erased in it. None keeps
    nothing on disk, as for whoever only looks."""


class ExampleEncoder:
    """Prototypes of labels in one engine's space. One call at a time."""

    def __init__(
        self,
        engine: Engine,
        form: WindowForm,
        prepare: Callable[[bytes, float], Images],
        source: ExampleSource,
        origin: Sequence[Any] = (),
    ) -> None:
        """prepare: JPEG and the shape of its pixels to the engine's input.

        origin: what decides the items of this engine.
        """
        self._engine, self._form, self._prepare, self._find = engine, form, prepare, source.find
        self._folder = folder = source.folder
        made_by = hashlib.sha256(canonical_json([*origin, form.frames, form.rate])).hexdigest()[:16]
        self._files = folder / made_by if folder and engine.info.kind == "frame" else None
        self._made: dict[Label, Prototypes] = {}

    def prototypes(
        self,
        labels: Iterable[tuple[Label, Embeddings]],
        over: Callable[[Sequence[tuple[str, str]]], Iterable[tuple[str, str]]] = iter,
    ) -> dict[str, Prototypes]:
        """What windows are compared with, by label id, of labels that name examples; other labels are left out.

        labels: of one set, each with its text, float32 [1, D]; those of the set before are forgotten. over: yields
        what is to be encoded again, one by one, for whoever wants to see how far it is.
        A label of which an example is not there, or holds no picture that the bundle takes, is left out.
        Raises what `find` and the engine raise.
        """
        taught = {label: text for label, text in labels if label.examples}
        keys = {label: [(label.id, one) for one in (*label.examples, *label.counterexamples)] for label in taught}
        self._erase_others({example for some in keys.values() for _, example in some})
        fresh = [label for label in taught if label not in self._made]
        windows = self._windows([key for label in fresh for key in keys[label]], over)
        made = {label: self._made[label] for label in taught if label in self._made}
        for label in fresh:
            if all(key in windows for key in keys[label]):
                made[label] = self._of(label, windows, taught[label])
        self._made = made
        return {label.id: found for label, found in made.items()}

    def windows(self, label: Label) -> Items | None:
        """A window of items for each example of a label, [k, T, ...]; None where one is not there."""
        keys = [(label.id, one) for one in label.examples]
        found = self._windows(keys, iter)
        return np.stack([found[key] for key in keys]) if all(key in found for key in keys) else None

    def _of(self, label: Label, windows: Mapping[tuple[str, str], Items], text: Embeddings) -> Prototypes:
        shown, others = ([windows[label.id, one] for one in ids] for ids in (label.examples, label.counterexamples))
        positives = self._engine.prototypes(np.stack(shown), text)
        # Each by itself: what a label is not has nothing in common.
        apart = [self._engine.prototypes(one[None], text) for one in others]
        return Prototypes(positives, np.concatenate(apart) if apart else positives[:0])

    def _windows(
        self,
        keys: Sequence[tuple[str, str]],
        over: Callable[[Sequence[tuple[str, str]]], Iterable[tuple[str, str]]],
    ) -> dict[tuple[str, str], Items]:
        """A window of items [T, ...] for each example that is there."""
        found = {key: items for key in keys if (items := self._kept(key[1])) is not None}
        if not (missing := [key for key in keys if key not in found]):
            return found
        examples = iter(self._find(missing))
        for _, example in zip(over(missing), examples, strict=False):
            try:
                items = self._encode(example)
            except BadRecordError as error:
                log.warning("an example cannot be used", label=example.label, example=example.id, reason=str(error))
                continue
            found[example.label, example.id] = items
            self.keep(example.id, items)
        return found

    def _encode(self, example: Example) -> Items:
        multiple, history = max(1, example.rate // self._form.rate), self._engine.info.history
        ticks = [one.tick for one in example.pictures]
        chosen = window_of(ticks, multiple, self._form.frames, history)
        distinct = list(dict.fromkeys(chosen))
        images = [self._prepare(example.pictures[place].jpeg, example.pictures[place].pixel) for place in distinct]
        items = self._in_turn(images) if history else self._together(images)
        return np.asarray(items[[distinct.index(place) for place in chosen[-self._form.frames :]]])

    def _together(self, images: Sequence[Images]) -> Items:
        parts = [np.stack(images[begin : begin + AT_ONCE]) for begin in range(0, len(images), AT_ONCE)]
        return np.concatenate([self._engine.encode(part)[0] for part in parts])

    def _in_turn(self, images: Sequence[Images]) -> Items:
        """Items of a model with memory, each after the one before it, as of a stream that begins with the first."""
        items, memory = [], None
        for image in images:
            item, memory = self._engine.encode(image[None], memory)
            items.append(item)
        return np.concatenate(items)

    # -- the folder --

    def _kept(self, example: str) -> Items | None:
        """The items of an example; None where there are none or a crash left half a file."""
        if self._files is None:
            return None
        try:
            found = np.load(self._files / f"{example}.npy", allow_pickle=False)
        except (OSError, ValueError, EOFError):
            return None
        fits = found.shape == (self._form.frames, self._engine.info.dimensions) and found.dtype == np.float32
        return found if fits and bool(np.isfinite(found).all()) else None

    def keep(self, example: str, items: Items) -> None:
        """Keep the items of an example on disk, where there is a folder for them."""
        if self._files is None:
            return
        temporary = self._files / f"{example}.{os.getpid()}.tmp"
        try:
            self._files.mkdir(parents=True, exist_ok=True)
            with temporary.open("wb") as file:
                np.save(file, items, allow_pickle=False)
            temporary.replace(self._files / f"{example}.npy")
        except OSError:  # a folder that cannot be written costs time at the next start
            with contextlib.suppress(OSError):
                temporary.unlink()

    def _erase_others(self, named: Collection[str]) -> None:
        """Erase what no label names any more, whichever bundle of this deployment made it."""
        for file in _files(self._folder):
            if file.name.partition(".")[0] not in named:
                with contextlib.suppress(OSError):
                    file.unlink()


def _files(folder: Path | None) -> Iterator[Path]:
    return folder.glob("*/*") if folder is not None and folder.is_dir() else iter(())


NO_EXAMPLES = ExampleSource(lambda keys: ())
"""For whoever has no topic of examples."""
