"""Limit the connections of the page: their number, and the time that the server waits for a client."""

from typing import Any

import h11
import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

PATIENCE = 10.0  # seconds
CONNECTIONS = 64
LONGEST_HEAD = 2**15  # bytes


def server(app: Any, headers: dict[str, str]) -> uvicorn.Server:
    """Make a server of this application that puts these headers on every answer, including its own refusals."""
    options = {"log_level": "error", "access_log": False, "server_header": False, "date_header": False}
    options |= {"limit_concurrency": CONNECTIONS, "h11_max_incomplete_event_size": LONGEST_HEAD}
    options |= {"timeout_graceful_shutdown": 2, "lifespan": "off", "ws": "none", "headers": list(headers.items())}
    return uvicorn.Server(uvicorn.Config(app, http=Impatient, **options))


class Impatient(H11Protocol):
    """A connection that is closed if its client keeps the server waiting.

    uvicorn only limits how long a connection may be idle between two requests. Here a request must also arrive, and its
    answer be read, within `PATIENCE` seconds each. The time to compute the answer does not count.
    """

    deadline = None

    def connection_made(self, transport: Any) -> None:
        """Wait for a request."""
        super().connection_made(transport)
        self._watch()

    def handle_events(self) -> None:
        """Handle what has arrived."""
        super().handle_events()
        self._watch()

    def on_response_complete(self) -> None:
        """Wait for the answer to be read, and for the next request."""
        super().on_response_complete()
        self._watch()

    def pause_writing(self) -> None:
        """Wait for the client to read what was written."""
        super().pause_writing()
        self._watch()

    def resume_writing(self) -> None:
        """Continue after the client has read what was written."""
        super().resume_writing()
        self._watch()

    def send_400_response(self, msg: str) -> None:
        """Refuse a request that is not HTTP; if an answer has already begun, only close the connection."""
        if self.conn.our_state in (h11.IDLE, h11.SEND_RESPONSE):
            headers = [*self.server_state.default_headers, (b"content-type", b"text/plain"), (b"connection", b"close")]
            answer = h11.Response(status_code=400, headers=headers, reason=b"Bad Request")
            for event in (answer, h11.Data(data=msg.encode()), h11.EndOfMessage()):
                self.transport.write(self.conn.send(event))
        self.transport.close()

    def _watch(self) -> None:
        """Set a deadline while the server waits for the client; lift it while the client waits for the server."""
        asked = self.cycle and not (self.cycle.more_body or self.cycle.response_complete)
        if asked and not self.flow.write_paused:
            if self.deadline:
                self.deadline.cancel()
            self.deadline = None
        elif not self.deadline:
            self.deadline = self.loop.call_later(PATIENCE, self.transport.abort)
