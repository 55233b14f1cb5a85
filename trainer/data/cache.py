"""Labelled clips, decoded into a cache folder once."""

from __future__ import annotations

import json
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from engines.bundle.manifest import Input
from engines.preprocess import prepare
from trainer.data.decode import Pictures, read_clip
from trainer.data.manifest import Clip, list_hash, read_list
from trainer.data.sampling import segment_indices, window_start
from trainer.errors import RecipeError
from trainer.progress import Count


@dataclass(frozen=True)
class Clips:
    """Decoded clips: frames uint8 [N, H, W, 3] RGB, and of each clip its first frame, count, label index and split."""

    frames: Pictures
    bounds: tuple[tuple[int, int], ...]
    labels: tuple[int, ...]
    splits: tuple[str, ...]
    names: tuple[str, ...]
    """File and part of each clip, in words."""

    def of(self, split: str) -> list[int]:
        """Indices of the clips of a split."""
        return [number for number, name in enumerate(self.splits) if name == split]

    def pictures(self, clip: int) -> Pictures:
        """All frames of a clip, in their order."""
        first, length = self.bounds[clip]
        return self.frames[first : first + length]

    def indices(
        self, clip: int, count: int, sampling: str = "segments", rng: np.random.Generator | None = None
    ) -> npt.NDArray[np.int64]:
        """Which `count` frames of a clip are taken, one per segment or consecutive; with `rng` by the training rule."""
        length = self.bounds[clip][1]
        if sampling == "window" and length >= count:
            return window_start(length, count, rng) + np.arange(count)
        return segment_indices(length, count, rng)

    def sample(
        self, clip: int, count: int, sampling: str = "segments", rng: np.random.Generator | None = None
    ) -> Pictures:
        """`count` frames of a clip (a copy), by `indices`."""
        return np.array(self.frames[self.bounds[clip][0] + self.indices(clip, count, sampling, rng)])


def open_clips(source: Path, labels: Sequence[str], cache: Path, rate: int, form: Input, progress: Count) -> Clips:
    """The clips of a list, sampled at `rate` frames/s and brought to a form; decoded into `cache` once.

    Raises RecipeError for a list or a video that cannot be read, and for a label that is not among `labels`.
    """
    clips = read_list(source)
    if unknown := [clip.label for clip in clips if clip.label not in labels]:
        raise RecipeError(
            f"the list of clips {source} has the label {unknown[0]!r}, which this model was not trained on; take its "
            "clips out, or train anew"
        )
    shape = f"{form.width}x{form.height}-{form.resize}-{form.crop}"
    home = cache / f"clips-{list_hash(clips)}-{rate}-{shape}"
    if not (home / "index.json").exists():
        _decode(clips, home, rate, form, progress)
    bounds = tuple((int(first), int(count)) for first, count in json.loads((home / "index.json").read_text("utf-8")))
    total = max(first + count for first, count in bounds)
    frames = np.memmap(home / "frames.rgb", np.uint8, "r", shape=(total, form.height, form.width, 3))
    return Clips(
        frames,
        bounds,
        tuple(labels.index(clip.label) for clip in clips),
        tuple(clip.split for clip in clips),
        tuple(_name(clip) for clip in clips),
    )


def _name(clip: Clip) -> str:
    return clip.path if not clip.start and clip.end is None else f"{clip.path} [{clip.start:g}-{clip.until:g} s]"


def _decode(clips: Sequence[Clip], home: Path, rate: int, form: Input, progress: Count) -> None:
    # Frames are resized as the exported bundle will do it; the network normalises them.
    home.mkdir(parents=True, exist_ok=True)
    files: dict[str, list[int]] = {}
    for number, clip in enumerate(clips):
        files.setdefault(clip.path, []).append(number)
    bounds = [(0, 0)] * len(clips)
    first = done = 0
    with (home / "frames.rgb").open("wb") as stream:
        for path, numbers in files.items():
            shown: list[float] = []
            for seconds, picture in _pictures(path, [clips[number] for number in numbers], rate):
                stream.write(prepare(picture, form).tobytes())
                shown.append(seconds)
            for number in numbers:
                clip = clips[number]
                begin = bisect_left(shown, clip.start)
                count = bisect_left(shown, clip.until) - begin
                if not count:
                    raise RecipeError(f"{path} has no picture from {clip.start:g} s on; check `start` and `end`")
                bounds[number] = (first + begin, count)
                done += 1
                progress(done, len(clips))
            first += len(shown)
    (home / "index.json").write_text(json.dumps(bounds), "utf-8")


def _pictures(path: str, parts: Sequence[Clip], rate: int) -> Iterator[tuple[float, Pictures]]:
    """The sampled pictures of a file that lie in any of its parts; those of one part have no gap between them."""
    last = max(part.until for part in parts)
    for seconds, picture in read_clip(Path(path), rate):
        if seconds >= last:
            return
        if any(part.start <= seconds < part.until for part in parts):
            yield seconds, picture
