"""Errors of the engine side.

    EngineError
    |-- BundleError (ValueError)         the bundle is damaged, incomplete or not what it claims to be
    |   |-- TamperedBundle               a file does not match the hash in the manifest
    |   |-- IncompatibleBundle           intact, but not usable here: schema, space, window or rate differ
    |   `-- BuildFailed                  a runtime cannot build a network; names node and operator
    |-- BundleNotFound (FileNotFoundError)
    |-- BackendUnavailable (RuntimeError)  the runtime is not installed or has no such device
    |-- CudaError (RuntimeError)         a call of CUDA or an execution on a GPU failed
    |-- BuildCacheError (RuntimeError)   the folder of what was built must not be used, or its builder never ends
    |-- ProbeFailed (RuntimeError)       the engine's outputs differ from the golden probe
    |-- CalibrationError (ValueError)    frames that cannot calibrate an int8 variant, or a variant too far off
    `-- TextError (ValueError)           a text that cannot be embedded

Every message names the thing, the reason and the remedy.
"""

from __future__ import annotations


class EngineError(Exception):
    """Root of all errors raised by `engines`."""


class BundleError(EngineError, ValueError):
    """The bundle is damaged, incomplete or not what it claims to be."""


class TamperedBundle(BundleError):
    """A file of the bundle does not match the sha256 in its manifest."""


class IncompatibleBundle(BundleError):
    """The bundle is intact but cannot be used here: other schema version, embedding space, rate or window."""


class BuildFailed(BundleError):
    """A runtime cannot build a network; the message names the node and the operator."""


class BundleNotFound(EngineError, FileNotFoundError):
    """No bundle at the given path or under the given name."""


class BackendUnavailable(EngineError, RuntimeError):
    """The inference runtime is not installed, or it has no such device."""


class CudaError(EngineError, RuntimeError):
    """A call of CUDA or an execution on a GPU failed."""


class BuildCacheError(EngineError, RuntimeError):
    """What was built must not be loaded from this folder, or another process builds it without end."""


class ProbeFailed(EngineError, RuntimeError):
    """The engine's outputs differ from the golden probe by more than the manifest's tolerance."""


class CalibrationError(EngineError, ValueError):
    """Frames that cannot calibrate an int8 variant, or a variant that is too far from float32."""


class TextError(EngineError, ValueError):
    """A text that cannot be embedded, for example an empty one."""
