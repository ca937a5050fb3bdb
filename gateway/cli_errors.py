"""What the command line says when something is wrong.

CommandError     a value that is wrong, and the remedy; printed without a traceback, exit code 1
"""


class CommandError(Exception):
    """A failure that the user can mend.

    Attributes:
        remedy: what to do about it, as the rest of a sentence that starts with "to mend it,".
    """

    def __init__(self, text: str, remedy: str = "") -> None:
        super().__init__(text)
        self.remedy = remedy

    def __str__(self) -> str:
        return f"{self.args[0]}; {self.remedy}" if self.remedy else str(self.args[0])
