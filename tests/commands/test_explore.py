"""The page of experiments.explore: its values, its server, and the page itself in a real browser."""

import contextlib
import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import urllib.error
import urllib.request
from http.client import HTTPConnection
from unittest.mock import Mock
from urllib.parse import urlsplit

import jax
import numpy as np
import pytest

import makemore_jax as mm
from experiments.explore import __main__ as explore
from experiments.explore import inside, saved, views
from experiments.explore import open_runs as shelf
from experiments.explore.open_runs import LiveRun, RunOnDisk, Shelf, TableOnDisk
from experiments.explore.table import MAX_LEARNED, SHOWN, Table, first_lines
from experiments.shared.symbols import label
from makemore_jax import checkpoint
from makemore_jax.analysis import plot
from makemore_jax.data.corpus import encode
from makemore_jax.data.lines import digest, split
from makemore_jax.errors import InputError
from makemore_jax.inference.draw import draw
from makemore_jax.inference.evaluate import exact_loss
from makemore_jax.inference.sampler import SamplingParams
from makemore_jax.inference.trained import Trained
from makemore_jax.models import ngram
from makemore_jax.models.registry import MODELS, build
from makemore_jax.runs.folder import identity
from tests.browser import Tab, expect
from tests.cases import VARIANTS
from tests.conftest import ROOT

HOSTILE = ["<script>document.title='owned'</script>", "\"'&lt;</script>", "אבג a", "\u202eabc", "e\u0301\u0323 x"]
WANTED = {"n": 5, "prefix": "a", "seed": 3, "temperature": 0.9, "top_k": 8, "top_p": 0.9}
SIZES = {"embed": 5, "hidden": 13}
TOKEN = "the-token"


@pytest.fixture(scope="module")
def corpus(names):
    lines = names[:400]
    return encode(split(lines), digest(lines))


def untrained(name, corpus, **sizes):
    """A model whose weights are random and large enough to have opinions."""
    sizes = sizes or VARIANTS.get(name, [{}])[0]
    context = {"context": corpus.context} if "context" in MODELS[name].config.__dataclass_fields__ else {}
    model = build(name, vocab=corpus.vocab.size, **context, **sizes)
    params = jax.tree.map(lambda leaf: 3 * np.asarray(leaf), jax.jit(model.init)(jax.random.key(0)))
    return Trained(model, params, corpus.vocab, corpus.context)


@pytest.fixture(scope="module")
def gru(corpus):
    return untrained("gru", corpus, **SIZES)


@pytest.fixture(scope="module")
def tables():
    return TableOnDisk(lambda: (ROOT / "data/names.txt",))


@pytest.fixture(scope="module")
def table(tables):
    return tables.now().table


# The table


def test_the_table_is_the_lectures(table):
    values = table.values
    counts = np.array(values["counts"])
    e, m = values["symbols"].index("e"), values["symbols"].index("m")
    assert counts[e, m] == sum(line.count("em") for line in table.lines)
    assert counts.sum() == sum(len(line) + 1 for line in table.lines)
    assert values["total"][e] == counts[e].sum()
    assert values["rank"][e][m] == 1 + (counts > counts[e, m]).sum()
    smoothing = values["smoothing"]
    one = smoothing["smoothing"].index(1.0)
    assert (round(smoothing["train"][one], 4), round(smoothing["dev"][one], 4)) == (2.4542, 2.4661)  # docs/results.md
    assert smoothing["dev"][0] is None  # infinite: a pair that train lacks
    learned = values["learned"]
    assert learned["nats"] == sorted(learned["nats"], reverse=True)
    assert learned["counted"] == pytest.approx(2.4543, abs=1e-4)
    assert learned["nats"][-1] == pytest.approx(learned["counted"], abs=1e-3)
    prob = np.exp(np.array(learned["log_prob"][-1]))
    np.testing.assert_allclose(prob, counts / counts.sum(1, keepdims=True), atol=0.02)


def test_a_walk_on_the_table_is_what_the_sampler_draws(table):
    """The page's arithmetic with the random numbers that it gets: the same names as mm.sample."""
    values = table.values
    counts = np.array(values["counts"], float)
    trained = Trained(ngram.ngram(table.config), ngram.fit(table.counts_VV), table.vocab, 40)
    for seed, uniform in enumerate(values["uniform"][:20]):
        at, name = 0, ""
        for u in uniform:
            at = int((counts[at].cumsum() / counts[at].sum() > u).argmax())
            if at == 0:
                break
            name += values["symbols"][at]
        assert [name] == mm.sample(jax.random.key(seed), trained, 1)
    np.testing.assert_array_equal(first_lines(2, 40)[1, :7], first_lines(2, 7)[1])


def test_the_lines_of_a_pair(table):
    symbols = table.values["symbols"]
    found = table.lines_with(symbols.index("a"), symbols.index("n"), limit=30)
    holding = [line for line in table.lines if "an" in line]
    assert found["total"] == len(holding)
    assert ["".join(row["symbols"]) for row in found["lines"]] == [f".{line}." for line in holding[:30]]
    for row in found["lines"]:
        text = "".join(row["symbols"])
        assert row["at"] == [match.start() for match in re.finditer("an", text)]
    with pytest.raises(InputError, match="no such pair"):
        table.lines_with(0, len(symbols))
    with pytest.raises(InputError, match="no such pair"):
        table.lines_with(-1, 0)


def test_a_large_alphabet_shows_the_most_frequent():
    lines = ["".join(chr(0x4E00 + (13 * i + 29 * j) % 700) for j in range(40)) for i in range(400)]
    found = Table(lines, "large")
    values = found.values
    assert len(values["symbols"]) == SHOWN
    assert values["vocab"] > MAX_LEARNED
    assert values["learned"] is None
    assert np.array(values["counts"]).sum(1).max() <= max(values["total"])
    row = found.lines_with(*np.argwhere(np.array(values["counts"]) > 0)[-1], limit=1)["lines"][0]
    assert len(row["symbols"]) <= 121


