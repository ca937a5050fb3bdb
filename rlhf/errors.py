"""What can go wrong in this room.

RlhfError
 |- SettingsError      a setting that does not exist or makes no sense
 |- WorkerBusy         another worker has this folder
 |- JobNotFound        no job of this id
 |- JobRefused         what was asked of a job makes no sense
 |- PipelineError      a pipeline that cannot be read or makes no sense; names file, line, step and remedy
 |- StepFailed         a step of a pipeline that could not be done
 |- CheckFailed        there are no models, or one is not what it was
 |- RecipeError        a recipe that cannot be read, or a key or value in it that makes no sense
 |- TrainingError      training cannot begin or go on: no rows, no memory, no room on the disk
 |   '- WrongReference the adapter is not compared with what it began as
 |- RegistryError      an adapter that is missing, damaged or in use
 |- DeployError        the server refused an adapter, or serves something else than was trained
 |- GatewayError       the gateway cannot be reached or refuses
 |- BadRecords         rows that cannot be read, each with file, line and reason
 |- DatasetError       a dataset that cannot be built or used
 |   '- Leak           training and held-out rows share a prompt, a session or a user
 |- ObjectError        the object store refuses, or an object is not what it was
 |   |- StoreAway      it does not answer: later it may
 |   |- StoreChanged   somebody else has changed the same thing meanwhile
 |   '- SourceRefused  an s3:// address that nobody may read from
 '- BadJudgements      what the gate was given makes no sense
"""

from collections.abc import Sequence


class RlhfError(Exception):
    """Base of the room."""


class SettingsError(RlhfError):
    """A setting that does not exist or makes no sense."""


class WorkerBusy(RlhfError):
    """Another worker has this folder."""


class JobNotFound(RlhfError):
    """No job of this id."""


class JobRefused(RlhfError):
    """What was asked of a job makes no sense."""


class PipelineError(RlhfError):
    """A pipeline that cannot be read or makes no sense; names file, line, step and remedy."""


class StepFailed(RlhfError):
    """A step of a pipeline that could not be done."""


class CheckFailed(RlhfError):
    """There are no models, or one is not what it was."""


class RecipeError(RlhfError):
    """A recipe that cannot be read, or a key or value in it that makes no sense."""


class TrainingError(RlhfError):
    """Training cannot begin or go on: no rows, no memory, no room on the disk."""


class WrongReference(TrainingError):
    """The adapter is not compared with what it began as."""


class RegistryError(RlhfError):
    """An adapter that is missing, damaged or in use."""


class DeployError(RlhfError):
    """The server refused an adapter, or serves something else than was trained."""


class GatewayError(RlhfError):
    """The gateway cannot be reached or refuses."""


class BadRecords(RlhfError):
    """Rows that cannot be read.

    Attributes:
        rows: one entry a bad row; printed, it names file, line and reason.
    """

    SHOWN = 20

    def __init__(self, rows: Sequence[object]) -> None:
        shown = "\n".join(map(str, rows[: self.SHOWN]))
        more = f"\nand {len(rows) - self.SHOWN} more" if len(rows) > self.SHOWN else ""
        super().__init__(f"nothing was read, {len(rows)} rows are bad:\n{shown}{more}")
        self.rows = rows


class DatasetError(RlhfError):
    """A dataset that cannot be built or used."""


class Leak(DatasetError):
    """Training and held-out rows share a prompt, a session or a user."""


class ObjectError(RlhfError):
    """The object store refuses, or an object is not what it was."""


class StoreAway(ObjectError):
    """The object store does not answer: later it may."""


class StoreChanged(ObjectError):
    """Somebody else has changed the same thing meanwhile."""


class SourceRefused(ObjectError):
    """An s3:// address that nobody may read from."""


class BadJudgements(RlhfError):
    """What the gate was given makes no sense."""
