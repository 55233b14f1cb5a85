"""A run of episodes as a bundle: sequences, prototypes of examples, the classes of training."""

from __future__ import annotations

import dataclasses
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from engines.backends import open_engine
from engines.bundle import files as bundles
from engines.bundle.arrays import write_golden
from engines.errors import BundleError, ProbeFailed
from engines.inspection import inspect
from engines.text.text_bank import TextEncoder
from pipeline.analysis.label_set import LabelSet
from pipeline.config.settings import Settings
from pipeline.config.worker import WorkerSettings
from pipeline.examples.encoding import ExampleSource
from pipeline.records.examples import Example, ExamplePicture
from pipeline.records.jpeg import encode_jpeg
from pipeline.records.labels import Label
from pipeline.worker.model import load_model
from trainer.data.encode import encode_mp4
from trainer.data.episode_batches import in_templates
from trainer.errors import ExportError
from trainer.evaluation.report import REPORT
from trainer.export.examples import check, manifest_part, with_examples, write_enrolment
from trainer.export.onnx import check_parity, golden_probe, write_network
from trainer.export.trained import export
from trainer.models.video_text import VideoTextModel
from trainer.recipe import Recipe
from trainer.training import checkpoint, loop
from trainer.training.episode_source import EPISODES
from trainer.training.episodes import raw_texts

TINTS = {"white": (1, 1, 1), "red": (1, 0, 0), "green": (0, 1, 0), "blue": (0, 0, 1)}
TRAINED = ("grows red", "grows white")


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory, tiny_recipe: Recipe) -> Path:
    """A training of a few episodes."""
    folder = tmp_path_factory.mktemp("taught")
    rows = ["path,label,split"]
    for kind, tint in TINTS.items():
        for number in range(2):
            levels = np.linspace(40 + 60 * number, 230, 10)
            pictures = (np.tile(np.array(tint) * level, (64, 64, 1)).astype(np.uint8) for level in levels)
            encode_mp4(pictures, folder / f"{kind}{number}.mp4", 10, 400_000)
            rows.append(f"{kind}{number}.mp4,grows {kind},{'train' if f'grows {kind}' in TRAINED else 'validate'}")
    (folder / "labels.csv").write_text("\n".join(rows) + "\n")
    tree = tiny_recipe.model_dump(mode="json", include={"name", "start", "model", "optimiser"})
    tree["optimiser"] |= {"orthogonal": 0, "image_ratio": 1.0, "text_ratio": 1.0}
    tree["model"] |= {"few_shot": {"hidden": 32, "init": "paper"}, "head": {"architecture": "meanp"}}
    tree["model"]["templates"] = {"own": ["{}.", "a video of {}."]}
    tree |= {
        "licence": "that of the footage",
        "data": {"clips": str(folder / "labels.csv")},
        "freeze": "V1",
        "episodes": {"ways": 2, "shots": 1, "queries": 1},
        "stages": [{"steps": 3, "chunks": 4, "ticks": 4}],
    }
    loop.train(Recipe.model_validate(tree), EPISODES, folder / "run")
    return folder / "run"


@pytest.fixture(scope="module")
def draft(run: Path, exporter: None, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, float]]:
    """Its draft, and the differences of its networks from torch."""
    out = tmp_path_factory.mktemp("drafts") / "draft"
    return out, export(run, out, EPISODES.texts)[1]


@pytest.fixture
def copied(draft: tuple[Path, dict[str, float]], tmp_path: Path) -> Path:
    """A draft that a test may damage."""
    return shutil.copytree(draft[0], tmp_path / "draft")


@pytest.fixture
def trained(run: Path) -> VideoTextModel:
    """The model that was exported."""
    return checkpoint.load_model(run / checkpoint.NAME)[0]


