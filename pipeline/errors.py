"""Errors of the serving side. One tree; foreign errors are translated once, at the edge, with `raise ... from`.

    ActionwireError
    |-- TransientError                     try again
    |   |-- BrokerUnavailable (ConnectionError)
    |   |-- BrokerTimeout (TimeoutError)
    |   |-- CameraUnavailable (ConnectionError)
    |   `-- TransactionAborted             nothing of the transaction is visible, or all: restore, rewind, go on
    |-- FencedError                        another member has taken this worker's place: end the process
    |-- BadRecordError (ValueError)        one record is wrong: dead-letter it and go on
    |-- MessageTooLarge (ValueError)       refused before it was sent
    |-- ConfigurationError (ValueError)    a person must change something
    |   |-- AuthenticationError            broker or camera refused the credentials
    |   `-- CameraRefused                  the camera answers, but not with this path, transport or codec
    `-- ContractError (RuntimeError)       a programmer's mistake: a call that the contract forbids

Every message names the thing, the reason and the remedy. Messages never hold a user name or a password: URLs pass
through `mask` first.
"""

from __future__ import annotations

import re

_CREDENTIALS = re.compile(r"(?P<scheme>[a-zA-Z][a-zA-Z0-9+.-]*://)\S*@")


def mask(text: str) -> str:
    """Replace the user name and password of every URL inside a text by `***`.

    Everything up to the last `@` of the word counts as credentials, so no part of a password that contains `@` or `/`
    is left.
    """
    return _CREDENTIALS.sub(r"\g<scheme>***@", text)


class ActionwireError(Exception):
    """Root of all errors raised by `pipeline`."""


class TransientError(ActionwireError):
    """Something outside is unavailable at the moment. Try again."""


class BrokerUnavailable(TransientError, ConnectionError):
    """No broker answers."""


class BrokerTimeout(TransientError, TimeoutError):
    """The broker did not answer in time."""


class CameraUnavailable(TransientError, ConnectionError):
    """The camera does not answer, stopped sending, or closed the connection."""


class TransactionAborted(TransientError):
    """A transaction failed, or its commit is in doubt: nothing of it is visible, or all of it.

    Only the committed positions say which: restore the state from there, rewind and go on.
    """


class FencedError(ActionwireError):
    """Another member has taken this one's place. The process must end; its supervisor starts a new one."""


class BadRecordError(ActionwireError, ValueError):
    """One record cannot be used. `reason` is a short stable word for metrics and the dead-letter topic."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason


class MessageTooLarge(ActionwireError, ValueError):
    """A message exceeds what the broker accepts; it was not sent."""


class ConfigurationError(ActionwireError, ValueError):
    """A setting, a file or an argument is wrong, and only a person can correct it."""


class AuthenticationError(ConfigurationError):
    """The credentials were refused."""


class CameraRefused(ConfigurationError):
    """The camera answers but refuses this path, transport or codec; retrying soon will not help."""


class ContractError(ActionwireError, RuntimeError):
    """A call that the contract forbids: a programmer's mistake."""
