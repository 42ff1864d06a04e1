"""Mix trained runs into one model, with weights chosen on the dev lines.

Run it:   python -m experiments.train --model lstm
          python -m experiments.train --model lstm --seed 1 --out runs/lstm1
          python -m experiments.mix runs/lstm runs/lstm1 --count 5
Then:     python -m experiments.sample runs/mixture
Expect:   a lower loss than that of any component; the more the components disagree, the more their mean helps
"""

from dataclasses import dataclass, replace
from pathlib import Path

import tyro

import makemore_jax as mm
from makemore_jax.data.formats import Source
from makemore_jax.data.tokenizers import find_tokenizer
from makemore_jax.errors import InputError, require, require_positive
from makemore_jax.inference.mixing import components, weights
from makemore_jax.models.interface import num_params
from makemore_jax.models.registry import check_type
from makemore_jax.runs.folder import read_config

from .shared import cli
from .shared.flags import Hidden, Output
from .shared.usage import command_line

# Settings of a run that affect its lines.
TEXT = {"max_length": int, "tokens": str, "lowercase": bool, "min_count": int}
TEXT |= {"separator": str, "context_length": int} | dict.fromkeys(Source._fields, str)


@dataclass(frozen=True, kw_only=True)
class Config(Output):
    """Mix runs that were trained on the same data into one model, the weighted mean of their predictions."""

    runs: tyro.conf.Positional[tuple[Path, ...]]
    """Run folders that the train command wrote; runs of the same model and sizes form an ensemble with one weight."""
    count: int | None = None
    """Also mix in an n-gram model with back-off, up to this order, counted on the train lines."""
    weights: tuple[float, ...] | None = None
    """Weights of the components, which sum to 1; by default, the weights with the lowest loss on the dev lines."""
    data: Path | None = None
    """Text file that the runs were trained on; by default, the path recorded in the runs."""
    out: Path = Path("runs/mixture")
    """Folder for the mixture."""
    no_figures: Hidden = True  # there are none to draw

    def __post_init__(self):
        require_positive(self, "count")


def load(config: Config) -> tuple[mm.Corpus, Path, str]:
    """Load the data that all runs were trained on; return it with its path and the name of its tokens."""
    for run in config.runs:
        require(run.exists(), f"{run}: no such run folder")
    found = {}
    for run in config.runs:
        found[run] = read_config(run)
        require(bool(found[run]), f"{run}: does not say what it was trained on; name folders of runs")
    first, about = next(iter(found.items()))
    for run, trained_on in found.items():
        same = trained_on["lines_sha256"] == about["lines_sha256"]
        require(same, f"{run}: was trained on other data than {first}; the dev lines of one may train the other")
    path, given = config.data or about.get("data"), {name: about[name] for name in TEXT if about.get(name) is not None}
    if not isinstance(path, Path | str) or "\0" in str(path):
        raise InputError(f"{first}: does not say where its data lies; name the file with `data`")
    try:
        settings = {name: check_type(name, value, TEXT[name]) for name, value in given.items()}
    except InputError as error:
        raise InputError(f"{first / 'config.json'}: {error}".replace("`", "")) from None
    if settings.get("tokens") == "bpe":  # however it was made, the runs hold it
        settings["vocab"] = mm.open(first).vocab
    corpus, path = mm.load(path, **settings), Path(path)
    require(corpus.digest == about["lines_sha256"], f"{path}: is no longer the data that {first} was trained on")
    tokens = settings.get("tokens", "character")
    return corpus, path, find_tokenizer(tokens).unit or tokens


def open_all(paths: tuple[Path, ...]) -> list[mm.Trained]:
    """Open the trained models, and refuse duplicates: one named twice would count double and agree with itself."""
    runs, seen = [mm.open(path) for path in paths], {}
    for path, trained in zip(paths, runs, strict=True):
        other = seen.setdefault(trained.digest, path)
        require(other is path, f"{path}: the same model as {other}; name each once")
    return runs


def run(config: Config) -> dict:
    """Mix the runs, and print the weight and the losses of each component."""
    require(len(config.runs) > 0, "there are no runs to mix; name at least one folder")
    corpus, path, unit = load(config)
    runs = open_all(config.runs) + ([mm.count(corpus, config.count)] if config.count else [])
    mixture = mm.mix(runs, corpus.tokens.dev, config.weights)
    with cli.claim(replace(config, data=path), config.out, corpus.digest) as folder:
        print(f"losses in nats per {unit}; weights sum to 1\n")
        table, rows = cli.Table(component="<28", weight=">8.3f", parameters=">12,", dev=">9.4f", test=">9.4f"), []
        shares = {**dict(zip(components(mixture), weights(mixture), strict=True)), "mixture": None}
        for name, component in {**components(mixture), "mixture": mixture}.items():
            nats = {split: mm.evaluate(component, getattr(corpus.tokens, split)).nats for split in ("dev", "test")}
            rows.append({"component": name, "weight": shares[name], "parameters": num_params(component.params), **nats})
            table.row(**rows[-1])
        folder.save_best(mixture)
        print(f"saved in {cli.shown(config.out)}: {command_line('sample', config.out)}")
        summary = {"experiment": "mix", "components": rows, **cli.environment()}
        folder.write_json("summary.json", summary)
    return summary


if __name__ == "__main__":
    cli.main(lambda: Config, run)
