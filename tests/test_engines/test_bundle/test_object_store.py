"""The store in an object store, in memory: the same promises as a folder's, through the same functions."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from engines.bundle import object_store
from engines.bundle.files import Bundle, load
from engines.bundle.object_store import LOOK_SECONDS
from engines.bundle.objects import Objects, open_objects
from engines.bundle.store import (
    attach,
    default_store,
    demo_path,
    entries,
    open_store,
    prune,
    publish,
    put_back,
    resolve,
    rollback,
    watch,
)
from engines.errors import BundleError, BundleNotFound, IncompatibleBundle, TamperedBundle
from engines.testing import tiny_bundle

PUBLISHES = 40


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Objects:
    """An empty object store, and a host with an empty cache."""
    pytest.importorskip("obstore")
    another_host(tmp_path / "cache", monkeypatch)
    return open_objects("memory:///")


def another_host(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """From now on the commands run on a host with this cache."""
    monkeypatch.setenv("ACTIONWIRE_CACHE", str(cache))


@pytest.fixture
def later(tmp_path: Path) -> Bundle:
    """A later version under the same name."""
    return load(tiny_bundle(tmp_path / "later", version="0.2.0", seed=1))


def test_what_one_host_publishes_another_runs(
    store: Objects, tiny: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Fetched once into its cache, and checked there like any bundle."""
    publish(store, tiny.path)
    another_host(tmp_path / "other", monkeypatch)
    path = resolve("tiny", store)
    assert path.is_relative_to(tmp_path / "other") and load(path).manifest == tiny.manifest
    assert resolve("tiny@0.1.0", store) == path
    (entry,) = entries(store)
    assert (entry.path, entry.current, entry.channels) == (path, True, ("stable",))


def test_channels_move_and_go_back(store: Objects, tiny: Bundle, later: Bundle) -> None:
    """As in a folder."""
    publish(store, tiny.path)
    publish(store, later.path, "candidate")
    assert [entry.channels for entry in entries(store)] == [("stable",), ("candidate",)]
    publish(store, later.path)
    assert load(resolve("tiny", store)).manifest == later.manifest
    assert rollback(store, "tiny").manifest == tiny.manifest
    with pytest.raises(BundleNotFound, match="no earlier version of tiny on the channel stable"):
        rollback(store, "tiny")
    assert load(resolve("tiny:candidate", store)).manifest == later.manifest


def test_a_channel_is_put_back_once(store: Objects, tiny: Bundle, later: Bundle) -> None:
    """By whoever is first; a channel that moved meanwhile stays."""
    publish(store, tiny.path)
    publish(store, later.path)
    assert not put_back(store, "tiny", bad="0.3.0", good="0.1.0")
    assert put_back(store, "tiny", bad="0.2.0", good="0.1.0")
    assert not put_back(store, "tiny", bad="0.2.0", good="0.1.0")
    assert resolve("tiny", store).name == "0.1.0"
    with pytest.raises(BundleNotFound, match="no channel candidate of tiny"):
        put_back(store, "tiny:candidate", bad="0.2.0", good="0.1.0")


def test_a_version_never_changes(store: Objects, tiny: Bundle, tmp_path: Path) -> None:
    """Another bundle under a version that is taken is refused."""
    publish(store, tiny.path)
    publish(store, tiny.path)
    with pytest.raises(IncompatibleBundle, match="new version"):
        publish(store, tiny_bundle(tmp_path / "other", seed=5))
    assert load(resolve("tiny", store)).manifest == tiny.manifest


def test_a_publication_that_broke_off_is_not_there(store: Objects, tiny: Bundle) -> None:
    """The manifest comes last: without it there is no bundle, and publishing again completes it."""
    store.write("tiny/0.1.0/head.onnx", tiny.read("head.onnx"))
    assert entries(store) == []
    with pytest.raises(BundleNotFound, match=r"the store memory:// holds nothing"):
        resolve("tiny@0.1.0", store)
    publish(store, tiny.path)
    assert load(resolve("tiny", store)).manifest == tiny.manifest


def test_two_bundles_are_not_mixed_under_one_version(store: Objects, tiny: Bundle, tmp_path: Path) -> None:
    """Files of another bundle, whose publisher may still be writing, stop this one; `prune` removes what is left."""
    publish(store, tiny_bundle(tmp_path / "first", version="0.0.1"))
    store.write("tiny/0.1.0/head.onnx", b"of another")
    with pytest.raises(IncompatibleBundle, match="is of another bundle, which somebody publishes at the moment"):
        publish(store, tiny.path)
    assert prune(store, "tiny") == ["memory:///tiny/0.1.0"]
    assert publish(store, tiny.path).manifest == tiny.manifest


