"""A deployment under a namespace of its own: settings file, topics, and what is read and written around the workers."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path

import yaml

from pipeline.analysis.label_set import collect, make
from pipeline.broker.contract import Broker
from pipeline.broker.control_topic import apply_config, write
from pipeline.broker.reading import partitions_of, read_all
from pipeline.broker.topics import apply_topics
from pipeline.config.reading import load
from pipeline.config.settings import Settings
from pipeline.errors import TransientError
from pipeline.records.labels import LiveLabel
from pipeline.records.wire import Message, Partition, Record

READ_SECONDS = 120.0


class Deployment:
    """One namespace on a broker."""

    def __init__(self, broker: Broker, settings: Settings, config: Path) -> None:
        self.broker, self.settings, self.config = broker, settings, config
        self.namespace = settings.topics.namespace
        self.frames = settings.topics.name("frames")
        self.control = settings.topics.name("control")
        self.group = settings.worker.group

    @classmethod
    def create(
        cls, broker: Broker, folder: Path, namespace: str, bootstrap: str, bundle: Path, lost_seconds: float
    ) -> Deployment:
        """Write the settings file and create the topics; labels are in force before the first worker starts."""
        document = {
            "kafka": {"bootstrap": bootstrap},
            "topics": {"namespace": namespace, "partitions": 6},
            "labels": ["cyan", "magenta", "red", "green"],
            "worker": {
                "bundle": str(bundle),
                "backend": "onnxruntime",
                "threads": 1,
                "start": "begin",
                "session_seconds": 6,
                "lost_seconds": lost_seconds,
                "overload": "queue",  # what is left out would differ from the undisturbed run
            },
            "http": {"worker_port": None, "ingest_port": None},
            "log": {"format": "json"},
        }
        config = folder / f"{namespace}.yaml"
        config.write_text(yaml.safe_dump(document))
        settings = load(config)
        made = cls(broker, settings, config)
        apply_topics(broker, settings)
        apply_config(broker, made.control, collect(make(one.model_dump()) for one in settings.labels), 30.0)
        return made

    def change_label(self, text: str, *, watched: bool) -> None:
        """Add or remove a label while everything runs."""
        label = make({"text": text})
        _insist(
            lambda: write(self.broker, self.control, [LiveLabel(label.id, label if watched else None)], 10.0),
            f"changing label {text}",
        )

    def lag(self) -> int:
        """Records that were not processed yet."""
        return sum(self.broker.lag(self.group, self.frames, 10.0).values())

    def waiting(self) -> list[Record]:
        """The records that were not processed yet."""
        lag = {one.number: count for one, count in self.broker.lag(self.group, self.frames, 10.0).items()}
        frames = self.read("frames")
        return [
            one
            for number, count in lag.items()
            for one in [found for found in frames if found.partition == number][-count:][:count]
        ]

    def drain(self, seconds: float) -> bool:
        """Wait until everything was processed; False when it takes longer."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            try:
                if self.lag() == 0:
                    return True
            except TransientError:
                pass
            time.sleep(0.5)
        return False

    def read(self, topic: str) -> list[Record]:
        """Committed records of `frames`, `events`, `dead` or `control`, by partition and offset."""
        name = f"{self.namespace}.{topic}"
        found = read_all(self.broker, partitions_of(self.broker, name), READ_SECONDS)
        return sorted(found, key=lambda one: (one.partition, one.offset))

    def copy(self, records: Sequence[Record], topic: str) -> None:
        """Write records as they were read elsewhere, each to its partition; they must get the offsets they had.

        Raises RuntimeError where an offset differs, because then the runs cannot be compared.
        """
        failures: list[str] = []

        def delivered(wanted: Record):  # type: ignore[no-untyped-def]
            def note(at: Partition | None, offset: int, error: Exception | None) -> None:
                if error is not None or at is None or (at.number, offset) != (wanted.partition, wanted.offset):
                    failures.append(f"{wanted.source} {wanted.offset} became {at} {offset}: {error}")

            return note

        producer = self.broker.producer()
        try:
            for number, one in enumerate(records, 1):
                message = Message(one.key, one.value, one.headers, one.partition)
                producer.send(f"{self.namespace}.{topic}", message, delivered(one))
                if number % 500 == 0:
                    producer.flush(READ_SECONDS)
            producer.flush(READ_SECONDS)
        finally:
            producer.close()
        if failures:
            raise RuntimeError(f"{len(failures)} records of {topic} could not be copied as they were: {failures[0]}")


def _insist(act, doing: str, seconds: float = 60.0) -> None:  # type: ignore[no-untyped-def]
    """Try again while the broker is away."""
    deadline = time.monotonic() + seconds
    while True:
        try:
            act()
            return
        except TransientError:
            if time.monotonic() > deadline:
                raise RuntimeError(f"{doing} did not work for {seconds:g} s") from None
            time.sleep(0.5)
