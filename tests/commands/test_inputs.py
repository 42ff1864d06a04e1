"""Every kind of file that people bring: what is read of it, what is asked for, and what is made of it."""

import gzip
import io
import json
import re
import warnings
from itertools import product
from typing import NamedTuple

import pytest

import makemore_jax as mm
from experiments.shared.reading import standard_input
from makemore_jax.data.corpus import Encoding
from makemore_jax.errors import InputError
from makemore_jax.learning import candidates
from makemore_jax.making import read
from makemore_jax.runs.folder import lines_of

NAMES = ["ada", "bela", "cleo", "dora", "enid", "fay", "gil", "hal"]
TUNES = [f"X:{n}\nK:D\nAB cd | ef ga |\ndd AA |" for n in range(1, 9)]
FASTA = "".join(f">protein {n} invented\nMKT{'AC' * n}\nGHK\n" for n in range(1, 9))
ROMAN = [h + t + u for h in ("", "C", "CC") for t in ("", "X", "XL") for u in ("I", "IV", "VII")]


class Kind(NamedTuple):
    """A file, how it is read, and what is read of it."""

    name: str
    text: str | bytes
    lines: list[str]
    flags: dict = {}  # noqa: RUF012 (never changed)
    said: str | None = None  # of what was decided
    asked: str | None = None  # without the flags

    @property
    def raw(self):
        return self.text if isinstance(self.text, bytes) else self.text.encode()


def listed(name, lines):
    """A file with one item per line."""
    return Kind(name, "\n".join(lines), lines)


KINDS = [
    listed("weighted.txt", ["lucas"] * 60 + NAMES),
    listed("coin.txt", ["heads", "tails", "tails"] * 10),
    listed("towns15.txt", ["Ashford", "Aston", "Bolton"]),
    listed("names79.txt", [a + b for a in NAMES for b in NAMES]),
    listed("persian.txt", [f"{p}\u200c{s}" for p, s in product(("می", "نمی"), ("روم", "خوانم", "دانم"))]),
    listed("emoji.txt", ["👩\u200d👩\u200d👧", "👨\u200d👧", "👩\u200d👦\u200d👦"]),
    listed("french.txt", [f"Salut\u00a0! {name}" for name in NAMES]),
    listed("japanese.txt", ["高辺\u3000翔", "田中\u3000愛", "山口\u3000翔"]),
    listed("capitals.txt", [name.capitalize() + "'el" for name in NAMES]),
    Kind("tunes.abc", "\n\n".join(TUNES), TUNES, {"separator": "\n\n"}),
    Kind(
        "towns.csv",
        'name,county,population\nAsh,Kent,90\n"Bath, Old",Avon,7\n',
        ["Ash", "Bath, Old"],
        {"column": "name"},
        asked="a table with the columns name, county, population; choose one with `column`",
    ),
    Kind(
        "counts.tsv",
        "ada\t3\nbela\t1\ncleo\t2\n",
        ["ada"] * 3 + ["bela"] + ["cleo"] * 2,
        {"column": 1, "weights": 2},
        asked="its first row ada, 3; choose its lines with `column`, such as 1, and how often they occur with",
    ),
    Kind("births.txt", "Ada,F,2\nHal,M,1\n", ["Ada", "Ada", "Hal"], {"column": "1", "weights": "3"}),
    Kind("one-column.csv", 'Ash\n"Bath, Old"\nCork\n', ["Ash", "Bath, Old", "Cork"]),
    Kind("title.csv", "name\nAsh\nBath\n", ["Ash", "Bath"], said="left out its first row as a header: name$"),
    Kind("molecules.smi", "CCO ethanol\nC\tmethane 1\nc1ccccc1\n", ["CCO", "C", "c1ccccc1"]),
    Kind("proteins.fasta", FASTA, [f"MKT{'AC' * n}GHK" for n in range(1, 9)]),
    Kind("latin1.txt", "zoé\nrené\n".encode("latin-1"), ["zoé", "rené"], {"encoding": "latin-1"}, asked="not UTF-8"),
    Kind("wide.txt", "zoé\nrené\n".encode("utf-16"), ["zoé", "rené"], {"encoding": "utf-16"}, asked="a NUL character"),
    Kind(
        "one-bad-byte.txt",
        b"ada\nren\xe9e\nzoe\n",
        ["ada", "zoe"],
        {"errors": "skip"},
        said="lines left out for their wrong bytes: 1$",
        asked=r"line 2: not UTF-8 \(byte 0xe9\); save the file as UTF-8, name its `encoding`, .* set `errors` to",
    ),
    Kind("marked.txt", b"ada\nren\xe9e\n", ["ada", "ren\ufffde"], {"errors": "replace"}, asked="line 2: not UTF-8"),
    Kind("names.txt.gz", gzip.compress(b"ada\nbela\n"), ["ada", "bela"]),
    Kind(
        "towns.csv.gz", gzip.compress(b"name,n\nAsh,3\nBath,1\n"), ["Ash", "Bath"], {"column": "Name"}, asked="columns"
    ),
    Kind(
        "long-lines.txt",
        "\n".join(["ACGT" * 1500, "GGTA" * 1100]),
        ["ACGT" * 1500, "GGTA" * 1100],
        said="longest line has 6,000 characters and is learned in windows of 256 tokens",
    ),
    listed("openings.txt", ["1. e4 e5 2. Nf3", "1. d4 Nf6 2. c4", "1. c4 e5"]),
    listed("chords.txt", ["C | F | G7 | C", "Am | Dm7 | G | C/E", "F♯m7♭5 | B7 | Em"]),
    listed("commits.txt", ["fix: a typo (#3)", "feat(api)!: drop v1", "Merge branch 'main' into `dev`"]),
    listed("creatures.txt", ["Sparklet", "Flamoth", "Mossling", "Mr. Drip", "Nidora♀"]),
    listed("addresses.txt", ["12 Mill Lane, Oakham LE15 6AB", "Flat 3/1, 9 High St., Ayr KA7 1AA"]),
    listed("domains.txt", ["example.org", "sub.example.co.uk", "xn--bcher-kva.example"]),
    listed("recipes.txt", ["Crème brûlée, with 3 eggs", "Mac & cheese; baked", 'Grandma\'s "best" soup']),
    listed("phones.txt", ["+44 1632 960 001", "(0163) 2960-002", "01632/960003"]),
    listed("colours.txt", ["#ff8800", "#0af", "#FFFFFF80"]),
    listed("roman.txt", ROMAN),
    listed("passwords.txt", ["pass word", "p@$$\\n", "`rm -rf`", "--n", "'\"'"]),
]