@pytest.mark.parametrize("backend", ["onnxruntime", "openvino"])
def test_a_bundle_compares_as_the_model_does(
    backend: str, trained: VideoTextModel, draft: tuple[Path, dict[str, float]]
) -> None:
    """Sequences of windows, prototypes of one and of five examples, and the text that they need: torch's to 1e-4."""
    out, differences = draft
    assert differences.keys() == {"image.onnx", "head.onnx", "text.onnx", "enrol.onnx"}
    assert max(differences.values()) < 1e-4
    bundle = bundles.load(out, allow_draft=True)
    encoder, engine = TextEncoder(bundle), open_engine(bundle, backend, "CPU")
    try:
        text = encoder.raw("grows blue")
        pictures = np.random.default_rng(0).integers(0, 256, (20, 48, 64, 3), np.uint8)
        windows = engine.encode(pictures)[0].reshape(5, 4, -1)
        head, pooled, sequences = engine.embed_sequences(windows)
        prototypes = {count: engine.prototypes(windows[:count], text) for count in (1, 5)}
        assert [part.tobytes() for part in engine.embed(windows)] == [head.tobytes(), pooled.tobytes()]
        with pytest.raises(ValueError, match="windows must be float32"):
            engine.prototypes(windows[:, :3], text)
    finally:
        encoder.close()
        engine.close()
    assert trained.few_shot is not None
    fitted, given = trained.few_shot.fitted(), torch.from_numpy(windows)
    with torch.no_grad():
        raw = raw_texts(trained, in_templates(["grows blue"], trained.templates, trained.tokenizer))
        assert np.allclose(text, raw.numpy(), atol=1e-4) and not np.isclose(np.linalg.norm(text), 1, atol=1e-2)
        assert np.allclose(sequences, F.normalize(fitted.sequences(given), dim=-1).numpy(), atol=1e-4)
        for count, found in prototypes.items():
            expected = fitted.prototypes(given[:count].mean(dim=0, keepdim=True), raw)
            assert np.allclose(found, F.normalize(expected, dim=-1).numpy(), atol=1e-4)
            without = fitted.prototypes(given[:count].mean(dim=0, keepdim=True), 0 * raw)
            assert not np.allclose(found, F.normalize(without, dim=-1).numpy(), atol=1e-3)  # the text takes part


def test_whitened_parts_are_exported_as_well(
    trained: VideoTextModel, run: Path, exporter: None, tmp_path: Path
) -> None:
    """Sequences of 2T - 1 vectors, prototypes of the same form that read no text, and the manifest that says so."""
    assert trained.few_shot is not None and float(trained.few_shot.whitening.weight) > 0
    trained.few_shot.matching = "whitened"
    windows = torch.randn(3, 4, 64, generator=torch.Generator().manual_seed(0))
    golden = with_examples(golden_probe(trained, 48, 64, ("grows red",)), trained)
    assert golden.sequences is not None and golden.sequences.shape == (2, 7, 64)
    assert write_enrolment(trained, golden, tmp_path) < 1e-4
    whitened = trained.few_shot.fitted().whitened
    write_network(whitened, windows, tmp_path / "w.onnx", given="windows", returned=("sequence",))
    assert check_parity(tmp_path / "w.onnx", windows.numpy(), [whitened(windows).numpy()]) < 1e-4
    _, recipe = checkpoint.load_model(run / checkpoint.NAME)
    said = manifest_part(trained, recipe, run / REPORT)
    assert said is not None and (said.matching, said.length) == ("frame-wise", 7)


def test_the_manifest_says_how_to_compare(run: Path, draft: tuple[Path, dict[str, float]]) -> None:
    """Blend and temperature are those of the run's report; the classes of training travel as prototypes."""
    figures = json.loads((run / REPORT).read_text())
    bundle = bundles.load(draft[0], allow_draft=True)
    said, known = bundle.manifest.examples, bundle.class_prototypes()
    assert said is not None and (said.matching, said.length, said.classes) == ("alignment", 4, True)
    assert (said.beta, said.temperature) == (figures["episodes_beta"], figures["episodes_temperature"])
    assert known is not None and known.texts == TRAINED
    assert np.allclose(np.linalg.norm(known.sequences, axis=-1), 1, atol=1e-5)


def test_a_sealed_bundle_is_inspected_with_its_examples(copied: Path) -> None:
    """The probes show sequence and prototype, and the text says how windows are compared."""
    bundles.seal(copied)
    found = inspect(bundles.load(copied))
    assert not found.failed and "alignment, 4 vectors" in found.text()
    for name in ("onnxruntime", "openvino"):
        assert found.probes[name].differences.keys() == {"encode", "embed", "sequence", "prototype"}
        assert max(found.probes[name].differences.values()) < 1e-4