def test_long_lines_are_cut_around_the_pair():
    found = Table(["a" * 300 + "b" + "c" * 300, "ab", "c"], "long")
    row = found.lines_with(found.labels.index("a"), found.labels.index("b"))["lines"][0]
    assert len(row["symbols"]) < 150
    assert row["cut"] == ("…", "…")
    (at,) = row["at"]
    assert row["symbols"][at : at + 2] == ["a", "b"]


def test_a_file_too_small_to_split_has_no_losses():
    assert Table(["ab"], "tiny")._smoothing() is None


def test_labels():
    labels = [label(symbol) for symbol in (" ", "a", "\u202e", "\u0301", "א", "<unknown>", "\u2003")]
    assert labels == ["␣", "a", "U+202E", "◌\u0301", "א", "<unknown>", "U+2003"]


# Views


@pytest.mark.parametrize("name", ["gru", "bigram"])
def test_a_typed_line_costs_what_score_says(name, corpus):
    trained = untrained(name, corpus)
    found = views.type_line(trained, "emma")
    (quality,) = mm.score(trained, ["emma"])
    assert found["total"] == pytest.approx(quality.nats * quality.tokens, abs=1e-3)
    assert found["sum"] == pytest.approx(sum(found["nats"]), abs=1e-3)
    assert found["symbols"] == list("emma")
    assert found["problem"] is None
    assert [text for _, text in found["bars"]] == list(corpus.vocab.symbols)
    np.testing.assert_allclose(np.sum(found["prob"], 1), 1, atol=3e-3)
    m = corpus.vocab.symbols.index("m")
    assert -np.log(found["prob"][1][m]) == pytest.approx(found["nats"][1], abs=0.02)


def test_what_a_model_cannot_read_is_said_in_place(gru):
    found = views.type_line(gru, "emXma")
    assert (found["symbols"], found["unread"]) == (["e", "m"], ["X", "m", "a"])
    assert found["problem"] == "this model does not know the symbol 'X'"
    found = views.type_line(gru, "a" * 5000)
    assert len(found["symbols"]) == gru.context - 1
    assert found["problem"] == f"this model reads up to {gru.context - 1} symbols"
    assert len(found["unread"]) <= 201
    for text in HOSTILE:
        assert views.type_line(gru, text)["problem"]


def test_words_and_bytes_are_read_as_such():
    lines = [f"in the beginning {word}, was" for word in ("light", "water", "earth", "night") * 10]
    for level in ("word", "byte"):
        vocab = mm.data.vocab.Vocab.of(lines, level)
        model = build("bigram", vocab=vocab.size)
        trained = Trained(model, model.init(jax.random.key(0)), vocab, 60)
        found = views.type_line(trained, "in the light")
        assert len(found["symbols"]) == (3 if level == "word" else 12)
        assert len(found["bars"]) <= views.MAX_ALL
        token = found["bars"][-1][0]
        assert views.append(trained, "in the light", token).startswith("in the light")
        if level == "word":
            assert views.type_line(trained, "in the lig ht")["problem"] == "this model does not know the word 'lig'"
            assert " ".join(views.type_line(trained, "in zebra the")["unread"]).replace(" ", "") == "zebra␣the"


def test_no_key_press_compiles(gru, compilations):
    views.type_line(gru, "a")
    inside.inside(gru, "a")
    with compilations() as events:
        for text in ("", "em", "charlott", "aaaaaaaaaaa"):
            views.type_line(gru, text)
            inside.inside(gru, text)
    assert not events


@pytest.mark.parametrize("prefix", ["", "a"])
def test_lines_are_those_of_draw_and_are_replayed_as_drawn(gru, corpus, prefix):
    wanted = WANTED | {"prefix": prefix}
    found = views.make(gru, wanted, corpus.lines)
    drawn = draw(jax.random.key(3), gru, 5, prefix, SamplingParams(0.9, 8, 0.9))
    texts = [gru.vocab.decode(row) for row in drawn.token_BT]
    assert ["".join(line["symbols"]) for line in found["lines"]] == texts
    np.testing.assert_allclose([line["log_prob"] for line in found["lines"]], drawn.log_prob_B, atol=1e-4)
    assert found["novelty"]["new"] == sum(line["where"] == "new" for line in found["lines"])
    for index, (text, ended) in enumerate(zip(texts, drawn.ended_B, strict=True)):
        steps = views.replay(gru, wanted, index)["steps"]
        assert "".join(step["symbol"] for step in steps) == text + "." * int(ended)
        assert [step["given"] for step in steps] == [place < len(prefix) for place in range(len(steps))]
        for step in steps[len(prefix) :]:
            cut = np.array(step["cut"])
            assert (cut > 0).sum() <= 8
            assert step["below"] - 1e-5 <= step["random"] <= step["below"] + cut[step["chosen"]] + 1e-5
    with pytest.raises(InputError, match="no such line"):
        views.replay(gru, wanted, 5)


def test_where_a_line_stands(gru, corpus):
    dev = corpus.lines._replace(train=[], dev=[gru.vocab.decode(draw(jax.random.key(3), gru, 1).token_BT[0])])
    wanted = WANTED | {"n": 1, "prefix": "", "temperature": 1.0, "top_k": None, "top_p": 1.0}
    assert views.make(gru, wanted, dev)["lines"][0]["where"] == "held out"
    assert views.make(gru, wanted, None)["lines"][0]["where"] is None


@pytest.mark.parametrize("name", sorted(MODELS.keys() - {"mixture", "ensemble"}))  # they have no activations
def test_the_activations_of_every_model_have_time_where_the_page_looks_for_it(name, corpus):
    model = build(name, vocab=corpus.vocab.size)
    params = jax.eval_shape(model.init, jax.random.key(0))
    _, activations = jax.eval_shape(model.forward, params, jax.ShapeDtypeStruct((1, 5), np.int32))
    for _, *shape in (value.shape for value in activations.values()):
        assert {2: shape[:1], 3: shape[1:2], 4: shape[2:]}[len(shape)] in ([5], [5, 5])


