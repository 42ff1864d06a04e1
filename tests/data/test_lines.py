"""Lines of a file, their one spelling, and their split into train, dev and test."""

import os
import re
import socket
import unicodedata
from collections import Counter

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from makemore_jax.data.chunks import find_frequent, read_chunks
from makemore_jax.data.lines import Split, digest, frequent, normalize, printable, read_lines, split, visible
from makemore_jax.data.vocab import Vocab
from makemore_jax.errors import InputError
from tests.cases import MESSY
from tests.conftest import ROOT

# What the order of lowercase and NFC, and the length of a letter, depend on.
TRICKY = ["İ", "I\u0307", "J\u030c", "ǰ", "Σ", "ΑΣ", "ΑΣΑ", "ẞ", "e\u0301", "É", "Ω", "K", "ﬁ", "\u0345", "a", " ", "."]


def write(folder, content):
    path = folder / "file.txt"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


@pytest.mark.parametrize(
    ("raw", "lines"),
    [
        (b"\xef\xbb\xbfemma\nava\n", ["emma", "ava"]),  # byte-order mark
        (b"emma\r\nava\r\n", ["emma", "ava"]),
        (b"emma\rava", ["emma", "ava"]),
        (b"\n\n emma \t\n\n\n", ["emma"]),
        (b"mary ann", ["mary ann"]),
        ("Zo\u0065\u0308\nZo\u00eb".encode(), ["Zo\u00eb", "Zo\u00eb"]),  # two spellings of one name
        ("東京\nМосква\nأحمد".encode(), ["東京", "Москва", "أحمد"]),
        ("a\u2028b\x0bc\x85d".encode(), ["a\u2028b\x0bc\x85d"]),  # line ends of other worlds are characters
        (b"$x$\n\\alpha", ["$x$", "\\alpha"]),
    ],
)
def test_read_lines(tmp_path, raw, lines):
    assert read_lines(write(tmp_path, raw)) == lines
    assert all(unicodedata.is_normalized("NFC", line) for line in lines)


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        (b"", "empty file"),
        (b" \n\t\r\n\n", "only blank lines"),
        (b"emma\nava\r\nol\xffivia\n", r"line 3: not UTF-8 \(byte 0xff\); save the file as UTF-8"),
        ("emma\u0416".encode("utf-16-le")[1:], r"line 1: a NUL character"),
        ("emma".encode("utf-16"), "line 1: a NUL character, so it is probably UTF-16; save the file as UTF-8"),
        ("emma\nava\n".encode("utf-16-be"), "line 1: a NUL character, so it is probably UTF-16"),
        (b"emma\rava\r\nol\0ivia", "line 3: a NUL character"),
        (
            b"emma\n" + b"a" * 1_000_000,
            r"line 2: 1,000,000 characters, over the limit of 4,096; put one item on a line, or cut .* `max_length`",
        ),
        (b"\n\n  " + b"a" * 4097 + b"\n", r"line 3: 4,097 characters"),
        (b"a\x0b\r\x0bb\x1c\r" + b"c" * 4097 + b"\n", r"line 3: 4,097 characters"),  # \x1c ends no line
    ],
)
def test_bad_files_are_named(tmp_path, raw, message):
    path = write(tmp_path, raw)
    with pytest.raises(InputError, match=message) as error:
        read_lines(path)
    assert str(path) in str(error.value)
    assert "\n" not in str(error.value)


def test_paths_that_are_no_text_file(tmp_path):
    with pytest.raises(InputError, match="no such file"):
        read_lines(tmp_path / "none.txt")
    with pytest.raises(InputError, match="is a directory"):
        read_lines(tmp_path)
    os.mkfifo(tmp_path / "pipe")
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(tmp_path / "socket"))
        for path in (tmp_path / "pipe", tmp_path / "socket", "/dev/zero", "/dev/null"):
            with pytest.raises(InputError, match="not a regular file; name a text file"):
                read_lines(path)
    hostile = tmp_path / "a\x1b[31m\nb.txt"
    for content in (None, "", "\xff", "a" * 5000):
        if content is not None:
            hostile.write_text(content, encoding="latin-1")
        with pytest.raises(InputError, match=re.escape(r"a\x1b[31m\nb.txt")) as error:
            read_lines(hostile)
        assert str(error.value).isprintable()


def test_a_link_to_a_file_is_read(tmp_path):
    (tmp_path / "link").symlink_to(write(tmp_path, "emma"))
    assert read_lines(tmp_path / "link") == ["emma"]


