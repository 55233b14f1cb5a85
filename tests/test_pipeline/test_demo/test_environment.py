"""What a demo takes from the environment."""

import pytest

from pipeline.demo.stage import forget_settings

ELSEWHERE = {"HOME": "/home/ann", "ACTIONWIRE_CACHE": "/cache", "ACTIONWIRE_STORE": "/store", "ACTIONWIRELESS": "1"}
DEPLOYMENT = {
    "ACTIONWIRE_CONFIG": "/etc/actionwire.yaml",
    "ACTIONWIRE_LABELS": '["a person falls down"]',
    "ACTIONWIRE_TOPICS__NAMESPACE": "production",
    "actionwire_events__enter": "0.9",
    "ACTIONWIRE_RATE": "8",
}
CLUSTER = {"ACTIONWIRE_KAFKA__USERNAME": "ann", "ACTIONWIRE_KAFKA__PASSWORD": "secret"}


@pytest.mark.parametrize(("kafka", "kept"), [(False, ELSEWHERE), (True, ELSEWHERE | CLUSTER)])
def test_settings_of_a_deployment_play_no_part(kafka: bool, kept: dict[str, str]) -> None:
    """Folders stay; settings go; how to log in stays where a cluster was asked for, which one is said by that."""
    environment = {**ELSEWHERE, **DEPLOYMENT, **CLUSTER, "ACTIONWIRE_KAFKA__BOOTSTRAP": "prod:9092"}
    environment["ACTIONWIRE_KAFKA"] = '{"bootstrap": "prod:9092"}'

    forget_settings(environment, kafka=kafka)

    assert environment == kept
