"""The broker: one contract, two implementations. `connect` picks one by the bootstrap setting."""

from __future__ import annotations

from pipeline.broker.contract import Broker
from pipeline.config.kafka import IN_PROCESS, KafkaSettings


def connect(settings: KafkaSettings) -> Broker:
    """A factory for clients of the cluster that the settings name. Nothing is sent before the first call.

    Bootstrap `in-process` makes a fresh broker inside this process; its clients must share that object.
    Raises ConfigurationError when the settings cannot be used together.
    """
    if settings.bootstrap == IN_PROCESS:
        from pipeline.broker.in_process import InProcessBroker

        return InProcessBroker(max_message_bytes=settings.max_message_bytes)
    from pipeline.broker.kafka_python import KafkaBroker

    return KafkaBroker(settings)
