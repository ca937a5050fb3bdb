"""What can go wrong in this room.

AnnotationError
 |- BadPairs           a file of pairs or judgements that cannot be read; names each line
 |- RecordError        the record of a project cannot be read, written or shared with another command
 |- WireError          another server does not do what it should
 |   |- LabelStudioError  Label Studio cannot be reached, or refuses
 |   |   '- WrongToken    it does not know the token
 |   |- TracesError       the trace store cannot be reached, or refuses
 |   '- ModelError        the model server gives no second answer
 '- ServerError        a Label Studio of our own does not start
"""

from collections.abc import Sequence


class AnnotationError(Exception):
    """Base of the room.

    Attributes:
        remedy: what to do about it, as a sentence of its own.
    """

    def __init__(self, text: str, remedy: str = "") -> None:
        super().__init__(text)
        self.remedy = remedy


class BadPairs(AnnotationError):
    """A file of pairs or judgements that cannot be read; names each line."""

    SHOWN = 20

    def __init__(self, file: object, faults: Sequence[str], remedy: str = "") -> None:
        shown = "\n".join(faults[: self.SHOWN])
        more = f"\nand {len(faults) - self.SHOWN} more" if len(faults) > self.SHOWN else ""
        super().__init__(f"{file}: nothing was read, {len(faults)} lines are bad:\n{shown}{more}", remedy)


class RecordError(AnnotationError):
    """The record of a project cannot be read, written or shared with another command."""


class WireError(AnnotationError):
    """Another server does not do what it should."""


class LabelStudioError(WireError):
    """Label Studio cannot be reached, or refuses."""


class WrongToken(LabelStudioError):
    """It does not know the token."""


class TracesError(WireError):
    """The trace store cannot be reached, or refuses."""


class ModelError(WireError):
    """The model server gives no second answer."""


class ServerError(AnnotationError):
    """A Label Studio of our own does not start."""
