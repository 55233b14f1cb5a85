"""Labelled clips, decoded into a cache folder once."""

from __future__ import annotations

import json
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

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

    def of(self, split: str) -> list[int]:
        """Indices of the clips of a split."""
        return [number for number, name in enumerate(self.splits) if name == split]

    def sample(
        self, clip: int, count: int, sampling: str = "segments", rng: np.random.Generator | None = None
    ) -> Pictures:
        """`count` frames of a clip (a copy), one per segment or consecutive; with `rng` by the training rule."""
        first, length = self.bounds[clip]
        if sampling == "window" and length >= count:
            at = first + window_start(length, count, rng)
            return np.array(self.frames[at : at + count])
        return np.array(self.frames[first + segment_indices(length, count, rng)])


def open_clips(
    source: Path, labels: Sequence[str], cache: Path, rate: int, height: int, width: int, progress: Count
) -> Clips:
    """The clips of a list, sampled at `rate` frames/s and scaled to height x width; decoded into `cache` once.

    Raises RecipeError for a list or a video that cannot be read, and for a label that is not among `labels`.
    """
    clips = read_list(source)
    if unknown := [clip.label for clip in clips if clip.label not in labels]:
        raise RecipeError(
            f"the list of clips {source} has the label {unknown[0]!r}, which this model was not trained on; take its "
            "clips out, or train anew"
        )
    home = cache / f"clips-{list_hash(clips)}-{rate}-{width}x{height}"
    if not (home / "index.json").exists():
        _decode(clips, home, rate, height, width, progress)
    bounds = tuple((int(first), int(count)) for first, count in json.loads((home / "index.json").read_text("utf-8")))
    total = max(first + count for first, count in bounds)
    frames = np.memmap(home / "frames.rgb", np.uint8, "r", shape=(total, height, width, 3))
    return Clips(frames, bounds, tuple(labels.index(clip.label) for clip in clips), tuple(clip.split for clip in clips))


def _decode(clips: Sequence[Clip], home: Path, rate: int, height: int, width: int, progress: Count) -> None:
    home.mkdir(parents=True, exist_ok=True)
    # Frames are resized as the exported bundle will do it (`trainer.export.trained`); the network normalises them.
    form = Input(height=height, width=width, resize="area", crop="squash", mean=(0, 0, 0), std=(1, 1, 1))
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
