"""The losses of clips, background included."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from trainer.data.batches import ClipBatch
from trainer.models.text.texts import BACKGROUNDS, texts_of
from trainer.models.video_text import build
from trainer.recipe import Recipe
from trainer.training.tasks import ClipTask

LABELS = ("gets brighter", "gets darker")
DOOR = "a door swings"


@pytest.fixture
def task(clip_recipe: Callable[[Path], Recipe]) -> ClipTask:
    """The task of a tiny model, whose image tower a batch of features leaves out."""
    recipe = clip_recipe(Path("x"))
    torch.manual_seed(0)
    words = texts_of(LABELS, (DOOR,)).words
    return ClipTask(build(recipe.model, recipe.start.build(words)), recipe.loss, backgrounds=(DOOR,))


def batch_of(task: ClipTask, labels: list[int]) -> ClipBatch:
    """Clips of the two labels, and of background (-1), each a cluster of its own; captions as the data make them."""
    rng = np.random.default_rng(0)
    centres = rng.normal(size=(3, 64)).astype(np.float32)
    images = np.stack([centres[label] + 0.1 * rng.normal(size=(4, 64)) for label in labels]).astype(np.float32)
    captions = [BACKGROUNDS[number % 6] if label < 0 else LABELS[label] for number, label in enumerate(labels)]
    index = np.array(labels, np.int64)
    tokens = task.model.tokens(captions).numpy()
    return ClipBatch(images, tokens, index, index < 0, index[:, None] == index, tuple(map(str, labels)))


def test_a_text_of_the_users_own_is_one_of_those_that_background_is_trained_to(task: ClipTask) -> None:
    """All background texts count together, as in serving: what lies at that text is background with it alone."""
    batch = batch_of(task, [0, *[-1] * 9])
    with torch.no_grad():
        texts = task.texts(batch.tokens)
        door = task.texts(task.model.tokens([DOOR]).numpy())
        embedded = torch.cat((texts[:1], door.expand(9, -1)))
        losses = [one._background_loss(batch, embedded, texts) for one in (task, ClipTask(task.model, task.weights))]
    assert losses[0] < losses[1]


def probability_of_background(task: ClipTask, batch: ClipBatch) -> tuple[float, float]:
    """What serving's rule gives the background texts together: on background clips, and on the others."""
    with torch.no_grad():
        head, _ = task.model.embed_windows(task.items(batch.images))
        texts = task.model.encode_text(task.model.tokens([*LABELS, *BACKGROUNDS]))
        shares = (task.model.scale * head @ texts.t()).softmax(dim=-1)[:, len(LABELS) :].sum(dim=-1)
    return float(shares[batch.background].mean()), float(shares[~batch.background].mean())


def test_background_is_pushed_to_its_texts_and_away_from_the_labels(task: ClipTask) -> None:
    """After some steps the texts that compete in the bundle win on background, and lose where a label happens."""
    batch = batch_of(task, [0, 0, 1, 1, -1, -1, -1])
    optimiser = torch.optim.Adam(task.parameters(), 3e-3)
    for _ in range(40):
        losses, _ = task(batch)
        assert losses.keys() == {"contrast", "background"}
        optimiser.zero_grad()
        torch.autograd.backward(list(losses.values()))
        optimiser.step()
    on, off = probability_of_background(task, batch)
    assert on > 0.9 and off < 0.1


def test_without_background_the_loss_is_the_published_one(task: ClipTask) -> None:
    """One part; and a batch of background alone has nothing to contrast it with but its own texts."""
    assert task(batch_of(task, [0, 1]))[0].keys() == {"contrast"}
    losses, numbers = task(batch_of(task, [-1, -1]))
    assert all(torch.isfinite(loss) for loss in losses.values()) and torch.isfinite(numbers["accuracy"])


def test_a_frozen_text_tower_reads_every_text_once(task: ClipTask, monkeypatch: pytest.MonkeyPatch) -> None:
    """Seventeen steps, three texts: the tower is asked once, and gives what it would give."""
    for parameter in task.model.clip.parameters():
        parameter.requires_grad_(False)
    asked = []
    honest = task.model.encode_text
    monkeypatch.setattr(task.model, "encode_text", lambda tokens: asked.append(len(tokens)) or honest(tokens))
    tokens = task.model.tokens(["a person runs", "gets darker", "nothing happens"]).numpy()
    for _ in range(17):
        found = task.texts(tokens)
    assert asked == [3] and torch.allclose(found, honest(torch.from_numpy(tokens)))