@pytest.mark.parametrize("name", ["bigram", "wavenet", "transformer"])
def test_the_inside_is_what_activations_gives(name, corpus):
    """From a padded line; no model has code of its own on the page."""
    trained = untrained(name, corpus)
    ids = corpus.vocab.encode_line("emma")
    expected = mm.activations(trained, "emma").values
    found = inside.activations(trained, ids)
    assert found.keys() == expected.keys()
    for key, value in expected.items():
        np.testing.assert_allclose(found[key], value, atol=1e-5)
    assert len(plot.panels(found, 5)) == {"bigram": 0, "wavenet": 4, "transformer": 1}[name]
    if name == "wavenet":
        return
    shown = inside.inside(trained, "emma")
    json.dumps(shown, allow_nan=False)
    assert shown["symbols"] == [".", "e", "m", "m", "a"]
    assert np.shape(shown["reach"]) == (5, 5)
    assert (np.triu(shown["reach"], 1) == 0).all()
    assert (shown["plane"] is None) == (name == "bigram")
    assert (shown["attention"] is None) == (name != "transformer")


# Runs


def test_a_run_that_trains_is_read_again_and_damage_leaves_the_page_as_it_is(gru, tmp_path, monkeypatch):
    monkeypatch.setattr(shelf, "LOOK_EVERY", 0.0)
    path = tmp_path / "gru.safetensors"
    mm.save(gru, path)
    run = RunOnDisk(path)
    found = Shelf([run, RunOnDisk(path)])
    assert [row["name"] for row in found.describe()] == ["gru", "gru (2)"]
    before = found.find("gru")
    assert found.find("gru") is before
    changed = gru._replace(params=jax.tree.map(lambda leaf: leaf + 1, gru.params))
    times = path.stat()
    mm.save(changed, tmp_path / "changed.safetensors")
    path.write_bytes((tmp_path / "changed.safetensors").read_bytes())  # of the same size, in the same place
    os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))
    assert found.find("gru").version != before.version
    assert views.type_line(found.find("gru").trained, "emma") == views.type_line(changed, "emma")
    now = found.find("gru")
    path.write_bytes(b"damaged")
    assert found.find("gru") is now
    with pytest.raises(InputError, match="no such run"):
        found.find("../gru")


def write_run(folder, trained, lines):
    """A run folder of these weights on these lines; a file that is there keeps its size, its times and its inode."""
    folder.mkdir(exist_ok=True)
    data, best = folder / "lines.txt", folder / "best.safetensors"
    times = best.stat() if best.exists() else None
    data.write_text("\n".join(lines))
    config = {"data": str(data), "stream": False, "max_length": None, "lowercase": False, "lines_sha256": digest(lines)}
    (folder / "config.json").write_text(json.dumps(config))
    mm.save(trained, folder / "plain")
    leaves, about = checkpoint.read(folder / "plain")
    checkpoint.write(folder / "plain", leaves, about | {"run": identity(config)})
    best.write_bytes((folder / "plain").read_bytes())
    if times:
        os.utime(best, ns=(times.st_atime_ns, times.st_mtime_ns))
        assert (best.stat().st_size, best.stat().st_ino) == (times.st_size, times.st_ino)


def every(lines):
    """The lines of all parts in alphabetical order."""
    return sorted(line for part in lines for line in part)


def test_what_is_derived_from_a_run_goes_with_it(gru, corpus, tmp_path, monkeypatch):
    """Weights and lines are of one run, whichever moment it is overwritten in, even if the file looks the same."""
    monkeypatch.setattr(shelf, "LOOK_EVERY", 0.0)
    folder, (first, second) = tmp_path / "run", (corpus.lines.train[:30], corpus.lines.train[30:60])
    write_run(folder, gru, first)
    found = Shelf([RunOnDisk(folder)])
    before, waiting = found.find("run"), RunOnDisk(folder).now
    assert every(before.lines) == sorted(first)
    write_run(folder, gru._replace(params=jax.tree.map(lambda leaf: leaf + 1, gru.params)), second)
    assert every(before.lines) == sorted(first)
    assert waiting.lines is None  # never read, and now of another run
    now = found.find("run")
    assert now.version != before.version
    assert every(now.lines) == sorted(second)


def test_lines_that_were_gone_are_found_when_they_are_back(gru, corpus, tmp_path):
    write_run(tmp_path / "run", gru, corpus.lines.train[:30])
    run = RunOnDisk(tmp_path / "run").now
    data = tmp_path / "run" / "lines.txt"
    data.rename(tmp_path / "elsewhere")
    assert run.lines is None
    (tmp_path / "elsewhere").rename(data)
    assert len(every(run.lines)) == 30


def test_a_table_is_counted_again_when_its_lines_change(tmp_path, monkeypatch):
    monkeypatch.setattr(shelf, "LOOK_EVERY", 0.0)
    path = tmp_path / "lines.txt"
    found = TableOnDisk(lambda: (path,))
    with pytest.raises(InputError, match="no such file"):
        found.now()
    path.write_text("ab\nab")
    before, times = found.now(), path.stat()
    assert found.now() is before
    path.write_text("cd\ncd")
    os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))
    now = found.now()
    assert now.version != before.version
    assert now.table.lines == ["cd", "cd"]
    for damage in (lambda: path.write_text(" \n "), path.unlink):  # what cannot be read leaves the page as it is
        damage()
        assert found.now() is now


def test_the_table_is_of_the_data_of_the_first_run_as_it_is_now(gru, corpus, tmp_path, monkeypatch):
    monkeypatch.setattr(shelf, "LOOK_EVERY", 0.0)
    write_run(tmp_path / "run", gru, corpus.lines.train[:30])
    found = TableOnDisk(lambda: explore.table_source(explore.Config(runs=(tmp_path / "run",))))
    assert found.now().table.lines == corpus.lines.train[:30]
    write_run(tmp_path / "run", gru, corpus.lines.train[30:60])
    assert found.now().table.lines == corpus.lines.train[30:60]


def test_a_model_trains_while_the_page_is_open(corpus, monkeypatch):
    monkeypatch.setattr(shelf, "GRU", {"embed": 5, "steps": 20})
    monkeypatch.setattr(shelf, "HIDDEN", 13)
    monkeypatch.setattr(shelf, "EVALUATE_EVERY", 10)
    monkeypatch.setattr(mm, "baselines", lambda corpus: {"uniform": 3.0})
    live = LiveRun(corpus)
    with pytest.raises(InputError, match="wait a few seconds"):
        Shelf([], live).find("live")
    live.thread.start()
    live.thread.join()
    assert [row["step"] for row in live.rows] == [10, 20]
    assert len(live.rows[0]["samples"]) == shelf.SAMPLES
    dev = exact_loss(live.now.trained.model, live.now.trained.params, corpus.tokens.dev).nats
    assert live.rows[-1]["dev"] == pytest.approx(dev, abs=1e-6)
    assert live.done
    assert live.baselines == {"uniform": 3.0}
    assert Shelf([], live).describe()[0]["version"] == "training 1, step 20"


