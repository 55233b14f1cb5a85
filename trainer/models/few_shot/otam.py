"""Ordered temporal alignment (OTAM), relaxed so that gradients flow. `engines/text/alignment.py` is its numpy twin."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def frame_distances(queries: Tensor, prototypes: Tensor) -> Tensor:
    """`1 - cosine` of every frame with every frame: [..., q, T, D] and [..., n, S, D] to [..., q, n, T, S].

    The release adds 0.01 to the denominator of the cosine; here it is exact.
    """
    return 1 - torch.einsum("...qtd,...nsd->...qnts", F.normalize(queries, dim=-1), F.normalize(prototypes, dim=-1))


def aligned(distances: Tensor, smoothing: float) -> Tensor:
    """The relaxed cost of the best way through frame distances [..., T, S]: [...]. CLIP-FSAR's release, both borders.

    Two columns of no cost stand at the sides, and none of the rows is added; the minimum over the ways into a cell is
    `-smoothing * logsumexp(-way / smoothing)`, which stays finite where the plain sum of exponentials underflows.
    """
    rows, columns = distances.shape[-2:]
    costs = F.pad(distances, (1, 1))
    before = list(costs[..., 0, :].cumsum(dim=-1).unbind(dim=-1))
    for row in range(1, rows):
        now = [torch.zeros_like(before[0])]
        for column in range(1, columns + 2):
            ways = [before[column - 1], now[column - 1]]
            if column in (1, columns + 1):
                ways.append(before[column])
            soft = -smoothing * torch.stack([-way / smoothing for way in ways]).logsumexp(dim=0)
            now.append(costs[..., row, column] + soft)
        before = now
    return before[-1]


def alignment_distances(queries: Tensor, prototypes: Tensor, smoothing: float) -> Tensor:
    """Both directions of `aligned` together: [..., q, T, D] and [..., n, S, D] to [..., q, n]."""
    distances = frame_distances(queries, prototypes)
    return aligned(distances, smoothing) + aligned(distances.mT, smoothing)
