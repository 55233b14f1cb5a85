"""The protocols, on one tiny run over two recordings."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from trainer.cli import app
from trainer.data.encode import encode_mp4
from trainer.data.sampling import segment_indices
from trainer.errors import RecipeError
from trainer.evaluation.metrics import ClipScores
from trainer.evaluation.protocols import text_embeddings
from trainer.models.text.words import word_embeddings
from trainer.protocols import scored
from trainer.protocols.measured import PROTOCOLS, drawn_shots, half_of, write
from trainer.protocols.scored import parts_of, view_indices
from trainer.protocols.subject import Settings, Subject, subject
from trainer.recipe import Recipe
from trainer.training import loop
from trainer.training.clips import CLIPS

LABELS = ("gets brighter", "gets darker")


@pytest.fixture(scope="module")
def recordings(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six recordings of two seconds, half of which grow brighter, a third of them to test."""
    folder, rows = tmp_path_factory.mktemp("recordings"), ["path,label,split,group"]
    for number in range(6):
        levels = range(10 + number, 230, 11)
        bright = number % 2 == 0
        frames = (np.full((64, 64, 3), level, np.uint8) for level in (levels if bright else reversed(levels)))
        encode_mp4(frames, folder / f"{number}.mp4", 10, 400_000)
        rows.append(f"{number}.mp4,{LABELS[0 if bright else 1]},{'test' if number >= 4 else 'train'},g{number}")
    (folder / "labels.csv").write_text("\n".join(rows) + "\n")
    return folder


