"""A bundle from an address: the one that was told, whole, and nothing beside it."""

from __future__ import annotations

import hashlib
import io
import tarfile
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from engines.bundle import fetch as module
from engines.bundle.fetch import fetch
from engines.bundle.files import Bundle
from engines.bundle.store import entries, resolve
from engines.cli import app
from engines.errors import BundleError, IncompatibleBundle, TamperedBundle
from engines.testing import tiny_bundle

Make = Callable[..., tuple[str, str]]


@pytest.fixture
def archive(tmp_path: Path) -> Make:
    """Packs files into an archive, and returns its address and sha256."""

    def make(*members: tuple[str, bytes | None], form: str = "gz") -> tuple[str, str]:
        path = tmp_path / "archive.tar"
        with tarfile.open(path, f"w:{form}") as tar:
            for name, content in members:
                entry = tarfile.TarInfo(name)
                if content is None:
                    entry.type, entry.linkname = tarfile.SYMTYPE, "/etc/passwd"
                entry.size = len(content or b"")
                tar.addfile(entry, io.BytesIO(content or b""))
        return path.as_uri(), hashlib.sha256(path.read_bytes()).hexdigest()

    return make


def files(bundle: Bundle, folder: str = ".") -> list[tuple[str, bytes | None]]:
    """The files of a bundle, as members of an archive."""
    return [(f"{folder}/{path.name}", path.read_bytes()) for path in sorted(bundle.path.iterdir())]


