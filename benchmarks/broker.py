"""What the client of a real Kafka costs for each frame, on this machine."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

from engines.bench.rounds import figure
from pipeline.bench.broker_cost import consume, consume_paced, messages, produce
from pipeline.broker import connect
from pipeline.broker.topics import apply_topics
from pipeline.config.kafka import KafkaSettings
from pipeline.config.settings import Settings
from pipeline.local.broker_node import BrokerNode

PICTURE_BYTES = 6_000
"""A picture of 224 x 224."""
RATE = 160.0


def broker(*, quick: bool) -> dict[str, Any]:
    """Return `broker_produce_us`, `broker_consume_us` and `broker_consume_paced_us`: microseconds of the client's CPU.

    For each frame of 6 kB: queued and acknowledged; read by a worker that is behind; read at 160 a second by one that
    keeps up. The broker runs beside it; its own CPU is not counted.
    """
    count, rounds, seconds = (1_000, 3, 4.0) if quick else (4_000, 7, 10.0)
    frames = messages(count, PICTURE_BYTES)
    found: dict[str, list[float]] = {"produce": [], "consume": [], "consume_paced": []}
    with tempfile.TemporaryDirectory(prefix="actionwire-bench-") as folder, BrokerNode(Path(folder) / "broker") as node:
        settings = Settings(kafka=KafkaSettings(bootstrap=node.bootstrap))
        client = connect(settings.kafka)
        try:
            apply_topics(client, settings)
            topic = settings.topics.name("frames")
            for number in range(rounds):
                found["produce"].append(produce(client, topic, frames))
                found["consume"].append(consume(client, topic, f"behind-{number}", count))
            for number in range(rounds):
                group = f"paced-{number}"
                found["consume_paced"].append(consume_paced(client, topic, group, frames, rate=RATE, seconds=seconds))
        finally:
            client.close()
    return {f"broker_{name}_us": figure([1e6 * one for one in values]).data() for name, values in found.items()}
