"""Apache Kafka through kafka-python 3.0.12: the only package of this project that imports `kafka`."""

from pipeline.broker.kafka_python.broker import KafkaBroker

__all__ = ["KafkaBroker"]
