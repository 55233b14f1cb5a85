import threading
from pathlib import Path

import numpy as np
import pytest
from fake_tensorrt import FakeCuda, fake_tensorrt

from engines.backends.tensorrt.library import Library
from engines.errors import BackendUnavailable, BundleNotFound, IncompatibleBundle
from engines.testing import COLOURS, solid, tiny_bundle
from engines.text.text_bank import TextEncoder
from pipeline.analysis.label_set import LabelSet
from pipeline.config.settings import Settings
from pipeline.config.worker import WorkerSettings
from pipeline.examples.encoding import ExampleSource
from pipeline.records.examples import Example, ExamplePicture
from pipeline.records.jpeg import encode_jpeg
from pipeline.records.labels import Label
from pipeline.worker.model import BundleLabels, Model, load_model


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle that knows colours."""
    return tiny_bundle(tmp_path_factory.mktemp("bundles") / "tiny")


def settings(bundle: Path, rate: int = 4, **worker: object) -> Settings:
    """A deployment with this bundle."""
    options = {"bundle": str(bundle), "backend": "onnxruntime", "threads": 1, **worker}
    return Settings(rate=rate, worker=WorkerSettings.model_validate(options))


@pytest.fixture(scope="module")
def model(bundle: Path) -> Model:
    """The loaded bundle."""
    return load_model(settings(bundle))


def test_a_jpeg_becomes_the_engines_input(model: Model) -> None:
    """Pictures of any size are brought to the size that the manifest names."""
    jpeg = encode_jpeg(np.full((100, 180, 3), COLOURS["cyan"], np.uint8))
    image = model.prepare(jpeg)
    assert image.shape == (32, 32, 3) and image.dtype == np.uint8


def test_a_label_that_cannot_be_watched_for_stops_no_other(model: Model) -> None:
    """Thresholds that contradict each other and texts that are too long are left out; the rest is scored."""
    labels = LabelSet(
        (
            Label("cyan", "cyan"),
            Label("long", " ".join(["person"] * 60)),
            Label("odd", "magenta", enter=0.3, exit=0.8),
        ),
        4,
    )
    label_view = model.embed(labels)
    assert isinstance(label_view, BundleLabels) and label_view.version == 4
    assert [label.id for label in label_view.labels] == ["cyan"]
    assert label_view.rules("door", 4).columns == {"cyan": 0} and label_view.rules("door", 8).step == 2


def test_a_text_is_embedded_once(bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The text network runs once per label, and with a cache folder not at all for a label that was watched before."""
    labels = LabelSet((Label("cyan", "cyan"), Label("red", "red")), 0)
    texts: list[int] = []
    run = TextEncoder._run
    monkeypatch.setattr(TextEncoder, "_run", lambda encoder, ids: (texts.append(len(ids)), run(encoder, ids))[1])
    for expected in ([3, 2, 2], []):  # three golden texts, since the network was opened; then two templates each
        texts.clear()
        model = load_model(settings(bundle), cache=tmp_path)
        label_view = model.embed(labels)
        assert isinstance(label_view, BundleLabels) and len(label_view.labels) == 2
        assert sorted(texts) == sorted(expected)
        model.close()


def test_the_number_of_threads_holds_for_every_network(bundle: Path) -> None:
    """With one thread, neither the engine nor the text network starts any of its own, probes included."""
    before = set(threading.enumerate())

    loaded = load_model(settings(bundle, threads=1))
    loaded.embed(LabelSet((Label("cyan", "cyan"),), 0))
    started = set(threading.enumerate()) - before
    loaded.close()

    assert not started


def test_a_labels_scores_are_the_same_in_any_company(model: Model) -> None:
    """Alone or among two hundred, one window or twenty: the same bits."""
    labels = [Label(f"l{number}", f"{['red', 'cyan', 'green'][number % 3]} {number}") for number in range(200)]
    windows = np.random.default_rng(0).standard_normal((20, 16)).astype(np.float32)
    windows /= np.linalg.norm(windows, axis=1, keepdims=True)

    many = model.embed(LabelSet(tuple(labels), 0)).score(windows, windows)

    for column in (0, 77, 199):
        alone = model.embed(LabelSet((labels[column],), 0))
        for row in (0, 7, 19):
            assert alone.score(windows[row : row + 1], windows[:1]).item() == many[row, column]


