"""How far two sequences of frames lie apart in time: CLIP-FSAR's matching of a window with a taught action. No torch.

`trainer/models/few_shot/otam.py` is the same in torch; both are held to one table of golden values.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.floating[Any]]
Doubles = npt.NDArray[np.float64]


def frame_distances(windows: Floats, prototypes: Floats) -> Doubles:
    """`1 - cosine` of every frame of a window with every frame of a prototype.

    windows [m, T, D] and prototypes [n, S, D], of any length but zero, give float64 [m, n, T, S].
    """
    left, right = _directions(windows), _directions(prototypes)
    # One product per pair of sequences, so that a distance never depends on how many others there are.
    return np.asarray(1.0 - np.matmul(left[:, None], np.swapaxes(right, -1, -2)[None]))


def aligned(distances: Floats, smoothing: float) -> Doubles:
    """The cost of the best way through frame distances [..., T, S], as OTAM relaxes it (CLIP-FSAR): float64 [...].

    A way may begin and end at any column, for two columns of no cost stand beside them; `smoothing` is lambda of the
    soft minimum, which lowers the cost, so that of two equal sequences is below zero. Not symmetric.
    """
    rows, columns = distances.shape[-2:]
    costs = np.zeros((*distances.shape[:-1], columns + 2))
    costs[..., 1:-1] = distances
    before = np.cumsum(costs[..., 0, :], axis=-1)
    for row in range(1, rows):
        now = np.zeros_like(before)
        for column in range(1, columns + 2):
            ways = [before[..., column - 1], now[..., column - 1]]
            if column in (1, columns + 1):
                ways.append(before[..., column])
            now[..., column] = costs[..., row, column] + _soft_minimum(ways, smoothing)
        before = now
    return np.asarray(before[..., -1])


def alignment_distances(windows: Floats, prototypes: Floats, smoothing: float) -> Doubles:
    """Both directions of `aligned` together, which is symmetric: [m, T, D] and [n, S, D] to float64 [m, n]."""
    distances = frame_distances(windows, prototypes)
    return aligned(distances, smoothing) + aligned(np.swapaxes(distances, -1, -2), smoothing)


def frame_wise_distances(windows: Floats, prototypes: Floats) -> Doubles:
    """The mean of `1 - cosine` of frames at the same place: [m, T, D] and [n, T, D] to float64 [m, n]."""
    together = np.einsum("mtd,ntd->mnt", _directions(windows), _directions(prototypes), optimize=False)
    return np.asarray(1.0 - together.mean(axis=-1))


def _directions(sequences: Floats) -> Doubles:
    given = np.asarray(sequences, np.float64)
    return np.asarray(given / np.maximum(np.linalg.norm(given, axis=-1, keepdims=True), 1e-12))


def _soft_minimum(ways: list[Doubles], smoothing: float) -> Doubles:
    # logaddexp takes the values one by one: a result does not depend on its place in the array.
    return np.asarray(-smoothing * np.logaddexp.reduce([-way / smoothing for way in ways]))
