"""Starting a worker: what must be in order before it takes a place in the group."""

import threading
from pathlib import Path

import pytest

from pipeline.broker import connect
from pipeline.broker.topics import apply_topics
from pipeline.config import KafkaSettings, Settings, WorkerSettings
from pipeline.errors import ConfigurationError
from pipeline.worker.run import run_worker


def test_a_bundle_that_cannot_be_loaded_is_named(tmp_path: Path) -> None:
    """It is for a person to mend: the error names the setting, the bundle and the reason, and trying again is vain."""
    settings = Settings(kafka=KafkaSettings(bootstrap="in-process"), worker=WorkerSettings(bundle=str(tmp_path)))
    broker = connect(settings.kafka)
    apply_topics(broker, settings)

    with pytest.raises(ConfigurationError, match=rf"the bundle {tmp_path} \(worker\.bundle\).*no bundle .*give a path"):
        run_worker(settings, broker, stop=threading.Event())
    broker.close()
