"""Byte-level byte-pair encoding, as in GPT-2 (Sennrich et al. 2016, arXiv:1508.07909; Radford et al. 2019).

A pattern cuts text into pieces, each at most a word with the space before it. A piece starts as its UTF-8 bytes. The
neighbouring tokens that come first in the list of merges are joined into one token, again and again, until no
neighbours are in the list. Any text can therefore be encoded, and decodes to itself.

Symbols are spelled as in GPT-2, with one printable character for each byte: Ġ for the space, Ċ for the line end. The
package tokenizers does the encoding and the learning.
"""

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from makemore_jax.errors import InputError, require

VOCAB_SIZE = 2000  # symbols, by default
MAX_VOCAB_SIZE = 10**6  # four times the largest in use; the package reserves memory for this many
MIN_COUNT = 2  # a pair that occurs less often in the lines to learn from is not merged
END_OF_TEXT = "<|endoftext|>"  # the mark of GPT-2, between two documents
LINE_END = "Ċ"
NEUTRAL = {  # settings of a tokenizer.json besides vocabulary and merges, with the values that leave encodings alone
    "model": {
        "type": ("BPE",),
        "dropout": (None, 0),
        "continuing_subword_prefix": (None, ""),
        "end_of_word_suffix": (None, ""),
        "ignore_merges": (None, False),
    },
    "pre_tokenizer": {"type": ("ByteLevel",), "add_prefix_space": (False,), "use_regex": (None, True)},
    "post_processor": {"type": (None, "ByteLevel")},
    "normalizer": {"type": (None,)},
    "truncation": {"max_length": (None,)},
    "padding": {"strategy": (None,)},
}


def _spell() -> str:
    """Return the character for each of the 256 bytes: itself if it is printable Latin-1, otherwise one from U+0100."""
    printable = {*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)}
    others = iter(range(256, 512))
    return "".join(chr(byte if byte in printable else next(others)) for byte in range(256))


SPELLING = _spell()
BYTE_OF = {character: byte for byte, character in enumerate(SPELLING)}


def _package() -> Any:
    try:
        import tokenizers
    except ImportError:
        raise InputError("byte-pair encoding needs another package: pip install '.[bpe]'") from None
    return tokenizers


def learn(texts: Iterable[str], vocab_size: int | None = None) -> tuple[list[str], tuple[str, ...]]:
    """Learn symbols, bytes first and without the mark, and merges, the most frequent first.

    There are fewer symbols than `vocab_size` if no pair repeats.

    Args:
      texts: the texts to learn from; equal texts give equal symbols.
      vocab_size: the number of symbols, the mark included.
    """
    size, least = VOCAB_SIZE if vocab_size is None else vocab_size, 1 + len(SPELLING) + 1
    limits = f"from {least} (the mark, 256 bytes and one merge) to {MAX_VOCAB_SIZE:,}"
    require(least <= size <= MAX_VOCAB_SIZE, f"`vocab_size` is {size}; it must be {limits}")
    package, encoder = _package(), build([], ())
    settings = {"min_frequency": MIN_COUNT, "initial_alphabet": sorted(SPELLING), "show_progress": False}
    encoder.train_from_iterator(texts, package.trainers.BpeTrainer(vocab_size=size - 1, **settings))
    return parse(json.loads(encoder.to_str())["model"])


def parse(model: dict) -> tuple[list[str], tuple[str, ...]]:
    """Return the symbols, ordered by number, and the merges of the model in a tokenizer.json."""
    symbols = sorted(model["vocab"], key=model["vocab"].get)
    if [model["vocab"][symbol] for symbol in symbols] != list(range(len(symbols))):
        raise ValueError("tokens are not numbered from 0")
    merges = [merge if isinstance(merge, str) else " ".join(merge) for merge in model["merges"]]
    return symbols, tuple(merges)


