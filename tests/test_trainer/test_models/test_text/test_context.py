"""Learned context of texts: where it stands, whose it is, and that nothing else moves."""

from __future__ import annotations

from typing import Any

import open_clip
import pytest
import torch

from trainer.errors import RecipeError
from trainer.models.text.clip_tokenizer import clip_tokenizer
from trainer.models.text.context import ClassContext, UnifiedContext, encode_with, words_read
from trainer.models.video_text import shortened, token_ids

TEXTS = ["a person falls.", "two people shake hands.", "waving."]


@pytest.fixture
def clip(published_name: str) -> Any:
    """A small CLIP with the tokenizer's whole vocabulary."""
    torch.manual_seed(3)
    return open_clip.create_model(published_name).eval()


def tokens_of(texts: list[str], length: int) -> torch.Tensor:
    """Token ids, cut and padded to a length."""
    return token_ids(shortened(clip_tokenizer(77), length), texts)


@torch.no_grad()
def test_without_vectors_it_is_the_tower(clip: Any) -> None:
    """Also where texts are shorter than the tower reads: what stands behind the end counts for nothing."""
    expected = clip.encode_text(tokens_of(TEXTS, 77))
    plain = torch.empty(len(TEXTS), 0, 64)
    for length in (77, 69):
        found = encode_with(clip, tokens_of(TEXTS, length), plain)
        torch.testing.assert_close(found, expected, atol=1e-5, rtol=0)


@torch.no_grad()
def test_vectors_that_are_words_say_what_the_words_say(clip: Any) -> None:
    """Context with the embeddings of "a video of" before "waving." is the text "a video of waving."."""
    words = tokens_of(["a video of"], 77)[0, 1:4]
    context = UnifiedContext(clip, 3)
    context.vectors.copy_(clip.token_embedding(words))
    found = context(clip, tokens_of(["waving."], 74))
    torch.testing.assert_close(found, clip.encode_text(tokens_of(["a video of waving."], 77)), atol=1e-5, rtol=0)


@torch.no_grad()
def test_context_of_a_class_is_for_its_name_alone(clip: Any) -> None:
    """Trained names get theirs, whatever stands beside them; a label that is added later is read plainly."""
    names = tokens_of(TEXTS[:2], words_read(clip) - 4)
    context = ClassContext(clip, 4, names)
    asked = tokens_of([TEXTS[2], TEXTS[1], "something new."], words_read(clip) - 4)
    found = context(clip, asked)
    torch.testing.assert_close(found[[0, 2]], context.plainly(clip, asked[[0, 2]]))
    torch.testing.assert_close(found[1:2], encode_with(clip, asked[1:2], context.vectors[1:2]))
    assert not torch.allclose(found[1], context.plainly(clip, asked)[1], atol=1e-3)


def test_it_learns_and_the_tower_rests(clip: Any) -> None:
    """Gradients reach the vectors of the names that were read, and no others."""
    names = tokens_of(TEXTS, words_read(clip) - 4)
    context = ClassContext(clip, 4, names)
    for parameter in clip.parameters():
        parameter.requires_grad_(False)
    context(clip, names[:2]).square().sum().backward()
    assert context.vectors.grad is not None
    moved = context.vectors.grad.abs().sum(dim=(1, 2)) > 0
    assert moved.tolist() == [True, True, False]


def test_a_text_tower_that_is_none_of_clips_is_refused() -> None:
    """The message names the tower and what to do."""

    class Sentences(torch.nn.Module):
        text = torch.nn.Linear(2, 2)

    with pytest.raises(RecipeError, match=r"a Linear; start with .*leave out model\.context"):
        UnifiedContext(Sentences(), 4)  # type: ignore[arg-type]
