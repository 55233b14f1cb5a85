"""A real single-node Apache Kafka (KRaft) on this machine, without Java, Maven, Docker or root.

with BrokerNode() as node:
    connect(KafkaSettings(bootstrap=node.bootstrap))
"""

from pipeline.local.broker_node.node import BrokerNode, stop_folder
from pipeline.local.broker_node.properties import TEST_OVERRIDES, NodeSecurity
from pipeline.local.broker_node.state import NodeState
from pipeline.local.broker_node.state import read as running_on

__all__ = ["TEST_OVERRIDES", "BrokerNode", "NodeSecurity", "NodeState", "running_on", "stop_folder"]
