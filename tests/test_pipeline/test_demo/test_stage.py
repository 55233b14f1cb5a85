"""What a live demo starts, and what it takes from the environment."""

from typing import Any

import pytest

from pipeline.config.settings import Settings
from pipeline.demo.stage import _delete_topics, _document, forget_settings
from pipeline.errors import TransientError

ELSEWHERE = {"HOME": "/home/ann", "ACTIONWIRE_CACHE": "/cache", "ACTIONWIRE_STORE": "/store", "ACTIONWIRELESS": "1"}
DEPLOYMENT = {
    "ACTIONWIRE_CONFIG": "/etc/actionwire.yaml",
    "ACTIONWIRE_LABELS": '["a person falls down"]',
    "ACTIONWIRE_TOPICS__NAMESPACE": "production",
    "actionwire_events__enter": "0.9",
    "ACTIONWIRE_RATE": "8",
}
CLUSTER = {"ACTIONWIRE_KAFKA__USERNAME": "ann", "ACTIONWIRE_KAFKA__PASSWORD": "secret"}
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
    """A cluster that is away at the end is no failure of the demo; the topics that stay behind are named."""

    class Away:
        def delete_topics(self, topics: list[str], seconds: float) -> None:
            raise TransientError("Kafka does not answer")

    said: list[str] = []
    settings = Settings(**document())

    _delete_topics(Away(), settings, said.append)  # type: ignore[arg-type]

    assert f"{settings.topics.namespace}.frames" in said[0]
    assert "does not answer" in said[0]


@pytest.mark.parametrize(("kafka", "kept"), [(False, ELSEWHERE), (True, ELSEWHERE | CLUSTER)])
def test_settings_of_a_deployment_play_no_part(kafka: bool, kept: dict[str, str]) -> None:
    """Folders stay and settings go. With a cluster of the user, its login stays; --bootstrap names the cluster."""
    environment = {**ELSEWHERE, **DEPLOYMENT, **CLUSTER, "ACTIONWIRE_KAFKA__BOOTSTRAP": "prod:9092"}
    environment["ACTIONWIRE_KAFKA"] = '{"bootstrap": "prod:9092"}'

    forget_settings(environment, kafka=kafka)

    assert environment == kept