def test_a_foreign_enrolment_is_not_used(copied: Path) -> None:
    """A network of another form does not load; a probe of other answers fails; another enrolment is another space."""
    before = bundles.load(copied, allow_draft=True)
    golden = before.golden()
    assert golden.prototype is not None
    write_golden(copied, dataclasses.replace(golden, prototype=-golden.prototype))
    assert bundles.write_draft(copied, before.manifest).space == before.manifest.space
    with pytest.raises(ProbeFailed, match="prototype"):
        open_engine(bundles.load(copied, allow_draft=True), "onnxruntime", "CPU")
    (copied / "enrol.onnx").write_bytes((copied / "head.onnx").read_bytes())
    assert bundles.write_draft(copied, before.manifest).space.id != before.manifest.space.id
    with pytest.raises(BundleError, match=r"enrol.onnx takes \['windows'\]"):
        open_engine(bundles.load(copied, allow_draft=True), "onnxruntime", "CPU")


def test_arrays_that_do_not_fit_the_manifest_are_refused(copied: Path) -> None:
    """Sequences of another length, and classes that are promised and missing."""
    manifest = bundles.load(copied, allow_draft=True).manifest
    assert manifest.examples is not None
    longer = manifest.examples.model_copy(update={"length": 5})
    with pytest.raises(BundleError, match=r"golden.npz has sequences"):
        bundles.write_draft(copied, manifest.model_copy(update={"examples": longer}))
    (copied / "prototypes.npz").unlink()
    with pytest.raises(BundleError, match=r"lacks prototypes.npz"):
        bundles.write_draft(copied, manifest)


def test_parts_that_contradict_each_other_are_refused(run: Path, trained: VideoTextModel, tmp_path: Path) -> None:
    """Each with its remedy: no report, towers that are changed afterwards, nothing gathered to whiten by."""
    bare = tmp_path / "bare"
    bare.mkdir()
    shutil.copyfile(run / checkpoint.NAME, bare / checkpoint.NAME)
    with pytest.raises(ExportError, match="does not say how texts and examples were blended"):
        export(bare, tmp_path / "a", EPISODES.texts)
    with pytest.raises(ExportError, match="export without --alpha"):
        export(run, tmp_path / "b", EPISODES.texts, alpha=0.5)
    assert not (tmp_path / "a").exists() and not (tmp_path / "b").exists()
    _, recipe = checkpoint.load_model(run / checkpoint.NAME)
    assert trained.few_shot is not None
    trained.few_shot.matching = "whitened"
    trained.few_shot.whitening.weight.zero_()
    with pytest.raises(ExportError, match=r"no episode of two clips of a class was seen"):
        check(trained, recipe, None)


def test_a_worker_compares_by_the_parts_of_the_bundle(copied: Path) -> None:
    """A label taught by example is held against its prototype, with the blend and the classes of the manifest.

    One that is itself a class of training competes with the others alone. What was not taught scores as before.
    """
    bundles.seal(copied)
    pictures = [np.full((48, 64, 3), (level, 0, 0), np.uint8) for level in (60, 100, 140, 180)]
    jpegs = tuple(ExamplePicture(tick, 1.0, encode_jpeg(picture)) for tick, picture in enumerate(pictures))
    shown = {label: Example(label, 4, jpegs) for label in ("fence", "own")}
    worker = WorkerSettings.model_validate({"bundle": str(copied), "backend": "onnxruntime", "threads": 1})
    source = ExampleSource(lambda keys: [shown[label] for label, _ in keys])
    model = load_model(Settings(rate=4, worker=worker), examples=source)
    try:
        texts = {"fence": "grows blue", "own": "grows red"}
        taught = [Label(name, text, examples=(shown[name].id,)) for name, text in texts.items()]
        plain = Label("other", "grows white")
        seen = model.embed(LabelSet((plain, *taught), 1))
        assert seen.taught is not None
        rule, competing = seen.taught.scorer.rule, seen.taught.scorer.references
        said = model.bundle.manifest.examples
        assert said is not None and (rule.matching, rule.beta) == (said.matching, said.beta)
        assert [(row >= 0).sum() for row in competing] == [2, 1]
        windows = model.engine.encode(np.stack(pictures))[0][None]
        found = seen.score(*model.engine.embed_sequences(windows))
        alone = model.embed(LabelSet((plain,), 2)).score(*model.engine.embed(windows))
        assert found[:, 0].tobytes() == alone[:, 0].tobytes() and np.isfinite(found).all()
    finally:
        model.close()
