"""Ctrl-C, and the signals that a cluster sends before it takes a machine away, mean the same: save and stop."""

import contextlib
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator

SIGNALS = [getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)]
GRACE = 10.0  # seconds for Python to handle a signal; a compilation can keep it waiting for minutes


class Stopped(KeyboardInterrupt):
    """A signal asked the command to stop."""

    def __init__(self, number: int, message: str = "stopped"):
        """By the signal of this number."""
        super().__init__(message)
        self.status = 128 + number  # the convention of shells


class StopRequest:
    """Whether a signal has arrived, for a loop that checks between two steps."""

    number: int | None = None
    raises: Callable[[], bool] = staticmethod(lambda: True)  # whether the first signal raises `Stopped` at once
    patient: Callable[[], bool] = staticmethod(lambda: False)  # whether to wait for Python to hear it, however long

    @contextlib.contextmanager
    def noted(self, unless: Callable[[], bool], patient: Callable[[], bool] = lambda: False) -> Iterator[None]:
        """Inside, the first signal only sets `number`, unless `unless()` is true; the second raises.

        While `patient()`, there is work that the loop would save: steps and evaluations may take longer than `GRACE`.
        """
        self.raises, self.patient = unless, patient
        try:
            yield
        finally:
            del self.raises, self.patient


REQUEST = StopRequest()


@contextlib.contextmanager
def stop_on_signals() -> Iterator[None]:
    """Inside, a signal raises `Stopped`; inside `REQUEST.noted()`, the first one is noted and the second raises."""
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
    heeded = [number for number in SIGNALS if signal.getsignal(number) != signal.SIG_IGN]  # not, say, under nohup
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
    """End the process if Python, busy compiling, does not handle a signal in time: there is nothing new to save."""
    while came := os.read(reader, 1):
        time.sleep(GRACE)
        while came[0] in SIGNALS and came[0] not in heard and REQUEST.patient():
            time.sleep(0.05)
        if came[0] in SIGNALS and came[0] not in heard:
            print("stopped while compiling; what was saved before is kept", file=sys.stderr, flush=True)
            os._exit(128 + came[0])
    os.close(reader)
