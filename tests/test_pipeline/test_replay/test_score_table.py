"""The scores of a replay as arrays."""

from pathlib import Path

import numpy as np

from engines.bundle.files import load
from engines.testing import tiny_bundle
from engines.text.text_bank import TextEncoder
from pipeline.analysis.analyser import ScoredWindow
from pipeline.config.settings import Settings
from pipeline.config.worker import WorkerSettings
from pipeline.records.labels import Label
from pipeline.replay.score_table import ScoreTable
from pipeline.worker.model import load_model

LABELS = (Label("cyan", "cyan"), Label("magenta", "magenta"))


def test_windows_of_each_camera_are_kept_apart(tmp_path: Path) -> None:
    """Ticks, probabilities and raw cosines of a camera have one row per window, in the order of the windows."""
    bundle = tiny_bundle(tmp_path / "tiny")
    model = load_model(Settings(worker=WorkerSettings(bundle=str(bundle), backend="onnxruntime")))
    cyan, magenta = TextEncoder(load(bundle)).embed_labels(["cyan", "magenta"])[:, 0]
    table = ScoreTable()
    for camera, tick, head in (("door", 7, cyan), ("yard", 3, magenta), ("door", 8, magenta)):
        table.note(ScoredWindow(camera, tick, head, head, np.array([0.25, 0.75], np.float32)))

    table.save(tmp_path / "scores.npz", LABELS, model, 4)

    with np.load(tmp_path / "scores.npz", allow_pickle=False) as saved:
        assert saved["rate"] == 4
        assert saved["labels"].tolist() == ["cyan", "magenta"]
        assert saved["door/ticks"].tolist() == [7, 8] and saved["yard/ticks"].tolist() == [3]
        assert saved["door/probabilities"].tolist() == [[0.25, 0.75]] * 2
        assert saved["door/label_cosines"][:, :, 0].argmax(axis=1).tolist() == [0, 1]
        assert saved["door/label_cosines"][0, 0, 0] == np.float32(1.0) or saved["door/label_cosines"][0, 0, 0] > 0.999
        assert saved["yard/reference_cosines"].shape == (1, len(saved["references"]), len(saved["templates"]))
