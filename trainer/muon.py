"""AdamW with Muon for some of its groups: the momentum of a weight matrix, made orthogonal, is its update.

Source: Jordan et al., "Muon: an optimizer for hidden layers in neural networks" (2024). torch's own Muon takes no
convolutions; here a kernel [out, in, h, w] counts as a matrix of `out` rows.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

_MOMENTUM = 0.9
_STEPS = 4
_COEFFICIENTS = (3.4445, -4.7750, 2.0315)
"""Of the quintic iteration: steep at zero, so that small singular values grow fast (Jordan et al.)."""


class AdamMuon(torch.optim.AdamW):
    """AdamW, but groups with `orthogonal: True` (no parameter below two dimensions) learn by Muon."""

    @torch.no_grad()
    def step(self, closure: Callable[[], Tensor] | None = None) -> Tensor | None:
        """One step of all groups; parameters without a gradient rest."""
        groups = self.param_groups
        self.param_groups = [group for group in groups if not group.get("orthogonal")]
        try:
            loss = super().step(closure)
        finally:
            self.param_groups = groups
        for group in groups:
            if group.get("orthogonal"):
                for parameter in group["params"]:
                    if parameter.grad is not None:
                        self._turn(parameter, parameter.grad, group["lr"], group["weight_decay"])
        return loss

    def _turn(self, parameter: Tensor, gradient: Tensor, rate: float, decay: float) -> None:
        state = self.state[parameter]
        if not state:
            state["step"] = torch.zeros(())  # torch looks for it in every state that AdamW loads
            state["momentum"] = torch.zeros_like(parameter)
        state["step"] += 1
        momentum = state["momentum"].lerp_(gradient, 1 - _MOMENTUM)
        update = orthogonal(gradient.lerp(momentum, _MOMENTUM).flatten(1))
        rows, columns = update.shape
        update *= max(1.0, rows / columns) ** 0.5
        parameter.mul_(1 - rate * decay).sub_(update.view(parameter.shape), alpha=rate)


def orthogonal(matrix: Tensor) -> Tensor:
    """A matrix [m, n] with the singular vectors of the given one and singular values near one (0.5 to 1.3)."""
    tall = matrix.shape[0] > matrix.shape[1]
    wide = matrix.t() if tall else matrix
    turned = wide / (wide.norm() + 1e-7)
    a, b, c = _COEFFICIENTS
    for _ in range(_STEPS):
        square = turned @ turned.t()
        turned = a * turned + (b * square + c * square @ square) @ turned
    return turned.t() if tall else turned
