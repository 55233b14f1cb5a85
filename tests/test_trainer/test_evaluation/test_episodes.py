"""Few-shot protocols: what each row can tell, and that numbers repeat."""

from __future__ import annotations

import pytest
import torch

from trainer.data.episodes import EpisodeSampler
from trainer.evaluation.episodes import ROWS, Blend, Metric, Shown, blended, measure, tuned
from trainer.models.few_shot import FewShot
from trainer.recipe import Episodes

CLASSES, CLIPS = 4, 12
LABELS = [label for label in range(CLASSES) for _ in range(CLIPS)]
GROUPS = [str(clip) for clip in range(CLASSES * CLIPS)]


@pytest.fixture
def metric() -> Metric:
    """A modulation of tiny weights: nearly what it is given."""
    torch.manual_seed(0)
    comparison = FewShot(hidden=32, smoothing=0.1, init="paper").build(32, 6, CLASSES)
    for parameter in comparison.parameters():
        parameter.data.mul_(0.05)
    return Metric(comparison.fitted(), scale=20.0)


def shown(order_only: bool, text: float) -> Shown:
    """Four classes of 6 frames: of classes 0 and 1, and of 2 and 3, the frames are the same in another order."""
    draw = torch.Generator().manual_seed(1)
    frames = torch.randn(2, 6, 32, generator=draw)
    films = torch.stack((frames[0], frames[0].flip(0), frames[1], frames[1].flip(0)))
    if not order_only:
        films = torch.randn(CLASSES, 6, 32, generator=draw)
    items = films.repeat_interleave(CLIPS, dim=0) + 0.3 * torch.randn(CLASSES * CLIPS, 6, 32, generator=draw)
    texts = text * films.mean(dim=1) + torch.randn(CLASSES, 32, generator=draw)
    return Shown(items, texts)


def sampler(seed: int = 1, shots: int = 1) -> EpisodeSampler:
    """Episodes of all four classes, one query each."""
    return EpisodeSampler(LABELS, GROUPS, range(len(LABELS)), Episodes(ways=4, shots=shots, queries=1), seed)


def test_what_differs_in_order_alone_is_seen_by_the_rows_that_look_at_it(metric: Metric) -> None:
    """Means recognise the pair and guess within it; frame by frame, and aligned, all is recognised."""
    found = measure(metric, shown(order_only=True, text=0.0), sampler(), 60, Blend(1.0, beta=0.0))
    assert found["mean_cosine"] < 0.75
    assert min(found[row] for row in ROWS if row not in ("text", "mean_cosine")) > 0.95
    assert set(found) == set(ROWS)


def test_the_ensemble_at_its_ends_is_one_expert_alone() -> None:
    """Beta 0: the examples; beta 1: the text. To 1e-5, as probabilities."""
    text, examples = torch.randn(5, 3, 4, generator=torch.Generator().manual_seed(0)).unbind(1)[:2]
    for beta, expert in ((0.0, examples), (1.0, text)):
        torch.testing.assert_close(blended(text, examples, beta).softmax(-1), expert.softmax(-1), atol=1e-5, rtol=0)


def test_the_temperature_makes_distances_as_sure_as_they_are_right(metric: Metric) -> None:
    """Close pairs are told apart by small distances: the likeliest temperature is smaller than that of far ones."""
    near, far = shown(order_only=True, text=0.0), shown(order_only=False, text=0.0)
    noisy = Shown(far.items + 3 * torch.randn(far.items.shape, generator=torch.Generator().manual_seed(4)), far.texts)
    assert tuned(metric, near, sampler(), 40).temperature < tuned(metric, noisy, sampler(), 40).temperature


def test_beta_follows_the_expert_that_knows_more(metric: Metric) -> None:
    """Where texts say nothing it is small; where frames say nothing, large."""
    mute_texts = shown(order_only=False, text=0.0)
    assert tuned(metric, mute_texts, sampler(), 40).beta < 0.6
    draw = torch.Generator().manual_seed(3)
    centres = torch.randn(CLASSES, 32, generator=draw)
    noise = torch.randn(len(LABELS), 6, 32, generator=draw)
    noise -= noise.mean(dim=1, keepdim=True)  # frames of one clip agree with nothing but in their mean
    telling = Shown(0.3 * centres.repeat_interleave(CLIPS, 0)[:, None] + 3 * noise, centres)
    assert tuned(metric, telling, sampler(), 40).beta > 0.4


def test_the_figures_do_not_depend_on_threads(metric: Metric) -> None:
    """The same episodes with one thread and with two: equal to 1e-4."""
    given, before = shown(order_only=True, text=0.2), torch.get_num_threads()
    try:
        found = []
        for threads in (1, 2):
            torch.set_num_threads(threads)
            found.append(measure(metric, given, sampler(shots=5), 100, Blend(1.0, beta=0.5)))
    finally:
        torch.set_num_threads(before)
    assert found[0] == pytest.approx(found[1], abs=1e-4)
