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

import jax
import tyro

from experiments.shared import cli
from experiments.shared.flags import Seed
from makemore_jax.errors import require, require_positive
from makemore_jax.inference import gpt2
from makemore_jax.inference.draw import draw
from makemore_jax.inference.sampler import SamplingParams
from makemore_jax.learning.finetune import shorten


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
    whole = gpt2.open(config.folder)
    context = len(whole.vocab.encode(config.prompt)) + config.tokens
    fits = f"{context} tokens, start and end included, exceed the model's {whole.context} positions; ask for fewer"
    require(context <= whole.context, fits)
    sampling = SamplingParams(temperature=0.0) if config.greedy else config.sampling
    trained, rows = shorten(whole, context), []
    drawn = draw(jax.random.key(config.seed), trained, config.n, config.prompt, sampling)
    for token_T, log_prob, ended in zip(*drawn, strict=True):
        text = trained.vocab.decode(token_T)
        rows.append({"text": text, "log_prob": float(log_prob), "ended": bool(ended)})
        shown = "\n".join(map(cli.printable, text.split("\n")))
        print(f"{log_prob:>10.4f}   {shown}{'' if ended else '…'}")
    return {"samples": rows}


if __name__ == "__main__":
    cli.main(lambda: Config, run)
