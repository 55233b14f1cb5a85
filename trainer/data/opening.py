"""From a list of clips to frames on disk: every file is looked at, then decoded once; what cannot be read is named."""

from __future__ import annotations

import logging
from bisect import bisect_left
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from trainer.data.background import between
from trainer.data.cache import BACKGROUND, Clips, Stretch
from trainer.data.decode import probe
from trainer.data.decoded import Decoded, Size, decode, kept, key_of
from trainer.data.manifest import Clip
from trainer.errors import RecipeError, VideoError
from trainer.progress import Report, counted

log = logging.getLogger(__name__)

Skipped = dict[Clip, str]
"""Clips that were left out, and why."""


def open_clips(
    clips: Sequence[Clip],
    labels: Sequence[str],
    cache: Path,
    size: Size,
    report: Report,
    *,
    window: int = 1,
    implied: bool = True,
    max_skipped: float | None = 0.0,
) -> Clips:
    """The clips, their files decoded into `cache` once, whatever lists name them.

    window: frames of a window; that much context around short parts is decoded as well. implied: whether the time
    between labelled parts becomes background. Every file is looked at before the first is decoded. Clips that cannot
    be read are left out and named in the log; above a share of `max_skipped` that is a RecipeError that names them;
    with None nothing is refused for what the files hold.
    Raises RecipeError too for a label that is not among `labels`, for a label that is left without clips to train on,
    and for a file that is there under two names in two splits.
    """
    if unknown := [label for clip in clips for label in clip.labels if label not in labels]:
        raise RecipeError(
            f"the list of clips has the label {unknown[0]!r}, which this model was not trained on; take its clips out, "
            "or train anew"
        )
    files: dict[str, list[Clip]] = {}
    for clip in clips:
        files.setdefault(clip.path, []).append(clip)
    reach = {path: _reach(parts, window / size.rate) for path, parts in files.items()}
    keys, skipped = _look(files, cache, size, reach, report)
    _judge(clips, skipped, max_skipped)
    if max_skipped is not None:
        _one_side(files, keys)
    decoded: dict[str, Decoded] = {}
    there = {path: kept(cache, key, size, reach[path]) for path, key in keys.items()}
    said, missing = counted(report, "decode files"), sum(found is None for found in there.values())
    for path, key in keys.items():
        try:
            # Asked again, because a copy under another name may have been decoded meanwhile.
            found = there[path] or kept(cache, key, size, reach[path])
            decoded[path] = found or decode(cache, Path(path), key, size, reach[path])
        except VideoError as error:
            skipped |= dict.fromkeys(files[path], error.reason)
            _judge(clips, skipped, max_skipped)
        if there[path] is None:
            said(sum(there[done] is None for done in decoded), missing)
    more = between(clips, window / size.rate) if implied else []
    return _gathered([*clips, *more], labels, decoded, skipped, max_skipped)


def _reach(parts: Sequence[Clip], context: float) -> float | None:
    """How far a file must be read for its parts; None: to its end."""
    last = max(part.until for part in parts)
    return None if last == np.inf else last + context


def _look(
    files: Mapping[str, Sequence[Clip]], cache: Path, size: Size, reach: Mapping[str, float | None], report: Report
) -> tuple[dict[str, str], Skipped]:
    """The hash of every file that can be read, and the clips that cannot, with the reasons."""
    keys: dict[str, str] = {}
    skipped: Skipped = {}
    said = counted(report, "look at files")
    for done, (path, parts) in enumerate(files.items(), 1):
        try:
            key = key_of(Path(path))
            if kept(cache, key, size, reach[path]) is None:
                seconds = probe(Path(path)).seconds
                late = [part for part in parts if seconds and part.start >= seconds + 1 / size.rate]
                skipped |= dict.fromkeys(late, f"the file ends at {seconds or 0:.2f} s already")
            keys[path] = key
        except VideoError as error:
            skipped |= dict.fromkeys(parts, error.reason)
        said(done, len(files))
    return keys, skipped


def _judge(clips: Sequence[Clip], skipped: Skipped, most: float | None) -> None:
    """Refuse where too much, or all that shows a label, would be left out."""
    if most is None:
        return
    named = "; ".join(f"{clip.place}: {reason}" for clip, reason in skipped.items())
    count = sum(clip in skipped for clip in clips)
    if count > most * len(clips):
        raise RecipeError(
            f"{count} of {len(clips)} clips cannot be read, more than data.max_skipped = {most:g} allows; mend them or "
            f"take them out: {named}"
        )
    left = {label for clip in clips if clip.split == "train" and clip not in skipped for label in clip.labels}
    if lost := [label for clip in skipped for label in clip.labels if label not in left]:
        raise RecipeError(f"no clip to train on is left for {lost[0]!r}, because some cannot be read: {named}")


def _one_side(files: Mapping[str, Sequence[Clip]], keys: Mapping[str, str]) -> None:
    """Refuse one recording under two names in two splits."""
    first: dict[str, str] = {}
    for path, key in keys.items():
        other = first.setdefault(key, path)
        splits = {clip.split for name in (other, path) for clip in files[name]}
        if other != path and len(splits) > 1 and Path(other).resolve() != Path(path).resolve():
            raise RecipeError(
                f"{other} and {path} are the same recording, and the list has them in {' and '.join(sorted(splits))}; "
                "keep one of them"
            )


def _gathered(
    clips: Sequence[Clip], labels: Sequence[str], decoded: Mapping[str, Decoded], skipped: Skipped, most: float | None
) -> Clips:
    parts: dict[Path, list[Clip]] = {}
    for clip in clips:
        parts.setdefault(Path(clip.path).resolve(), []).append(clip)
    found: list[tuple[Clip, Stretch]] = []
    for clip in clips:
        if clip in skipped or clip.path not in decoded:
            continue
        stretch = stretch_of(clip, decoded[clip.path], parts[Path(clip.path).resolve()])
        if stretch is not None:
            found.append((clip, stretch))
        elif not clip.background:
            skipped[clip] = f"the pictures end before it, at {decoded[clip.path].times[-1]:.2f} s"
    _judge([clip for clip in clips if clip in skipped or not clip.background], skipped, most)
    for clip, reason in skipped.items() if most is not None else ():
        log.warning("left out: %s: %s", clip.place, reason)
    number = {label: index for index, label in enumerate(labels)}
    return Clips(
        clips=tuple(clip for clip, _ in found),
        stretches=tuple(stretch for _, stretch in found),
        labels=tuple(number[clip.label] if clip.label else BACKGROUND for clip, _ in found),
        label_sets=tuple(frozenset(number[label] for label in clip.labels) for clip, _ in found),
        skipped=skipped,
    )


def stretch_of(clip: Clip, file: Decoded, parts: Sequence[Clip]) -> Stretch | None:
    """The frames of a clip; of one that lies between two frames, the nearest to its middle; None behind the last.

    parts: the clips of the same file. A window may also show what is around a clip, up to half of the way to the next.
    """
    times = file.times
    first, last = bisect_left(times, clip.start), bisect_left(times, clip.until)
    if first == last:
        if clip.start >= times[-1] + 1 / file.size.rate:
            return None
        middle = (clip.start + clip.until) / 2
        first = min(range(len(times)), key=lambda index: abs(times[index] - middle))
        last = first + 1
    before = [part.until for part in parts if part.until <= clip.start]
    after = [part.start for part in parts if part.start >= clip.until]
    lowest = bisect_left(times, (max(before) + clip.start) / 2) if before else 0
    highest = bisect_left(times, (min(after) + clip.until) / 2) if after else len(times)
    return Stretch(file, first, last, min(lowest, first), max(highest, last))
