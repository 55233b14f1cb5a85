from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from engines.backends import open_engine
from engines.bundle.files import Bundle
from engines.testing import COLOURS, solid, tiny_bundle
from engines.text.text_bank import TextEncoder


@pytest.mark.parametrize("kind", ["frame", "clip"])
def test_a_window_of_one_colour_is_that_colours_text(kind: str, tiny: Bundle, tiny_clip: Bundle) -> None:
    """Shown a colour, the bundle prefers its text over every other by a wide margin of probability."""
    bundle = tiny if kind == "frame" else tiny_clip
    encoder, engine = TextEncoder(bundle), open_engine(bundle, "onnxruntime")
    texts = encoder.embed(list(COLOURS))
    for index, colour in enumerate(COLOURS):
        items, _ = engine.encode(np.repeat(solid(colour)[None], 8, axis=0))
        logits = bundle.manifest.score.logit_scale * (texts @ engine.embed(items[None])[0][0])
        shares = np.exp(logits - logits.max())
        assert shares[index] / shares.sum() > 0.99
    engine.close()


def test_its_form_can_be_chosen(tmp_path: Path) -> None:
    """Frames, rate, width, size and window parts are arguments."""
    path = tiny_bundle(tmp_path / "b", frames=4, rate=2, dimensions=20, size=16, window={"strides": (1,)})
    from engines.bundle.files import load

    manifest = load(path).manifest
    assert (manifest.window.frames, manifest.window.rate, manifest.window.strides) == (4, 2, (1,))
    assert (manifest.space.dimensions, manifest.input.height) == (20, 16)
    open_engine(load(path)).close()


@pytest.mark.parametrize("wrong", [{"dimensions": 12}, {"size": 15}])
def test_a_form_it_cannot_have_is_refused(tmp_path: Path, wrong: dict[str, int]) -> None:
    """Too few dimensions or an odd size leave nothing behind."""
    with pytest.raises(ValueError, match="dimensions >= 13 and an even size"):
        tiny_bundle(tmp_path / "b", **wrong)  # type: ignore[arg-type]
    assert not (tmp_path / "b").exists()
