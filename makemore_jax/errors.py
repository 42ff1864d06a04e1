"""The one exception for a mistake of the person at the keyboard."""


class InputError(Exception):
    """Bad input; the message is one line: what is wrong, where, and what to do.

    Commands print it and exit with status 2. Anything else that is raised is a bug of ours and keeps its traceback.
    """


def check_float(flag: str, value: float, zero: bool = True) -> None:
    """Raise `InputError` unless the value of `flag` is positive and within float32's reach, or 0 where it may be."""
    fits = 1e-30 <= value <= 1e30 or (zero and value == 0)
    require(fits, f"{flag} is {value}; it must be {'0 or ' if zero else ''}from 1e-30 to 1e30")


def require(ok: bool, message: str) -> None:
    """Raise `InputError(message)` unless `ok`."""
    if not ok:
        raise InputError(message)
