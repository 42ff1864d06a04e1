"""The one exception for a mistake of the person at the keyboard."""


class InputError(Exception):
    """Bad input; the message is one line: what is wrong, where, and what to do.

    Commands print it and exit with status 2. Anything else that is raised is a bug of ours and keeps its traceback.
    """


def require(ok: bool, message: str) -> None:
    """Raise `InputError(message)` unless `ok`."""
    if not ok:
        raise InputError(message)
