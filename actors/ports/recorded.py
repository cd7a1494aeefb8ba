"""How a port that plays a recording says that it crashed then."""


class RecordedCrash(Exception):
    """A crash that was recorded. Its text names the exception already, and is used as it is.

    Args:
        message: the text of the recorded fact that closed the effect.
        code: the code of that fact; empty if it had none.
    """

    def __init__(self, message: str, code: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.code = code