@pytest.fixture(scope="module")
def trained(recordings: Path, tiny_recipe: Recipe, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of a few steps on them."""
    kept = {"name", "start", "model", "optimiser", "checkpoint_every"}
    tree = tiny_recipe.model_dump(mode="json", include=kept) | {
        "licence": "that of the footage",
        "data": {"clips": str(recordings / "labels.csv")},
        "stages": [{"steps": 4, "chunks": 4, "ticks": 4}],
    }
    run = tmp_path_factory.mktemp("runs") / "run"
    loop.train(Recipe.model_validate(tree), CLIPS, run)
    return run


@pytest.fixture(scope="module")
def given(trained: Path) -> Subject:
    """That run as what is measured."""
    return subject(trained)


def test_a_single_view_of_every_clip_that_was_kept_apart(given: Subject, tmp_path: Path) -> None:
    """The clips to test, scored by the rule of the templates; tables and pictures are written."""
    outcome = PROTOCOLS["single"](given, Settings())
    assert outcome.scores is not None and len(outcome.scores.clips) == 2
    clips = scored.listed(given, None)
    bank = text_embeddings(given.model, LABELS, given.model.templates)
    with torch.no_grad():
        sample = scored._opened(given, clips, LABELS).sample(0, 4, "segments")
        head = given.model.embed_windows(given.model.window_items(torch.from_numpy(np.array(sample))[None]))[0]
        expected = (given.model.scale * head @ bank.mT).softmax(dim=-1).mean(dim=0)[0]
    assert np.allclose(outcome.scores.shares[0], expected.numpy(), atol=1e-5)
    write(outcome, tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {
        "figures.json",
        "labels.csv",
        "confusion.png",
        "reliability.png",
    }
    assert (tmp_path / "labels.csv").read_text().splitlines()[0].startswith("label,clips,accuracy")


def test_views_and_charades_average_shares(given: Subject) -> None:
    """One view and one crop of a square picture are the single view; several are the mean of them."""
    one = PROTOCOLS["views"](given, Settings(views=(1, 1))).scores
    single = PROTOCOLS["single"](given, Settings()).scores
    assert one is not None and single is not None and np.allclose(one.shares, single.shares, atol=1e-5)
    many = PROTOCOLS["charades"](given, Settings(views=(2, 3)))
    assert many.figures.keys() == {"map", "clips"} and many.scores is not None
    assert np.allclose(many.scores.shares.sum(axis=1), 1, atol=1e-6)
    with pytest.raises(RecipeError, match="2 crops are none that were published"):
        PROTOCOLS["views"](given, Settings(views=(1, 2)))


def test_golden_views_are_places_within_segments() -> None:
    """One view is the test rule; of ten the first and the last lie at the ends of segments; crops at three places."""
    for length, frames in ((100, 8), (33, 8), (5, 8), (16, 16)):
        assert view_indices(length, frames, 0, 1).tolist() == segment_indices(length, frames).tolist()
    assert view_indices(80, 8, 0, 10).tolist() == list(range(0, 80, 10))
    assert view_indices(80, 8, 9, 10).tolist() == list(range(9, 80, 10))
    picture = np.arange(4 * 10 * 3, dtype=np.uint8).reshape(4, 10, 3)
    left, centre, right = parts_of(picture, 1.0, 3)
    assert np.array_equal(left, picture[:, :4]) and np.array_equal(right, picture[:, 6:])
    assert np.array_equal(centre, picture[:, 3:7]) and np.array_equal(parts_of(picture, 1.0, 1)[0], centre)


def test_zero_shot_takes_the_labels_of_other_lists(given: Subject, recordings: Path) -> None:
    """Mean and deviation over lists; ten halves of the labels; without a list it says so."""
    for name in ("one", "two"):
        text = (recordings / "labels.csv").read_text().replace("gets brighter", "gets lighter")
        (recordings / f"{name}.csv").write_text(text)
    outcome = PROTOCOLS["zero-shot"](given, Settings(lists=(recordings / "one.csv", recordings / "two.csv")))
    assert outcome.rows.keys() == {"one", "two"} and outcome.figures["top1_deviation"] == 0
    assert {"half_top1", "half_top1_deviation", "map"} <= outcome.figures.keys()
    with pytest.raises(RecipeError, match="name its list, or one per split, with --list"):
        PROTOCOLS["zero-shot"](given, Settings())


def test_half_of_the_labels_is_drawn_and_scored_by_itself() -> None:
    """The clips of these labels alone, among these labels alone; a seed draws the same half."""
    scores = ClipScores(
        np.full((8, 4), 0.25), np.eye(4, dtype=bool)[np.arange(8) % 4], tuple("abcd"), tuple("01234567")
    )
    half = half_of(scores, 0)
    assert half.shares.shape == (4, 2) and np.allclose(half.shares, 0.5) and half.labels == half_of(scores, 0).labels
    assert len({half_of(scores, seed).labels for seed in range(10)}) > 1


def test_few_shot_learns_on_from_some_clips_of_each_label(given: Subject, recordings: Path) -> None:
    """One clip of each label, drawn; all clips to test are measured; too many shots are refused."""
    clips = scored.checked(scored.scan(recordings / "labels.csv")).clips
    few = drawn_shots(clips, 1, seed=3)
    assert [clip.split for clip in few].count("train") == 2 and [clip.split for clip in few].count("test") == 2
    with pytest.raises(RecipeError, match="'gets brighter' has 2 clips to train on, and 3 shots were asked for"):
        drawn_shots(clips, 3, seed=3)
    outcome = PROTOCOLS["few-shot"](given, Settings(lists=(recordings / "labels.csv",), shots=(1,)))
    assert outcome.figures.keys() == {"top1_1_shots"} and outcome.rows["1 shots"]["clips"] == 2


def test_folds_score_every_clip_by_a_model_that_saw_none_of_its_group(given: Subject) -> None:
    """Two folds of six groups; every clip is scored once, by a run of its own."""
    outcome = PROTOCOLS["folds"](given, Settings(folds=2))
    assert outcome.scores is not None and np.allclose(outcome.scores.shares.sum(axis=1), 1)
    assert outcome.figures["clips"] == 6
    sides = [set((given.run / "folds" / f"1-{fold}" / "labels.csv").read_text().split()) for fold in range(2)]
    assert sides[0] != sides[1]


def test_streaming_stands_beside_offline(given: Subject, exporter: None) -> None:
    """The bundle is exported and replayed; its windows within each clip are averaged."""
    outcome = PROTOCOLS["streaming"](given, Settings())
    assert {"top1", "offline_top1"} <= outcome.figures.keys()
    assert outcome.scores is not None and len(outcome.scores.clips) == 2
    assert (given.run / "evaluation" / "streaming" / "bundle" / "head.onnx").is_file()


@torch.no_grad()
def test_words_are_what_the_text_tower_says_at_each_token(given: Subject) -> None:
    """The state that is read for the whole text is among them; words are those between the marks."""
    words, used = word_embeddings(given.model, ["a person runs"])
    whole = given.model.clip.encode_text(given.model.tokens(["a person runs"]))[0]
    assert any(torch.allclose(state, whole, atol=1e-5) for state in words[0])
    assert int(used.sum()) == 3
    shares = PROTOCOLS["single"](given, Settings(rule="saliency")).scores
    assert shares is not None and np.allclose(shares.shares.sum(axis=1), 1, atol=1e-6)


def test_the_command_measures_and_says_what_is_wrong(trained: Path) -> None:
    """Figures as JSON and in the run's folder; names and forms that are none are refused."""
    done = CliRunner().invoke(app, ["evaluate", str(trained), "--protocol", "single", "--json"])
    assert done.exit_code == 0, done.output
    ((place, figures),) = json.loads(done.stdout).items()
    assert json.loads((Path(place) / "figures.json").read_text())["figures"] == figures
    for wrong, reason in (
        (["--protocol", "double"], "no protocol is called 'double'; there are single, views"),
        (["--protocol", "views", "--views", "10"], "is not of the form 10x3"),
        (["--protocol", "single", "--rule", "magic"], "no rule is called 'magic'"),
        (["--protocol", "folds", "--alpha", "0.5"], "--alpha is for single, views"),
        (["--protocol", "single", "--alpha", "0.5"], "started from random weights"),
    ):
        refused = CliRunner().invoke(app, ["evaluate", str(trained), *wrong])
        assert isinstance(refused.exception, RecipeError) and reason in str(refused.exception)


def test_a_protocol_needs_clips_that_were_kept_apart(given: Subject, recordings: Path, tmp_path: Path) -> None:
    """A run whose list kept none apart asks for one; two lists are one too many."""
    text = (recordings / "labels.csv").read_text().replace(",test,", ",train,")
    (recordings / "whole.csv").write_text(text)
    data = given.recipe.data.model_copy(update={"clips": recordings / "whole.csv", "validate_share": 0.0})
    without = replace(given, recipe=given.recipe.model_copy(update={"data": data}))
    with pytest.raises(RecipeError, match="kept no clip apart; name one to measure with --list"):
        PROTOCOLS["single"](without, Settings())
    with pytest.raises(RecipeError, match="2 were named; name one --list"):
        PROTOCOLS["single"](given, Settings(lists=(tmp_path, tmp_path)))
