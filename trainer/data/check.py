"""A list of clips and its files, looked through for what would spoil a training."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt

from trainer.data.cache import Clips
from trainer.data.decoded import Size
from trainer.data.duplicates import duplicates, thumbnails
from trainer.data.features import FRAMES, Features, motion_features
from trainer.data.manifest import SPLITS, Clip, Listed, alike, problems_of, scan
from trainer.data.opening import open_clips
from trainer.data.sides import names_a_side
from trainer.data.splits import units_of
from trainer.data.suspicion import out_of_fold, suspicious
from trainer.models.text.word_tokenizer import normal
from trainer.progress import Count, Report, counted

_OVERHANG = 1.0  # seconds that an end may lie behind its file's


@dataclass(frozen=True)
class Finding:
    """One thing that was found."""

    kind: str
    """row, unreadable, duplicate, leaking, spelling, splits, labels, short, end, damaged or suspicious."""
    severity: Literal["change", "look"]
    """`change`: a person must; `look`: it may be meant."""
    clips: tuple[Clip, ...]
    message: str


@dataclass(frozen=True)
class Checked:
    """What a check looked at, and what it found, worst first."""

    listed: Listed
    opened: Clips
    findings: tuple[Finding, ...]

    @property
    def clean(self) -> bool:
        """Whether nothing has to be changed."""
        return all(finding.severity == "look" for finding in self.findings)


def check(
    source: Path, cache: Path, size: Size, window: int, report: Report, features: Features = motion_features
) -> Checked:
    """Look through a list and its files, which are decoded into `cache` as training would.

    window: frames of a window. features: what suspicious labels are told by. Raises RecipeError for what is no list.
    """
    listed = scan(source)
    labels = sorted({label for clip in listed.clips for label in clip.labels})
    clips = open_clips(listed.clips, labels, cache, size, report, window=window, implied=False, max_skipped=None)
    found = [
        *(Finding("row", "change", (), problem) for problem in listed.problems),
        *(Finding("unreadable", "change", (clip,), reason) for clip, reason in clips.skipped.items()),
        *_of_list(listed),
        *_duplicates(clips, counted(report, "compare clips")),
        *_suspicious(clips, labels, features, counted(report, "learn labels")),
        *_lengths(clips, size, window),
    ]
    return Checked(listed, clips, tuple(sorted(found, key=lambda finding: finding.severity == "look")))


def _of_list(listed: Listed) -> Iterator[Finding]:
    for kind, message in problems_of(listed.clips):
        yield Finding(kind, "change", (), message)
    labels = list(dict.fromkeys(label for clip in listed.clips for label in clip.labels))
    refused = alike(labels, normal)
    for one, other in alike(labels, lambda label: re.sub(r"[\W_]", "", label).casefold()):
        if (one, other) not in refused:
            yield Finding("spelling", "look", (), f"{one!r} and {other!r} differ in blanks or signs only; one label?")
    present = [split for split in SPLITS if any(clip.split == split for clip in listed.clips)]
    for label in labels:
        missing = [split for split in present if not any(_shows(clip, label, split) for clip in listed.clips)]
        if missing and "train" not in missing:
            yield Finding("splits", "look", (), f"no clip of {' or '.join(missing)} has the label {label!r}")


def _shows(clip: Clip, label: str, split: str) -> bool:
    return clip.split == split and label in clip.labels


def _duplicates(clips: Clips, said: Count) -> Iterator[Finding]:
    small = []
    for number, stretch in enumerate(clips.stretches, 1):
        small.append(thumbnails(np.asarray(stretch.file.frames()[stretch.first : stretch.last])))
        said(number, len(clips.stretches))

    def one_file(one: int, other: int) -> bool:
        paths = (Path(clips.clips[number].path).resolve() for number in (one, other))
        return len(set(paths)) == 1

    for pair in duplicates(small, one_file):
        first, second = clips.clips[pair.first], clips.clips[pair.second]
        if first.background and second.background and first.split == second.split:
            continue  # an empty scene looks like itself
        what = f"they show the same film (likeness {pair.likeness:.2f})"
        if first.split != second.split:
            text = f"{what}, one in {first.split}, one in {second.split}; keep one of them"
            yield Finding("duplicate", "change", (first, second), text)
        elif first.labels != second.labels:
            text = f"{what} under {first.label!r} and {second.label!r}; keep the right one"
            yield Finding("duplicate", "change", (first, second), text)
        else:
            yield Finding("duplicate", "look", (first, second), what)


def _lengths(clips: Clips, size: Size, window: int) -> Iterator[Finding]:
    pairs = list(zip(clips.clips, clips.stretches, strict=True))
    held = [clip for clip, stretch in pairs if stretch.highest - stretch.lowest < window]
    if held:
        text = f"shorter than a window of {window} frames, {window / size.rate:g} s; the last frame will be held"
        yield Finding("short", "look", tuple(held), f"{len(held)} clips: {text}")
    moments = [clip for clip, _ in pairs if clip.until - clip.start < 1 / size.rate]
    if moments:
        text = f"shorter than one step of {1 / size.rate:g} s; the nearest picture counts, and what is around it"
        yield Finding("short", "look", tuple(moments), f"{len(moments)} clips: {text}")
    for clip, stretch in pairs:
        if clip.end is not None and stretch.file.times[-1] + _OVERHANG < clip.end:
            text = f"its end lies behind that of the file, {stretch.file.times[-1]:.2f} s; are these milliseconds?"
            yield Finding("end", "look", (clip,), text)
    files = {stretch.file.folder: (clip, stretch.file) for clip, stretch in pairs}
    for clip, file in files.values():
        if file.damaged:
            yield Finding("damaged", "look", (clip,), f"{file.damaged} damaged packets or pictures were left out")


def _suspicious(clips: Clips, labels: Sequence[str], features: Features, said: Count) -> Iterator[Finding]:
    names = ("background", *labels)
    chosen = [number for number, shown in enumerate(clips.label_sets) if len(shown) < 2]
    known = [clips.labels[number] + 1 for number in chosen]
    if len(set(known)) < 2:
        return
    # Most actions look the same from the other side: twice as much to learn from. Not where a label names a side.
    ways = (1,) if any(names_a_side(label) for label in labels) else (1, -1)
    vectors: list[list[npt.NDArray[np.float32]]] = []
    for done, number in enumerate(chosen, 1):
        pictures = clips.sample(number, FRAMES)
        vectors.append([features(np.ascontiguousarray(pictures[:, :, ::way])) for way in ways])
        said(done, len(chosen))
    shown = [clips.clips[number] for number in chosen]
    probabilities = out_of_fold([np.stack(way) for way in zip(*vectors, strict=True)], known, units_of(shown))
    if probabilities is None:
        return
    for found in suspicious(probabilities, known):
        text = (
            f"labelled {names[known[found.index]]!r} ({found.own:.0%}), but looks like {names[found.likely]!r} "
            f"({found.other:.0%}) by the clips of other groups"
        )
        yield Finding("suspicious", "look", (shown[found.index],), text)