def test_where_the_fast_product_is_not_proven_another_is_used(
    bundle: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Slower, said so, and the same answers but for their last digits."""
    label, windows = LabelSet((Label("cyan", "cyan"),), 0), np.eye(2, 16, dtype=np.float32)
    monkeypatch.setattr("pipeline.worker.model.proven_product", lambda _: None)
    other = load_model(settings(bundle))
    assert "similarities are computed one by one" in capsys.readouterr().out
    monkeypatch.undo()
    usual = load_model(settings(bundle))

    found, expected = (one.embed(label).score(windows, windows) for one in (other, usual))

    np.testing.assert_allclose(found, expected, rtol=1e-5)
    other.close()
    usual.close()


def test_an_empty_set_scores_nothing(model: Model) -> None:
    """Before the first control record there is nothing to score, and nothing fails."""
    label_view = model.embed(LabelSet())
    head = np.eye(2, 16, dtype=np.float32)
    assert label_view.score(head, head).shape == (2, 0) and label_view.rules("door", 4).columns == {}


def test_a_bundle_that_does_not_fit_the_deployment_is_refused(bundle: Path) -> None:
    """Its rate must divide the deployment's, and its window must fit into what a restart reads again."""
    with pytest.raises(IncompatibleBundle, match="does not divide"):
        load_model(settings(bundle, rate=6))
    with pytest.raises(IncompatibleBundle, match="rewinds 1 s only"):
        load_model(settings(bundle, rewind_seconds=1))


def test_a_path_without_a_bundle_is_said_so(tmp_path: Path) -> None:
    """A folder that holds no bundle is named in the error."""
    with pytest.raises(BundleNotFound, match=str(tmp_path)):
        load_model(settings(tmp_path))


def test_auto_runs_what_is_fastest_here_and_says_why(
    bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """One line with what was measured; a precision that the bundle lacks is an error with a remedy."""
    monkeypatch.setenv("ACTIONWIRE_CACHE", str(tmp_path))
    model = load_model(settings(bundle, backend="auto", precision="auto"))
    assert model.engine.info.precision in ("fp32", "bf16")
    model.close()
    assert "engine chosen" in (shown := capsys.readouterr().out) and "windows/s" in shown
    with pytest.raises(BackendUnavailable, match="make one with `actionwire-engines quantise`"):
        load_model(settings(bundle, backend="openvino", precision="int8"))


def no_gpu(index: int) -> None:
    """As on a machine without one."""
    raise BackendUnavailable("no NVIDIA driver is on this machine; install one, or let the backend be openvino")


def test_auto_goes_on_without_a_gpu_and_says_why(
    bundle: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """With OpenVINO, and the line names what TensorRT lacks."""
    monkeypatch.setattr("engines.backends.tensorrt.load_library", lambda: None)
    monkeypatch.setattr("engines.backends.tensorrt.open_cuda", no_gpu)
    model = load_model(settings(bundle, backend="auto"))
    assert model.engine.info.backend == "openvino"
    model.close()
    assert "tensorrt: no NVIDIA driver is on this machine" in capsys.readouterr().out


def test_a_worker_says_what_it_builds(
    bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Plans may take minutes: each step is a line of the log. On a FAKE device."""
    monkeypatch.setenv("ACTIONWIRE_CACHE", str(tmp_path))
    cuda = FakeCuda()
    library = Library("fake", "0", fake_tensorrt(cuda))
    monkeypatch.setattr("engines.backends.tensorrt.load_library", lambda: library)
    monkeypatch.setattr("engines.backends.tensorrt.open_cuda", lambda index: cuda)
    model = load_model(settings(bundle, backend="tensorrt"))
    assert model.engine.info.backend == "tensorrt"
    model.close()
    shown = capsys.readouterr().out
    assert "an engine is built" in shown and "head.onnx, batches of 64: parsing" in shown and cuda.alive == []


def test_a_label_that_is_taught_changes_no_other_score(bundle: Path) -> None:
    """Windows of yellow: words that mean nothing, once yellow was shown, score; the others keep theirs to the bit."""
    yellow = _shown("fence", "yellow")
    taught = Label("fence", "over the fence", examples=(yellow.id,))
    model = load_model(settings(bundle), examples=ExampleSource(lambda keys: [yellow]))
    plain = model.embed(LabelSet((Label("cyan", "cyan"), Label("fence", "over the fence")), 1))
    label_view = model.embed(LabelSet((Label("cyan", "cyan"), taught), 2))
    assert label_view.compares and not plain.compares
    items = model.engine.encode(np.stack([solid(name) for name in ("yellow", "cyan")]))[0]
    head, pooled, sequences = model.engine.embed_sequences(np.stack([np.stack([item] * 8) for item in items]))
    before, after = plain.score(head, pooled), label_view.score(head, pooled, sequences)
    assert before[:, 0].tobytes() == after[:, 0].tobytes()
    assert before[0, 1] < 0.1 and after[0, 1] > 0.9 and after[1, 1] < 0.1
    model.close()


def test_a_label_whose_examples_are_gone_stops_no_other(bundle: Path) -> None:
    """It is left out, and whoever asks is told why; once they are there again, so is the label."""
    there: list[Example] = []
    yellow = _shown("fence", "yellow")
    model = load_model(settings(bundle), examples=ExampleSource(lambda keys: there))
    taught, cyan = Label("fence", "over the fence", examples=(yellow.id,)), Label("cyan", "cyan")
    assert [label.id for label in model.embed(LabelSet((cyan, taught), 1)).labels] == ["cyan"]
    assert "examples are not there any more; enrol them again" in model.problems([cyan, taught])["fence"]
    there.append(yellow)
    assert [label.id for label in model.embed(LabelSet((cyan, taught), 2)).labels] == ["cyan", "fence"]
    assert model.problems([cyan, taught]) == {}
    model.close()


def test_an_example_is_encoded_as_a_stream_would_be_by_a_model_with_memory(tmp_path: Path) -> None:
    """Red before the window shows in the first items of a blue one, as it would in a camera's."""
    jpegs = [encode_jpeg(solid("red"))] * 4 + [encode_jpeg(solid("blue"))] * 12
    late = Example("fence", 4, tuple(ExamplePicture(tick, 1.0, jpeg) for tick, jpeg in enumerate(jpegs)))
    bundle = tiny_bundle(tmp_path / "shift", history=2, head="meanp")
    model = load_model(settings(bundle), examples=ExampleSource(lambda keys: [late]))
    model.embed(LabelSet((Label("fence", "over the fence", examples=(late.id,)),), 1))
    (found,) = model.examples._made.values()
    items, memory = [], None
    for jpeg in jpegs:
        item, memory = model.engine.encode(model.prepare(jpeg)[None], memory)
        items.append(item[0])
    # The middle eight of sixteen.
    assert found.positives[0] == pytest.approx(
        np.stack(items[4:12]) / np.linalg.norm(np.stack(items[4:12]), axis=1, keepdims=True), abs=1e-6
    )
    model.close()


def test_a_bundle_of_that_rule_pools_frames_by_the_words_of_each_label(bundle: Path, tmp_path: Path) -> None:
    """One of eight frames shows red: by its own words the label sees it, in the mean of the window it does not.

    A label that is taught by nothing but its text changes no other's score here either.
    """
    salient = tiny_bundle(tmp_path / "salient", rule="saliency")
    pictures = np.stack([solid("red" if place == 0 else "grey") for place in range(8)])
    scores = {}
    for name, path in (("window", bundle), ("saliency", salient)):
        model = load_model(settings(path))
        items = model.engine.encode(pictures)[0][None]
        both, alone = (
            model.embed(LabelSet(tuple(Label(one, one) for one in labels), 0)) for labels in (("cyan", "red"), ("red",))
        )
        head, pooled = model.engine.embed(items)
        found = both.score(head, pooled, None, items)[0]
        assert both.by_items == (name == "saliency") and found[1] == alone.score(head, pooled, None, items)[0, 0]
        scores[name] = dict(zip(("cyan", "red"), found, strict=True))
        model.close()
    assert scores["saliency"]["red"] > 0.5 > 0.25 > scores["window"]["red"]  # grey, a reference, is seen as well
    assert scores["saliency"]["cyan"] < 0.1


def _shown(label: str, colour: str) -> Example:
    jpeg = encode_jpeg(solid(colour))
    return Example(label, 4, tuple(ExamplePicture(tick, 1.0, jpeg) for tick in range(8)))
