from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from engines.bundle.files import Bundle, Events, Score, load, seal, write_draft, write_golden, write_references
from engines.bundle.manifest import manifest_id
from engines.errors import BundleError, BundleNotFound, IncompatibleBundle, TamperedBundle
from engines.testing import tiny_bundle

Copy = Callable[[Bundle], Path]
FILES = ("image.onnx", "head.onnx", "text.onnx", "tokenizer.json", "golden.npz", "references.npz")


def test_a_sealed_bundle_loads(tiny: Bundle) -> None:
    """Every file of a frame bundle is hashed in its manifest, and the id is the manifest's own hash."""
    assert tiny.manifest.sealed
    assert set(tiny.manifest.files) == set(FILES)
    assert tiny.manifest.id == manifest_id(json.loads((tiny.path / "bundle.json").read_text()))
    assert tiny.label == "tiny@0.1.0"


def test_a_clip_bundle_has_one_network(tiny_clip: Bundle) -> None:
    """A clip bundle holds clip.onnx in place of image and head."""
    assert "clip.onnx" in tiny_clip.manifest.files
    assert not {"image.onnx", "head.onnx"} & set(tiny_clip.manifest.files)


@pytest.mark.parametrize("name", FILES)
def test_one_changed_byte_is_named(tiny: Bundle, copy: Copy, name: str) -> None:
    """A bundle with one byte changed in any file does not load, and the error says which file."""
    path = copy(tiny)
    content = bytearray((path / name).read_bytes())
    content[len(content) // 2] ^= 1
    (path / name).write_bytes(content)
    with pytest.raises(TamperedBundle, match=name.replace(".", r"\.")):
        load(path)


def test_a_file_changed_after_loading_is_not_used(tiny: Bundle, copy: Copy) -> None:
    """What a backend reads is hashed as it is read, so swapping a file after the check does not help."""
    bundle = load(copy(tiny))
    (bundle.path / "head.onnx").write_bytes(b"something else")
    with pytest.raises(TamperedBundle, match=r"head\.onnx"):
        bundle.read("head.onnx")


def test_a_changed_manifest_is_noticed(tiny: Bundle, copy: Copy) -> None:
    """Thresholds cannot be edited in a sealed bundle."""
    path = copy(tiny)
    data = json.loads((path / "bundle.json").read_text())
    data["events"]["defaults"]["enter"] = 0.99
    (path / "bundle.json").write_text(json.dumps(data))
    with pytest.raises(TamperedBundle, match=r"bundle\.json"):
        load(path)


def test_a_space_that_is_not_the_networks_is_noticed(tiny: Bundle, copy: Copy) -> None:
    """A bundle cannot claim the embedding space of another, even with a fresh id."""
    path = copy(tiny)
    data = json.loads((path / "bundle.json").read_text())
    data["space"]["id"] = "0" * 16
    data["id"] = manifest_id(data)
    (path / "bundle.json").write_text(json.dumps(data))
    with pytest.raises(TamperedBundle, match="space"):
        load(path)


def test_layout_and_spelling_of_the_manifest_do_not_matter(tiny: Bundle, copy: Copy) -> None:
    """The id is over canonical JSON: a reformatted manifest is the same manifest."""
    path = copy(tiny)
    data = json.loads((path / "bundle.json").read_text())
    (path / "bundle.json").write_text(json.dumps(dict(reversed(data.items()))))
    assert load(path).manifest == tiny.manifest


@pytest.mark.parametrize("name", FILES)
def test_a_missing_file_is_named(tiny: Bundle, copy: Copy, name: str) -> None:
    """An incomplete bundle does not load."""
    path = copy(tiny)
    (path / name).unlink()
    with pytest.raises(BundleError, match=f"lacks {name}"):
        load(path)


def test_an_extra_file_is_refused(tiny: Bundle, copy: Copy) -> None:
    """Nothing travels in a bundle that its manifest does not vouch for."""
    path = copy(tiny)
    (path / "hook.py").write_text("print('hello')")
    with pytest.raises(BundleError, match=r"holds hook\.py"):
        load(path)


def test_a_hashed_extra_file_is_refused_too(tiny: Bundle, copy: Copy) -> None:
    """A manifest cannot vouch for a kind of file that no bundle has, such as a pickle."""
    path = copy(tiny)
    (path / "weights.pkl").write_bytes(b"x")
    with pytest.raises(BundleError, match=r"holds weights\.pkl"):
        write_draft(path, tiny.manifest)


def test_no_bundle_is_not_a_broken_bundle(tmp_path: Path) -> None:
    """An empty folder and a missing one are told apart from damage."""
    for path in (tmp_path, tmp_path / "missing"):
        with pytest.raises(BundleNotFound, match="no bundle at"):
            load(path)


def test_a_draft_loads_only_when_allowed(tmp_path: Path) -> None:
    """An uncalibrated export is refused by serving and accepted by the trainer."""
    path = tiny_bundle(tmp_path / "draft", sealed=False)
    assert load(path, allow_draft=True).manifest.id == "draft"
    with pytest.raises(IncompatibleBundle, match="calibrate"):
        load(path)


def test_a_draft_is_checked_like_a_sealed_bundle(tmp_path: Path) -> None:
    """A draft vouches for its files too."""
    path = tiny_bundle(tmp_path / "draft", sealed=False)
    (path / "text.onnx").write_bytes(b"")
    with pytest.raises(TamperedBundle, match=r"text\.onnx"):
        load(path, allow_draft=True)


def test_sealing_puts_calibrated_parts_in_and_keeps_the_space(tmp_path: Path) -> None:
    """Calibration changes score and events; the networks, and with them the space, stay."""
    path = tiny_bundle(tmp_path / "draft", sealed=False)
    draft = load(path, allow_draft=True).manifest
    score = Score(**(draft.score.model_dump() | {"temperature": 2.5}))
    events = Events(defaults=draft.events.defaults, onset_lag_ticks=3, calibrated=True, report={"f1": 0.9})
    sealed = seal(path, score=score, events=events)
    assert load(path).manifest == sealed
    assert (sealed.score.temperature, sealed.events.onset_lag_ticks) == (2.5, 3)
    assert sealed.space == draft.space


def test_sealing_with_other_templates_needs_their_references(tmp_path: Path) -> None:
    """References are embedded per template, so a score with another number of templates does not fit them."""
    path = tiny_bundle(tmp_path / "draft", sealed=False)
    with pytest.raises(BundleError, match="embeddings"):
        seal(path, score=Score(logit_scale=1.0, templates=("{}",)))


def test_the_same_input_gives_the_same_bundle(tmp_path: Path, tiny: Bundle) -> None:
    """Bundles are reproducible: no time, path or host is in them."""
    again = load(tiny_bundle(tmp_path / "again"))
    assert again.manifest.id == tiny.manifest.id
    other = load(tiny_bundle(tmp_path / "other", seed=1))
    assert other.manifest.space.id != tiny.manifest.space.id


def test_the_arrays_survive_the_bundle(tiny: Bundle, copy: Copy) -> None:
    """The golden probe and the references read back as they were written."""
    path = copy(tiny)
    golden, references = tiny.golden(), tiny.references()
    write_golden(path, golden)
    write_references(path, references)
    again = load(path)
    assert again.golden().texts == golden.texts
    np.testing.assert_array_equal(again.golden().windows, golden.windows)
    np.testing.assert_array_equal(again.references().embeddings, references.embeddings)
    assert again.references().kinds == references.kinds


def test_arrays_of_another_shape_are_refused(tiny: Bundle, copy: Copy) -> None:
    """A probe for another picture size does not become part of a bundle."""
    path = copy(tiny)
    golden = tiny.golden()
    write_golden(path, replace(golden, images=golden.images[:, :16]))
    with pytest.raises(BundleError, match=r"images as uint8 \[10, 16, 32, 3\]"):
        write_draft(path, tiny.manifest)


def test_arrays_of_different_lengths_are_refused(tiny: Bundle, copy: Copy) -> None:
    """Answers without questions are no probe."""
    path = copy(tiny)
    golden = tiny.golden()
    write_golden(path, replace(golden, head=golden.head[:1]))
    with pytest.raises(BundleError, match="different lengths"):
        write_draft(path, tiny.manifest)


def test_references_are_never_empty(tiny: Bundle, copy: Copy) -> None:
    """Every label competes with something."""
    path = copy(tiny)
    references = tiny.references()
    write_references(path, replace(references, texts=(), kinds=(), embeddings=references.embeddings[:0]))
    with pytest.raises(BundleError):
        write_draft(path, tiny.manifest)


def test_a_reference_of_unknown_kind_is_refused(tiny: Bundle, copy: Copy) -> None:
    """References are background or action."""
    path = copy(tiny)
    references = tiny.references()
    write_references(path, replace(references, kinds=("other", *references.kinds[1:])))
    with pytest.raises(BundleError, match="kinds other"):
        write_draft(path, tiny.manifest)


def test_pickled_arrays_are_refused(tiny: Bundle, copy: Copy) -> None:
    """An npz that needs pickle would run code on loading, so it is not read."""
    path = copy(tiny)
    np.savez(path / "references.npz", texts=np.array([{"a": 1}], object))
    with pytest.raises(BundleError, match="without pickle"):
        write_draft(path, tiny.manifest)


def test_garbage_is_no_npz(tiny: Bundle, copy: Copy) -> None:
    """A file that is no archive is a bundle error, not a crash."""
    path = copy(tiny)
    (path / "golden.npz").write_bytes(b"garbage")
    with pytest.raises(BundleError, match=r"golden\.npz"):
        write_draft(path, tiny.manifest)


@pytest.mark.parametrize("spoilt", ["head.onnx", "tokenizer.json"])
def test_a_quick_load_checks_each_file_when_it_is_read(
    tiny: Bundle, copy: Callable[[Bundle], Path], spoilt: str
) -> None:
    """Whoever needs one file of a large bundle waits for no other; nothing that is read goes unchecked."""
    path = copy(tiny)
    (path / spoilt).write_bytes(b"tampered")

    bundle = load(path, check_files=False)

    assert bundle.manifest == tiny.manifest
    assert bundle.read("text.onnx") == tiny.read("text.onnx")
    with pytest.raises(TamperedBundle, match=spoilt):
        bundle.read(spoilt)
