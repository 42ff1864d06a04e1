"""Formats by themselves: text in, items out, and what is wrong with it in one line."""

import gzip

import pytest

from makemore_jax.data import token_files
from makemore_jax.data.corpus import Encoding, load
from makemore_jax.data.formats import MOST_REPEATED, Source, fasta, plain, smiles, table
from makemore_jax.data.lines import Reading, read_lines
from makemore_jax.data.peer_split import makemore_split
from makemore_jax.errors import InputError


@pytest.mark.parametrize(
    ("text", "column", "weights", "items"),
    [
        ("a\nb\n", None, None, ["a", "b"]),
        ("a;b\nc;d,e\n", 2, None, ["b", "d,e"]),
        ("a\tx, y\n\nb\n", "2", None, ["x, y", ""]),  # a row may be short
        ('d,2\n"a ""b""\nc",1\n', 1, None, ["d", 'a "b" c']),
        ("Word,Count\na,2\nb,0\nc,1.0\n", "word", "COUNT", ["a", "a", "c"]),
        ("town,size\nA,90\nB,8\n", "size", None, ["90", "8"]),
        ("emma,olivia\nava,mia\n", "emma", None, ["ava"]),  # whatever it looks like, its name was asked for
        ("a,2\nb,1\n", None, 2, ["a", "a", "b"]),  # the only column besides the weights
        ("a,2,2\nb,1,3\n", "1", "2", ["a", "a", "b"]),  # the number of a column, not the 2 in its first row
        ('a,"1,000"\nb,1\n', 1, 2, ["a"] * 1000 + ["b"]),
        ("", None, None, []),
    ],
)
def test_tables(text, column, weights, items):
    assert table(text, "file", column, weights) == items


def test_a_header_is_left_out_and_shown():
    for text in ("town,size\nA,90\nB,8\n", "Names,x\nA,y\nB,z\n"):
        with pytest.warns(UserWarning, match="^file: left out its first row as a header: .*, "):
            assert table(text, "file", 1) == ["A", "B"]
    assert table("A,B\nC,D\n", "file", 1) == ["A", "C"]
    assert table("A,1\nB,2\n", "file", 1) == ["A", "B"]


def test_large_weights_are_scaled():
    with pytest.warns(UserWarning, match=r"^file: scaled its weights from 4,000,001 lines down to about 100,000, each"):
        lines = table("a,3000000\nb,1000000\nc,1\nd,0\n", "file", 1, 2)
    assert {one: lines.count(one) for one in "abcd"} == {"a": 75_000, "b": 25_000, "c": 1, "d": 0}
    assert len(table(f"a,{MOST_REPEATED}\n", "file", 1, 2)) == MOST_REPEATED


@pytest.mark.parametrize(
    ("text", "source", "message"),
    [
        ("a,b\nc,d\n", (), "a table, its first row a, b; choose its lines with `column`, such as 1$"),
        ("a,1\nc,2\n", (), "such as 1, and how often they occur with `weights`$"),
        ("name,b\nc,d\n", (), "a table with the columns name, b; choose one with `column`$"),
        ("a,b\x1b[2J\nc,d\n", (), r"its first row a, b\?\[2J; choose"),
        ("a,b\n", (0,), "has no column 0; its first row is a, b"),
        ("a,b\n", (None, "c"), "has no column 'c'"),
        ("a,1\nb,-2\n", (1, 2), "line 2: the weight '-2' is not a whole number; mend it, or choose another column"),
        ("a,1\nb\n", (1, 2), "line 2: the weight '' is not"),
        ('a,"b\nc,d\n', (1,), r"line 2: not a table \(unexpected end of data\); name it \.txt for lines"),
    ],
)
def test_what_is_wrong_with_a_table(tmp_path, text, source, message):
    path = tmp_path / "file.csv"
    path.write_text(text)
    with pytest.raises(InputError, match=message) as error:
        read_lines(path, source=Source(*source))
    assert str(error.value).isprintable()
    assert str(path) in str(error.value)


