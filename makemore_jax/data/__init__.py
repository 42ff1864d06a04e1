"""Text to tokens and back: lines, vocabulary, token stream, batches, split, and the same on disk."""

from makemore_jax.data.disk import Stored, open_store, write_store
from makemore_jax.data.lines import Split, digest, normalize, read_chunks, read_lines, split
from makemore_jax.data.tokens import Layout, Plan, Tokens, batch, from_host, pack, plan, report, tokenize
from makemore_jax.data.vocab import LEVELS, MARK, UNKNOWN, Vocab

__all__ = [
    "LEVELS",
    "MARK",
    "UNKNOWN",
    "Layout",
    "Plan",
    "Split",
    "Stored",
    "Tokens",
    "Vocab",
    "batch",
    "digest",
    "from_host",
    "normalize",
    "open_store",
    "pack",
    "plan",
    "read_chunks",
    "read_lines",
    "report",
    "split",
    "tokenize",
    "write_store",
]
