from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from engines.bundle.files import Bundle, load
from engines.bundle.store import DEMO, demo_path, entries, followed, publish, resolve, rollback, watch
from engines.errors import BundleNotFound, IncompatibleBundle, TamperedBundle
from engines.testing import tiny_bundle


@pytest.fixture
def later(tmp_path: Path) -> Bundle:
    """A later version under the same name."""
    return load(tiny_bundle(tmp_path / "later", version="0.2.0", seed=1))


def listed(store: Path) -> list[tuple[str, bool]]:
    """What the store holds, as NAME@VERSION and whether it is current."""
    return [(f"{entry.name}@{entry.version}", entry.current) for entry in entries(store)]


def test_a_published_bundle_is_a_whole_copy(tiny: Bundle, tmp_path: Path) -> None:
    """The store holds a bundle of its own, which loads after the source is gone."""
    source = Path(shutil.copytree(tiny.path, tmp_path / "source"))
    stored = publish(tmp_path / "store", source)
    shutil.rmtree(source)
    assert load(stored.path).manifest == tiny.manifest
    assert listed(tmp_path / "store") == [("tiny@0.1.0", True)]
    assert not list((tmp_path / "store").rglob(".*"))


def test_the_last_published_version_is_current(tiny: Bundle, later: Bundle, tmp_path: Path) -> None:
    """A new version takes over, the old one stays."""
    store = tmp_path / "store"
    publish(store, tiny.path)
    publish(store, later.path)
    assert listed(store) == [("tiny@0.1.0", False), ("tiny@0.2.0", True)]


def test_roll_back_goes_back_step_by_step(tiny: Bundle, later: Bundle, tmp_path: Path) -> None:
    """Each roll-back makes the version before current; before the first there is nothing."""
    store = tmp_path / "store"
    for bundle in (tiny, later, tiny):
        publish(store, bundle.path)
    assert listed(store) == [("tiny@0.1.0", True), ("tiny@0.2.0", False)]
    assert rollback(store, "tiny").manifest == later.manifest
    assert rollback(store, "tiny").manifest == tiny.manifest
    with pytest.raises(BundleNotFound, match="no earlier version of tiny"):
        rollback(store, "tiny")
    assert listed(store) == [("tiny@0.1.0", True), ("tiny@0.2.0", False)]


def test_a_damaged_version_is_not_rolled_back_to(tiny: Bundle, later: Bundle, tmp_path: Path) -> None:
    """A roll-back verifies the bundle first, and changes nothing where it is not whole."""
    store = tmp_path / "store"
    first = publish(store, tiny.path)
    publish(store, later.path)
    (first.path / "head.onnx").write_bytes(b"")
    with pytest.raises(TamperedBundle):
        rollback(store, "tiny")
    assert ("tiny@0.2.0", True) in listed(store)


def test_publishing_twice_changes_nothing(tiny: Bundle, tmp_path: Path) -> None:
    """The same bundle again is no error and adds no history."""
    store = tmp_path / "store"
    publish(store, tiny.path)
    publish(store, tiny.path)
    with pytest.raises(BundleNotFound):
        rollback(store, "tiny")


def test_a_version_never_changes(tiny: Bundle, tmp_path: Path) -> None:
    """Another bundle under a version that is taken is refused, and the one that is there stays."""
    store = tmp_path / "store"
    publish(store, tiny.path)
    with pytest.raises(IncompatibleBundle, match="new version"):
        publish(store, tiny_bundle(tmp_path / "other", seed=5))
    assert load(resolve("tiny", store)).manifest == tiny.manifest


def test_a_draft_is_not_published(tmp_path: Path) -> None:
    """Only sealed bundles go into a store, and a refusal leaves nothing behind."""
    with pytest.raises(IncompatibleBundle, match="draft"):
        publish(tmp_path / "store", tiny_bundle(tmp_path / "draft", sealed=False))
    assert entries(tmp_path / "store") == []


def test_a_bundle_is_found_by_path_name_and_version(tiny: Bundle, later: Bundle, tmp_path: Path) -> None:
    """A path needs no store; a name means its current version."""
    store = tmp_path / "store"
    publish(store, tiny.path)
    publish(store, later.path)
    assert resolve(str(tiny.path)) == tiny.path
    assert resolve("tiny", store) == store / "tiny" / "0.2.0"
    assert resolve("tiny@0.1.0", store) == store / "tiny" / "0.1.0"


@pytest.mark.parametrize("reference", ["other", "tiny@9", "../store/tiny", "tiny@../0.1.0", "tiny@", "@0.1.0", ""])
def test_what_is_not_there_is_not_found(tiny: Bundle, tmp_path: Path, reference: str) -> None:
    """An unknown name or version, or one that tries to leave the store, says what the store holds."""
    store = tmp_path / "store"
    publish(store, tiny.path)
    if reference == "tiny@":
        assert resolve(reference, store) == resolve("tiny", store)
        return
    with pytest.raises(BundleNotFound, match=r"tiny@0\.1\.0"):
        resolve(reference, store)


def test_demo_is_the_shipped_bundle(tmp_path: Path) -> None:
    """`demo` is package data; a build without one says how to make it."""
    try:
        shipped = demo_path()
    except BundleNotFound as error:
        assert "make demo-model" in str(error)
    else:
        assert resolve(DEMO, tmp_path) == shipped
        assert load(shipped).manifest.name == DEMO


def test_a_published_demo_comes_before_the_shipped_one(tmp_path: Path) -> None:
    """A user who publishes a bundle called demo means that one."""
    stored = publish(tmp_path / "store", tiny_bundle(tmp_path / "mine", name=DEMO))
    assert resolve(DEMO, tmp_path / "store") == stored.path


def test_only_a_bare_name_stands_for_whatever_becomes_current(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A path stays what it is, and so does a version; a path in this folder looks like a name and is a path."""
    tiny_bundle(tmp_path / "here")
    monkeypatch.chdir(tmp_path)
    references = ("tiny", DEMO, "tiny@0.1.0", "here", str(tmp_path / "here"), "bundles/tiny")
    assert [followed(one) for one in references] == ["tiny", DEMO, None, None, None, None]


def test_watching_tells_each_change_once(tiny: Bundle, later: Bundle, tmp_path: Path) -> None:
    """A watcher hears of the first version, of a newer one and of a roll-back, and of nothing in between.

    asked     1     2  3     4  5          6  7
    store   (none)  v1       v2   rollback
    hears     -     v1 -     v2 -          v1 -
    """
    store = tmp_path / "store"
    news = watch(store, "tiny")
    assert next(news) is None
    publish(store, tiny.path)
    assert [next(news), next(news)] == [store / "tiny" / "0.1.0", None]
    publish(store, later.path)
    assert [next(news), next(news)] == [store / "tiny" / "0.2.0", None]
    rollback(store, "tiny")
    assert [next(news), next(news)] == [store / "tiny" / "0.1.0", None]


def test_a_watcher_survives_an_unreadable_pointer(tiny: Bundle, tmp_path: Path) -> None:
    """A damaged pointer file is no news, not a crash of a running worker."""
    store = tmp_path / "store"
    publish(store, tiny.path)
    news = watch(store, "tiny")
    assert next(news) is not None
    for content in ("", "[]", '{"version": 1}'):
        (store / "tiny" / "current.json").write_text(content)
        assert next(news) is None
