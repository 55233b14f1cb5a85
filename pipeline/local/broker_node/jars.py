"""The broker's jars: pinned by version and sha256, downloaded once per user, checked before every launch.

`jars.json` beside this file lists the resolved dependencies of `org.apache.kafka:kafka_2.13` with its log4j binding,
plus `kafka-tools` for the console consumer. Nothing is resolved at run time, so nothing can drift.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from functools import cache, partial
from importlib import resources
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn

from pipeline.errors import ConfigurationError, TransientError

_ATTEMPTS = 4
_PARALLEL = 6


@dataclass(frozen=True, slots=True)
class Jar:
    """One pinned jar: Maven coordinate `group:artifact:version`, size and hash."""

    coordinate: str
    bytes: int
    sha256: str

    @property
    def file_name(self) -> str:
        """Name of the jar in the cache; versions are part of it."""
        _, artifact, version = self.coordinate.split(":")
        return f"{artifact}-{version}.jar"


@dataclass(frozen=True, slots=True)
class Pinned:
    """The version of Apache Kafka and every jar it needs."""

    version: str
    jars: tuple[Jar, ...]

    @property
    def fingerprint(self) -> str:
        """Short hash over all jars; it names the cache folder."""
        return hashlib.sha256("".join(jar.sha256 for jar in self.jars).encode()).hexdigest()[:12]


@cache
def pinned() -> Pinned:
    """Read the pins that ship with the package."""
    document = json.loads(resources.files(__package__).joinpath("jars.json").read_text())
    return Pinned(document["kafka"], tuple(Jar(**jar) for jar in document["jars"]))


def fetch(folder: Path, pins: Pinned | None = None) -> list[Path]:
    """Return the jars of `folder`, and download those that are missing or altered. Several processes may do so at once.

    Raises ConfigurationError when jgo is not installed or a download has another hash than the pin, TransientError when
    the repository does not answer.
    """
    pins = pins or pinned()
    folder.mkdir(parents=True, exist_ok=True)
    if not _unsound(folder, pins):
        return [folder / jar.file_name for jar in pins.jars]
    with locked(folder / ".lock"):
        missing = _unsound(folder, pins)  # another process may have done it meanwhile
        if missing:
            _download(missing, folder, pins.version)
    return [folder / jar.file_name for jar in pins.jars]


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold an exclusive lock between processes. The kernel releases it when the process dies."""
    with path.open("a") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield


def _unsound(folder: Path, pins: Pinned) -> list[Jar]:
    return [jar for jar in pins.jars if not _sound(folder / jar.file_name, jar)]


def _sound(path: Path, jar: Jar) -> bool:
    try:
        with path.open("rb") as handle:
            return hashlib.file_digest(handle, "sha256").hexdigest() == jar.sha256
    except OSError:
        return False


def _download(jars: list[Jar], folder: Path, version: str) -> None:
    try:
        import jgo.maven  # noqa: F401
    except ImportError as error:
        raise ConfigurationError(
            "the local broker needs the package jgo to download Apache Kafka; run: pip install 'actionwire[demo]'"
        ) from error
    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TimeRemainingColumn())
    workplace = Path(tempfile.mkdtemp(prefix=".download-", dir=folder))
    try:
        with (
            Progress(*columns, console=Console(stderr=True)) as progress,
            ThreadPoolExecutor(_PARALLEL) as pool,
        ):
            task = progress.add_task(f"Apache Kafka {version}", total=sum(jar.bytes for jar in jars))
            one = partial(_download_one, folder=folder, workplace=workplace, advance=partial(progress.advance, task))
            list(pool.map(one, sorted(jars, key=lambda jar: -jar.bytes)))
    finally:
        shutil.rmtree(workplace, ignore_errors=True)


def _download_one(jar: Jar, folder: Path, workplace: Path, advance: Callable[[float], None]) -> None:
    from jgo.config import GlobalSettings
    from jgo.maven import MavenContext, PythonResolver

    @contextmanager
    def progress(file_name: str, total: int) -> Iterator[Callable[[int], None]]:
        yield advance

    group, artifact, version = jar.coordinate.split(":")
    callback: Callable[[str, int], AbstractContextManager[Callable[[int], None]]] = progress
    for attempt in range(_ATTEMPTS):
        context = MavenContext(
            resolver=PythonResolver(progress_callback=callback),
            repo_cache=workplace / f"{jar.file_name}.{attempt}",
            remote_repos=GlobalSettings.load().repositories or None,
            timeout=30,
        )
        try:
            found = context.project(group, artifact).at_version(version).artifact().resolve()
            break
        except Exception as error:  # jgo raises errors of requests and urllib3, and its own RuntimeErrors
            if attempt + 1 == _ATTEMPTS:
                raise TransientError(
                    f"cannot download {jar.coordinate}: {error}; check the network and try again, or copy the jars of "
                    f"another machine's {folder}"
                ) from error
            time.sleep(2.0**attempt)
    if not _sound(Path(found), jar):
        raise ConfigurationError(
            f"{jar.coordinate} as downloaded does not have the sha256 that this release pins ({jar.sha256}); "
            "it was not used. Check the Maven repository that this machine is set up to use"
        )
    Path(found).replace(folder / jar.file_name)
