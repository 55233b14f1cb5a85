from __future__ import annotations

import shutil
import threading
from pathlib import Path

import pytest

from engines.bundle import channels
from engines.bundle.files import Bundle, load
from engines.bundle.store import (
    DEMO,
    add,
    demo_path,
    entries,
    followed,
    prune,
    publish,
    put_back,
    resolve,
    rollback,
    watch,
)
from engines.errors import BundleError, BundleNotFound, IncompatibleBundle, TamperedBundle
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
    assert [path.name for path in (tmp_path / "store").rglob(".*")] == [".lock"]


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


def test_a_channel_is_put_back_once_however_many_ask(tiny: Bundle, later: Bundle, tmp_path: Path) -> None:
    """Every worker of a fleet finds the same bundle bad, within the same second; one of them moves the channel.

    stable    0.1.0 -> 0.2.0 -> 0.1.0 and no further
    """
    store = tmp_path / "store"
    publish(store, tiny.path)
    publish(store, later.path)
    moved, together = list[bool](), threading.Barrier(8)

    def ask() -> None:
        together.wait(20)
        moved.append(put_back(store, "tiny", bad="0.2.0", good="0.1.0"))

    threads = [threading.Thread(target=ask) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert sorted(moved) == [False] * 7 + [True]
    assert channels.read(store, "tiny") == channels.Pointer("0.1.0")


def test_a_channel_that_a_person_moved_meanwhile_stays(tiny: Bundle, later: Bundle, tmp_path: Path) -> None:
    """And so does one that never stood on the version to go back to, or whose version is damaged, or that is none."""
    store = tmp_path / "store"
    first = publish(store, tiny.path)
    publish(store, later.path)
    assert not put_back(store, "tiny", bad="0.3.0", good="0.1.0")
    assert not put_back(store, "tiny:stable", bad="0.2.0", good="0.0.9")
    (first.path / "head.onnx").write_bytes(b"")
    with pytest.raises(TamperedBundle):
        put_back(store, "tiny", bad="0.2.0", good="0.1.0")
    with pytest.raises(BundleNotFound, match="no channel candidate of tiny"):
        put_back(store, "tiny:candidate", bad="0.2.0", good="0.1.0")
    assert channels.read(store, "tiny") == channels.Pointer("0.2.0", ("0.1.0",))


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


def test_channels_stand_where_they_were_put(tiny: Bundle, later: Bundle, tmp_path: Path) -> None:
    """A candidate does not touch what is stable; each has a history of its own."""
    store = tmp_path / "store"
    publish(store, tiny.path)
    publish(store, tiny.path, "candidate")
    publish(store, later.path, "candidate")
    first, second = entries(store)
    assert (first.current, first.channels) == (True, ("stable",))
    assert (second.current, second.channels) == (False, ("candidate",))
    assert resolve("tiny", store) == resolve("tiny:stable", store) == first.path
    assert resolve("tiny:candidate", store) == second.path
    assert rollback(store, "tiny", "candidate").manifest == tiny.manifest
    assert resolve("tiny:candidate", store) == resolve("tiny", store)
    with pytest.raises(BundleNotFound, match="no earlier version of tiny on the channel stable"):
        rollback(store, "tiny")


def test_a_channel_that_nobody_published_to_is_said_to_hold_nothing(
    tiny: Bundle, later: Bundle, tmp_path: Path
) -> None:
    """What there is is listed, with the channels that stand on it."""
    store = tmp_path / "store"
    publish(store, tiny.path)
    publish(store, later.path, "candidate")
    with pytest.raises(BundleNotFound, match=r"no bundle tiny:beta: .* tiny@0\.1\.0, tiny@0\.2\.0 \(candidate\)"):
        resolve("tiny:beta", store)


@pytest.mark.parametrize("channel", ["", "current", "Stable", "../x", "a b", "1st", "x" * 60])
def test_a_channel_has_a_plain_name(tiny: Bundle, tmp_path: Path, channel: str) -> None:
    """Anything else is refused before a file is written."""
    with pytest.raises(BundleError, match="no name of a channel"):
        publish(tmp_path / "store", tiny.path, channel)
    assert not (tmp_path / "store").exists()


def test_a_watcher_follows_its_channel(tiny: Bundle, later: Bundle, tmp_path: Path) -> None:
    """And hears nothing of the others."""
    store = tmp_path / "store"
    publish(store, tiny.path)
    stable, candidate = watch(store, "tiny"), watch(store, "tiny:candidate")
    assert [next(stable), next(candidate)] == [store / "tiny" / "0.1.0", None]
    publish(store, later.path, "candidate")
    assert [next(stable), next(candidate)] == [None, store / "tiny" / "0.2.0"]
    assert followed("tiny:candidate") == "tiny:candidate"


def test_what_was_added_is_there_for_nobody_to_follow(tiny: Bundle, tmp_path: Path) -> None:
    """Until somebody publishes it."""
    add(tmp_path / "store", tiny.path)
    assert listed(tmp_path / "store") == [("tiny@0.1.0", False)]
    assert next(watch(tmp_path / "store", "tiny")) is None


def test_a_pointer_that_cannot_be_read_is_not_forgotten(tiny: Bundle, later: Bundle, tmp_path: Path) -> None:
    """Publishing over it would lose the history without a word: it is refused until a person has looked."""
    store = tmp_path / "store"
    publish(store, tiny.path)
    (store / "tiny" / "current.json").write_text('{"version": ')
    with pytest.raises(BundleError, match="cannot be read, and with it the history; put it back, or remove it"):
        publish(store, later.path)
    (store / "tiny" / "current.json").unlink()
    assert publish(store, later.path).manifest == later.manifest


def test_prune_leaves_what_channels_need(tmp_path: Path) -> None:
    """Where they stand, and the last version before; the rest goes, and with it its place in the history.

    stable     1 -> 2 -> 3 -> 4        keeps 4 and 3
    candidate            3 -> 5        keeps 5 and 3
    """
    store = tmp_path / "store"
    paths = {number: tiny_bundle(tmp_path / str(number), version=f"{number}", seed=number) for number in range(1, 7)}
    for number in (1, 2, 3, 4):
        publish(store, paths[number])
    for number in (3, 5):
        publish(store, paths[number], "candidate")
    add(store, paths[6])
    assert [Path(path).name for path in prune(store, "tiny", keep=1)] == ["1", "2", "6"]
    assert [entry.version for entry in entries(store)] == ["3", "4", "5"]
    assert rollback(store, "tiny").manifest.version == "3"
    with pytest.raises(BundleNotFound):
        rollback(store, "tiny")
    assert prune(store, "tiny", keep=0) == [str(store / "tiny" / "4")]
    assert not [path for path in (store / "tiny").glob(".*") if path.is_dir()]


def test_prune_of_a_name_that_is_not_there(tmp_path: Path) -> None:
    """Says so, and makes no folder."""
    for name in ("other", "..", ""):
        with pytest.raises(BundleNotFound, match="holds no bundle"):
            prune(tmp_path, name)
    assert not list(tmp_path.iterdir())
