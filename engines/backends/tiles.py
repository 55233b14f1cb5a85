"""Tiles: the few batch sizes at which a network runs, each proven to give a row the same bits as the others.

A kernel chooses its order of summation by the shape of its input, so the last bits of a row may depend on the size of
its batch. A tile is a batch of fixed size on one thread. Before sizes are mixed it is shown, bit for bit, that a row
gets one answer at every one of them, in every position and among any mates. Nothing is assumed: one ViT-B/32 in int8
gives one answer at 2, 4 and 8 and another at 1, because OpenVINO fuses other layers there.

    11 rows, sizes 8 4 2 1, one stream    [8][2][1]
    11 rows, sizes 8 4 2 1, two streams   [4][4][2][1]     a share is 6 rows, so that no stream waits for the other
    3 rows, size 8 alone                  [3 and 5 copies of the last]
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

SIZES = (8, 4, 2, 1)
PROOF_ROWS = 8
ALIGNMENT = 64

Rows: TypeAlias = npt.NDArray[Any]
Answers: TypeAlias = tuple[npt.NDArray[np.float32], ...]
Answer: TypeAlias = Callable[[Rows], Answers]
"""From the rows of one tile to each output's rows."""


@dataclass(frozen=True, slots=True)
class Tile:
    """A stretch of the rows of one call: `count` rows from `start`, run at batch `size`, the rest of it padding."""

    start: int
    count: int
    size: int


def cut(count: int, sizes: Sequence[int], streams: int) -> tuple[Tile, ...]:
    """Cut `count` rows into tiles of the given sizes, none longer than the share of one stream if it can be helped.

    sizes: descending. The smallest one is padded where fewer rows are left.
    """
    share = -(-count // streams)
    tiles, start = [], 0
    while start < count:
        left = count - start
        size = next((size for size in sizes if size <= min(share, left)), sizes[-1])
        tiles.append(Tile(start, min(size, left), size))
        start += size
    return tuple(tiles)


def fill(target: Rows, rows: Rows, tile: Tile) -> None:
    """Put the tile's rows into `target` [size, ...], and copies of its last row after them."""
    target[: tile.count] = rows[tile.start : tile.start + tile.count]
    target[tile.count :] = rows[tile.start + tile.count - 1]


def prove(answer_at: Mapping[int, Answer], rows: Rows) -> tuple[int, ...]:
    """Return the sizes that may be mixed, as `agreeing` does; row by row where there are none."""
    return agreeing(answer_at, rows) or (1,)


def agreeing(answer_at: Mapping[int, Answer], rows: Rows) -> tuple[int, ...]:
    """Return the sizes that may be mixed, descending: those at which every row has one answer, bit for bit.

    answer_at: the network at each size. rows: at least as many as the largest size, all different. With size 1 in it
    where any other size agrees with 1; else the largest group that agrees among itself; else the largest size that does
    not care for position, alone; none where there is none.
    """
    steady = {size: answers for size, answer in answer_at.items() if (answers := _steady(answer, rows, size))}
    for smallest in sorted(steady):
        agreeing = [size for size in steady if size >= smallest and _same(steady[size], steady[smallest])]
        if len(agreeing) > 1:
            return tuple(sorted(agreeing, reverse=True))
    return (max(steady),) if steady else ()


def proof_rows(known: Rows, count: int = PROOF_ROWS) -> Rows:
    """Return `count` different rows of the form of `known` [n, ...]: some of these, and seeded noise like them."""
    if known.dtype.names:
        records = np.empty(count, known.dtype)
        for name in known.dtype.names:
            records[name] = proof_rows(known[name], count)
        return records
    random = np.random.default_rng(0)
    shape = (count, *known.shape[1:])
    if known.dtype == np.uint8:
        noise: Rows = random.integers(0, 256, shape, np.uint8)
    else:
        noise = (random.normal(size=shape) * max(float(np.std(known)), 1e-3)).astype(known.dtype)
    kept = min(len(known), PROOF_ROWS // 2)
    noise[:kept] = known[:kept]
    return noise


def aligned(shape: tuple[int, ...], kind: np.dtype[Any]) -> Rows:
    """Return an array that starts at an aligned address: some kernels peel their loops up to one."""
    size = int(np.prod(shape)) * kind.itemsize
    memory = np.empty(size + ALIGNMENT, np.uint8)
    start = -memory.ctypes.data % ALIGNMENT
    return memory[start : start + size].view(kind).reshape(shape)


def _steady(answer: Answer, rows: Rows, size: int) -> Answers | None:
    """Return each row's answer at this size, or None where it depends on position or mates."""
    first: Answers | None = None
    for shift in range(size):
        found = _in_tiles(answer, np.roll(rows, shift, axis=0), size)
        back = tuple(np.roll(part, -shift, axis=0) for part in found)
        if first is None:
            first = back
        elif not _same(first, back):
            return None
    # A tile of as many rows as there are has the same mates at every shift; copies of one row are others.
    copies = answer(np.repeat(rows[:1], size, axis=0))
    known = tuple(np.repeat(part[:1], size, axis=0) for part in first or ())
    return first if _same(copies, known) else None


def _in_tiles(answer: Answer, rows: Rows, size: int) -> Answers:
    parts = [answer(rows[start : start + size]) for start in range(0, len(rows), size)]
    return tuple(np.concatenate(outputs) for outputs in zip(*parts, strict=True))


def _same(one: Answers, other: Answers) -> bool:
    return all(
        np.array_equal(first.view(np.uint32), second.view(np.uint32)) for first, second in zip(one, other, strict=True)
    )