@pytest.fixture(params=KINDS, ids=lambda kind: kind.name)
def kind(request, tmp_path):
    (tmp_path / request.param.name).write_bytes(request.param.raw)
    return request.param


def test_what_is_read(kind, tmp_path):
    """Every line and no other; what was decided is said once, in one line."""
    with warnings.catch_warnings(record=True, action="always") as said:
        corpus = read(tmp_path / kind.name, Encoding(**kind.flags))
    assert [line for part in corpus.lines for line in part] == kind.lines
    assert len(said) == bool(kind.said)
    for warning in said:
        assert re.search(f"^'?{re.escape(str(tmp_path / kind.name))}'?: .*{kind.said}", str(warning.message))
    for line in kind.lines:
        assert corpus.vocab.decode(corpus.vocab.encode_line(line)) == line


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind.asked], ids=lambda kind: kind.name, indirect=True)
def test_what_is_asked_for(kind, tmp_path):
    with pytest.raises(InputError, match=kind.asked) as error:
        mm.load(tmp_path / kind.name)
    assert "\n" not in str(error.value)


@pytest.fixture
def make(command, monkeypatch, tmp_path):
    """The command on a file of the table, with nothing but n-grams."""
    monkeypatch.setattr(candidates, "COMPILING", 1e9)
    monkeypatch.setattr(candidates, "ORDERS", (1, 3))

    def run(name, *flags):
        (kind,) = [kind for kind in KINDS if kind.name == name]
        (tmp_path / name).write_bytes(kind.raw)
        return command("make", tmp_path / name, *flags, "--out", tmp_path / "out", "--n", 2)

    return run


