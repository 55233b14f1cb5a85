"""Tiles: how rows are cut, and what is proven before sizes are mixed."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engines.backends import BACKENDS, open_engine
from engines.backends.tile_proof import LARGE_SIZES, proven_sizes
from engines.backends.tiles import SIZES, Answer, Answers, Tile, aligned, cut, fill, proof_rows, prove
from engines.bundle.files import Bundle, load
from engines.bundle.store import demo_path
from engines.contract import Engine

Floats = npt.NDArray[np.float32]
ROWS = np.arange(1, 9, dtype=np.float32).reshape(8, 1)


def exact(rows: Floats) -> Answers:
    """A network whose rows depend on nothing."""
    return (rows * 3,)


def off_at(*sizes: int, by: float = 1e-6) -> Callable[[int], Answer]:
    """A network that gives other last bits at some sizes."""
    return lambda size: lambda rows: (rows * np.float32(3 + by),) if size in sizes else exact(rows)


def by_position(rows: Floats) -> Answers:
    """A kernel whose last row takes another path."""
    answer = rows * 3
    answer[-1] *= np.float32(1 + 1e-6)
    return (answer,)


def by_mates(rows: Floats) -> Answers:
    """A kernel with a scale taken over the batch, like dynamic int8."""
    return (rows * (3 + rows.max() * np.float32(1e-6)),)


@pytest.mark.parametrize(
    ("rows", "sizes", "streams", "tiles"),
    [
        (11, (8, 4, 2, 1), 1, [8, 2, 1]),
        (11, (8, 4, 2, 1), 2, [4, 4, 2, 1]),
        (8, (8, 4, 2, 1), 2, [4, 4]),
        (16, (8, 4, 2, 1), 2, [8, 8]),
        (8, (4, 1), 2, [4, 4]),
        (3, (4, 1), 2, [1, 1, 1]),
        (1, (8, 4, 2, 1), 64, [1]),
        (3, (8,), 2, [8]),
        (9, (8, 4, 2), 1, [8, 2]),
    ],
)
def test_rows_are_cut_so_that_streams_end_together(
    rows: int, sizes: tuple[int, ...], streams: int, tiles: list[int]
) -> None:
    """The largest size that is no longer than a stream's share."""
    assert [tile.size for tile in cut(rows, sizes, streams)] == tiles


@given(st.integers(1, 64), st.sets(st.sampled_from(SIZES), min_size=1), st.integers(1, 9))
def test_every_row_is_in_exactly_one_tile(rows: int, sizes: set[int], streams: int) -> None:
    """In order, without a gap; only tiles of the smallest size are padded, and one at most."""
    tiles = cut(rows, sorted(sizes, reverse=True), streams)
    assert [row for tile in tiles for row in range(tile.start, tile.start + tile.count)] == list(range(rows))
    padded = [tile for tile in tiles if tile.count < tile.size]
    assert len(padded) <= 1 and all(tile.size == min(sizes) for tile in padded)


def test_padding_repeats_the_last_row() -> None:
    """Copies of a real row: zeros would be pictures that the network was never proven with."""
    target = np.zeros((4, 1), np.float32)
    fill(target, ROWS, Tile(start=5, count=2, size=4))
    assert target.ravel().tolist() == [6, 7, 7, 7]


def _prove(answer_at: Callable[[int], Answer], sizes: tuple[int, ...] = SIZES) -> tuple[int, ...]:
    return prove({size: answer_at(size) for size in sizes}, ROWS)


def test_all_sizes_that_agree_with_one_row_are_used() -> None:
    """The usual case, and one where a single size is off."""
    assert _prove(lambda size: exact) == (8, 4, 2, 1)
    assert _prove(off_at(8)) == (4, 2, 1)
    assert _prove(off_at(4, 2)) == (8, 1)


def test_where_one_row_alone_differs_it_is_never_used() -> None:
    """Sizes 2, 4 and 8 agree among themselves, as with an int8 ViT-B/32 in OpenVINO: a rest of one row is padded."""
    assert _prove(off_at(1)) == (8, 4, 2)
    assert [tile.size for tile in cut(3, (8, 4, 2), 1)] == [2, 2]


def test_a_size_that_minds_positions_or_mates_is_dropped() -> None:
    """Only one row at a time remains, which has neither."""
    assert _prove(lambda size: by_position if size > 1 else exact) == (1,)
    assert _prove(lambda size: by_mates) == (1,)
    assert _prove(lambda size: by_mates if size == 8 else exact) == (4, 2, 1)


def test_where_no_two_sizes_agree_the_largest_steady_one_is_padded() -> None:
    """Every size gives its own bits, but the same in every position."""
    assert _prove(lambda size: lambda rows: (rows * np.float32(3 + size * 1e-6),)) == (8,)


def test_answers_that_are_no_numbers_and_signs_of_zero_count_as_bits() -> None:
    """Bits are compared, not values: NaN equals itself, and -0 is not 0."""
    assert _prove(lambda size: lambda rows: (rows * np.float32("nan"),)) == (8, 4, 2, 1)
    assert _prove(lambda size: lambda rows: (rows * np.float32(-0.0 if size == 8 else 0.0),)) == (4, 2, 1)


