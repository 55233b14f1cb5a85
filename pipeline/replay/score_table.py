"""The scores of all windows of a replay, by camera, as npz: for fitting thresholds."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.analysis import saliency, scoring
from pipeline.analysis.analyser import ScoredWindow
from pipeline.analysis.label_set import LabelSet
from pipeline.records.labels import Label
from pipeline.worker.model import Model


@dataclass(slots=True)
class ScoreTable:
    """Every scored window, by camera."""

    rows: dict[str, list[ScoredWindow]] = field(default_factory=dict)

    def note(self, window: ScoredWindow) -> None:
        """Keep one scored window (`analysis.analyser.ScoredWindow`)."""
        self.rows.setdefault(window.camera, []).append(window)

    def save(self, file: Path, labels: tuple[Label, ...], model: Model, rate: int) -> None:
        """Write an npz, without pickle.

        rate int64; labels and references, unicode [L] and [R]; templates, unicode [P]; and per camera C:
        C/ticks int64 [n], the last tick of each window; C/probabilities float32 [n, L]; C/label_cosines float32
        [n, L, P] and C/reference_cosines float32 [n, R, P], of the temporal head's output with each text, raw (P is 1
        where the manifest's rule is saliency, and they are those of the pooled frames); C/embeddings float32 [n, D],
        the output itself, normalised.
        """
        embedded = model.embed(LabelSet(labels, 0))
        arrays: dict[str, Any] = {
            "rate": np.int64(rate),
            "labels": np.array([one.text for one in embedded.labels], np.str_),
            "references": np.array(model.bundle.references().texts, np.str_),
            "templates": np.array(model.bundle.manifest.score.templates, np.str_),
        }
        for camera, rows in self.rows.items():
            heads = np.stack([row.head for row in rows])
            arrays[f"{camera}/ticks"] = np.array([row.tick for row in rows], np.int64)
            arrays[f"{camera}/embeddings"] = heads
            arrays[f"{camera}/probabilities"] = np.stack([row.scores for row in rows])
            if embedded.salient is None:
                found = scoring.cosines(embedded.scorer, heads)
            else:
                items = np.stack([row.items for row in rows if row.items is not None])
                found = saliency.cosines(embedded.salient, items)
            arrays[f"{camera}/label_cosines"], arrays[f"{camera}/reference_cosines"] = found
        with file.open("wb") as stream:
            np.savez(stream, allow_pickle=False, **arrays)
