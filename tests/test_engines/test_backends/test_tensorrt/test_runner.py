"""The runner's order of calls, on a FAKE device: bound before it runs, waited for before it is read, freed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from fake_tensorrt import FakeCuda, fake_tensorrt
from hypothesis import given, settings
from hypothesis import strategies as st

from engines.backends.network import signature
from engines.backends.ort import open_network
from engines.backends.tensorrt.runner import Runner, cut
from engines.backends.tiles import Tile
from engines.bundle.files import Bundle
from engines.errors import CudaError


def runner(tiny: Bundle, cuda: FakeCuda, sizes: Sequence[int] = (1, 4, 16), name: str = "image.onnx") -> Runner:
    """A network of the tiny bundle at these sizes."""
    trt = fake_tensorrt(cuda)
    content = tiny.read(name)
    plans = {size: trt.Runtime(None).deserialize_cuda_engine(size.to_bytes(4, "little") + content) for size in sizes}
    (source,), targets = signature(tiny.manifest, name)
    return Runner(trt, cuda, plans, source, targets)


def pictures(count: int, seed: int = 0) -> npt.NDArray[np.uint8]:
    """Random ones."""
    return np.random.default_rng(seed).integers(0, 256, (count, 32, 32, 3), np.uint8)


@pytest.fixture(scope="module")
def expected(tiny: Bundle) -> Any:
    """What ONNX Runtime answers."""
    return open_network(tiny, "image.onnx", 1)


@pytest.mark.parametrize(
    ("count", "tiles"),
    [
        (1, [(0, 1, 1)]),
        (3, [(0, 3, 4)]),
        (11, [(0, 11, 16)]),
        (70, [(0, 64, 64), (64, 6, 16)]),
        (130, [(0, 64, 64), (64, 64, 64), (128, 2, 4)]),
    ],
)
def test_a_batch_is_padded_up(count: int, tiles: list[tuple[int, int, int]]) -> None:
    """A launch costs more than rows that nobody wants: full batches first, then the smallest that holds the rest."""
    assert cut(count, (64, 16, 4, 1)) == tuple(Tile(*tile) for tile in tiles)


@settings(max_examples=40, deadline=None)
@given(
    sizes=st.sets(st.integers(1, 12), min_size=1, max_size=3),
    counts=st.lists(st.integers(1, 40), min_size=1, max_size=4),
    graphs=st.booleans(),
)
def test_any_calls_get_their_answers_and_leave_nothing(
    tiny: Bundle, expected: Any, sizes: set[int], counts: list[int], graphs: bool
) -> None:
    """Whatever the sizes, with and without graphs: every row its answer, and every byte, stream and graph is freed."""
    cuda = FakeCuda(graphs=graphs)
    opened = runner(tiny, cuda, sorted(sizes))
    for seed, count in enumerate(counts):
        rows = pictures(count, seed)
        np.testing.assert_allclose(opened.run(rows)[0], expected.run(rows)[0], atol=1e-6)
    assert bool(cuda.launches) == graphs
    opened.close()
    opened.close()
    assert cuda.alive == [] and cuda.inside == 0


@settings(max_examples=60, deadline=None)
@given(fail_at=st.integers(0, 120), graphs=st.booleans())
def test_any_call_may_fail_and_nothing_stays(tiny: Bundle, expected: Any, fail_at: int, graphs: bool) -> None:
    """While it is made ready or while it runs: the error arrives, the next batch is right, and all is freed."""
    cuda = FakeCuda(graphs=graphs, fail_at=fail_at)
    try:
        opened = runner(tiny, cuda, (2, 5))
    except CudaError:
        assert cuda.alive == [] and cuda.calls > fail_at
        return
    try:
        opened.run(pictures(19))
    except CudaError:
        rows = pictures(7, seed=1)
        np.testing.assert_allclose(opened.run(rows)[0], expected.run(rows)[0], atol=1e-6)
    opened.close()
    assert cuda.alive == []


def test_sizes_share_their_buffers(tiny: Bundle) -> None:
    """A slot works on one batch at a time: three sizes take what the largest takes."""
    bytes_of = []
    for sizes in ((16,), (1, 4, 16)):
        cuda = FakeCuda()
        opened = runner(tiny, cuda, sizes)
        bytes_of.append((sum(map(len, cuda.memory.values())), sum(len(one.array) for one in cuda.pinned.values())))
        opened.close()
    assert bytes_of[0] == bytes_of[1]


def test_dropped_sizes_give_back_their_graphs(tiny: Bundle, expected: Any) -> None:
    """And the others go on; a batch is padded to what is left."""
    cuda = FakeCuda()
    opened = runner(tiny, cuda)
    assert len(cuda.alive_graphs) == 6
    opened.keep((16,))
    assert opened.sizes == (16,) and len(cuda.alive_graphs) == 2
    rows = pictures(3)
    np.testing.assert_allclose(opened.run(rows)[0], expected.run(rows)[0], atol=1e-6)
    opened.close()
    assert cuda.alive == []


def test_answers_belong_to_the_caller(tiny: Bundle) -> None:
    """A later batch on the same slot does not change them."""
    cuda = FakeCuda()
    opened = runner(tiny, cuda, (4,))
    first = opened.run(pictures(3))[0]
    before = first.copy()
    for seed in range(1, 4):
        opened.run(pictures(3, seed))
    np.testing.assert_array_equal(first, before)
    opened.close()


def test_several_outputs_come_in_the_order_of_their_names(tiny: Bundle) -> None:
    """As the head has two."""
    cuda = FakeCuda()
    opened = runner(tiny, cuda, (1, 4), "head.onnx")
    golden = tiny.golden()
    head, pooled = opened.run(golden.windows)
    np.testing.assert_allclose(head, golden.head, atol=1e-5)
    np.testing.assert_allclose(pooled, golden.pooled, atol=1e-5)
    opened.close()
    assert cuda.alive == []
