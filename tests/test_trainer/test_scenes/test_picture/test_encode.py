import numpy as np

from trainer.scenes.picture.encode import compress
from trainer.scenes.picture.render import render
from trainer.scenes.script import draw_clip, draw_stream

FRAMES = render(draw_stream(20_000, 3.0), np.arange(36) / 12, (160, 120))


def test_compression_damages_a_little_and_reproducibly():
    """Frames keep their size and stay recognisable, are not the same, and depend on the generator's seed only."""
    damaged = compress(FRAMES, np.random.default_rng(5))
    assert damaged.shape == FRAMES.shape
    assert damaged.dtype == np.uint8
    assert 0.3 < np.abs(damaged.astype(int) - FRAMES).mean() < 15
    assert np.array_equal(damaged, compress(FRAMES, np.random.default_rng(5)))


def test_noise_often_stands_still_as_an_encoder_leaves_it_while_people_still_move():
    """Still parts of many, not all, damaged clips repeat the frame before; where something moves, the frames differ."""
    scene = draw_clip(20_002, "jump")
    frames = render(scene, np.arange(8) / 4, (160, 120))
    changes = [np.abs(np.diff(compress(frames, np.random.default_rng(seed)).astype(int), axis=0)) for seed in range(20)]
    still = [np.median(change.max(axis=3)) for change in changes]
    assert 5 < sum(median == 0 for median in still) < 20
    assert all(change.max() > 60 for change in changes)
