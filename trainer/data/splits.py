"""Which clips train and which measure: drawn by group, so that what clips share never decides."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from trainer.data.manifest import Clip


def drawn(clips: Sequence[Clip], shares: dict[str, float], seed: int) -> tuple[list[Clip], list[str]]:
    """The clips, with a split each: about `shares` of them apart (such as {"validate": 0.2}), the others to train.

    Clips of one group, and clips of one file, stay together; labels are spread evenly
    (sklearn.model_selection.StratifiedGroupKFold); each label keeps clips to train on. Also gives the splits that
    could not be drawn, because too few groups hold a label.
    """
    units = units_of(clips)
    splits = ["train"] * len(clips)
    missing = []
    left = 1.0
    for split, share in shares.items():
        free = [number for number, name in enumerate(splits) if name == "train"]
        fold = _fold([clips[number] for number in free], [units[number] for number in free], share / left, seed)
        for index in fold:
            splits[free[index]] = split
        left -= share if fold else 0.0
        missing += [] if fold or not share else [split]
    return [replace(clip, split=split) for clip, split in zip(clips, splits, strict=True)], missing


def units_of(clips: Sequence[Clip]) -> list[int]:
    """A number per clip; clips that share a group or a file, also over other clips, have the same one."""
    parent = list(range(len(clips)))

    def root(number: int) -> int:
        while parent[number] != number:
            parent[number] = number = parent[parent[number]]
        return number

    first: dict[tuple[str, str], int] = {}
    for number, clip in enumerate(clips):
        for key in (("file", str(Path(clip.path).resolve())), ("group", clip.group)):
            if key[1]:
                parent[root(number)] = root(first.setdefault(key, number))
    return [root(number) for number in range(len(clips))]


def _fold(clips: Sequence[Clip], units: Sequence[int], share: float, seed: int) -> list[int]:
    """Positions of about `share` of the clips that can be spared; none where each fold takes a label's last clips."""
    from sklearn.model_selection import StratifiedGroupKFold

    folds = min(round(1 / share), len(set(units))) if share else 0
    labels = [clip.label for clip in clips]
    most = max((labels.count(label) for label in set(labels)), default=0)
    if (folds := min(folds, most)) < 2:
        return []
    splitter = StratifiedGroupKFold(folds, shuffle=True, random_state=seed)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # a label with fewer clips than folds; judged below
        found = [test.tolist() for _, test in splitter.split(np.zeros(len(clips)), labels, units)]
    for fold in found:
        kept = {label for number, clip in enumerate(clips) if number not in set(fold) for label in clip.labels}
        if fold and kept >= {label for clip in clips for label in clip.labels}:
            return list(fold)
    return []