# The server


@pytest.fixture(scope="module")
def application(gru, tables, tmp_path_factory):
    pytest.importorskip("starlette", reason="starlette is not installed")
    from experiments.explore.server import app

    path = tmp_path_factory.mktemp("runs") / "gru.safetensors"
    mm.save(gru, path)
    return app(Shelf([RunOnDisk(path)]), tables, TOKEN)


@pytest.fixture(scope="module")
def stranger(application):
    """Who knows the port, but has no token."""
    testclient = pytest.importorskip("starlette.testclient", reason="starlette is not installed")
    return lambda: testclient.TestClient(application, base_url="http://127.0.0.1:8000")


@pytest.fixture(scope="module")
def client(stranger):
    client = stranger()
    client.get("/", params={"token": TOKEN})
    return client


@contextlib.contextmanager
def serving(application, patience=600.0):
    """The address of this application, served as the command does it, except that it waits long for a busy client."""
    connections = pytest.importorskip("experiments.explore.connections", reason="uvicorn is not installed")
    from experiments.explore.server import HEADERS

    listening = explore.listen(0)
    server = connections.server(application, HEADERS)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]}, daemon=True)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(connections, "PATIENCE", patience)
        thread.start()
        try:
            yield f"http://127.0.0.1:{listening.getsockname()[1]}/"
        finally:
            server.should_exit = True
            thread.join()
            listening.close()


def test_the_server_answers_with_the_views(client, gru, table):
    run = client.get("/api/state").json()["runs"][0]
    counted = client.get("/api/table").json()
    version = {"version": run["version"]}
    assert run["model"] == "gru"
    assert counted["counts"] == table.values["counts"]
    assert counted["version"] == client.get("/api/state").json()["table"]
    lines = client.post("/api/lines", json={"version": counted["version"], "first": 1, "second": 2}).json()
    assert lines["total"] == table.lines_with(1, 2)["total"]
    emma, wanted = {"run": "gru", "text": "emma"}, {"run": "gru", **WANTED}
    assert client.post("/api/type", json=emma).json() == version | views.type_line(gru, "emma")
    assert client.post("/api/inside", json=emma).json() == version | inside.inside(gru, "emma")
    assert client.post("/api/make", json=wanted).json() == version | views.make(gru, WANTED, None)
    replayed = client.post("/api/replay", json={**wanted, **version, "index": 1}).json()
    assert replayed == version | views.replay(gru, WANTED, 1)
    appended = client.post("/api/append", json={"run": "gru", "text": "em", "token": 1, "label": "a"}).json()
    assert appended == version | {"text": "ema"}


def test_a_question_about_what_has_changed_since_is_refused(client):
    """In a run or lines that have been overwritten, an index on the page means something else."""
    for path, asked, words in (
        ("lines", {"version": "of old", "first": 1, "second": 2}, "the lines have changed"),
        ("replay", {"version": "of old", "run": "gru", **WANTED, "index": 1}, "the run has changed since"),
        ("append", {"run": "gru", "text": "em", "token": 1, "label": "q"}, "there is no such symbol"),
    ):
        answer = client.post(f"/api/{path}", json=asked)
        assert answer.status_code == 400
        assert words in answer.json()["error"]


def fetch(address, path, method="GET", body=None, **headers):
    """(status, headers) of an answer, from a connection of its own."""
    connection = HTTPConnection(urlsplit(address).netloc, timeout=60)
    connection.request(method, path, body, {name.replace("_", "-"): value for name, value in headers.items()})
    answer = connection.getresponse()
    connection.close()
    return answer.status, answer.headers


def test_every_answer_has_the_headers(application, monkeypatch):
    """Refusals of every layer, too, and mistakes of the server."""
    monkeypatch.setattr(views, "type_line", lambda *_: 1 / 0)
    with serving(application) as address:
        cookie = fetch(address, f"/?token={TOKEN}")[1]["set-cookie"].partition(";")[0]
        json_ = {"cookie": cookie, "content_type": "application/json"}
        answers = {
            200: fetch(address, "/api/state", cookie=cookie),
            304: fetch(address, "/style.css", cookie=cookie, if_none_match="*"),
            400: fetch(address, "/", host="evil.example"),
            403: fetch(address, "/"),
            404: fetch(address, "/none", cookie=cookie),
            405: fetch(address, "/api/type", cookie=cookie),
            413: fetch(address, "/api/type", "POST", b"x" * 70_000, **json_),
            415: fetch(address, "/api/type", "POST", b"{}", cookie=cookie),
            500: fetch(address, "/api/type", "POST", json.dumps({"run": "gru", "text": ""}), **json_),
        }
        with socket.create_connection(urlsplit(address).netloc.split(":")) as raw:
            raw.sendall(b"no HTTP\r\n\r\n")
            assert b"content-security-policy: default-src 'none'" in raw.makefile("rb").read()
    for status, (given, headers) in answers.items():
        assert given == status
        assert "default-src 'none'" in headers["content-security-policy"]
        assert "unsafe" not in headers["content-security-policy"]
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["cache-control"] == "no-store"


def test_the_page_needs_nothing_but_itself(client):
    assert client.get("/").headers["content-type"].startswith("text/html")
    html = client.get("/").text
    linked = re.findall(r'(?:src|href)="([^"]+)"', html)
    assert len(linked) >= 8
    assert all(link.startswith("/") and client.get(link).status_code == 200 for link in linked)
    assert not re.search(r"<script>|\son\w+=|style=", html)
    scripts = [client.get(link).text for link in linked if link.endswith(".js")]
    assert not any(re.search(r"innerHTML|insertAdjacentHTML|document\.write|eval\(", script) for script in scripts)
    assert not any("//" in url for url in re.findall(r"url\(([^)]*)\)", client.get("/style.css").text))


