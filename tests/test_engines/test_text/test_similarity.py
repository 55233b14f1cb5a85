"""Windows times texts, in any company."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engines.backends import host_cache
from engines.text import similarity
from engines.text.similarity import ROWS, WIDTHS, Product, blocks, company_does_not_count, product, proven_product

COUNT = WIDTHS[0] + WIDTHS[1] + 37


def unit(*shape: int, seed: int) -> npt.NDArray[np.float32]:
    """Random directions."""
    values = np.random.default_rng(seed).standard_normal(shape)
    return (values / np.linalg.norm(values, axis=-1, keepdims=True)).astype(np.float32)


TEXTS = {dimensions: unit(COUNT, dimensions, seed=1) for dimensions in (5, 64, 129)}
WHOLE = {dimensions: product(texts) for dimensions, texts in TEXTS.items()}


@settings(max_examples=25, deadline=None)
@given(st.sampled_from(list(TEXTS)), st.integers(1, 20), st.integers(0, 2**31), st.integers(1, COUNT))
def test_no_cosine_depends_on_its_company(dimensions: int, count: int, seed: int, kept: int) -> None:
    """Any windows in any order with any of the texts in any order: each pair has the bits that it has among all."""
    random = np.random.default_rng(seed)
    windows = unit(20, dimensions, seed=2)
    whole = WHOLE[dimensions](windows)
    rows, columns = random.permutation(20)[:count], random.permutation(COUNT)[:kept]

    part = product(TEXTS[dimensions][columns])(windows[rows])

    assert part.tobytes() == np.ascontiguousarray(whole[np.ix_(rows, columns)]).tobytes()


@pytest.mark.parametrize("dimensions", list(TEXTS))
def test_it_is_the_product(dimensions: int) -> None:
    """Within what float32 sums allow, and for no windows at all."""
    windows = unit(11, dimensions, seed=3)
    expected = windows.astype(float) @ TEXTS[dimensions].astype(float).T
    np.testing.assert_allclose(WHOLE[dimensions](windows), expected, atol=2e-6)
    assert WHOLE[dimensions](windows[:0]).shape == (0, COUNT)


@given(st.integers(1, 3 * sum(WIDTHS)))
def test_blocks_hold_every_text_once(count: int) -> None:
    """One after the other, only the last one padded, and by less than a narrow block."""
    cut = blocks(count)
    ends = [start + width for start, width in cut]
    assert [start for start, _ in cut] == [0, *ends[:-1]] and {width for _, width in cut} <= set(WIDTHS)
    assert count <= ends[-1] < count + min(WIDTHS)


def by_blas(texts: npt.NDArray[np.float32]) -> Product:
    """A product in another order of summation where few rows are multiplied, as libraries of linear algebra do."""

    def multiply(windows: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        turned = slice(None, None, -1) if len(windows) < ROWS else slice(None)
        return np.einsum("nd,td->nt", windows[:, turned], texts[:, turned])

    return multiply


def test_a_product_that_minds_its_company_is_not_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is assumed of a host: what differs by its company is found out, and found out once."""
    monkeypatch.setenv("ACTIONWIRE_CACHE", str(tmp_path))
    assert not company_does_not_count(by_blas, 64) and company_does_not_count(product, 64)
    assert proven_product(16) is product

    calls: list[int] = []
    monkeypatch.setattr(similarity, "company_does_not_count", lambda *_: bool(calls.append(1)))
    assert proven_product(16) is product and not calls, "remembered"
    assert proven_product(24) is None and proven_product(24) is None and len(calls) == 1


@pytest.mark.parametrize("damaged", [[], {"holds": "yes"}, {}, "x"])
def test_a_damaged_memory_is_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, damaged: object) -> None:
    """What a file says that nobody of us wrote is proven anew."""
    monkeypatch.setenv("ACTIONWIRE_CACHE", str(tmp_path))
    monkeypatch.setattr(similarity, "recall", lambda *_: damaged)
    monkeypatch.setattr(similarity, "company_does_not_count", lambda *_: True)
    assert proven_product(16) is product
    assert host_cache.recall is not similarity.recall
