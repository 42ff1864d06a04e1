"""Imports run one way: the folders are the order of reading, and no command imports another."""

import ast
from graphlib import TopologicalSorter

import pytest

from tests.conftest import ROOT

GROUND = {"checkpoint", "errors", "files", "muon", "progress", "recipe"}
ORDER = ("ground", "data", "models", "inference", "learning", "analysis", "making", "distributed", "runs")


def modules(package):
    """The modules of a package by their dotted names, each with its file."""
    return {
        ".".join(file.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): file
        for file in sorted((ROOT / package).rglob("*.py"))
    }


def imported(file, known):
    """The modules among `known` that a file imports, wherever the import stands in it."""
    names = set()
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            path = file.relative_to(ROOT).with_suffix("").parts
            module = ".".join([*(path[: -node.level] if node.level else ()), *([node.module] if node.module else ())])
            relative = path[0] == "experiments" and module.startswith("experiments")
            assert bool(node.level) == relative, f"{file}: the library imports by whole names, commands each other not"
            members = {f"{module}.{alias.name}" for alias in node.names}
            names |= members if members <= known.keys() else {module} | members
    return names & known.keys()


def folder(module):
    """Where a module of the library stands in the order of reading; None for the package itself."""
    _, *path = module.split(".")
    if not path:
        return None
    return "ground" if path[0] in GROUND else path[0]


LIBRARY = modules("makemore_jax")
ARROWS = {module: imported(file, LIBRARY) - {module} for module, file in LIBRARY.items()}


def test_every_module_stands_in_the_order():
    assert {folder(module) for module in LIBRARY} - {None} == set(ORDER)
    assert sum(map(len, ARROWS.values())) > 100  # they were found


@pytest.mark.parametrize("below", ORDER)
def test_imports_run_one_way(below):
    """What stands in a folder imports nothing of the folders after it, nor the package that exports it all."""
    allowed = ORDER[: ORDER.index(below) + 1]
    for module, targets in ARROWS.items():
        if folder(module) == below:
            assert {folder(target) for target in targets} <= {*allowed}, (module, targets)


def test_there_is_no_circle():
    TopologicalSorter(ARROWS).prepare()  # raises CycleError, which names one


def test_no_model_knows_another():
    """Only the table knows them all, and a mixture takes models as arguments; `backoff` counts as `ngram` does."""
    shared = {"interface", "layers", "likelihood", "attention"}
    for module, targets in ARROWS.items():
        *package, name = module.split(".")
        if package == ["makemore_jax", "models"] and name != "registry":
            others = {target.split(".")[-1] for target in targets if folder(target) == "models"} - shared
            assert others == ({"ngram"} if name == "backoff" else set()), module


COMMANDS = modules("experiments")
EXCEPTIONS = {("bigram", "explore")}  # the bigram command saves its table as a page


def test_no_command_imports_another():
    """A command is a module or a package of experiments/; what two of them need stands in experiments/shared."""
    arrows = set()
    for module, file in COMMANDS.items():
        source = module.split(".")[1:2]
        for target in imported(file, COMMANDS):
            entry = target.split(".")[1:]
            assert entry[1:] != ["__main__"], (module, target)
            arrows |= {(*source, *entry[:1])} if source and entry else set()
    across = {(source, target) for source, target in arrows if source != target}
    assert {target for _, target in across} > {"shared"}
    assert {(source, target) for source, target in across if target != "shared"} <= EXCEPTIONS
    assert "shared" not in {source for source, _ in across}
