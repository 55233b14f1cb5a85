"""The sampled frames of one file, kept in a folder of the cache, whatever lists name the file."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from engines.bundle.manifest import Input
from engines.preprocess import prepare
from trainer.data.decode import FORM, Damage, Pictures, read_clip
from trainer.errors import VideoError

_FRAMES, _INDEX = "frames.rgb", "index.json"


@dataclass(frozen=True)
class Size:
    """How frames are kept: sampled per second, pixels down and across, and how they were brought to that size."""

    rate: int
    height: int
    width: int
    resize: Literal["area", "bicubic", "bilinear"] = "area"
    crop: Literal["squash", "centre"] = "squash"

    @classmethod
    def of(cls, form: Input, rate: int) -> Size:
        """That of a model's input, at `rate` frames a second."""
        return cls(rate, form.height, form.width, form.resize, form.crop)


@dataclass(frozen=True)
class Decoded:
    """Frames on disk: uint8 [n, height, width, 3] RGB, at `times` seconds since the first."""

    folder: Path
    size: Size
    times: tuple[float, ...]
    until: float | None
    """The file was read up to there; None: to its end."""
    damaged: int
    """Packets and pictures that were left out."""

    def frames(self) -> Pictures:
        """The frames, read where they are used."""
        shape = (len(self.times), self.size.height, self.size.width, 3)
        return np.memmap(self.folder / _FRAMES, np.uint8, "r", shape=shape)

    def covers(self, until: float | None) -> bool:
        """Whether the file was read as far as `until` (None: to its end)."""
        return self.until is None or (until is not None and until <= self.until)


def key_of(path: Path) -> str:
    """A hash of a file's bytes. Raises VideoError where it cannot be read."""
    try:
        with path.open("rb") as stream:
            return hashlib.file_digest(stream, "sha256").hexdigest()[:24]
    except OSError as error:
        raise VideoError(path, error.strerror or str(error)) from error


def kept(cache: Path, key: str, size: Size, until: float | None) -> Decoded | None:
    """The frames of a file with that hash, if they are there whole and reach far enough."""
    folder = _folder(cache, key, size)
    try:
        index = json.loads((folder / _INDEX).read_text("utf-8"))
        times = tuple(float(seconds) for seconds in index["times"])
        read_to = None if index["until"] is None else float(index["until"])
        found = Decoded(folder, size, times, read_to, int(index["damaged"]))
        written = (folder / _FRAMES).stat().st_size
    except (OSError, ValueError, LookupError, TypeError):
        return None  # not there, or damaged: it is made again
    whole = times and written == len(times) * size.height * size.width * 3
    return found if whole and found.covers(until) else None


def decode(cache: Path, path: Path, key: str, size: Size, until: float | None) -> Decoded:
    """Decode a file up to `until` seconds (None: to its end) and keep its frames, under their name once they are whole.

    Frames are resized as the exported bundle will do it (`trainer.export.trained`). Raises VideoError.
    """
    form = Input(
        height=size.height, width=size.width, resize=size.resize, crop=size.crop, mean=(0, 0, 0), std=(1, 1, 1)
    )
    folder = _folder(cache, key, size)
    building = folder.with_name(f"{folder.name}.{os.getpid()}.part")
    damage = Damage()
    times: list[float] = []
    building.mkdir(parents=True, exist_ok=True)
    try:
        with (building / _FRAMES).open("wb") as stream:
            for seconds, picture in read_clip(path, size.rate, damage=damage):
                if until is not None and seconds >= until:
                    break
                stream.write(prepare(picture, form).tobytes())
                times.append(seconds)
        if not times:
            raise VideoError(path, "it holds no picture that can be decoded")
        index = {"times": times, "until": until, "damaged": damage.count}
        (building / _INDEX).write_text(json.dumps(index), "utf-8")
        shutil.rmtree(folder, ignore_errors=True)
        building.rename(folder)
    finally:
        shutil.rmtree(building, ignore_errors=True)
    return Decoded(folder, size, tuple(times), until, damage.count)


def _folder(cache: Path, key: str, size: Size) -> Path:
    return cache / f"frames-{key}-{FORM}-{size.rate}-{size.width}x{size.height}-{size.resize}-{size.crop}"