@pytest.fixture
def server(tiny: Bundle) -> Iterator[str]:
    """An HTTP server with the tiny bundle at /bundle.tar, which hangs up half-way at /half.tar."""
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:xz") as tar:
        tar.add(tiny.path, arcname="tiny")
    content = packed.getvalue()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            if not self.path.startswith(("/bundle.tar", "/half.tar")):
                self.send_error(404)
                return
            self.send_response(200)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content[: len(content) // 2] if "half" in self.path else content)

        def log_message(self, *_: Any) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as running:
        thread = threading.Thread(target=running.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{running.server_port} {hashlib.sha256(content).hexdigest()}"
        running.shutdown()
        thread.join()


@pytest.mark.parametrize("folder", [".", "tiny-0.1.0", "a/b"])
def test_a_bundle_comes_from_an_archive(tiny: Bundle, tmp_path: Path, archive: Make, folder: str) -> None:
    """In whatever folder its files lie; it is stored, and no channel stands on it."""
    stored = fetch(*archive(*files(tiny, folder)), tmp_path / "store")
    assert stored.manifest == tiny.manifest
    assert [(entry.version, entry.channels) for entry in entries(tmp_path / "store")] == [("0.1.0", ())]


def test_a_bundle_comes_over_http(server: str, tiny: Bundle, tmp_path: Path) -> None:
    """By the command, which may let a channel stand on it; what was fetched is told without its signature."""
    url, sha256 = server.split()
    command = ["fetch", f"{url}/bundle.tar?signature=secret", "--sha256", sha256, "--store", str(tmp_path)]
    result = CliRunner().invoke(app, [*command, "--channel", "candidate"])
    assert result.exit_code == 0, result.output
    assert "tiny@0.1.0 is candidate now" in result.stdout and f"fetching {url}/bundle.tar" in result.stderr
    assert "secret" not in result.output
    assert resolve("tiny:candidate", tmp_path) == tmp_path / "tiny" / "0.1.0"


def test_an_answer_that_breaks_off_is_no_bundle(server: str, tmp_path: Path) -> None:
    """Nothing of it reaches the store, and neither does a page that is not there."""
    url, sha256 = server.split()
    with pytest.raises((TamperedBundle, BundleError)):
        fetch(f"{url}/half.tar", sha256, tmp_path / "store")
    with pytest.raises(BundleError, match=r"cannot be fetched by http \(Not Found\); check the address"):
        fetch(f"{url}/other", sha256, tmp_path / "store")
    assert not (tmp_path / "store").exists()


def test_another_archive_is_not_opened(tiny: Bundle, tmp_path: Path, archive: Make) -> None:
    """Both hashes are named."""
    url, sha256 = archive(*files(tiny))
    with pytest.raises(TamperedBundle, match=f"has the sha256 {sha256}, not {'0' * 64}: it is another file"):
        fetch(url, "0" * 64, tmp_path / "store")
    assert not (tmp_path / "store").exists()


@pytest.mark.parametrize(
    ("url", "sha256", "words"),
    [
        ("file:///x", "12ab", "is no sha256"),
        ("file:///x", "g" * 64, "is no sha256"),
        ("ftp://x/y", "0" * 64, "no address that can be fetched; use https"),
        ("bundle.tar", "0" * 64, "no address that can be fetched"),
        ("file:///nowhere/bundle.tar", "0" * 64, "cannot be fetched by file"),
        ("http://user:word@127.0.0.1:1/x?key=word", "0" * 64, r"^http://127\.0\.0\.1:1/x cannot be fetched"),
    ],
)
def test_what_cannot_be_fetched_is_said(tmp_path: Path, url: str, sha256: str, words: str) -> None:
    """Without user name, password and signature."""
    with pytest.raises(BundleError, match=words) as refused:
        fetch(url, sha256, tmp_path)
    assert "word" not in str(refused.value).removeprefix(words)


@pytest.mark.parametrize(
    "extra",
    [
        [("../../outside", b"x")],
        [("tiny/link", None)],
        [("other/bundle.json", b"{}")],
        [(f"file-{number}", b"") for number in range(module.MOST_FILES)],
    ],
)
def test_a_strange_member_is_refused(
    tiny: Bundle, tmp_path: Path, archive: Make, extra: list[tuple[str, bytes | None]]
) -> None:
    """A path that leads outside, a link, a name that comes twice, very many files: nothing is written for any."""
    with pytest.raises(BundleError):
        fetch(*archive(*files(tiny), *extra), tmp_path / "store")
    assert not (tmp_path / "store").exists() and not (tmp_path.parent / "outside").exists()


def test_a_bomb_is_cut_off(tiny: Bundle, tmp_path: Path, archive: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a small archive unpacks to is counted, not what it says."""
    address = archive(*files(tiny), ("zeros", bytes(10**7)))
    monkeypatch.setattr(module, "MOST_BYTES", 10**6)
    with pytest.raises(BundleError, match="unpacks to more than"):
        fetch(*address, tmp_path / "store")
    monkeypatch.setattr(module, "MOST_BYTES", 10)
    with pytest.raises(BundleError, match="is larger than"):
        fetch(*address, tmp_path / "store")


@pytest.mark.parametrize("content", [b"", b"no archive", b"\x1f\x8b\x08garbage"])
def test_garbage_is_no_archive(tmp_path: Path, content: bytes) -> None:
    """Though it is the file that was told."""
    path = tmp_path / "archive"
    path.write_bytes(content)
    with pytest.raises(BundleError, match=r"is no tar archive|holds no bundle|no bundle at"):
        fetch(path.as_uri(), hashlib.sha256(content).hexdigest(), tmp_path / "store")


def test_an_archive_without_a_bundle_is_named(tmp_path: Path, archive: Make) -> None:
    """It may hold anything else."""
    with pytest.raises(BundleError, match="holds no bundle"):
        fetch(*archive(("readme", b"hello")), tmp_path / "store")


def test_a_version_that_is_taken_stays(tiny: Bundle, tmp_path: Path, archive: Make) -> None:
    """Another bundle under the same name and version is refused."""
    fetch(*archive(*files(tiny)), tmp_path / "store")
    other = Bundle(tiny_bundle(tmp_path / "other", seed=5), tiny.manifest)
    with pytest.raises(IncompatibleBundle, match="new version"):
        fetch(*archive(*files(other)), tmp_path / "store")