@pytest.mark.parametrize("path", ["/../server.py", "/%2e%2e/server.py", "//etc/passwd", "/%2fetc/passwd", "/%00"])
def test_no_path_leads_out_of_the_page(client, path):
    assert client.get(f"http://127.0.0.1:8000{path}").status_code == 404


def test_the_address_of_the_started_browser_works_once():
    """Other users see it among the arguments of the browser's process."""
    from experiments.explore.server import Guard

    guard = Guard(None, "always", "once")
    assert [guard._opens(token) for token in ("once", "once", "always", "always", "", None)] == [
        True, False, True, True, False, False,
    ]  # fmt: skip


def test_only_the_token_lets_in(stranger):
    for path in ("/", "/main.js", "/api/state", "/none", "/?token=", "/?token=wrong", "/?token=%ff", f"/?x={TOKEN}"):
        answer = stranger().get(path)
        assert (answer.status_code, answer.text.count("\n")) == (403, 1)
        assert "the whole address that the terminal printed" in answer.text
    for cookie in (b"wrong", TOKEN.encode(), b"", b"\xff"):
        assert stranger().get("/", headers={"cookie": b"makemore-8000=" + cookie}).status_code == 403


def test_the_token_is_exchanged_for_a_cookie(stranger):
    guest = stranger()
    answer = guest.get("/", params={"token": TOKEN})
    cookie, *kept = answer.headers["set-cookie"].lower().split("; ")
    assert cookie.startswith("makemore-8000=")
    assert TOKEN not in cookie
    assert {"httponly", "samesite=strict"} <= set(kept)
    for _ in range(2):
        assert guest.get("/").text == answer.text
        assert guest.get("/api/state").status_code == 200
    assert guest.get("/", params={"token": TOKEN}).status_code == 200
    assert guest.get("http://127.0.0.1:8001/").status_code == 403  # another port's page has a cookie of its own


@pytest.mark.parametrize("host", ["evil.example", "127.0.0.1.evil.example", "evil.example:8000", ""])
def test_another_host_is_refused(client, stranger, host):
    assert client.get("/", headers={"host": host}).status_code == 400
    assert stranger().get("/", params={"token": TOKEN}, headers={"host": host}).status_code == 400
    assert stranger().get("/", params={"token": TOKEN}, headers={"host": "localhost:8000"}).status_code == 200


def test_another_site_is_refused(client):
    ask = lambda **headers: client.post("/api/type", json={"run": "gru", "text": "a"}, headers=headers).status_code
    assert ask(origin="http://evil.example") == 403
    assert ask(origin="null") == 403
    assert ask(origin="http://127.0.0.1:8000") == 200
    assert client.post("/api/type", content='{"run": "gru", "text": "a"}').status_code == 415  # as a form would


@pytest.mark.parametrize(
    ("path", "asked", "status", "words"),
    [
        ("type", {"run": "gru"}, 400, "the request needs text, of type str"),
        ("type", {"run": "gru", "text": 3}, 400, "text, of type str"),
        ("type", {"run": "gru", "text": "a" * 5001}, 400, "text has 5,001 characters; the limit is 5,000"),
        ("type", {"run": "gru", "text": "\ud800"}, 400, "text is not text"),
        ("type", {"run": "/etc/passwd", "text": "a"}, 400, "there is no such run on this page"),
        ("type", {"run": ["gru"], "text": "a"}, 400, "run, of type str"),
        ("type", [1], 400, "not a JSON object"),
        ("lines", {"first": 10**9, "second": 0}, 400, "there is no such pair"),
        ("lines", {"first": True, "second": 0}, 400, "first, of type int"),
        ("append", {"run": "gru", "text": "a", "token": 0, "label": "."}, 400, "there is no such symbol"),
        ("append", {"run": "gru", "text": "a", "token": -1, "label": "z"}, 400, "there is no such symbol"),
        ("make", {"run": "gru", **WANTED, "n": 10**9}, 400, "n is 1000000000; it must be from 1 to 100"),
        ("make", {"run": "gru", **WANTED, "seed": -1}, 400, "seed is -1"),
        ("make", {"run": "gru", **WANTED, "temperature": float("nan")}, 400, "temperature is nan"),
        ("make", {"run": "gru", **WANTED, "temperature": 10**400}, 400, "temperature, of type float"),
        ("make", {"run": "gru", **WANTED, "top_k": 10**15}, 400, "top_k is 1000000000000000"),
        ("make", {"run": "gru", **WANTED, "top_p": 0}, 400, "top_p is 0.0"),
        ("make", {"run": "gru", **WANTED, "prefix": "<b>"}, 400, "'<' (U+003C) is not in the vocabulary"),
        ("make", {"run": "gru", **WANTED, "prefix": "a" * 99}, 400, "leaves no room"),
        ("replay", {"run": "gru", **WANTED, "index": 99}, 400, "there is no such line"),
        ("nothing", {}, 404, "Not Found"),
        ("..%2f..%2fetc/passwd", {}, 404, "Not Found"),
    ],
)
def test_a_wrong_request_gets_one_line(client, tables, gru, path, asked, status, words):
    headers = {"content-type": "application/json"}
    if path in ("lines", "replay"):
        asked["version"] = (
            tables.version() if path == "lines" else client.get("/api/state").json()["runs"][0]["version"]
        )
    answer = client.post(f"/api/{path}", content=json.dumps(asked), headers=headers)
    assert answer.status_code == status
    if status != 200:
        assert words in answer.json()["error"]
        assert "\n" not in answer.json()["error"]


def test_what_is_too_long_too_deep_or_no_json_is_refused(client):
    send = lambda raw: client.post("/api/type", content=raw, headers={"content-type": "application/json"})
    assert send(b"x" * 70_000).status_code == 413
    for raw in (b"", b"{", b"[" * 60_000, b"\xff", b'{"run": "gru"'):
        answer = send(raw)
        assert (answer.status_code, answer.json()["error"]) == (400, "the request is not a JSON object")
    assert client.get("/api/type").status_code == 405


# The connections


