"""The bundle that ships: sound, small, and able to recognise what cameras it never saw show."""

from importlib.resources import files
from pathlib import Path

import numpy as np
import pytest

from engines.bundle import files as bundles
from engines.text.text_bank import TextEncoder
from pipeline.demo import WATCHED
from pipeline.demo.recordings import recording
from pipeline.demo.replayed import run_replay
from trainer.demo.demo_model import LARGEST_BYTES
from trainer.scenes.vocabulary import ACTIONS

SHIPPED = Path(str(files("engines.bundles") / "demo"))
LABELS = tuple(action.label for action in ACTIONS)
FLOOR = 0.8
"""Event F1 that two cameras must reach; well below what four camera-hours give, since they show few events."""


def test_it_is_sealed_calibrated_and_small() -> None:
    """What a package carries has been measured on streams that decided nothing, and fits into a download."""
    manifest = bundles.load(SHIPPED).manifest
    assert manifest.events.calibrated and manifest.events.report is not None
    assert manifest.events.report["held_back"]["camera_hours"] > 0.5
    assert sum(file.stat().st_size for file in SHIPPED.iterdir()) <= LARGEST_BYTES


def test_it_tells_the_actions_apart_by_their_words() -> None:
    """No two actions' texts have come to mean the same, as they do when a contrast collapses."""
    encoder = TextEncoder(bundles.load(SHIPPED))
    try:
        embeddings = encoder.bank(LABELS).embeddings.mean(axis=1)
    finally:
        encoder.close()
    embeddings /= np.linalg.norm(embeddings, axis=-1, keepdims=True)
    cosines = embeddings @ embeddings.T - np.eye(len(LABELS))
    assert cosines.max() < 0.9


@pytest.mark.timeout(300)
def test_it_recognises_what_happens(tmp_path: Path) -> None:
    """Two cameras of a seed that neither training nor calibration saw, watched by the demo's own labels."""
    figures = run_replay([lambda: recording(20_900, 2, 90, tmp_path)], WATCHED, "demo", lambda done, note: None)
    assert figures["truth_events"] >= 5
    assert figures["event_f1"] >= FLOOR
