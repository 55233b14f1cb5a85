"""A user's own labelled clips: read from a CSV or JSON list, decoded once, and drawn into batches.

    labels.csv                                   labels.json
    ----------                                   -----------
    path,label,start,end,split                   [{"path": "a.mp4", "label": "a person falls"},
    a.mp4,a person falls,,,                       {"path": "b.mp4", "label": "OpenDoor", "start": 2.0, "end": 4.5,
    b.mp4,OpenDoor,2.0,4.5,validate                "split": "validate"}]

Paths are relative to the list. `start` and `end` (seconds) name a part of a file; `split` is `train` (default) or
`validate`, and nothing may be both. Without a clip to validate on, those that were trained on are measured.
"""

from __future__ import annotations

import csv
import hashlib
import json
from bisect import bisect_left
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from tokenizers import Tokenizer

from engines.bundle.manifest import Input
from engines.preprocess import prepare
from trainer import augment, prompts
from trainer.clips import read_clip, segment_indices, window_start
from trainer.config import Recipe
from trainer.errors import RecipeError

Pictures = npt.NDArray[np.uint8]
Progress = Callable[[int, int], None]

_LISTS = ("labels.csv", "labels.json")
_SPLITS = ("train", "validate")


@dataclass(frozen=True)
class Clip:
    """A file, or a part of one in seconds, and what it shows."""

    path: str
    label: str
    start: float = 0.0
    end: float | None = None
    split: str = "train"

    @property
    def until(self) -> float:
        """Where it ends; beyond every picture where the file is taken to its end."""
        return np.inf if self.end is None else self.end


@dataclass(frozen=True)
class Clips:
    """Decoded clips: frames uint8 [N, H, W, 3] RGB, and of each clip its first frame, count, label index and split."""

    frames: Pictures
    bounds: tuple[tuple[int, int], ...]
    labels: tuple[int, ...]
    splits: tuple[str, ...]

    def of(self, split: str) -> list[int]:
        """Numbers of the clips of a split."""
        return [number for number, name in enumerate(self.splits) if name == split]

    def sample(
        self, clip: int, count: int, sampling: str = "segments", rng: np.random.Generator | None = None
    ) -> Pictures:
        """`count` frames of a clip, by segments or consecutive ones; with `rng` by the training rule. A copy."""
        first, length = self.bounds[clip]
        if sampling == "window" and length >= count:
            at = first + window_start(length, count, rng)
            return np.array(self.frames[at : at + count])
        return np.array(self.frames[first + segment_indices(length, count, rng)])


@dataclass(frozen=True)
class ClipBatch:
    """b clips of T frames, one caption and label index each: images uint8 [b, T, H, W, 3], tokens [b, context]."""

    images: Pictures
    tokens: npt.NDArray[np.int64]
    labels: npt.NDArray[np.int64]


class ClipBatches:
    """The batches of a recipe over a user's clips; a function of recipe and step, and thread-safe.

    Raises RecipeError for a label that the text tower cannot read to its end: no bundle could watch for it.
    """

    def __init__(self, recipe: Recipe, clips: Clips, tokenizer: Tokenizer):
        for label in recipe.model.labels:
            texts = [prompts.fill(template, label) for template in prompts.TEMPLATES]
            if any(entry.overflowing for entry in tokenizer.encode_batch(texts)):
                raise RecipeError(
                    f"the label {label!r} has more words than the text tower reads ({recipe.model.text.context} "
                    "tokens, template included); shorten it, or raise model.text.context"
                )
        self._recipe = recipe
        self._clips = clips
        self._tokenizer = tokenizer
        self._train = clips.of("train")

    def batch(self, step: int) -> ClipBatch:
        """The batch of a step: clips drawn with replacement, each with its label in one of the sixteen templates."""
        rng = np.random.default_rng([self._recipe.seed, step])
        (stage, _), model = self._recipe.stage_at(step), self._recipe.model
        frames = model.frames if stage.ticks >= model.frames else 1
        drawn = [self._train[index] for index in rng.integers(len(self._train), size=stage.chunks)]
        sampling = self._recipe.data.sampling
        images = [
            augment.augment(self._clips.sample(clip, frames, sampling, rng), self._recipe.augment, rng)
            for clip in drawn
        ]
        labels = [self._clips.labels[clip] for clip in drawn]
        templates = rng.integers(len(prompts.TEMPLATES), size=len(drawn))
        texts = [
            prompts.fill(prompts.TEMPLATES[template], model.labels[label])
            for template, label in zip(templates, labels, strict=True)
        ]
        tokens = np.array([entry.ids for entry in self._tokenizer.encode_batch(texts)], np.int64)
        return ClipBatch(np.stack(images), tokens, np.array(labels, np.int64))


def with_labels(recipe: Recipe) -> Recipe:
    """The recipe with what its list of clips says, so that a checkpoint knows labels and list.

    The distinct labels become the model's; the hash tells a run that goes on whether the list is still the same.
    """
    if recipe.data.clips is None:
        return recipe
    clips = read_list(recipe.data.clips)
    labels = tuple(sorted({clip.label for clip in clips}))
    data = recipe.data.model_copy(update={"clips_hash": _list_hash(clips)})
    return recipe.model_copy(update={"data": data, "model": recipe.model.model_copy(update={"labels": labels})})