def test_long_lines(tmp_path):
    for text in ("a" * 4096, "é" * 4096, " " * 5000 + "a" * 4096):
        assert read_lines(write(tmp_path, f"emma\n{text}\n")) == ["emma", text.strip()]
    path = write(tmp_path, b"emma\n" + b"ab " * 500_000)
    assert read_lines(path, max_length=6) == ["emma", "ab ab"]
    for length in (0, -1):
        with pytest.raises(InputError, match=f"`max_length` is {length}; it must be at least 1"):
            read_lines(path, max_length=length)


@pytest.mark.parametrize("size", [1, 7, 64, 10**6])
def test_chunks_are_the_lines(tmp_path, size):
    path = write(tmp_path, MESSY)
    whole = read_lines(path)
    assert whole[:5] == ["emma", "olivia", "zoë", "ava", "Zoë"]
    chunks = list(read_chunks(path, size=size))
    assert (len(chunks) > 1) == (size < 100)
    assert [line for chunk in chunks for line in chunk.split("\n")] == whole
    path.write_text("\ufeffab\n\ufeffcd\n")
    assert "\n".join(read_chunks(path, size=size)) == "ab\ncd"


@given(st.text("aB \t\n\x1c") | st.text("aB \t\n\x1c\u3000é"), st.integers(1, 9), st.booleans())
@example("a \na", 9, False)
@example("a\n a", 9, False)
@example("a\n\na", 9, False)
def test_clean_text_takes_a_short_way_to_the_same_lines(tmp_path_factory, text, size, lowercase):
    path = tmp_path_factory.mktemp("clean") / "file.txt"
    path.write_text(text + "a", newline="")
    expected = [normalize(line.strip(), lowercase) for line in (text + "a").split("\n")]
    lines = "\n".join(read_chunks(path, lowercase=lowercase, size=size)).split("\n")
    assert lines == [line for line in expected if line]


def test_errors_name_the_line_in_a_later_chunk(tmp_path):
    path = write(tmp_path, b"emma\r\nava\n" * 50 + b"ol\xffivia\n")
    with pytest.raises(InputError, match="line 101: not UTF-8"):
        list(read_chunks(path, size=16))
    path = write(tmp_path, "\ufeff".encode() + b"ab\ncd\xff\n")
    with pytest.raises(InputError, match=r"line 2: not UTF-8 \(byte 0xff\)"):
        read_lines(path)
    path = write(tmp_path, b"emma\nava\n" * 50 + b"a" * 5000 + b"\n")
    with pytest.raises(InputError, match="line 101: 5,000 characters"):
        list(read_chunks(path, size=16))


@given(st.text() | st.lists(st.sampled_from(TRICKY)).map("".join), st.booleans())
@example("I\u0307", True)
def test_there_is_one_spelling(text, lowercase):
    once = normalize(text, lowercase)
    assert normalize(once, lowercase) == once
    assert unicodedata.is_normalized("NFC", once)
    assert once == normalize(unicodedata.normalize("NFD", text), lowercase)
    if lowercase:
        assert once.lower() == once


def test_every_character_has_one_lowercase_spelling():
    characters = [chr(code) for code in range(0x110000)]
    changed = [c for c in characters if normalize(c, True) != c]
    assert len(changed) > 2000
    assert [c for c in changed if normalize(normalize(c, True), True) != normalize(c, True)] == []


@given(st.lists(st.lists(st.sampled_from(TRICKY), min_size=1, max_size=6).map("".join), min_size=1, max_size=5))
def test_what_stands_in_the_data_can_be_typed(tmp_path_factory, typed):
    """With and without lowercase, and cut: a line of the file, typed as it stands there, is known and is that line."""
    path = tmp_path_factory.mktemp("typed") / "file.txt"
    path.write_text("\n".join([*typed, "a"]), newline="")
    for lowercase in (False, True):
        lines = read_lines(path, lowercase=lowercase)
        vocab = Vocab.of(lines, lowercase=lowercase)
        assert lines == [vocab.canonical(line.strip()) for line in [*typed, "a"] if line.strip()]
        for line in typed:
            assert vocab.decode(vocab.encode_line(line.strip())) == vocab.canonical(line.strip())
        for length in (1, 2, 3):
            cut = read_lines(path, length, lowercase)
            assert max(map(len, cut)) <= length
            assert [vocab.canonical(line) for line in cut] == cut


def test_lowercase_counts_after_lowering(tmp_path):
    path = write(tmp_path, "İİİ\nJ\u030cA\n" + "İ" * 2100)
    assert read_lines(path, 4, lowercase=True) == ["i\u0307i\u0307", "ǰa", "i\u0307i\u0307"]
    assert read_lines(path, 4) == ["İİİ", "J\u030cA", "İİİİ"]
    assert len(read_lines(path)[2]) == 2100
    with pytest.raises(InputError, match="line 3: 4,200 characters"):
        read_lines(path, lowercase=True)