def test_the_rows_of_a_proof_are_all_different() -> None:
    """Golden rows and noise like them, in their dtype, the same at every start."""
    for known in (np.zeros((2, 4, 4, 3), np.uint8), np.ones((9, 3, 5), np.float32)):
        rows = proof_rows(known)
        assert rows.dtype == known.dtype and rows.shape == (8, *known.shape[1:])
        np.testing.assert_array_equal(rows, proof_rows(known))
    assert len(np.unique(proof_rows(np.arange(60, dtype=np.float32).reshape(4, 15)), axis=0)) == 8


def test_tiles_start_at_aligned_addresses() -> None:
    """Whatever the shape."""
    for shape in ((1,), (3, 5, 7), (8, 96, 128, 3)):
        assert aligned(shape, np.dtype(np.float32)).ctypes.data % 64 == 0


class TestCache:
    """The outcome of a proof is remembered on this host."""

    @pytest.fixture(autouse=True)
    def cache(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
        """A cache of its own."""
        monkeypatch.setenv("ACTIONWIRE_CACHE", str(tmp_path))
        return tmp_path / "tiles"

    def _sizes(self, tiny: Bundle, answer_at: Callable[[int], Answer], key: str = "a", size: int = 10) -> list[int]:
        return list(proven_sizes([key], b"x" * size, answer_at, tiny, "head.onnx"))

    def test_a_proof_is_made_once(self, tiny: Bundle) -> None:
        """The second load opens nothing; another key is proven anew."""
        assert self._sizes(tiny, lambda size: lambda rows: (rows[:, 0],)) == [8, 4, 2, 1]

        def refuse(size: int) -> Answer:
            raise AssertionError("proven before")

        assert self._sizes(tiny, refuse) == [8, 4, 2, 1]
        with pytest.raises(AssertionError, match="proven before"):
            self._sizes(tiny, refuse, "another runtime")

    @pytest.mark.parametrize(
        "damage", [b"", b"{", b"[]", b'{"sizes": []}', b'{"sizes": [16, 1]}', b'{"sizes": [true]}']
    )
    def test_a_damaged_cache_is_proven_anew(self, tiny: Bundle, cache: Path, damage: bytes) -> None:
        """And mended."""
        self._sizes(tiny, lambda size: lambda rows: (rows[:, 0],))
        (file,) = cache.iterdir()
        file.write_bytes(damage)
        assert self._sizes(tiny, lambda size: lambda rows: (rows[:, 0],)) == [8, 4, 2, 1]
        assert json.loads(file.read_bytes()) == {"sizes": [8, 4, 2, 1]}

    def test_a_cache_that_cannot_be_written_stops_nothing(self, tiny: Bundle, cache: Path) -> None:
        """A file lies where its folder should be."""
        cache.write_text("in the way")
        assert self._sizes(tiny, lambda size: lambda rows: (rows[:, 0],)) == [8, 4, 2, 1]

    def test_a_large_network_is_not_held_four_times(self, tiny: Bundle) -> None:
        """Every size holds the weights once more."""
        opened: list[int] = []

        def answer_at(size: int) -> Answer:
            opened.append(size)
            return lambda rows: (rows[:, 0],)

        assert self._sizes(tiny, answer_at, size=2**27) == list(LARGE_SIZES) == opened


ON_CPU = tuple(name for name in BACKENDS if name != "tensorrt")


@pytest.fixture(scope="module", params=[(name, threads) for name in ON_CPU for threads in (1, 2, 3)], ids=str)
def demo(request: pytest.FixtureRequest) -> Engine:
    """The demo's networks on each backend, with several numbers of threads."""
    backend, threads = request.param
    opened = open_engine(load(demo_path()), backend, threads=threads)
    request.addfinalizer(opened.close)
    return opened


@pytest.fixture(scope="module")
def alone() -> tuple[npt.NDArray[np.uint8], dict[str, tuple[Floats, Floats, Floats]]]:
    """Twelve pictures, and what each backend says of them one at a time on one thread."""
    pictures = np.random.default_rng(7).integers(0, 256, (12, 96, 128, 3), np.uint8)
    answers = {}
    for backend in ON_CPU:
        engine = open_engine(load(demo_path()), backend, threads=1)
        items = np.concatenate([engine.encode(picture[None])[0] for picture in pictures])
        windows = np.stack([np.roll(items, shift, axis=0) for shift in range(12)])
        embedded = [engine.embed(window[None]) for window in windows]
        answers[backend] = (items, *(np.concatenate(parts) for parts in zip(*embedded, strict=True)))
        engine.close()
    return pictures, answers  # type: ignore[return-value]


@settings(max_examples=12, deadline=None)
@given(order=st.lists(st.integers(0, 11), min_size=1, max_size=64))
def test_any_batch_in_any_order_on_any_threads_gives_the_same_bits(
    demo: Engine,
    alone: tuple[npt.NDArray[np.uint8], dict[str, tuple[Floats, Floats, Floats]]],
    order: list[int],
) -> None:
    """Real networks, 1 to 64 rows, with repeats: each row gets what it gets alone."""
    pictures, answers = alone
    items, heads, pooled = answers[demo.info.backend]
    np.testing.assert_array_equal(demo.encode(pictures[order])[0], items[order])
    windows = np.stack([np.roll(items, shift, axis=0) for shift in order])
    for found, expected in zip(demo.embed(windows), (heads, pooled), strict=True):
        np.testing.assert_array_equal(found, expected[order])