def read(folder: Path) -> tuple[list[str], tuple[str, ...]]:
    """Read the symbols, ordered by number, and the merges from vocab.json and merges.txt, or from tokenizer.json.

    A tokenizer.json beside the other two is read for settings that would change the encoding.
    """
    apart, whole = (folder / "vocab.json", folder / "merges.txt"), folder / "tokenizer.json"
    files = apart if all(path.is_file() for path in apart) else (whole,)
    where = f"{str(folder)!r}"
    require(files[0].is_file(), f"{where}: no tokenizer; it must hold vocab.json and merges.txt, or tokenizer.json")
    try:
        about = json.loads(whole.read_text(encoding="utf-8")) if whole.is_file() else {}
        if whole.is_file():
            _require_neutral(about, where)
        if files == apart:
            texts = [path.read_text(encoding="utf-8") for path in files]
            merges = [line for line in texts[1].split("\n") if line and not line.startswith("#version")]
            model = {"vocab": json.loads(texts[0]), "merges": merges}
        else:
            model = about["model"]
        symbols, merges = parse(model)
    except OSError as error:
        raise InputError(f"{where}: {(error.strerror or 'cannot be read').lower()}") from None
    except (KeyError, TypeError, ValueError, AttributeError, RecursionError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f"{where}: {' and '.join(path.name for path in files)} cannot be read; fetch again") from None
    missing = set(SPELLING) - set(symbols)
    require(not missing, f"{where}: its vocabulary lacks {len(missing)} of the 256 bytes; fetch it again")
    return symbols, merges


def _require_neutral(about: dict, where: str) -> None:
    """Raise `InputError` if a tokenizer.json has settings that change the encoding by vocabulary and merges."""
    for part, fields in NEUTRAL.items():
        for name, values in fields.items():
            value = (about.get(part) or {}).get(name)
            what = f"tokenizer.json has {part}.{name} {value!r:.60}; it must be {values[-1]!r}, as in GPT-2"
            require(value in values, f"{where}: {what}")
    added = [token["content"] for token in about.get("added_tokens") or [] if token["content"] != END_OF_TEXT]
    what = f"added_tokens has {added[:1]!r:.60}; it may hold only {END_OF_TEXT}, as in GPT-2"
    require(not added, f"{where}: tokenizer.json's {what}")


def fits(symbols: Sequence[str], merges: Sequence[str]) -> bool:
    """Whether these can be a vocabulary: there is a symbol for every byte, and for both sides and result of a merge."""
    known, pairs = set(symbols[1:]), [merge.split(" ") for merge in merges]
    spelled = set(SPELLING) <= known and set("".join(symbols[1:])) <= set(SPELLING)
    return spelled and all(len(pair) == 2 and {*pair, "".join(pair)} <= known for pair in pairs)


def build(symbols: Sequence[str], merges: Sequence[str]) -> Any:
    """Build the encoder for `encode`; raise `InputError` if the package tokenizers is not installed."""
    package = _package()
    numbers = {symbol: number for number, symbol in enumerate(symbols)}  # merges never produce the mark
    model = package.models.BPE(vocab=numbers, merges=[tuple(merge.split(" ")) for merge in merges])
    encoder = package.Tokenizer(model)
    encoder.pre_tokenizer = package.pre_tokenizers.ByteLevel(add_prefix_space=False)
    return encoder


def encode(text: str, encoder: Any) -> np.ndarray:
    """Return (tokens,) int32 of a text, its line ends included; raise `InputError` if it is not valid Unicode."""
    try:
        return np.array(encoder.encode(text).ids, np.int32)
    except TypeError:
        raise InputError(f"{text!r} is not valid Unicode; remove lone surrogates") from None


def decode(ids: Sequence[int], symbols: Sequence[str]) -> str:
    """Return the text of these tokens; bytes that are not UTF-8 become replacement characters."""
    return bytes(BYTE_OF[character] for i in ids for character in symbols[i]).decode("utf-8", "replace")
