"""Write a trained transformer in GPT-2's layout, which `gpt2` reads and other programs know (that of Hugging Face).

The folder holds `config.json`, `model.safetensors`, and the tokenizer: `tokenizer.json` for the package tokenizers and,
for byte pairs, GPT-2's `vocab.json` and `merges.txt`. Tokens keep our numbers, so that the mark, which is called
`<|endoftext|>` there, is token 0. It starts every line, as the tokenizer adds it.
"""

from pathlib import Path
from typing import Any

import jax
import numpy as np
from safetensors.numpy import save as to_safetensors

from makemore_jax.checkpoint import flatten
from makemore_jax.data import bpe
from makemore_jax.data.tokenizers import BYTES
from makemore_jax.data.vocab import MARK, Vocab
from makemore_jax.errors import InputError, require, require_kinds
from makemore_jax.files import json_bytes, write_bytes
from makemore_jax.inference.gpt2 import SIZES, SUPPORTED, their_name
from makemore_jax.inference.trained import Trained
from makemore_jax.models.registry import name_of
from makemore_jax.models.transformer import Config

FILES = ("config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json", "vocab.json", "merges.txt")
# `words.word_pattern` in the syntax of the package, whose \w and \d are not Python's.
LETTERS = r"[\p{L}\p{Nl}\p{No}][\p{L}\p{Nl}\p{No}\p{M}\u200c\u200d]*"
WORD = rf"\n|{LETTERS}(?:['’-]{LETTERS})*|\p{{Nd}}+(?:[.,]\p{{Nd}}+)*|[^\p{{White_Space}}]"
ENDS = {"bos_token": bpe.END_OF_TEXT, "eos_token": bpe.END_OF_TEXT}
NFC = {"type": "NFC"}
LOWERCASE = {"type": "Sequence", "normalizers": [NFC, {"type": "Lowercase"}, NFC]}


def export(trained: Trained, folder: str | Path) -> None:
    """Write the model into a folder, which is made, or replace the model that was exported into it before.

    Raises:
      InputError: GPT-2's layout has no place for this model, or the folder holds other files or cannot be written.
    """
    require_kinds(trained=trained, path=folder)
    folder, config, vocab = Path(folder), trained.model.config, trained.vocab
    if not isinstance(config, Config):
        raise InputError(f"GPT-2's layout has no place for a {name_of(config)}; export a transformer")
    modern = "GPT-2's layout has no place for rotary positions, RMS norm and SwiGLU; export a model without `modern`"
    require(not config.modern, modern)
    foreign = sorted(file.name for file in folder.glob("*") if file.name not in FILES)
    require(not foreign, f"{str(folder)!r}: holds other files, such as {', '.join(foreign[:1])}; name another folder")
    contents = {"config.json": json_bytes(configuration(config)), "model.safetensors": weights(trained)}
    contents["tokenizer.json"] = json_bytes(tokenizer(vocab))
    contents["tokenizer_config.json"] = json_bytes({"tokenizer_class": "PreTrainedTokenizerFast", **ENDS})
    if vocab.tokens == "bpe":
        contents |= {"vocab.json": json_bytes(numbers(vocab)), "merges.txt": "\n".join(vocab.merges).encode() + b"\n"}
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name in FILES:
            if name in contents:
                write_bytes(folder / name, contents[name])
            else:
                (folder / name).unlink(missing_ok=True)
    except OSError as error:
        raise InputError(f"{str(folder)!r}: cannot be written ({(error.strerror or str(error)).lower()})") from None


def configuration(config: Config) -> dict[str, Any]:
    """The contents of `config.json`."""
    about = {"architectures": ["GPT2LMHeadModel"], **{name: values[0] for name, values in SUPPORTED.items()}}
    about |= {theirs: getattr(config, ours) for ours, theirs in SIZES.items()} | {"tie_word_embeddings": config.tied}
    about |= dict.fromkeys(("attn_pdrop", "embd_pdrop", "resid_pdrop"), 0.0)
    return about | dict.fromkeys(("bos_token_id", "eos_token_id"), MARK)


def weights(trained: Trained) -> bytes:
    """The contents of `model.safetensors`: the parameters in float32, with their published names and shapes."""
    tensors = {}
    for name, leaf in flatten(jax.device_get(trained.params)).items():
        theirs = their_name(name) if name == "head" else f"transformer.{their_name(name)}"
        tensors[theirs] = np.ascontiguousarray(leaf.T if name == "head" else leaf, np.float32)
    return to_safetensors(tensors, metadata={"format": "pt"})


def numbers(vocab: Vocab) -> dict[str, int]:
    """The number of each token by the name that it has in the files; bytes are spelled as in GPT-2."""
    spelled = [bpe.SPELLING[byte] for byte in BYTES] if vocab.tokens == "byte" else vocab.symbols[1:]
    return {name: number for number, name in enumerate([bpe.END_OF_TEXT, *spelled][: vocab.size])}


def tokenizer(vocab: Vocab) -> dict[str, Any]:
    """The contents of `tokenizer.json`, which encodes text as the vocabulary does, after the mark.

    Two things differ: it joins words by spaces only, and of bytes it drops a line end that the vocabulary lacks.
    """
    end = {"id": MARK, "content": bpe.END_OF_TEXT, "special": True, "normalized": False}
    about = {"version": "1.0", "added_tokens": [end | dict.fromkeys(("single_word", "lstrip", "rstrip"), False)]}
    about |= {"normalizer": LOWERCASE if vocab.lowercase else NFC, "post_processor": after_mark()}
    if vocab.tokens in ("byte", "bpe"):
        bytewise = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True}
        about |= {"pre_tokenizer": bytewise | {"use_regex": vocab.tokens == "bpe"}, "decoder": bytewise}
        return about | {"model": {"type": "BPE", "vocab": numbers(vocab), "merges": vocab.merges}}
    pattern = {"Regex": WORD if vocab.tokens == "word" else r"[\s\S]"}
    about["pre_tokenizer"] = {"type": "Split", "pattern": pattern, "behavior": "Removed", "invert": True}
    about["decoder"] = None if vocab.tokens == "word" else {"type": "Fuse"}
    unknown = vocab.symbols[vocab.unknown] if vocab.unknown > 0 else ""  # none: such a text is refused
    return about | {"model": {"type": "WordLevel", "vocab": numbers(vocab), "unk_token": unknown}}


def after_mark() -> dict[str, Any]:
    """The part of `tokenizer.json` that puts the mark before a text."""
    mark, text = {"SpecialToken": {"id": bpe.END_OF_TEXT, "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}}
    known = {bpe.END_OF_TEXT: {"id": bpe.END_OF_TEXT, "ids": [MARK], "tokens": [bpe.END_OF_TEXT]}}
    pair = [mark, text, {"Sequence": {"id": "B", "type_id": 0}}]
    return {"type": "TemplateProcessing", "single": [mark, text], "pair": pair, "special_tokens": known}
