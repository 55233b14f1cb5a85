"""kafka-python's errors in our words: one table, used wherever the library is called."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from enum import Enum

from kafka import errors

from pipeline.errors import (
    ActionwireError,
    AuthenticationError,
    BrokerTimeout,
    BrokerUnavailable,
    ConfigurationError,
    ContractError,
    FencedError,
    MessageTooLarge,
    TransactionAborted,
    TransientError,
)


class Meaning(Enum):
    """What an error asks of the caller."""

    AWAY = "away"
    """The broker, or a part of it, is not there at the moment."""
    LATE = "late"
    ABORTED = "aborted"
    """Something has moved on: a generation, a sequence, a position. Restore and go on."""
    FENCED = "fenced"
    REFUSED = "refused"
    """Credentials."""
    FORBIDDEN = "forbidden"
    """Known, but not allowed to: access lists."""
    MISSING = "missing"
    """A topic or partition that does not exist."""
    SETTINGS = "settings"
    LARGE = "large"
    MISTAKE = "mistake"
    """A programmer's."""


_NAMES = {
    Meaning.AWAY: """
        KafkaError RetriableError InvalidMetadataError BrokerResponseError KafkaConnectionError KafkaProtocolError
        CorrelationIdError InvalidReceiveError MetadataEmptyBrokerList NodeNotReadyError UnknownBrokerIdError
        StaleMetadata TooManyInFlightRequests QuotaViolationError NoError UnknownError InvalidFetchRequestError
        LeaderNotAvailableError NotLeaderForPartitionError BrokerNotAvailableError ReplicaNotAvailableError
        StaleControllerEpochError NetworkExceptionError CoordinatorLoadInProgressError CoordinatorNotAvailableError
        NotCoordinatorError NotEnoughReplicasError NotEnoughReplicasAfterAppendError NotControllerError
        KafkaStorageError LogDirNotFoundError ReassignmentInProgressError FetchSessionIdNotFoundError
        InvalidFetchSessionEpochError ListenerNotFoundError FencedLeaderEpochError UnknownLeaderEpochError
        StaleBrokerEpochError OffsetNotAvailableError PreferredLeaderNotAvailableError
        EligibleLeadersNotAvailableError ThrottlingQuotaExceededError UnknownTopicIdError
        DuplicateBrokerRegistrationError BrokerIdNotRegisteredError InconsistentTopicIdError FetchSessionTopicIdError
        IneligibleReplicaError NewLeaderElectedError OffsetMovedToTieredStorageError UnknownControllerIdError
        SnapshotNotFoundError PositionOutOfRangeError PrincipalDeserializationFailureError
        InconsistentVoterSetError InconsistentClusterIdError ShareSessionNotFoundError InvalidShareSessionEpochError
        FencedStateEpochError UnknownSubscriptionIdError CorruptRecordError OperationNotAttemptedError
        InvalidReplicationFactorError""",
    Meaning.LATE: "KafkaTimeoutError RequestTimedOutError Cancelled",
    Meaning.ABORTED: """
        CommitFailedError TransactionAbortedError TransactionAbortableError IllegalGenerationError UnknownMemberIdError
        RebalanceInProgressError OutOfOrderSequenceNumberError DuplicateSequenceNumberError InvalidTxnStateError
        InvalidProducerIdMappingError ConcurrentTransactionsError TransactionCoordinatorFencedError
        UnknownProducerIdError MemberIdRequiredError UnstableOffsetCommitError TransactionalIdNotFoundError
        StaleMemberEpochError OffsetOutOfRangeError NoOffsetForPartitionError LogTruncationError
        InvalidRecordStateError""",
    Meaning.FENCED: """
        ProducerFencedError InvalidProducerEpochError FencedInstanceIdError FencedMemberEpochError
        UnreleasedInstanceIdError""",
    Meaning.REFUSED: """
        SaslAuthenticationFailedError UnsupportedSaslMechanismError IllegalSaslStateError SecurityDisabledError
        UnacceptableCredentialError DelegationTokenAuthDisabledError DelegationTokenNotFoundError
        DelegationTokenOwnerMismatchError DelegationTokenRequestNotAllowedError DelegationTokenExpiredError
        InvalidPrincipalTypeError""",
    Meaning.FORBIDDEN: """
        AuthorizationError TopicAuthorizationFailedError GroupAuthorizationFailedError ClusterAuthorizationFailedError
        TransactionalIdAuthorizationFailedError DelegationTokenAuthorizationFailedError""",
    Meaning.MISSING: "UnknownTopicOrPartitionError GroupIdNotFoundError ResourceNotFoundError",
    Meaning.SETTINGS: """
        KafkaConfigurationError UnrecognizedBrokerVersion UnsupportedCodecError InvalidTopicError
        InvalidRequiredAcksError InconsistentGroupProtocolError InvalidGroupIdError InvalidSessionTimeoutError
        UnsupportedVersionError IncompatibleBrokerVersion TopicAlreadyExistsError InvalidPartitionsError
        InvalidReplicationAssignmentError InvalidConfigurationError InvalidRequestError
        UnsupportedForMessageFormatError PolicyViolationError InvalidTransactionTimeoutError NonEmptyGroupError
        TopicDeletionDisabledError UnsupportedCompressionTypeError GroupMaxSizeReachedError ElectionNotNeededError
        NoReassignmentInProgressError GroupSubscribedToTopicError DuplicateResourceError InvalidUpdateVersionError
        FeatureUpdateFailedError UnsupportedAssignorError MismatchedEndpointTypeError UnsupportedEndpointTypeError
        InvalidRegistrationError InvalidVoterKeyError DuplicateVoterError VoterNotFoundError""",
    Meaning.LARGE: """
        MessageSizeTooLargeError RecordListTooLargeError InvalidCommitOffsetSizeError TelemetryTooLargeError""",
    Meaning.MISTAKE: """
        IllegalArgumentError IllegalStateError InvalidTimestampError InvalidRecordError OffsetMetadataTooLargeError""",
}

