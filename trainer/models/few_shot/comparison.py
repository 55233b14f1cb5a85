"""What windows and examples become before they are compared, and how: what a bundle with examples carries."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from trainer.models.few_shot.known import KnownClasses
from trainer.models.few_shot.matching import Matching
from trainer.models.few_shot.modulation import Modulation
from trainer.models.few_shot.otam import alignment_distances
from trainer.models.few_shot.whitening import Whitened, Whitening


class Comparison(nn.Module):
    """The parts that training fills: a modulation that learns, and what is gathered of its clips."""

    def __init__(self, modulation: Modulation, whitening: Whitening, known: KnownClasses, matching: Matching):
        super().__init__()
        self.modulation, self.whitening, self.known, self.matching = modulation, whitening, known, matching

    def gather(self, labels: Tensor, clips: Tensor) -> None:
        """Count an episode: the labels [n] of its classes, by index, and their clips [n, K, T, D]."""
        self.known.gather(labels, clips)
        if clips.shape[1] > 1:  # one clip differs from no other
            self.whitening.gather(clips)

    def fitted(self) -> Fitted:
        """The comparison as it stands, in evaluation mode."""
        return Fitted(self.modulation, self.whitening.fitted(), self.matching).eval()


class Fitted(nn.Module):
    """Windows and examples to sequences of vectors, and the distances between them."""

    def __init__(self, modulation: Modulation, whitened: Whitened, matching: Matching):
        super().__init__()
        self.modulation, self.whitened, self.matching = modulation, whitened, matching

    def sequences(self, windows: Tensor) -> Tensor:
        """Windows of items [m, T, D], not normalised, to [m, S, D]; S is T, or 2T - 1 where whitened."""
        return self.whitened(windows) if self.matching == "whitened" else self.modulation.queries(windows)

    def prototypes(self, clips: Tensor, texts: Tensor) -> Tensor:
        """The mean clip of each class [n, T, D] and its raw text [n, D] to [n, S, D]; whitening reads no text."""
        return self.whitened(clips) if self.matching == "whitened" else self.modulation.prototypes(clips, texts)

    def distances(self, sequences: Tensor, prototypes: Tensor) -> Tensor:
        """[..., q, S, D] and [..., n, S, D] to [..., q, n], as `engines.text.examples` has them."""
        if self.matching == "whitened":
            return frame_wise_distances(sequences, prototypes)
        return alignment_distances(sequences, prototypes, self.modulation.smoothing)


def frame_wise_distances(sequences: Tensor, prototypes: Tensor) -> Tensor:
    """The mean of `1 - cosine` of vectors at the same place: [..., q, S, D] and [..., n, S, D] to [..., q, n]."""
    left = F.normalize(sequences, dim=-1).flatten(-2)
    right = F.normalize(prototypes, dim=-1).flatten(-2)
    return 1 - left @ right.mT / sequences.shape[-2]