def test_damage_is_found_where_it_is_fetched(
    store: Objects, tiny: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And nothing of it is kept."""
    publish(store, tiny.path)
    store.write("tiny/0.1.0/head.onnx", b"other")
    another_host(tmp_path / "other", monkeypatch)
    with pytest.raises(TamperedBundle, match=r"head\.onnx"):
        resolve("tiny", store)
    assert not list((tmp_path / "other").rglob("bundle.json"))


def test_two_publishers_forget_nothing_of_each_other(store: Objects, tmp_path: Path) -> None:
    """Each publishes its two bundles in turn, at the same time: whoever was slower reads anew and writes again."""
    bundles = [tiny_bundle(tmp_path / name, version=f"0.{name}", seed=seed) for seed, name in enumerate("1234")]
    failed: list[BaseException] = []

    def publisher(pair: list[Path]) -> None:
        try:
            for number in range(PUBLISHES):
                publish(store, pair[number % 2])
        except BaseException as error:
            failed.append(error)

    threads = [threading.Thread(target=publisher, args=(pair,)) for pair in (bundles[:2], bundles[2:])]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failed == []
    pointer = object_store._pointer(store, "tiny", "stable")
    assert pointer is not None
    told = [*pointer.history, pointer.version]
    assert len(told) == 2 * PUBLISHES
    for pair in (("0.1", "0.2"), ("0.3", "0.4")):
        assert [version for version in told if version in pair] == [pair[number % 2] for number in range(PUBLISHES)]


def test_a_watcher_asks_now_and_then(store: Objects, tiny: Bundle, later: Bundle) -> None:
    """Every question is a request: news comes with the first one after ten seconds.

    at       0    1     11   12
    store    v1   v2
    hears    v1   -     v2   -
    """
    moments: Iterator[float] = iter([0.0, 0.0, 1.0, LOOK_SECONDS + 1, LOOK_SECONDS + 1, LOOK_SECONDS + 2])
    news = object_store.watch(store, "tiny", lambda: next(moments))
    publish(store, tiny.path)
    assert next(news) == resolve("tiny", store)
    publish(store, later.path)
    assert next(news) is None
    assert next(news) == resolve("tiny@0.2.0", store)
    assert next(news) is None


def test_a_watcher_survives_a_store_that_does_not_answer(
    store: Objects, tiny: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No answer and half a bundle are no news; the worker runs on."""
    publish(store, tiny.path)
    moments = iter(range(0, 1000, 100))
    news = object_store.watch(store, "tiny", lambda: float(next(moments)))

    def silent(*_: Any) -> None:
        raise BundleError("the network is down")

    with monkeypatch.context() as patch:
        patch.setattr(Objects, "read", silent)
        assert next(news) is None
    assert next(news) == resolve("tiny", store)


def test_prune_leaves_what_channels_need(store: Objects, tmp_path: Path) -> None:
    """As in a folder; cards go with their bundles."""
    for number in range(1, 5):
        stored = publish(store, tiny_bundle(tmp_path / str(number), version=f"{number}", seed=number))
        attach(store, stored, "# a card")
    assert prune(store, "tiny", keep=1) == ["memory:///tiny/1", "memory:///tiny/2"]
    assert [entry.version for entry in entries(store)] == ["3", "4"]
    assert rollback(store, "tiny").manifest.version == "3"
    with pytest.raises(BundleNotFound):
        rollback(store, "tiny")
    assert [path for path in store.paths() if path.startswith(("tiny/1", "tiny/2"))] == []
    with pytest.raises(BundleNotFound, match="holds no bundle other"):
        prune(store, "other")


def test_a_pointer_that_cannot_be_read_is_not_forgotten(store: Objects, tiny: Bundle) -> None:
    """Publishing over it would lose the history without a word."""
    store.write("tiny/current.json", b'{"version": ')
    with pytest.raises(BundleError, match="cannot be read, nor its history"):
        publish(store, tiny.path)


def test_references_that_lead_elsewhere_find_nothing(store: Objects, tiny: Bundle) -> None:
    """A path needs no store, the shipped demo neither; the rest is said with what there is."""
    publish(store, tiny.path)
    assert resolve(str(tiny.path), store) == tiny.path
    assert resolve("demo", store) == demo_path()
    for reference in ("other", "tiny@9", "../tiny", "tiny@../0.1.0", "tiny:beta", ""):
        with pytest.raises(BundleNotFound, match=r"holds tiny@0\.1\.0"):
            resolve(reference, store)
    assert next(watch(store, "tiny")) == resolve("tiny", store)


@pytest.mark.parametrize("address", ["ftp://host/bundles", "http://host/bundles", "://", "s4://x"])
def test_an_address_of_another_kind_is_refused(address: str) -> None:
    """With those that are understood."""
    with pytest.raises(BundleError, match="is no store; name a folder, or an address that begins with s3://"):
        open_store(address)


def test_the_environment_names_an_object_store(monkeypatch: pytest.MonkeyPatch) -> None:
    """For commands and workers alike; without the package it is said what to install."""
    pytest.importorskip("obstore")
    monkeypatch.setenv("ACTIONWIRE_STORE", "s3://bucket/bundles/")
    assert str(default_store()) == "s3://bucket/bundles"
    monkeypatch.setitem(__import__("sys").modules, "obstore", None)
    with pytest.raises(BundleError, match=r"needs obstore .*; pip install 'actionwire\[objects\]'"):
        default_store()