class Loop:
    """An event loop whose timers a test looks at; it runs no task."""

    def __init__(self):
        self.waiting = []

    def call_later(self, seconds, call):
        self.waiting.append(call)
        return Mock(cancel=lambda: self.waiting.remove(call))

    def create_task(self, coroutine, **_):
        coroutine.close()
        return Mock()


@pytest.fixture
def connection():
    """One connection to an application that has not answered yet; `late()` is whether its deadline is set."""
    connections = pytest.importorskip("experiments.explore.connections", reason="uvicorn is not installed")
    server = connections.server(lambda: None, {})
    server.config.load()
    found = connections.Impatient(server.config, server.server_state, {}, Loop())
    found.connection_made(Mock(**{"get_extra_info.return_value": None, "is_closing.return_value": False}))
    found.late = lambda: found.transport.abort in found.loop.waiting
    return found


POST = b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 3\r\n\r\n"


def test_a_client_is_waited_for_only_so_long(connection):
    assert connection.late()  # it has said nothing
    for part in (POST[:7], POST[7:], b"ab"):
        connection.data_received(part)
        assert connection.late()
    connection.data_received(b"c")
    assert not connection.late()  # now the client waits for the answer, however long that takes
    connection.pause_writing()
    assert connection.late()  # it does not read
    connection.resume_writing()
    assert not connection.late()


def answer(connection):
    """The application answers."""
    for message in ({"type": "http.response.start", "status": 200}, {"type": "http.response.body"}):
        with contextlib.suppress(StopIteration):
            connection.cycle.send(message).send(None)


def test_the_next_request_is_waited_for_no_longer(connection):
    connection.data_received(POST + b"abc" + POST)  # pipelined, without its body
    assert not connection.late()
    answer(connection)
    assert connection.cycle.more_body
    assert connection.late()
    connection.data_received(b"abc" + POST.replace(b"Host", b"Connection: close\r\nHost") + b"abc")
    for _ in range(2):
        assert not connection.late()
        answer(connection)
    assert connection.late()  # until the answer is read


def test_garbage_after_an_answer_closes_the_connection(connection):
    head = POST.replace(b"Content-Length: 3", b"Transfer-Encoding: chunked")
    connection.data_received(head)
    answer(connection)
    connection.data_received(b"no chunk\r\n")
    connection.transport.close.assert_called()


@pytest.mark.parametrize("sent", [b"", b"GET / HTTP/1.1\r\nHost: ", POST, POST + b"a"])
def test_a_connection_that_stalls_is_closed(application, capfd, sent):
    with (
        serving(application, patience=0.05) as address,
        socket.create_connection(urlsplit(address).netloc.split(":")) as stalled,
    ):
        stalled.settimeout(120)
        stalled.sendall(sent)
        with contextlib.suppress(ConnectionError):
            while stalled.recv(2**12):
                pass
    assert capfd.readouterr().err == ""


def test_one_connection_too_many_is_refused_with_the_headers(application, monkeypatch, capfd):
    monkeypatch.setattr("experiments.explore.connections.CONNECTIONS", 3)
    with serving(application) as address, contextlib.ExitStack() as opened:
        place = urlsplit(address).netloc.split(":")
        for _ in range(3):
            opened.enter_context(socket.create_connection(place)).sendall(b"GET / HTTP/1.1\r\n")
        status, headers = fetch(address, "/")
    assert status == 503
    assert "default-src 'none'" in headers["content-security-policy"]
    assert capfd.readouterr().err == ""


def test_a_client_that_leaves_in_the_middle_prints_nothing(application, capfd):
    with serving(application) as address:
        cookie = fetch(address, f"/?token={TOKEN}")[1]["set-cookie"].partition(";")[0].encode()
        more = b"Content-Type: application/json\r\nCookie: " + cookie + b"\r\nContent-Length"
        with socket.create_connection(urlsplit(address).netloc.split(":")) as leaving:
            leaving.sendall(POST.replace(b"Content-Length", more).replace(b"POST /", b"POST /api/type") + b"{")
        fetch(address, "/")  # after it
    assert capfd.readouterr().err == ""


# The saved page


def test_a_saved_page_is_one_file_that_data_cannot_break_out_of(tmp_path):
    name = "</script><script>alert(1)</script>"
    found = saved.table_page(Table(HOSTILE * 5, name))
    assert found.count("<script") == found.count("</script>") == 2
    assert not re.search(r"(src|href)=|@import|https?://(?!www\.w3\.org)", found)
    data = json.loads(re.search(r'id="data">(.*?)</script>', found, re.DOTALL)[1])
    assert data["name"] == name
    side = len(data["symbols"])
    first = data["examples"][data["symbols"].index("<") * side + data["symbols"].index("s")]
    assert first["total"] == 5


def test_a_file_that_cannot_be_written_is_one_line():
    with pytest.raises(InputError, match=r"'/proc/table.html': cannot be written .*; choose another `save`"):
        saved.write_page("", "/proc/table.html")


# The command


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["runs/none"], "'runs/none': no such run folder or safetensors file"),
        (["README.md"], "'README.md': damaged, or not a safetensors file"),
        (["--data", "none.txt"], "'none.txt': no such file"),
        (["--port", "70000"], "--port is 70000"),
    ],
)
def test_bad_flags(command, flags, message):
    status, _, err = command("explore", *flags, "--no-open")
    assert status == 2
    assert err.startswith(f"error: {message}")
    assert err.count("\n") == 1


def test_a_port_that_is_taken_is_said(command, gru, tmp_path):
    mm.save(gru, tmp_path / "gru.safetensors")
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        status, _, err = command("explore", tmp_path / "gru.safetensors", "--port", port, "--no-open")
    assert (status, err.count("\n")) == (2, 1)
    assert f"--port {port}: address already in use; choose another" in err


def test_missing_packages_are_named(command, gru, tmp_path, monkeypatch):
    mm.save(gru, tmp_path / "gru.safetensors")
    monkeypatch.setitem(sys.modules, "uvicorn", None)
    monkeypatch.delitem(sys.modules, "experiments.explore.connections", raising=False)
    status, _, err = command("explore", tmp_path / "gru.safetensors", "--no-open")
    assert (status, err) == (2, "error: the page needs other packages: pip install '.[explore]'\n")


