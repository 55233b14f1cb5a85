"""Frames pooled by the words of a label (BIKE, arXiv 2301.00182): those that show a word count more. No parameters.

    share(frame) = mean over the words of a text of  softmax over frames of  cosine(word, frame) / 0.01
    cosine(window, text) = cosine(sum over frames of  share(frame) * frame,  text)

Every text, label or reference, pools the frames of a window by its own words; the cosines then become probabilities as
any others do (`pipeline.analysis.scoring`). A text has one embedding here, the mean over its templates.

No result depends on its mates: cosines come from the product that `scoring` uses, everything after it takes numbers one
by one. The pooled vector itself is never made: its length and its product with the text follow from numbers per frame.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from pipeline.analysis.scoring import Array, Product, Scorer, from_cosines, one_by_one

TEMPERATURE = 0.01


@dataclass(frozen=True, slots=True, eq=False)
class Salient:
    """Labels prepared for scoring by saliency. Immutable."""

    scorer: Scorer
    """Of the same texts, without templates."""
    words: Product
    """With the words of all texts, [n, W]."""
    places: npt.NDArray[np.intp]
    """[K, L + R]: the words of each text among all; any other where it has fewer than K."""
    counts: npt.NDArray[np.float64]
    """[L + R]: how many words each text has."""


def prepare_words(scorer: Scorer, words: Sequence[Array], product: Callable[[Array], Product] = one_by_one) -> Salient:
    """Prepare labels for scoring by saliency.

    scorer: prepared with one embedding per text (P = 1). words: of each label and then of each reference float32
    [K, D], K >= 1, L2-normalised. product: makes the product with all words in one. Raises ValueError if these do not
    fit.
    """
    labels, references, templates, _ = scorer.shape
    if templates != 1 or len(words) != labels + references or not all(map(len, words)):
        raise ValueError(f"words of {len(words)} texts under {templates} templates do not fit {labels + references}")
    counts = np.array([len(one) for one in words])
    first = np.cumsum(counts) - counts
    places = first + np.minimum(np.arange(counts.max())[:, None], counts - 1)
    return Salient(scorer, product(np.concatenate(words)), places.astype(np.intp), counts.astype(np.float64))


def score(salient: Salient, windows: Array) -> Array:
    """Probability of every label in every window of items float32 [n, T, D], float32 [n, L]."""
    if not len(windows) or not salient.scorer.shape[0]:
        return np.zeros((len(windows), salient.scorer.shape[0]), np.float32)
    return from_cosines(salient.scorer, *cosines(salient, windows))


def cosines(salient: Salient, windows: Array) -> tuple[Array, Array]:
    """Cosines of windows [n, T, D], pooled by each text's words, with the labels [n, L, 1] and references [n, R, 1]."""
    count, frames, width = windows.shape
    labels, references, _, dimensions = salient.scorer.shape
    if width != dimensions:
        raise ValueError(f"items of shape {windows.shape} do not fit texts of {dimensions} dimensions")
    lengths = np.sqrt(np.einsum("ntd,ntd->nt", windows, windows, dtype=np.float64))
    units = (windows / np.maximum(lengths, 1e-12)[..., None]).astype(np.float32).reshape(-1, width)
    shown = salient.words(units).reshape(count, frames, -1)
    said = salient.scorer.product(units).reshape(count, frames, -1)[..., : labels + references]
    shares = _shares(salient, shown)
    along = np.zeros_like(shares[:, 0])
    for frame in range(frames):
        along += shares[:, frame] * lengths[:, frame, None] * said[:, frame]
    found = (along / np.maximum(_pooled_lengths(shares, windows), 1e-12)).astype(np.float32)[..., None]
    return found[:, :labels], found[:, labels:]


def _shares(salient: Salient, shown: Array) -> npt.NDArray[np.float64]:
    """Cosines of frames with words [n, T, W] to how much each frame counts for each text, [n, T, L + R]."""
    sharp = shown.astype(np.float64) / TEMPERATURE
    sharp = np.exp(sharp - sharp.max(axis=1, keepdims=True))
    sharp /= _one_by_one(sharp)[:, None]
    total = np.zeros((*shown.shape[:2], len(salient.counts)))
    for number, places in enumerate(salient.places):
        total += np.where(number < salient.counts, sharp[..., places], 0.0)
    return np.asarray(total / salient.counts)


def _pooled_lengths(shares: npt.NDArray[np.float64], windows: Array) -> npt.NDArray[np.float64]:
    """Lengths of the pooled vectors, [n, L + R], from the products of the frames with each other."""
    products: Any = np.einsum("ntd,nud->ntu", windows, windows, dtype=np.float64)
    squares = np.zeros_like(shares[:, 0])
    for one in range(shares.shape[1]):
        for other in range(shares.shape[1]):
            squares += shares[:, one] * shares[:, other] * products[:, one, other, None]
    return np.sqrt(np.maximum(squares, 0.0))


def _one_by_one(values: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """The sum over frames of [n, T, W], added one by one, so that the other axes cannot change the order."""
    total = values[:, 0].copy()
    for frame in range(1, values.shape[1]):
        total += values[:, frame]
    return total
