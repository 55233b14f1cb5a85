"""The seam to object stores, S3 and others: small objects by name, written only if nobody else wrote meanwhile.

`obstore` (the extra `objects`) reads credentials and regions from the environment, as AWS_ACCESS_KEY_ID.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, cast

from engines.errors import BundleError

SCHEMES = ("s3", "gs", "az", "abfs", "memory")


@dataclass(frozen=True, slots=True)
class Objects:
    """An open object store below one prefix."""

    url: str
    """As the user wrote it, without credentials; they never stand in an address here."""
    client: Any

    def __str__(self) -> str:
        return self.url

    def read(self, path: str) -> tuple[bytes, Mapping[str, str]] | None:
        """Return an object and its tag, which changes with its content; None where there is none."""
        import obstore

        with self._translated("read", path):
            try:
                found = obstore.get(self.client, path)
                tag = {name: str(found.meta[name]) for name in ("e_tag", "version") if found.meta.get(name)}
                return bytes(found.bytes()), tag
            except FileNotFoundError:
                return None

    def create(self, path: str, content: bytes) -> bool:
        """Write a new object; False where there is one already, which stays."""
        import obstore

        with self._translated("written", path):
            try:
                obstore.put(self.client, path, content, mode="create")
            except obstore.exceptions.AlreadyExistsError:
                return False
        return True

    def replace(self, path: str, content: bytes, tag: Mapping[str, str]) -> bool:
        """Write an object that still has this tag; False where it has another by now, or is gone."""
        import obstore

        with self._translated("written", path):
            try:
                obstore.put(self.client, path, content, mode=cast(Any, dict(tag)))
            except (obstore.exceptions.PreconditionError, FileNotFoundError):
                return False
        return True

    def write(self, path: str, content: bytes) -> None:
        """Write an object whatever is there."""
        import obstore

        with self._translated("written", path):
            obstore.put(self.client, path, content)

    def paths(self, prefix: str = "") -> list[str]:
        """Return the paths of all objects below a prefix, sorted."""
        import obstore

        with self._translated("listed", prefix):
            return sorted(str(one["path"]) for part in obstore.list(self.client, prefix or None) for one in part)

    def remove(self, paths: list[str]) -> None:
        """Remove objects; one that is not there is no error."""
        import obstore

        with self._translated("removed", ", ".join(paths[:1])):
            if paths:
                obstore.delete(self.client, paths)

    @contextmanager
    def _translated(self, done: str, path: str) -> Iterator[None]:
        import obstore

        try:
            yield
        except (obstore.exceptions.BaseError, OSError, NotImplementedError) as error:
            first = str(error).splitlines()[0] if str(error) else type(error).__name__
            raise BundleError(
                f"{self.url}/{path} cannot be {done} ({first[:200]}); check address, credentials and network"
            ) from error


def open_objects(url: str) -> Objects:
    """Open an object store: s3://BUCKET/PREFIX, gs://..., az://... Raises BundleError."""
    if url.partition("://")[0] not in SCHEMES:
        raise BundleError(f"{url} is no store; name a folder, or an address that begins with s3://, gs:// or az://")
    try:
        import obstore
        from obstore.store import from_url
    except ImportError as error:
        raise BundleError(f"a store at {url} needs obstore ({error}); pip install 'actionwire[objects]'") from error
    try:
        scheme, _, place = url.partition("://")
        return Objects(f"{scheme}://{place.rstrip('/')}", from_url(url))
    except (obstore.exceptions.BaseError, ValueError) as error:
        raise BundleError(f"{url} cannot be opened ({str(error).splitlines()[0][:200]}); check the address") from error