def test_without_a_browser_it_says_so(monkeypatch, capsys):
    monkeypatch.setattr(explore.webbrowser, "open", lambda address: False)
    explore.open_browser("http://127.0.0.1:1/once", "http://127.0.0.1:1/")
    assert capsys.readouterr().out == "no browser was found; open http://127.0.0.1:1/ yourself\n"


# The page in a browser


@pytest.fixture(scope="module")
def address(gru, corpus, names, tmp_path_factory):
    """The page with a GRU, a transformer and a model of hostile lines, served by uvicorn; the table is hostile, too."""
    pytest.importorskip("starlette", reason="starlette is not installed")
    from experiments.explore.server import app

    folder, runs = tmp_path_factory.mktemp("page"), []
    hostile = encode(split(HOSTILE + corpus.lines.train[:50]), "")
    other = untrained("bigram", hostile)
    for name, trained in (("gru", gru), ("transformer", untrained("transformer", corpus)), ("<b>odd</b>", other)):
        path = folder / f"{name.replace('/', '∕')}.safetensors"
        mm.save(trained, path)
        runs.append(RunOnDisk(path))
    few = HOSTILE[:1] + HOSTILE[2:4]  # up to 40 symbols in all, so that cells hold text
    lines = folder / "hostile.txt"
    lines.write_text("\n".join(few + names[:400]))
    with serving(app(Shelf(runs), TableOnDisk(lambda: (lines,)), TOKEN)) as address:
        yield f"{address}?token={TOKEN}"


@pytest.fixture
def tab(browser, address):
    tab = Tab(browser, address)
    yield tab
    tab.context.close()
    assert tab.problems == []


def test_the_table_answers_pointer_and_keys(tab):
    view = tab.open("table")
    view.locator(".heat.big").wait_for()
    rows = [text.strip() for text in view.locator(".heat.big tbody th").all_inner_texts()]
    a, n = rows.index("a"), rows.index("n")
    cell = view.locator(f".heat.big td[data-i='{a}'][data-j='{n}']")
    cell.hover()
    expect(view.locator(".pair .two")).to_have_text("an")
    count = int(view.locator(".pair dd").first.inner_text().replace(",", ""))
    expect(cell.locator("span").nth(1)).to_have_text(str(count))
    cell.click()
    view.locator(".lines li").first.wait_for()
    assert "".join(view.locator(".lines li").first.locator(".marked").all_inner_texts()[:2]) == "an"
    view.get_by_label("probabilities", exact=True).check()
    expect(cell.locator("span").nth(1)).to_contain_text(view.locator(".pair dd").nth(1).inner_text()[2:5])
    cell.press("ArrowRight")
    expect(view.locator(f".heat.big td[data-i='{a}'][data-j='{n + 1}']")).to_be_focused()
    tab.page.keyboard.press("Shift+Enter")
    view.locator(".ranking li").first.wait_for()
    widths = view.locator(".ranking li").evaluate_all("rows => rows.map(r => +r.style.getPropertyValue('--w'))")
    assert widths == sorted(widths, reverse=True)
    assert widths[0] == 1
    assert tab.page.title() == "makemore"  # no script of the data has run


def test_a_name_is_drawn_smoothing_moves_and_the_table_is_learned(tab):
    view = tab.open("table")
    view.locator(".heat.big").wait_for()
    view.get_by_role("button", name="Step", exact=True).click()
    said = view.locator(".walked", has_text="falls between").inner_text()
    u, low, high = map(float, re.findall(r"\d\.\d{4}", said))
    assert low <= u <= high
    expect(view.locator("td.path").first).to_be_attached()
    before = view.locator(".legend .b").inner_text()
    view.get_by_label("added to each count").press("End")
    expect(view.locator(".legend .b")).not_to_have_text(before)
    steps, losses = view.get_by_label("gradient steps"), []
    for key, place in (("Home", "0"), ("End", steps.get_attribute("max"))):
        steps.press(key)
        expect(steps).to_have_value(place)
        losses.append(float(re.search(r"loss ([\d.]+)", view.inner_text())[1]))
    assert losses[1] < losses[0] - 0.3
    view.get_by_label("learned", exact=True).check()
    expect(view.locator(".lead")).to_contain_text("steps of gradient descent")


def test_a_line_is_typed(tab, gru):
    view = tab.open("type")
    line = view.locator(".typed")
    line.fill("emma")
    reader = view.locator(".reader", has_text="gru")
    expected = views.type_line(gru, "emma")
    reader.get_by_text(f"{expected['sum']:.2f} nats").wait_for()
    expect(reader.locator(".strip .letter")).to_have_count(5)
    numbers = reader.locator(".strip .number").all_inner_texts()[:4]
    np.testing.assert_allclose([float(number) for number in numbers], expected["nats"], atol=0.06)
    expect(view).to_contain_text("disagree most at letter")
    reader.locator(".bars button").nth(0).click()
    reader.locator(".strip .letter").nth(5).wait_for()
    expect(line).to_have_value("emma" + expected["bars"][1][1])
    line.fill("em<i>ma")
    reader.get_by_text("this model does not know the symbol '<'").wait_for()
    line.fill("a" * 5000)
    reader.get_by_text("this model reads up to").wait_for()
    assert tab.fits()
    view.get_by_label("<b>odd<∕b>").check()
    line.fill("אב<")
    odd = view.locator(".reader", has_text="odd")
    odd.locator(".letter", has_text="ב").wait_for()
    expect(odd.locator(".letter .symbol")).to_have_text(["א", "ב", "<", "?"])
    left = [odd.locator(".letter").nth(k).bounding_box()["x"] for k in range(3)]
    assert left == sorted(left)  # letters stand in the order in which the model reads them


