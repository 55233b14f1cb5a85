"""Rows of a network with several inputs: one record each, so that batches are cut, proved and filled as those of one.

one input        rows [n, H, W, 3]
several inputs   rows [n] of records {images [H, W, 3], memory_0 [...], memory_1 [...], ...}
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np

from engines.backends.tiles import Rows


def joined(inputs: Mapping[str, Rows]) -> Rows:
    """Return the rows of a network's inputs, each [n, ...], by their names."""
    if len(inputs) == 1:
        return next(iter(inputs.values()))
    kinds = [(name, array.dtype, array.shape[1:]) for name, array in inputs.items()]
    rows = np.empty(len(next(iter(inputs.values()))), np.dtype(kinds))
    for name, array in inputs.items():
        rows[name] = array
    return rows


def inputs_of(rows: Rows, names: Iterable[str]) -> dict[str, Rows]:
    """Return each input of the network, [n, ...], by its name; views, of records with gaps."""
    return {name: rows if rows.dtype.names is None else rows[name] for name in names}