def read_list(source: Path) -> list[Clip]:
    """The clips that a list names: a CSV or JSON file, or a folder with labels.csv or labels.json.

    Class names such as OpenDoor or open_door become words. Raises RecipeError that names the list, the row and the
    reason.
    """
    path = _list_file(source)
    try:
        text = path.read_text("utf-8-sig")
        rows = json.loads(text) if path.suffix == ".json" else list(csv.DictReader(text.splitlines()))
    except (OSError, ValueError) as error:
        raise RecipeError(f"the list of clips {path} cannot be read: {error}") from error
    if not isinstance(rows, list) or not rows:
        raise RecipeError(f"the list of clips {path} names no clip; it needs rows with path and label")
    clips = [_clip(row, f"{path}, clip {number}", path.parent) for number, row in enumerate(rows, 1)]
    if all(clip.split != "train" for clip in clips):
        raise RecipeError(f"the list of clips {path} has no clip to train on; leave `split` of some empty")
    labels = dict.fromkeys(clip.label for clip in clips)
    if same := prompts.same_words(labels):
        raise RecipeError(f"the list of clips {path} has {same[0]!r} and {same[1]!r}, one label; write it one way")
    if len(labels) == 1:
        raise RecipeError(
            f"the list of clips {path} has one label only, {clips[0].label!r}, and nothing to tell it from; add clips "
            "in which it does not happen, under a label of their own"
        )
    if both := _trained_and_measured(clips):
        raise RecipeError(
            f"the list of clips {path} both trains and validates on {both}; keep whole recordings apart, or parts that "
            "share no second"
        )
    return clips


def _trained_and_measured(clips: Sequence[Clip]) -> str | None:
    """A file of which some second is in both splits."""
    spans: dict[Path, list[Clip]] = {}
    for clip in clips:
        spans.setdefault(Path(clip.path).resolve(), []).append(clip)
    for file, parts in spans.items():
        train, validate = ([part for part in parts if part.split == split] for split in _SPLITS)
        if any(one.start < other.until and other.start < one.until for one in train for other in validate):
            return str(file)
    return None


def _list_hash(clips: Sequence[Clip]) -> str:
    """What a list of clips says, and how large its files are, as a short hash."""
    rows = [{**asdict(clip), "bytes": Path(clip.path).stat().st_size} for clip in clips]
    return hashlib.sha256(json.dumps(rows).encode()).hexdigest()[:12]


def open_clips(
    source: Path, labels: Sequence[str], cache: Path, rate: int, height: int, width: int, progress: Progress
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
    home = cache / f"clips-{_list_hash(clips)}-{rate}-{width}x{height}"
    if not (home / "index.json").exists():
        _decode(clips, home, rate, height, width, progress)
    bounds = tuple((int(first), int(count)) for first, count in json.loads((home / "index.json").read_text("utf-8")))
    total = max(first + count for first, count in bounds)
    frames = np.memmap(home / "frames.rgb", np.uint8, "r", shape=(total, height, width, 3))
    return Clips(frames, bounds, tuple(labels.index(clip.label) for clip in clips), tuple(clip.split for clip in clips))


def _list_file(source: Path) -> Path:
    if not source.is_dir():
        return source
    for name in _LISTS:
        if (source / name).is_file():
            return source / name
    raise RecipeError(f"{source} holds neither {' nor '.join(_LISTS)}; write one with rows of path and label")


def _clip(row: Any, where: str, folder: Path) -> Clip:
    if not isinstance(row, dict) or not row.get("path") or not row.get("label"):
        raise RecipeError(f"{where} lacks path or label")
    path = folder / str(row["path"])
    if not path.is_file():
        raise RecipeError(f"{where}: there is no file {path}")
    try:
        start = float(row.get("start") or 0.0)
        end = None if row.get("end") in (None, "") else float(row["end"])
    except ValueError as error:
        raise RecipeError(f"{where}: start and end are seconds: {error}") from error
    if start < 0 or (end is not None and end <= start):
        raise RecipeError(f"{where}: end {end} does not lie behind start {start:g}")
    split = row.get("split") or "train"
    if split not in _SPLITS:
        raise RecipeError(f"{where}: split {split!r} is neither {' nor '.join(_SPLITS)}")
    return Clip(str(path), prompts.spaced(str(row["label"]).strip()), start, end, split)


def _decode(clips: Sequence[Clip], home: Path, rate: int, height: int, width: int, progress: Progress) -> None:
    home.mkdir(parents=True, exist_ok=True)
    # As the exported bundle will bring frames to size (`trainer.export`); normalisation is the network's.
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
    """The sampled pictures of a file that lie in any of its parts: a part's own follow each other without a gap."""
    last = max(part.until for part in parts)
    for seconds, picture in read_clip(Path(path), rate):
        if seconds >= last:
            return
        if any(part.start <= seconds < part.until for part in parts):
            yield seconds, picture
