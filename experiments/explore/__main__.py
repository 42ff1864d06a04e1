"""Explore models in the browser: the bigram table, runs that read what you type, and how a name is drawn.

Run it:   python -m experiments.explore runs/gru runs/lstm
          python -m experiments.explore                         without a run, a small GRU trains while you watch
          python -m experiments.explore runs/gru --save gru.html    only write a page that runs the model by itself
          python -m experiments.explore --save table.html       only write the table, with its data, as one file
Expect:   a page at 127.0.0.1, which opens in the browser; Ctrl-C ends the command
"""

import os
import secrets
import socket
import threading
import webbrowser
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import tyro

from makemore_jax.data import corpus
from makemore_jax.errors import InputError, require
from makemore_jax.files import embedded
from makemore_jax.runs.folder import read_config

from ..shared import cli
from ..shared.reading import Reads
from .open_runs import LiveRun, RunOnDisk, Shelf, TableOnDisk
from .saved import models_page, table_page, write_page


@dataclass(frozen=True, kw_only=True)
class Config(Reads):
    """Explore the bigram table and trained models in the browser."""

    runs: tyro.conf.Positional[tuple[Path, ...]] = ()
    """Run folders that the train command wrote, or .safetensors files; without any, a small GRU is trained."""
    data: Path | None = None
    """Text file for the table; by default, the file that the first run was trained on, or the names."""
    save: Path | None = None
    """Write one HTML file that needs no server, and exit: a page of the runs, or of the table if no run is named."""
    port: int = 0
    """Port on the loopback address; 0 chooses a free one."""
    no_open: bool = False
    """Do not open a browser."""
    json: bool = False
    """With --save, print the name of the file as JSON on the last line."""

    def __post_init__(self):
        require(0 <= self.port < 2**16, f"`port` is {self.port}; it must be from 0 to {2**16 - 1}")
        both = self.save and self.runs and self.data
        require(not both, "`save` writes either runs or the table of `data`; name only one of them")


def run(config: Config) -> dict:
    """Open the runs and serve the page until Ctrl-C, or save a page."""
    if config.save:
        page = page_of(config)
        write_page(page, config.save)
        print(f"wrote {cli.shown(config.save)} ({len(page.encode()) / 1000:,.0f} kB): open it in any browser")
        return {"saved": config.save}
    serve = load_server()
    live = None if config.runs else LiveRun(live_corpus(config))
    shelf, tables = Shelf([RunOnDisk(path) for path in config.runs], live), TableOnDisk(partial(table_source, config))
    if config.data:  # a named file must exist; if a run's data is gone, the other views still work
        tables.now()
    token, once = secrets.token_urlsafe(), secrets.token_urlsafe()
    with listen(config.port) as listening:
        page = f"http://127.0.0.1:{listening.getsockname()[1]}/?token="
        print(f"{page}{token}  (Ctrl-C ends it)", flush=True)
        if live:
            print("no run was named, so a small GRU is trained while you watch", flush=True)
        if not config.no_open:
            threading.Thread(target=open_browser, args=(page + once, page + token), daemon=True).start()
        serve(shelf, tables, (token, once), listening)
    return {"address": page + token}


def page_of(config: Config) -> str:
    """The page to save: of the runs, or of the table."""
    if config.runs:
        return models_page(Shelf([RunOnDisk(path) for path in config.runs]))
    return table_page(TableOnDisk(partial(table_source, config)).now().table)


def table_source(config: Config) -> tuple:
    """The file of the table and how to read it, as arguments of `read_lines`."""
    trained_on = {}
    if config.data is None and config.runs:
        trained_on = read_config(config.runs[0]) or {}
    require(not trained_on.get("stream"), "the first run streams its data; name a smaller file with `data`")
    path = config.data or Path(trained_on.get("data") or embedded("names.txt"))
    return path, *config.reading_as(trained_on)


def live_corpus(config: Config) -> corpus.Corpus:
    """The corpus that a small GRU learns while you watch."""
    return corpus.load(config.data or embedded("names.txt"), **config.reading.source._asdict())


def listen(port: int) -> socket.socket:
    """Open a socket on the loopback address."""
    try:
        return socket.create_server(("127.0.0.1", port))
    except OSError as error:
        reason = os.strerror(error.errno).lower() if error.errno else "cannot be used"
        raise InputError(f"`port` {port}: {reason}; choose another, or leave it out for a free one") from None


def open_browser(once: str, address: str) -> None:
    """Open the page in a browser by the address that works once, or print that there is none."""
    try:
        opened = webbrowser.open(once)
    except (webbrowser.Error, OSError):
        opened = False
    if not opened:
        print(f"no browser was found; open {address} yourself", flush=True)


def load_server() -> Any:
    """Import the server; return (shelf, tables, tokens, socket) -> None, which serves until a signal ends it."""
    try:
        from .connections import server
        from .server import HEADERS, app, warm_up
    except ImportError:
        raise InputError("the page needs other packages: pip install '.[explore]'") from None

    def serve(shelf: Shelf, tables: TableOnDisk, tokens: tuple[str, str], listening: socket.socket) -> None:
        serving = server(app(shelf, tables, *tokens), HEADERS)
        stopped = threading.Event()
        warming = threading.Thread(target=warm_up, args=(shelf, stopped), daemon=True)
        warming.start()
        if shelf.live:
            shelf.live.thread.start()
        try:
            serving.run(sockets=[listening])
        finally:
            stopped.set()
            if shelf.live:
                shelf.live.stop()
                shelf.live.thread.join()  # exiting while JAX computes in a thread would crash
            warming.join()

    return serve


if __name__ == "__main__":
    cli.main(lambda: Config, run)
