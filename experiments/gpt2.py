"""Continue a prompt with GPT-2: published weights in this project's transformer, with this project's sampler.

Fetch once:  hf download openai-community/gpt2 --local-dir gpt2
                 --include config.json model.safetensors vocab.json merges.txt
Run it:      python -m experiments.gpt2 gpt2 --prompt "The meaning of life is" --tokens 40
Expect:      a text per line, after its log-probability in nats; … marks a text that was cut
Needs:       pip install '.[bpe]'

The model reads <|endoftext|> before the prompt, which stands between two documents of its training data.
"""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import jax
import tyro

from experiments import cli
from experiments.flags import Seed
from makemore_jax import gpt2
from makemore_jax.errors import InputError, require, require_positive
from makemore_jax.models.transformer import transformer
from makemore_jax.sampler import SamplingParams, sample_tokens


@dataclass(frozen=True, kw_only=True)
class Config(Seed):
    """Continue a prompt with the weights in a GPT-2 folder: config.json, *.safetensors, vocab.json, merges.txt."""

    folder: tyro.conf.Positional[Path]
    """The folder with the weights and the tokenizer."""
    prompt: str = ""
    """Text to continue; without one, each text starts from nothing."""
    n: int = 1
    """Number of texts to make."""
    tokens: int = 40
    """Add at most this many tokens; a text ends earlier where the model draws <|endoftext|>."""
    seed: int = 1
    """Random seed of the samples."""
    greedy: bool = False
    """Always take the most likely token, as with --temperature 0."""
    sampling: tyro.conf.OmitArgPrefixes[SamplingParams] = field(default_factory=SamplingParams)
    json: bool = False
    """Print everything as JSON on the last line."""

    def __post_init__(self):
        super().__post_init__()
        require(0 < self.n <= 1000, f"`n` is {self.n}; it must be from 1 to 1,000")
        require_positive(self, "tokens")


def run(config: Config) -> dict:
    """Load, sample, print."""
    tokenizer = load_tokenizer(config.folder)
    ids = encode(tokenizer, config.prompt, config.folder)
    whole = gpt2.load(config.folder)
    last = max(tokenizer.get_vocab().values())
    fits = f"vocab.json has a token {last:,}, and the weights are for {whole.config.vocab:,} tokens"
    require(last < whole.config.vocab, f"{config.folder}: {fits}")
    model = gpt2.shorten(whole, len(ids) + config.tokens)
    sampling = SamplingParams(temperature=0.0) if config.greedy else config.sampling
    key, prefixes = jax.random.key(config.seed), [whole.symbol_V[ids]] * config.n
    drawn = sample_tokens(key, transformer(model.config), model.params, prefixes, model.config.block, sampling)
    rows = []
    for token_T, log_prob, ended in zip(*drawn, strict=True):
        text = tokenizer.decode(model.token_V[token_T[token_T > 0]].tolist())
        rows.append({"text": text, "log_prob": float(log_prob), "ended": bool(ended)})
        shown = "\n".join(map(cli.printable, text.split("\n")))
        print(f"{log_prob:>10.4f}   {shown}{'' if ended else '…'}")
    return {"samples": rows}


def load_tokenizer(folder: Path) -> Any:
    """GPT-2's byte-pair encoding.

    Raises:
      InputError: the package for it is not installed, or a file is missing or damaged.
    """
    try:
        from tokenizers import ByteLevelBPETokenizer
    except ImportError:
        raise InputError("GPT-2's tokens need one more package: pip install '.[bpe]'") from None
    for name in ("vocab.json", "merges.txt"):
        require((folder / name).is_file(), f"{folder / name}: no such file; fetch it with the weights")
    try:
        tokenizer = ByteLevelBPETokenizer(str(folder / "vocab.json"), str(folder / "merges.txt"))
    except Exception as error:  # the package raises nothing narrower
        raise InputError(f"{folder}: vocab.json and merges.txt cannot be read ({error}); fetch them again") from None
    require(tokenizer.get_vocab_size() > 0, f"{folder / 'vocab.json'}: holds no tokens; fetch it again")
    return tokenizer


def encode(tokenizer: Any, prompt: str, folder: Path) -> list[int]:
    """The tokens of a prompt.

    Raises:
      InputError: the prompt is not valid Unicode, or the vocabulary lacks some of its bytes.
    """
    try:
        prompt.encode()
    except UnicodeEncodeError:
        raise InputError(f"`prompt` {prompt!r} is not valid UTF-8") from None
    ids = tokenizer.encode(prompt).ids
    complete = tokenizer.decode(ids, skip_special_tokens=False) == prompt
    require(complete, f"{folder / 'vocab.json'}: lacks tokens for `prompt` {prompt!r}; fetch it again")
    return ids


if __name__ == "__main__":
    cli.main(lambda: Config, run)
