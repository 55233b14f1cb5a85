"""Every error of kafka-python has a meaning of ours."""

import inspect

import pytest
from kafka import errors

from pipeline import errors as own
from pipeline.broker.kafka_python.translate import (
    MEANINGS,
    Meaning,
    meaning_of,
    translated,
    translating,
    translating_transaction,
)

KAFKA_ERRORS = sorted(
    {kind for _, kind in inspect.getmembers(errors, inspect.isclass) if issubclass(kind, errors.KafkaError)},
    key=lambda kind: kind.__name__,
)


@pytest.mark.parametrize("kind", KAFKA_ERRORS, ids=lambda kind: kind.__name__)
def test_every_error_is_mapped_by_its_own_name(kind: type[errors.KafkaError]) -> None:
    """No error of the library is left to a guess: each class stands in the table itself."""
    assert kind in MEANINGS


def test_the_table_names_nothing_twice() -> None:
    """One class has one meaning."""
    from pipeline.broker.kafka_python.translate import _NAMES

    names = [name for listed in _NAMES.values() for name in listed.split()]
    assert len(names) == len(set(names))


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (errors.KafkaConnectionError("gone"), own.BrokerUnavailable),
        (errors.KafkaTimeoutError("late"), own.BrokerTimeout),
        (errors.SaslAuthenticationFailedError("no"), own.AuthenticationError),
        (errors.TopicAuthorizationFailedError("no"), own.AuthenticationError),
        (errors.ProducerFencedError(), own.FencedError),
        (errors.FencedInstanceIdError(), own.FencedError),
        (errors.MessageSizeTooLargeError("big"), own.MessageTooLarge),
        (errors.IllegalGenerationError(), own.TransactionAborted),
        (errors.UnknownTopicOrPartitionError(), own.ConfigurationError),
        (errors.IllegalStateError("closed"), own.ContractError),
    ],
    ids=lambda value: getattr(value, "__name__", type(value).__name__),
)
def test_meanings_become_our_errors(error: errors.KafkaError, expected: type[own.ActionwireError]) -> None:
    """The error that a caller must tell apart keeps the library's as its cause and says what was being done."""
    with pytest.raises(expected, match=r"reading a\.state") as caught, translating("reading a.state"):
        raise error

    assert caught.value.__cause__ is error
    assert type(caught.value) is expected


def test_a_class_of_a_newer_library_means_what_its_parent_means() -> None:
    """An unknown error is judged by its nearest known parent."""

    class Newer(errors.NotCoordinatorError):
        pass

    assert meaning_of(Newer()) is Meaning.AWAY
    assert isinstance(translated(Newer("x"), "committing"), own.TransientError)


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (errors.KafkaConnectionError("gone"), own.TransactionAborted),
        (errors.KafkaTimeoutError("late"), own.TransactionAborted),
        (errors.KafkaError("Invalid transition"), own.TransactionAborted),
        (errors.IllegalStateError("no transaction"), own.TransactionAborted),
        (errors.InvalidTxnStateError(), own.TransactionAborted),
        (errors.UnknownTopicOrPartitionError(), own.TransactionAborted),
        (errors.ProducerFencedError(), own.FencedError),
        (errors.TransactionalIdAuthorizationFailedError(), own.AuthenticationError),
    ],
    ids=lambda value: getattr(value, "__name__", type(value).__name__),
)
def test_inside_a_transaction_failures_abort(error: errors.KafkaError, expected: type[own.ActionwireError]) -> None:
    """Whatever fails inside a transaction has aborted it, except where another attempt cannot help."""
    with pytest.raises(expected) as caught, translating_transaction("committing"):
        raise error

    assert type(caught.value) is expected
