"""The settings of a shadow worker: the deployment's own, with another bundle, group, place and topics to write to."""

from __future__ import annotations

import zlib

from engines.bundle.store import followed
from pipeline.config.settings import Settings
from pipeline.config.topics import Topic, TopicsSettings
from pipeline.errors import ConfigurationError

_SUFFIX = "-shadow"
_OWN = ("events", "state", "dead")


class ShadowTopics(TopicsSettings):
    """What is read is the deployment's; what a commit writes goes to topics of the shadow."""

    def name(self, topic: Topic) -> str:
        """See `TopicsSettings.name`: `actionwire.shadow-events` instead of `actionwire.events`."""
        return super().name(topic) if topic not in _OWN else f"{self.namespace}.shadow-{topic}"


def shadow_settings(settings: Settings) -> Settings:
    """Return the settings with which a shadow worker runs. Raises ConfigurationError where they name no candidate."""
    worker = settings.worker
    name = followed(worker.bundle)
    if worker.shadow is None:
        raise ConfigurationError("no shadow is set; let worker.shadow name the channel to try, such as candidate")
    if name is None:
        raise ConfigurationError(
            f"worker.bundle is {worker.bundle}, and only a name of the store has channels: publish the bundle, and let "
            "worker.bundle be its name"
        )
    changed = {
        "bundle": f"{name.partition(':')[0]}:{worker.shadow}",
        "group": worker.group + _SUFFIX,
        "slot": worker.slot and worker.slot + _SUFFIX,
        "doubled_events": "alarm",  # the channel of candidates is a person's to move
    }
    topics = ShadowTopics(**settings.topics.model_dump())
    made = settings.model_copy(update={"worker": worker.model_copy(update=changed), "topics": topics})
    made.model_fields_set.discard("labels")  # those in force are read; a shadow applies none of a file
    return made


def in_share(camera: str, share: float) -> bool:
    """Whether a camera is one of the share that a shadow looks at; the same ones always, and on every host."""
    return zlib.crc32(camera.encode()) < share * 2**32