def test_sequences_and_molecules():
    assert fasta(">a\nMK\nT\n\n>b\n; a comment\nG H\n", "file") == ["", "MKT", "", "GH"]
    assert smiles("SMILES id\nCCO\t1\n\nC", "file") == ["CCO", "C"]
    with pytest.raises(InputError, match="file: not FASTA, since no line starts with >"):
        fasta("MKT\n", "file")
    for read in (fasta, smiles):
        with pytest.raises(InputError, match="has no columns; leave out `column` and `weights`"):
            read(">a\nC\n", "file", 1)


@pytest.mark.parametrize(
    ("name", "raw", "message"),
    [
        ("a.gz", gzip.compress(b"ada\n" * 99, mtime=0)[:-9], "a damaged gzip file; copy or compress it again"),
        ("a.gz", b"ada\n", "a damaged gzip file"),
        ("a.txt", gzip.compress(b"ada\n", mtime=0), "a gzip file; let its name end in .gz"),
        ("a.xlsx", b"PK\x03\x04\x00\xff", "a zip archive or an office document; save it as text, such as CSV"),
        ("a.csv", b"PK\x03\x04\x00\xff", "a zip archive or an office document"),
        ("a.csv", b"a\nb\xe9\n", r"line 2: not UTF-8 \(byte 0xe9\); save the file as UTF-8, name its `encoding`"),
        ("a.csv.gz", gzip.compress(b"\xe9", mtime=0), "line 1: not UTF-8"),
        ("a.csv", "ab".encode("utf-16"), "line 1: not UTF-8"),
    ],
)
def test_what_is_no_text_is_named(tmp_path, name, raw, message):
    (tmp_path / name).write_bytes(raw)
    with pytest.raises(InputError, match=message) as error:
        load(tmp_path / name)
    assert str(error.value).startswith(repr(str(tmp_path / name)))


def test_encodings(tmp_path):
    path = tmp_path / "a.txt"
    path.write_bytes("\ufeffzoé\r\n\x85\rada".encode("utf-16-le"))
    assert read_lines(path, source=Source(encoding="utf-16-le")) == ["zoé", "ada"]
    (tmp_path / "a.csv").write_bytes("\ufeffname,n\r\nzoé,1\r\nada,2\r\n".encode("utf-16-le"))
    assert read_lines(tmp_path / "a.csv", source=Source("name", encoding="utf-16-le")) == ["zoé", "ada"]
    for encoding in ("klingon", "hex", "a\0"):
        with pytest.raises(InputError, match=r"`encoding` is .*, which is unknown; try latin-1, cp1252 or utf-16"):
            load(path, encoding=encoding)
    with pytest.raises(InputError, match="line 1: not utf-16"):
        plain(b"\xff\xfea", path, Source(encoding="utf-16"))
    with pytest.raises(InputError, match="`errors` is 'ignore'; it must be one of strict, replace, skip"):
        load(path, errors="ignore")
    with pytest.raises(InputError, match="are for files, and this is a list"):
        load(["a", "b"], encoding="latin-1")
    with pytest.raises(TypeError, match="colum"):
        load(path, colum="a")


def test_the_library_reads_them_everywhere(tmp_path):
    path = tmp_path / "towns.csv"
    path.write_text("".join(f"town {n},{1 + n % 3}\n" for n in range(60)))
    whole = load(path, column=1, weights=2)
    assert sum(map(len, whole.lines)) == 120
    assert makemore_split(path, Reading(source=Source(1, 2)))[1] == whole.digest
    for encoding in (Encoding(column=1), Encoding()):
        with pytest.raises(InputError, match="only plain lines in UTF-8 can be streamed; convert the file, or leave"):
            token_files.load(path, encoding)


def test_windows_cut_long_lines_in_memory_and_in_files(tmp_path):
    path = tmp_path / "long.txt"
    path.write_text("".join("ACGT" * 1100 + f"{n}\n" for n in range(60)))
    for read in (load, lambda path: token_files.load(path, progress=False)):
        with pytest.raises(InputError, match=r"over the limit of 4,096; .* or into windows with `context_length`"):
            read(path)
    with pytest.raises(InputError, match=r"or cut lines with `max_length`$"):  # which this alone knows
        read_lines(path)
    whole, stream = load(path, context_length=100), token_files.load(path, Encoding(context_length=100), progress=False)
    assert whole.context == stream.context == 100
    assert whole.digest == stream.digest
