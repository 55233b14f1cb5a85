import numpy as np

from trainer.scenes.chunks import chunk, chunks
from trainer.scenes.script import under_way
from trainer.scenes.vocabulary import KEYS


def test_a_chunk_holds_frames_times_and_truth():
    """Ten seconds at 4 frames/s are 40 frames on a grid with a random phase, with the truth at each."""
    found = chunk(4, 10.0, 4, (80, 60), (48, 48))
    assert found.frames.shape == (40, 48, 48, 3)
    assert np.allclose(np.diff(found.times), 0.25)
    assert 0 <= found.times[0] < 0.25
    assert np.array_equal(found.active, under_way(found.scene.events, found.times))
    assert found.active.shape == (40, len(KEYS))


def test_chunks_come_in_order_and_are_the_same_however_many_processes_render():
    """A pool of two gives, in the order of the seeds, what one process gives."""
    options = {"seconds": 6.0, "rate": 4, "size": (80, 60), "model_size": (48, 48)}
    here = list(chunks(range(5), workers=0, **options))
    pooled = list(chunks(range(5), workers=2, **options))
    assert [found.scene.seed for found in pooled] == [0, 1, 2, 3, 4]
    for one, other in zip(here, pooled, strict=True):
        assert np.array_equal(one.frames, other.frames)
        assert one.scene == other.scene
