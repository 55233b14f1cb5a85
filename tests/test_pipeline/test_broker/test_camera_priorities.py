"""Which cameras are shed first, as settings and ingest say."""

from __future__ import annotations

import threading
import time

import pytest

from pipeline.broker import camera_priorities
from pipeline.broker.camera_priorities import CameraPriorities, follow_priorities
from pipeline.broker.in_process import InProcessBroker
from pipeline.broker.topics import apply_topics
from pipeline.config.cameras import CameraSettings
from pipeline.config.settings import Settings
from pipeline.records.cameras import CameraStatus, encode_status
from pipeline.records.wire import Message


def camera(priority: int) -> CameraSettings:
    """A camera of the settings."""
    return CameraSettings.model_validate({"url": "door.mp4", "priority": priority})


def test_settings_win_over_what_ingest_says() -> None:
    """A worker's own file counts, even where it says 0; ingest speaks for the cameras that it does not name.

    settings    door 5          door 0, gate 2
    ingest      door 9, yard 3
    """
    priorities = CameraPriorities({"door": camera(5)})
    priorities.published("door", 9)
    priorities.published("yard", 3)
    assert [priorities.of(name) for name in ("door", "yard", "gate")] == [5, 3, 0]

    priorities.edited({"door": camera(0), "gate": camera(2)})
    assert [priorities.of(name) for name in ("door", "yard", "gate")] == [0, 3, 2]

    priorities.edited({})
    priorities.published("yard", None)
    assert [priorities.of(name) for name in ("door", "yard", "gate")] == [9, 0, 0]


def test_a_worker_without_cameras_learns_from_ingest(monkeypatch: pytest.MonkeyPatch) -> None:
    """The newest status of a camera counts; garbage, a removed camera and a status without a priority stop nobody."""
    monkeypatch.setattr(camera_priorities, "LISTEN_SECONDS", 0.01)
    broker, priorities, ended = InProcessBroker(), CameraPriorities(), threading.Event()
    apply_topics(broker, Settings())
    producer = broker.producer()
    thread = threading.Thread(target=follow_priorities, args=(broker, "actionwire.cameras", priorities, ended))
    thread.start()

    def publish(name: str, priority: int) -> None:
        status = CameraStatus(
            name, "online", 1, None, None, None, None, None, None, None, 0, "host", None, None, priority
        )
        producer.send("actionwire.cameras", encode_status(status))

    def until(name: str, priority: int) -> None:
        deadline = time.monotonic() + 20
        while priorities.of(name) != priority:
            assert time.monotonic() < deadline
            time.sleep(0.005)

    publish("door", 7)
    until("door", 7)
    producer.send("actionwire.cameras", Message(b"odd", b"garbage"))
    publish("door", -2)
    publish("yard", 4)
    until("door", -2)
    until("yard", 4)
    producer.send("actionwire.cameras", Message(b"yard", None))
    until("yard", 0)
    ended.set()
    thread.join()
    broker.close()
