"""Errors of the training side.

TrainerError
|-- RecipeError (ValueError)      a recipe that cannot be read, or does not fit the model
|-- VideoError (ValueError)       a video file that cannot be decoded
|-- CheckpointError (ValueError)  a checkpoint that is damaged or belongs to another run
|-- ParityError (RuntimeError)    the exported network does not compute what the trained one does
|-- ExportError (ValueError)      a bundle that cannot be written there, or from that
|-- CalibrationError (ValueError) thresholds that cannot be fitted or measured as asked
|-- PretrainedError (ValueError)  weights that cannot be loaded as the named model
|-- TrainingError (RuntimeError) a training whose numbers are no longer finite
`-- CommandError (RuntimeError)   a command of the serving side failed
"""

from __future__ import annotations

from pathlib import Path


class TrainerError(Exception):
    """Root of all errors raised by `trainer`."""


class RecipeError(TrainerError, ValueError):
    """A recipe that cannot be read, or does not fit the model."""


class VideoError(TrainerError, ValueError):
    """A video file that cannot be decoded: `path`, and the `reason` in a few words."""

    def __init__(self, path: Path, reason: str):
        super().__init__(f"{path} cannot be decoded: {reason}")
        self.path = path
        self.reason = reason


class CheckpointError(TrainerError, ValueError):
    """A checkpoint that is damaged or belongs to another run."""


class ParityError(TrainerError, RuntimeError):
    """The exported network does not compute what the trained one does."""


class ExportError(TrainerError, ValueError):
    """A bundle that cannot be written there, or from that."""


class CalibrationError(TrainerError, ValueError):
    """Thresholds that cannot be fitted or measured as asked."""


class PretrainedError(TrainerError, ValueError):
    """Weights that cannot be loaded as the named model."""


class TrainingError(TrainerError, RuntimeError):
    """A training whose numbers are no longer finite."""


class CommandError(TrainerError, RuntimeError):
    """A command of the serving side failed."""
