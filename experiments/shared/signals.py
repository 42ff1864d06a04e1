"""Stop a command cleanly: Ctrl-C and the signals that a cluster sends both mean to save and stop."""

import contextlib
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator

SIGNALS = [getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)]
GRACE = 10.0  # seconds that Python has to handle a signal; a compilation can delay it for minutes


class Stopped(KeyboardInterrupt):
    """The exception that a signal to stop raises."""

    def __init__(self, number: int, message: str = "stopped"):
        """Set the exit status for the signal with this number."""
        super().__init__(message)
        self.status = 128 + number  # the convention of shells


class StopRequest:
    """A record of whether a signal has arrived, for a loop that checks between steps."""

    number: int | None = None
    raises: Callable[[], bool] = staticmethod(lambda: True)  # whether the first signal raises `Stopped` at once
    patient: Callable[[], bool] = staticmethod(lambda: False)  # whether to wait for Python beyond `GRACE`

    @contextlib.contextmanager
    def noted(self, unless: Callable[[], bool], patient: Callable[[], bool] = lambda: False) -> Iterator[None]:
        """Let the first signal only set `number`, unless `unless()` is true; the second one raises `Stopped`.

        While `patient()` is true, the loop has work to save, and its steps and evaluations may outlast `GRACE`.
        """
        self.raises, self.patient = unless, patient
        try:
            yield
        finally:
            del self.raises, self.patient


REQUEST = StopRequest()


@contextlib.contextmanager
def stop_on_signals() -> Iterator[None]:
    """Raise `Stopped` on a signal; inside `REQUEST.noted()`, record the first signal and raise on the second."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    heard: list[int] = []

    def ask(number: int, _: object) -> None:
        heard.append(number)
        first, REQUEST.number = REQUEST.number is None, number
        if REQUEST.raises() or not first:
            raise Stopped(number)

    REQUEST.number = None
    heeded = [number for number in SIGNALS if signal.getsignal(number) != signal.SIG_IGN]  # as under nohup
    before = {number: signal.signal(number, ask) for number in heeded}
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
    threading.Thread(target=_watch, args=(reader, heard), daemon=True).start()
    try:
        yield
    finally:
        signal.set_wakeup_fd(-1)
        os.close(writer)
        for number, handler in before.items():
            signal.signal(number, handler)


def _watch(reader: int, heard: list[int]) -> None:
    """End the process if Python is busy compiling and misses a signal; there is nothing new to save then."""
    while came := os.read(reader, 1):
        time.sleep(GRACE)
        while came[0] in SIGNALS and came[0] not in heard and REQUEST.patient():
            time.sleep(0.05)
        if came[0] in SIGNALS and came[0] not in heard:
            print("stopped while compiling; what was saved before is kept", file=sys.stderr, flush=True)
            os._exit(128 + came[0])
    os.close(reader)
