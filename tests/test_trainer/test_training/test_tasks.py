"""The losses of clips, background included."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from trainer.data.batches import ClipBatch
from trainer.errors import RecipeError
from trainer.evaluation.protocols import label_bank
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
    columns = index % 3  # background is the last
    return ClipBatch(images, tokens, index, columns, np.eye(3, dtype=bool)[columns], tuple(map(str, labels)))


def test_a_text_of_the_users_own_is_one_of_those_that_background_is_trained_to(task: ClipTask) -> None:
    """All background texts count together, as in serving: what lies at that text is background with it alone."""
    batch = batch_of(task, [0, *[-1] * 9])
    with torch.no_grad():
        texts = task.texts(batch.tokens)
        door = task.texts(task.model.tokens([DOOR]).numpy())
        embedded = torch.cat((texts[:1], door.expand(9, -1)))
        losses = [
            one._background_loss(one._truth(batch), embedded, texts)
            for one in (task, ClipTask(task.model, task.weights))
        ]
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


def task_with(clip_recipe: Callable[[Path], Recipe], bank: str = "texts", **loss: object) -> ClipTask:
    """A task of the two labels under another loss; its image tower is left out as above."""
    recipe = clip_recipe(Path("x"))
    settings = recipe.model.model_copy(update={"labels": LABELS, "bank": bank})
    torch.manual_seed(0)
    model = build(settings, recipe.start.build(texts_of(LABELS).words))
    return ClipTask(model, recipe.loss.model_copy(update=loss))


@torch.no_grad()
def test_classes_are_compared_with_texts_that_rest(clip_recipe: Callable[[Path], Recipe]) -> None:
    """Cross-entropy of every clip over all labels, each the mean of its texts in all templates, read once."""
    task = task_with(clip_recipe, objective="classes", smoothing=0.2)
    for parameter in task.model.clip.parameters():
        parameter.requires_grad_(False)
    batch = batch_of(task, [0, 1, 1])
    losses, numbers = task(batch)
    head = task.model.embed_windows(task.items(batch.images))[0]
    bank = []
    for label in LABELS:
        said = task.model.encode_text(task.model.tokens([t.replace("{}", label) for t in task.model.templates]))
        bank.append(said.sum(dim=0) / said.sum(dim=0).norm())
    logits = task.model.scale * head @ torch.stack(bank).t()
    expected = torch.nn.functional.cross_entropy(logits, torch.tensor([0, 1, 1]), label_smoothing=0.2)
    assert losses.keys() == {"classes"} and losses["classes"].item() == pytest.approx(expected.item(), abs=1e-4)
    assert numbers["accuracy"].item() == pytest.approx((logits.argmax(dim=1) == torch.tensor([0, 1, 1])).float().mean())


def test_a_learned_bank_is_the_unimodal_baseline(clip_recipe: Callable[[Path], Recipe]) -> None:
    """It learns to tell the clips apart without a text, and its vectors are what validation compares with."""
    task = task_with(clip_recipe, bank="learned", objective="classes")
    batch = batch_of(task, [0, 0, 1, 1])
    optimiser = torch.optim.Adam([*task.model.bank.parameters(), *task.model.head.parameters()], 3e-3)
    for _ in range(30):
        losses, numbers = task(batch)
        optimiser.zero_grad()
        losses["classes"].backward()
        optimiser.step()
    assert float(numbers["accuracy"]) == 1.0
    bank = label_bank(task.model, LABELS[::-1])
    rows = torch.nn.functional.normalize(task.model.bank.weight.detach(), dim=-1)
    assert torch.allclose(bank[0], rows.flip(0))
    with pytest.raises(RecipeError, match=r"for its labels alone .* not for 'a person runs'"):
        label_bank(task.model, ["a person runs"])


@torch.no_grad()
def test_the_diagonal_counts_each_clip_alone(clip_recipe: Callable[[Path], Recipe]) -> None:
    """Two clips of one label push each other's captions away, which the published targets do not."""
    task = task_with(clip_recipe, objective="diagonal")
    batch = batch_of(task, [0, 0, 1])
    head = task.model.embed_windows(task.items(batch.images))[0]
    texts = task.model.encode_text(torch.from_numpy(batch.tokens))
    logits = task.model.scale * head @ texts.t()
    own = torch.arange(3)
    expected = sum(torch.nn.functional.cross_entropy(way, own) for way in (logits, logits.t())) / 2
    assert task(batch)[0]["contrast"].item() == pytest.approx(float(expected), abs=1e-4)