def test_a_table_is_asked_about_and_then_learned_with_its_weights(make, tmp_path):
    status, printed, said = make("counts.tsv")
    assert (status, printed, said.count("\n")) == (2, "", 1)
    assert "with --column, such as 1, and how often they occur with --weights" in said
    flags = "--column", 1, "--weights", 2
    assert make("counts.tsv", *flags)[0] == 0
    config = json.loads((tmp_path / "out/config.json").read_text())
    assert {config[name] for name in ("column", "weights")} == {"1", "2"}
    assert "encoding" not in config
    assert lines_of(tmp_path / "out", mm.open(tmp_path / "out").vocab).train.count("ada") == 3
    assert "has learned it already" in make("counts.tsv", *flags)[2]
    assert make("counts.tsv", "--column", 1)[0] == 2  # another run


@pytest.mark.filterwarnings("default")
def test_what_was_decided_is_said_in_terms_of_flags(make):
    status, printed, said = make("long-lines.txt")
    assert status == 0
    assert "256 tokens; --context-length sets another number\n" in said
    assert "pieces of that length" in said
    assert [len(line) for line in printed.splitlines()] == [256, 256]
    assert "distance to the nearest line" not in said


def test_documents_are_suggested_and_printed_whole(make):
    assert "8 blocks of lines stand between blank lines; to make whole blocks: --separator" in make("tunes.abc")[2]
    status, printed, said = make("tunes.abc", "--separator", r"\n\n", "--overwrite")
    assert status == 0
    assert "blank lines" not in said
    assert printed.count("\n\n") == 2
    assert all(tune.startswith("X:") for tune in printed.strip().split("\n\n"))


def test_standard_input_is_a_file_without_an_ending(command, make, monkeypatch, tmp_path):
    make("towns15.txt")  # for its fixture
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO("zoé,1\nada,2\n".encode("latin-1"))))
    standard_input.cache_clear()
    flags = "--encoding", "latin-1", "--column", 1, "--n", 2, "--out", tmp_path / "piped"
    status, _, said = command("make", "-", *flags)
    assert status == 0, said
    assert "standard input: 2 lines" in said
    assert "has learned it already" in command("make", "-", *flags, "--seed", 1)[2]
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(gzip.compress(b"ada\nbela\n"))))
    standard_input.cache_clear()
    assert standard_input().name == "standard-input.gz"


def test_bigram_and_inspect_read_them_too(command, tmp_path):
    (tmp_path / "towns.csv").write_bytes(b"name,county\nAsh,Kent\nB\xe9k,Avon\n")
    quick = "bigram", "--data", tmp_path / "towns.csv", "--steps", 0, "--no-figures", "--out", tmp_path / "run"
    assert "--encoding" in command(*quick)[2]
    assert "choose one with --column" in command(*quick, "--encoding", "latin-1")[2]
    status, printed, _ = command(*quick, "--encoding", "latin-1", "--column", "name")
    assert status == 0
    assert "Bék" in printed


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--column", "town"], "has no column 'town'; its first row is name, county, population"),
        (["--column", 4], "has no column '4'"),
        (["--column", "name", "--weights", "county"], "line 2: the weight 'Kent' is not a whole number"),
        (["--column", "name", "--separator", "-"], "the --separator '-' does not occur in it"),
        (["--column", "name", "--encoding", "klingon"], "--encoding is 'klingon', which is unknown; try latin-1"),
        (["--errors", "forget"], "--errors"),
        (
            ["--column", "name", "--min-count", 2, "--tokens", "byte"],
            "--min-count is 2; it needs --tokens character or",
        ),
    ],
)
def test_flags_that_do_not_fit(make, flags, message):
    status, printed, said = make("towns.csv", *flags)
    assert (status, printed, said.count("\n")) == (2, "", 1)
    assert message in said


def test_what_cannot_be_streamed_is_refused(command, tmp_path):
    (tmp_path / "towns.csv").write_text("Ash\nBath\n" * 20)
    for flags in (["--data", tmp_path / "towns.csv"], ["--encoding", "latin-1"]):
        status, printed, said = command("train", "--stream", *flags, "--out", tmp_path / "out")
        assert (status, printed, said.count("\n")) == (2, "", 1)
        assert "only plain lines in UTF-8 can be streamed; convert the file, or leave out --stream" in said
