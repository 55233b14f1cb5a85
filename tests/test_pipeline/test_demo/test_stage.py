"""What the live demo sets up."""

from typing import Any

from pipeline.config.settings import Settings
from pipeline.demo.stage import _delete_topics, _document
from pipeline.errors import TransientError

URLS = {"camera-1": "rtsp://127.0.0.1:8554/camera-1"}


def document(seconds: float = 60) -> dict[str, Any]:
    """Settings of a demo with one camera."""
    return _document(URLS, ("a person falls down",), "127.0.0.1:9092", "demo", seconds)


def test_a_demo_touches_nobody_elses_topics_nor_group() -> None:
    """Its topics have names of their own, and its worker joins a group that no other worker is in."""
    one, other = Settings(**document()), Settings(**document())

    assert one.topics.namespace != other.topics.namespace
    assert one.worker.group == one.topics.namespace


def test_frames_are_kept_until_they_are_replayed() -> None:
    """The longest demo lasts an hour; half an hour of retention would lose its beginning."""
    assert Settings(**document(3600)).topics.frames_retention_minutes == 90


def test_topics_that_cannot_be_deleted_are_named() -> None:
    """A cluster that is away at the end is no reason to end otherwise; what stays behind is said."""

    class Away:
        def delete_topics(self, topics: list[str], seconds: float) -> None:
            raise TransientError("Kafka does not answer")

    said: list[str] = []
    settings = Settings(**document())

    _delete_topics(Away(), settings, said.append)  # type: ignore[arg-type]

    assert f"{settings.topics.namespace}.frames" in said[0]
    assert "does not answer" in said[0]
