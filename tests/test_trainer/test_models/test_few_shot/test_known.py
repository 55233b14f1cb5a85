"""The classes of training as mean windows."""

from __future__ import annotations

import torch

from trainer.models.few_shot.known import KnownClasses


def test_a_class_is_the_mean_of_what_was_shown_of_it() -> None:
    """Classes that no episode showed are not among them; later episodes count a little more than earlier ones."""
    clips = torch.randn(2, 3, 4, 6, generator=torch.Generator().manual_seed(0))
    known = KnownClasses(labels=4, frames=4, dimensions=6)
    assert known.means()[0] == []
    known.gather(torch.tensor([3, 1]), clips)
    known.gather(torch.tensor([1]), 2 * clips[1:])
    labels, means = known.means()
    assert labels == [1, 3]
    assert torch.allclose(means[1], clips[0].mean(dim=0), atol=1e-6)
    share = 0.05 / (0.05 + 0.95 * 0.05)
    assert torch.allclose(means[0], (2 * share + 1 * (1 - share)) * clips[1].mean(dim=0), atol=1e-6)