MEANINGS: dict[type[errors.KafkaError], Meaning] = {
    getattr(errors, name): meaning for meaning, names in _NAMES.items() for name in names.split()
}
"""Every error class of kafka-python, by its own name."""

_REMEDIES: dict[Meaning, tuple[type[ActionwireError], str]] = {
    Meaning.AWAY: (BrokerUnavailable, "it is tried again"),
    Meaning.LATE: (BrokerTimeout, "it is tried again"),
    Meaning.ABORTED: (TransactionAborted, "restore, rewind and go on"),
    Meaning.FENCED: (
        FencedError,
        "another member has taken this one's place, or a request that came late has: end this process",
    ),
    Meaning.REFUSED: (AuthenticationError, "check kafka.username, kafka.password and kafka.sasl_mechanism"),
    Meaning.FORBIDDEN: (AuthenticationError, "this user is known but not allowed to: ask for access to it"),
    Meaning.MISSING: (ConfigurationError, "create the topics with `actionwire topics`"),
    Meaning.SETTINGS: (ConfigurationError, "the cluster does not accept this setting"),
    Meaning.LARGE: (MessageTooLarge, "send less, or raise max.message.bytes on the topic and kafka.max_message_bytes"),
    Meaning.MISTAKE: (ContractError, "this call should not have been made"),
}


def meaning_of(error: errors.KafkaError) -> Meaning:
    """What an error means. A class that a newer library adds means what its nearest known parent does."""
    return next(MEANINGS[parent] for parent in type(error).__mro__ if parent in MEANINGS)


def translated(error: errors.KafkaError, doing: str) -> ActionwireError:
    """Our error for one of kafka-python's; `doing` names the step and the thing, as in "reading actionwire.state"."""
    kind, remedy = _REMEDIES[meaning_of(error)]
    return kind(f"{doing}: {error}; {remedy}")


@contextmanager
def translating(doing: str) -> Iterator[None]:
    """Inside this `with` statement kafka-python's errors become ours."""
    try:
        yield
    except errors.KafkaError as error:
        raise translated(error, doing) from error


@contextmanager
def translating_transaction(doing: str) -> Iterator[None]:
    """As `translating`, but every error that a later attempt may mend becomes TransactionAborted."""
    try:
        yield
    except errors.KafkaError as error:
        own = translated(error, doing)
        if isinstance(own, TransientError) or type(own) is ConfigurationError or isinstance(own, ContractError):
            # An error of the library's own state, such as "Invalid transition", has no class of its own.
            raise TransactionAborted(f"{doing}: {error}; restore, rewind and go on") from error
        raise own from error
