"""The multi-positive KL loss against golden values."""

from __future__ import annotations

import pytest
import torch

from trainer.training.losses import (
    diagonal_contrast,
    label_cross_entropy,
    multi_positive_kl,
    positive_targets,
    scaled_cosines,
    smoothed,
    soft_cross_entropy,
)

LABELS = torch.tensor([0, 0, 1, 2])
POSITIVES = (LABELS[:, None] == LABELS).float()
LOGITS = torch.tensor([[2.0, 1, 0, -1], [1, 2, 0, 0], [0, 0, 3, 1], [0.5, 0, 1, 2]])


@pytest.mark.parametrize(
    ("batch", "positives", "share"),
    [(128, 1, 0.994267), (128, 2, 0.498574), (256, 1, 0.988556), (512, 1, 0.977327)],
)
def test_golden_targets_share_the_mass_among_positives_and_leak_a_little(
    batch: int, positives: int, share: float
) -> None:
    """A row's positives get the golden share each, and everything sums to one."""
    row = torch.zeros(1, batch)
    row[:, :positives] = 1
    target = positive_targets(row)
    assert target[0, 0].item() == pytest.approx(share, abs=2e-6)
    assert target.sum().item() == pytest.approx(1.0, abs=1e-5)


def test_golden_leak_of_the_targets() -> None:
    """B = 128, one positive: each negative 4.514e-5, together 0.573 %."""
    row = torch.zeros(1, 128)
    row[:, 0] = 1
    target = positive_targets(row)[0]
    assert target[1].item() == pytest.approx(4.514e-5, abs=1e-8)
    assert target[1:].sum().item() == pytest.approx(0.00573, abs=1e-5)


def test_golden_targets_of_a_small_batch() -> None:
    """Rows of repeated labels split the mass; rows of single ones keep nearly all."""
    target = positive_targets(POSITIVES)
    assert target[0].tolist() == pytest.approx([0.499977, 0.499977, 2.3e-5, 2.3e-5], abs=2e-6)
    assert target[2, 2].item() == pytest.approx(0.999864, abs=2e-6)


def test_exact_targets_leak_nothing() -> None:
    """Without the leak negatives get zero, and a row without positives stays zero."""
    target = positive_targets(torch.tensor([[1, 1, 0], [0, 0, 0]]), leak=False)
    assert target.tolist() == [[0.5, 0.5, 0.0], [0.0, 0.0, 0.0]]


def test_golden_loss_in_both_directions() -> None:
    """Rows and columns give the golden divergences."""
    rows, columns = multi_positive_kl(LOGITS, POSITIVES)
    assert rows.item() == pytest.approx(0.325361, abs=2e-6)
    assert columns.item() == pytest.approx(0.325369, abs=2e-6)
    assert 0.5 * (rows + columns).item() == pytest.approx(0.325365, abs=2e-6)


def test_undecided_pairs_take_no_part() -> None:
    """A pair that is neither true nor false may have any logit."""
    undecided = torch.zeros(4, 4, dtype=torch.bool)
    undecided[0, 3] = True
    changed = LOGITS.clone()
    changed[0, 3] = 50.0
    before, after = (multi_positive_kl(logits, POSITIVES, undecided) for logits in (LOGITS, changed))
    assert before[0].item() == pytest.approx(after[0].item())
    assert before[1].item() == pytest.approx(after[1].item())


def test_background_texts_count_together() -> None:
    """Two background texts of equal logits weigh as one; windows without mass do not count."""
    actions, backgrounds = torch.zeros(2, 1), torch.zeros(2, 2)
    loss = label_cross_entropy(actions, backgrounds, torch.zeros(2, 1), torch.tensor([1.0, 0.0]))
    assert loss.item() == pytest.approx(-torch.log(torch.tensor(2 / 3)).item())


def test_logits_are_exact_under_mixed_precision() -> None:
    """In bfloat16 they would be wrong by a quarter near 64, as much as the difference of two captions."""
    generator = torch.Generator().manual_seed(1)
    embeddings, texts = (torch.nn.functional.normalize(torch.randn(n, 256, generator=generator)) for n in (5, 7))
    with torch.autocast("cpu", torch.bfloat16):
        logits = scaled_cosines(torch.tensor(100.0), embeddings, texts)

    assert logits.dtype == torch.float32
    exact = 100.0 * embeddings.double() @ texts.double().t()
    assert (logits - exact).abs().max() < 1e-3


def test_exact_targets_are_the_limit_of_the_released_ones() -> None:
    """Labels that all differ: without a leak the divergence is the plain cross-entropy of each row's own place."""
    alone = torch.eye(4)
    rows, columns = multi_positive_kl(LOGITS, alone, leak=False)
    assert (rows.item(), columns.item()) == pytest.approx([loss.item() for loss in diagonal_contrast(LOGITS)])
    released, _ = multi_positive_kl(LOGITS, alone)
    assert released.item() == pytest.approx(rows.item(), abs=5e-3) and released.item() != rows.item()


def test_the_diagonal_is_the_only_right_place() -> None:
    """-log of the softmax of the diagonal, by rows and by columns, whatever labels repeat."""
    rows = -sum(torch.log(torch.exp(LOGITS[i, i]) / torch.exp(LOGITS[i]).sum()) for i in range(4)) / 4
    columns = -sum(torch.log(torch.exp(LOGITS[i, i]) / torch.exp(LOGITS[:, i]).sum()) for i in range(4)) / 4
    found = diagonal_contrast(LOGITS)
    assert (found[0].item(), found[1].item()) == pytest.approx((rows.item(), columns.item()))


def test_smoothed_targets_are_those_of_torch() -> None:
    """A tenth is spread over all classes, the right one included; clips of nothing stay out."""
    target = torch.eye(4)[[0, 2, 3, 1]]
    expected = torch.nn.functional.cross_entropy(LOGITS, torch.tensor([0, 2, 3, 1]), label_smoothing=0.1)
    assert soft_cross_entropy(LOGITS, smoothed(target, 0.1)).item() == pytest.approx(expected.item())
    assert smoothed(torch.zeros(1, 4), 0.1).tolist() == [[0, 0, 0, 0]]