def test_lines_are_made_and_replayed(tab):
    view = tab.open("make")
    view.get_by_label("prefix").fill("an")
    view.get_by_label("lines").fill("7")
    view.get_by_role("button", name="Draw").click()
    view.get_by_text("7 lines").wait_for()
    view.locator(".made").nth(6).wait_for()
    texts = view.locator(".made .word").all_inner_texts()
    assert all(text.startswith("an") for text in texts)
    view.locator(".made").nth(2).click()
    view.locator(".replay .bars").wait_for()
    for _ in range(2):
        view.get_by_role("button", name="Step", exact=True).click()
    expect(view.locator(".replay .walked")).to_contain_text("Random number")
    letters = view.locator(".replay .letter .symbol").all_inner_texts()
    assert texts[2].startswith("".join(letters[:3]).rstrip("."))
    view.get_by_label("prefix").fill("<b>")
    view.get_by_role("button", name="Draw").click()
    view.get_by_text("is not in the vocabulary").wait_for()


def test_the_inside_is_shown(tab):
    view = tab.open("inside")
    view.locator(".typed").fill("emma")
    view.get_by_label("Run", exact=True).select_option("transformer")
    view.locator(".arcs").wait_for()
    expect(view.locator(".arcs text")).to_have_count(10)
    expect(view.locator(".arcs path").nth(5)).to_be_attached()
    expect(view.locator(".heads .map")).to_have_count(6)  # two layers of three heads
    expect(view.locator(".plane text.typed-in")).to_have_count(3)
    view.get_by_label("Run", exact=True).select_option("gru")
    view.get_by_text("reset gate").wait_for()
    expect(view.locator(".heat.middle tbody tr")).to_have_count(5)
    expect(view.locator(".arcs")).to_have_count(0)


def test_what_has_changed_is_said_and_shown_anew(browser, gru, corpus, tmp_path, monkeypatch):
    pytest.importorskip("starlette", reason="starlette is not installed")
    from experiments.explore.server import app

    monkeypatch.setattr(shelf, "LOOK_EVERY", 0.0)
    write_run(tmp_path / "run", gru, corpus.lines.train[:30])
    tables = TableOnDisk(lambda: explore.table_source(explore.Config(runs=(tmp_path / "run",))))
    with serving(app(Shelf([RunOnDisk(tmp_path / "run")]), tables, TOKEN)) as address:
        tab = Tab(browser, f"{address}?token={TOKEN}")
        tab.open("table").locator(".heat.big").wait_for()
        view = tab.open("make")
        view.locator(".made").nth(23).wait_for()
        view.locator(".made").nth(2).click()
        view.locator(".replay .bars").wait_for()
        expect(view.get_by_text("has changed since")).to_be_hidden()
        write_run(tmp_path / "run", gru._replace(params=jax.tree.map(np.negative, gru.params)), ["qq", "qx"] * 20)
        view.get_by_text("has changed since").wait_for()
        view.locator(".made").nth(3).click()
        view.locator(".replay .notice").wait_for()
        view.get_by_role("button", name="Draw").click()
        view.get_by_text("has changed since").first.wait_for(state="hidden")
        tab.page.locator("#tab-table").click()
        expect(tab.page.locator("#table .heat.big thead th")).to_have_text([".", "q", "x"])
        tab.context.close()
        assert tab.problems == []


@pytest.mark.parametrize("options", [{"viewport": {"width": 400, "height": 800}}, {"color_scheme": "dark"}])
def test_every_view_fits_a_phone_and_the_dark(browser, address, options):
    tabs = [Tab(browser, address, **options) for _ in range(2)]  # two at once
    first = {"table": ".heat.big", "type": ".reader", "make": ".made", "inside": ".heat.middle"}
    for view in first:
        for tab in tabs:
            tab.open(view)
        for tab in tabs:
            tab.page.locator(first[view]).first.wait_for()
            assert tab.fits(), view
    background = tabs[0].page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert (sum(map(int, re.findall(r"\d+", background))) < 200) == ("color_scheme" in options)
    for tab in tabs:
        tab.context.close()
        assert tab.problems == []


def test_a_saved_page_opens_from_the_disk(browser, corpus, command, tmp_path):
    (tmp_path / "lines.txt").write_text("\n".join(HOSTILE + corpus.lines.train))
    status, out, _ = command("explore", "--data", tmp_path / "lines.txt", "--save", tmp_path / "table.html")
    assert status == 0
    assert "open it in any browser" in out
    tab = Tab(browser, (tmp_path / "table.html").as_uri())
    tab.page.locator(".heat.big td[data-i='1'][data-j='2']").click()
    tab.page.locator(".below h3").wait_for()
    tab.page.get_by_role("button", name="Step", exact=True).click()
    expect(tab.page.locator(".walked")).to_contain_text("falls between")
    assert tab.page.title() == "The table of bigrams"
    assert tab.problems == []
    tab.context.close()


def test_without_a_run_a_model_trains_until_ctrl_c(browser, tmp_path, names):
    """The whole command, as a shell starts it."""
    (tmp_path / "few.txt").write_text("\n".join(names[:300]))
    heed = "import signal, runpy; signal.signal(signal.SIGINT, signal.default_int_handler)"  # as in a terminal
    busy = "from experiments.explore import connections, open_runs; connections.PATIENCE = 600"
    busy += "; open_runs.GRU['steps'] = 10**6"  # it still trains when the page of a busy machine asks it to pause
    code = f"{heed}; {busy}; runpy.run_module('experiments.explore', run_name='__main__')"
    start = [sys.executable, "-c", code, "--data", tmp_path / "few.txt", "--no-open"]
    child = subprocess.Popen(start, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        address = child.stdout.readline().split()[0]
        tab = Tab(browser, address)
        tab.page.locator("#train .samples tbody tr").first.wait_for()
        tab.page.locator("#train path.curve").first.wait_for()
        tab.open("type").locator(".reader", has_text="live").wait_for()
        train = tab.open("train")
        train.get_by_label("units").fill("5")
        train.get_by_role("button", name="Start anew").click()
        train.get_by_text("A small GRU of 5 units trains").wait_for()
        train.get_by_role("button", name="Pause").click()
        train.get_by_text("A small GRU of 5 units waits").wait_for()  # until Ctrl-C, which ends it all the same
        tab.context.close()
        assert tab.problems == []
        child.send_signal(signal.SIGINT)
        _, errors = child.communicate(timeout=120)
        assert (child.returncode, errors) == (130, "stopped\n")
        with pytest.raises(urllib.error.URLError, match="refused"):
            urllib.request.urlopen(address, timeout=120)
    finally:
        child.kill()
        child.wait()