def test_printable_escapes_what_a_terminal_would_obey():
    assert printable("\x1b[2J\x9b\n\u2028\ud800\u202e\u2066") == r"\x1b[2J\x9b\n\u2028\ud800\u202e\u2066"


@pytest.mark.parametrize(
    "text", ["aé東 '\\", "می\u200cخواهم", "un\u00a0ami\u202f!", "東\u3000京", "👩\u200d👧", "a\u00adb", "א\u200fב"]
)
def test_printable_leaves_what_a_script_is_written_with(text):
    assert printable(text) == text


def test_a_symbol_that_shows_nothing_is_spelled():
    assert list(map(visible, ["a", " ", "東", "\u200c", "\u00a0", "\u3000", "\x1b"])) == [
        *["a", " ", "東", r"\u200c", r"\xa0", r"\u3000", r"\x1b"]
    ]


def test_digest_tells_lines_apart():
    assert digest(["ab", "c"]) == digest(iter(["ab", "c"]))
    assert len({digest(["ab", "c"]), digest(["a", "bc"]), digest(["c", "ab"]), digest(["abc"])}) == 4


def test_split_keeps_equal_lines_together_and_does_not_move_lines(names):
    parts = split(names)
    assert sum(map(len, parts)) == len(names)
    train, dev, test = map(set, parts)
    assert not train & dev | train & test | dev & test
    assert len(set(names)) < len(names)  # otherwise the line above would be easy
    fewer = split(names[::7])
    assert all(set(some) <= set(part) for some, part in zip(fewer, parts, strict=True))
    assert len(parts.dev) / len(names) == pytest.approx(0.1, abs=0.01)
    assert len(parts.test) / len(names) == pytest.approx(0.1, abs=0.01)


def test_a_frequent_line_stays_in_train_and_the_others_do_not_move(names):
    held = next(name for name in names if name in split(names[:900]).test)
    parts, before = split([held] * 600 + names[:900]), split(names[:900])
    assert parts.train.count(held) == 601
    assert [line for line in parts.test if line != held] == [line for line in before.test if line != held]
    assert parts.dev == before.dev


def test_only_heavy_repeats_change_a_split(names):
    """A line above a hundredth of all lines is frequent; with few different lines, one far above their mean."""
    names = list(dict.fromkeys(names))
    held = split(names).test[0]
    assert split([*names[:900], *[held] * 8]).test.count(held) == 9
    assert split([*names[:900], *[held] * 9]).test.count(held) == 0
    few = [name for name in names[:50] if name != held]
    for copies, lines in ((20, [*few, held] * 20), (2, [*few, *[held] * 2]), (0, [*few, *[held] * 5])):
        assert split(lines).test.count(held) == copies


@pytest.mark.parametrize(
    ("file", "sizes", "digests"),
    [
        ("names.txt", (25796, 3149, 3233), "1a876a8e 363c196d 38b1a765"),
        ("verses.txt", (24976, 3085, 3041), "d45edbd1 bce92bc1 a12b8d07"),
        ("words.txt", (50998, 6418, 6459), "8e9a7a98 50873326 1bec8490"),
        ("digits.txt", (1428, 175, 194), "bb86879d b0f4c300 32e4a7ea"),
        ("names-by-sex.txt", (25784, 3182, 3212), "b48f34a7 abc948dd 44de49a1"),
    ],
)
def test_the_splits_of_the_data_are_those_of_all_published_figures(file, sizes, digests):
    parts = split(read_lines(ROOT / "data" / file))
    assert parts.map(len) == sizes
    assert " ".join(digest(part)[:8] for part in parts) == digests


@given(st.lists(st.sampled_from("aaaaaaaabbbcdefghij"), max_size=400), st.integers(0, 400), st.integers(1, 500))
@example(["a"] * 40 + ["b"] * 2, 400, 7)
def test_frequent_lines_are_found_in_chunks(lines, different, size):
    """Above 300 different lines, counts are left out, and what remains is counted again."""
    lines = [*lines, *map(str, range(different)), *lines]
    counts = Counter(lines)
    chunks = lambda: iter([lines[start : start + size] for start in range(0, len(lines), size)])
    assert find_frequent(chunks, counted=300) == frequent(counts, len(lines), len(counts))


def test_split_is_stable_across_machines():
    lines = ["emma", "olivia", "amelia", "abigail", "emily", "Zoë", "東京"]
    assert split(lines) == (["emma", "olivia", "Zoë", "東京"], ["amelia"], ["abigail", "emily"])


def test_a_split_of_anything():
    parts = Split("abc", "de", "f")
    assert dict(parts.items()) == {"train": "abc", "dev": "de", "test": "f"}
    assert parts.map(len) == Split(3, 2, 1)
