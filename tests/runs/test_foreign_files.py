"""What is not a run's stays as it is: folders that move away under a run, links, pipes, and files of other people."""

import os
import shutil
import warnings

import jax
import numpy as np
import pytest

import makemore_jax as mm
from makemore_jax import checkpoint, files
from makemore_jax.errors import InputError
from makemore_jax.files import read_bytes, write_bytes
from makemore_jax.inference import gpt2
from makemore_jax.inference.baselines import count_table
from makemore_jax.runs import lock
from makemore_jax.runs.folder import open_run, states
from makemore_jax.runs.lock import claim
from makemore_jax.runs.saved_run import SavedRun
from makemore_jax.runs.writer import Moved
from tests.tiny_run import CONFIG, CORPUS, MODEL, RECIPE, contents, train


def snapshot(folder):
    """All that lies in a folder, and what is in it; links are not followed."""
    found = {}
    for path in folder.rglob("*"):
        link = os.readlink(path) if path.is_symlink() else None
        found[path] = link or (path.read_bytes() if path.is_file() else path.lstat().st_mode)
    return found


@pytest.fixture(scope="module")
def half(tmp_path_factory):
    """A run, stopped after 30 of its 40 steps."""
    path = tmp_path_factory.mktemp("half") / "run"
    train(path, until=30)
    return path


@pytest.fixture
def run(half, tmp_path):
    return shutil.copytree(half, tmp_path / "run")


def replaced(path):
    """Another run takes the place of one that was moved away."""
    path.rename(path.with_name("moved"))
    train(path, until=10, seed=1)


MOVES = {
    "moved": lambda path: path.rename(path.with_name("moved")),
    "deleted": shutil.rmtree,
    "replaced": replaced,
    "without its lock": lambda path: (path / "lock").unlink(),
}


@pytest.mark.parametrize("name", MOVES)
def test_a_run_whose_folder_is_no_longer_its_own_stops_and_writes_nothing(tmp_path, name):
    path, left = tmp_path / "run", []

    def move(evaluation):
        if evaluation.step == 20:
            MOVES[name](path)
            left.append(snapshot(tmp_path))

    with pytest.raises(Moved) as error, claim(path, CONFIG, ("loss.png",)) as folder:
        SavedRun(jax.random.key(0), MODEL, CORPUS, RECIPE, folder).train(
            evaluate_every=10, progress=False, on_evaluation=move
        )
    assert str(error.value) == f"{str(path)!r}: moved, deleted or replaced during the run, so the run stops"
    assert snapshot(tmp_path) == left[0]
    for write in (lambda: folder.write_json("summary.json", {}), lambda: folder.file("loss.png")):
        with pytest.raises(Moved):
            write()
    assert snapshot(tmp_path) == left[0]
    if name == "moved":
        train(tmp_path / "moved", resume=True)
    if name == "replaced":
        train(path, seed=1, resume=True)


def test_a_folder_that_moves_while_it_is_locked_is_refused(run, tmp_path, monkeypatch):
    class Late(lock.FileLock):
        def acquire(self, **options):
            held = super().acquire(**options)
            run.rename(tmp_path / "moved")
            shutil.copytree(tmp_path / "moved", run)
            left.append(snapshot(tmp_path))
            return held

    left = []
    monkeypatch.setattr(lock, "FileLock", Late)
    with pytest.raises(InputError, match="moved or replaced"):
        train(run, resume=True)
    assert snapshot(tmp_path) == left[0]


def plant(path, kind, precious):
    """Put something else in the place of a file or a folder."""
    shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)
    if kind == "link":
        path.symlink_to(precious)
    elif kind == "dangling link":
        path.symlink_to(precious / "none")
    elif kind == "pipe":
        os.mkfifo(path)
    else:
        path.mkdir()
        (path / "mine.txt").write_text("precious")


NAMES = ("lock", "config.json", "best.safetensors", "metrics.jsonl", "summary.json", "loss.png", "checkpoints")
KINDS = ("link", "dangling link", "pipe", "folder")


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", NAMES)
def test_a_folder_with_something_else_by_the_name_of_a_runs_file_is_refused(run, tmp_path, name, kind):
    precious = tmp_path / "precious"
    if name == "checkpoints":
        (run / name).rename(precious)
        kind = "pipe" if kind == "folder" else kind
    else:
        precious.write_text("precious")
    plant(run / name, kind, precious)
    if name == "config.json" and kind == "link":
        precious.write_text('{"lines_sha256": "d"}')
    before = snapshot(tmp_path)
    for options in ({"resume": True}, {"overwrite": True}, {}):
        with pytest.raises(InputError) as error:
            train(run, **options)
        assert "choose another `out`" in str(error.value)
        assert "\n" not in str(error.value)
    assert snapshot(tmp_path) == before


@pytest.mark.parametrize("name", ["lock", "config.json.part", "best.safetensors.part"])
def test_a_folder_with_a_file_of_somebody_else_is_refused(run, tmp_path, name):
    mine = tmp_path / "mine"
    mine.mkdir()
    (mine / name).write_text("precious")
    with pytest.raises(InputError, match="the folder holds files that are not a run's"):
        train(mine)
    assert [file.name for file in mine.iterdir()] == [name]
    (run / name).write_text("precious")
    if name == "lock":
        with pytest.raises(InputError, match="the folder holds files that are not a run's"):
            train(run, resume=True)
    else:
        train(run, until=30, resume=True)
    assert (run / name).read_text() == (mine / name).read_text() == "precious"


@pytest.mark.parametrize("kind", KINDS)
def test_a_checkpoint_that_is_something_else_is_passed_over_and_not_written_through(run, half, tmp_path, kind):
    precious = tmp_path / "precious"
    precious.write_text("precious")
    plant(states(run)[0], kind, precious)
    (told,) = train(run, until=30, resume=True)
    assert "continuing from the previous state" in told
    assert precious.read_text() == "precious"
    assert contents(run) == contents(half)


@pytest.mark.parametrize("name", ["config.json", "best.safetensors", "checkpoints/30.safetensors"])
def test_pipes_do_not_hang_a_reader(run, name):
    plant(run / name, "pipe", None)
    with warnings.catch_warnings(record=True):
        assert open_run(run).vocab == CORPUS.vocab
    for read in (open_run, checkpoint.read):
        with pytest.raises(InputError):
            read(run / name)
    assert (run / name).is_fifo()


@pytest.mark.parametrize("name", ["config.json", "model.safetensors", "vocab.json", "merges.txt", "tokenizer.json"])
def test_pipes_do_not_hang_the_reader_of_gpt2(tmp_path, name):
    (tmp_path / "config.json").write_text("{}")
    for other in ("vocab.json", "merges.txt"):
        (tmp_path / other).write_text("{}")
    plant(tmp_path / name, "pipe", None)
    for read in (gpt2.load, gpt2.open):
        with pytest.raises(InputError):
            read(tmp_path)


def test_a_file_is_replaced_and_a_link_is_not_followed(tmp_path):
    precious, file = tmp_path / "precious", tmp_path / "file"
    precious.write_text("precious")
    for target in (precious, tmp_path / "none"):
        file.symlink_to(target)
        write_bytes(file, b"new")
        assert not file.is_symlink()
        assert file.read_bytes() == b"new"
        file.unlink()
    assert precious.read_text() == "precious"
    for kind in ("pipe", "folder"):
        plant(file, kind, None)
        for action in (lambda: write_bytes(file, b"new"), lambda: read_bytes(file)):
            with pytest.raises(OSError, match=r"(Not a regular file|Is a directory)"):
                action()
    assert {path.name for path in tmp_path.iterdir()} == {"precious", "file"}


def test_the_file_beside_is_a_new_one(tmp_path, monkeypatch):
    precious = tmp_path / "precious"
    precious.write_text("precious")
    monkeypatch.setattr(files.secrets, "token_hex", lambda count: "0" * 2 * count)
    (tmp_path / f"file.{'0' * 16}.part").symlink_to(precious)
    before = snapshot(tmp_path)
    with pytest.raises(FileExistsError):
        write_bytes(tmp_path / "file", b"new")
    assert snapshot(tmp_path) == before


def test_a_figure_replaces_a_link_and_not_its_target(tmp_path):
    precious = tmp_path / "precious"
    precious.write_text("precious")
    (tmp_path / "loss.png").symlink_to(precious)
    mm.plot.save(mm.plot.figure(1, 1), tmp_path / "loss.png")
    assert precious.read_text() == "precious"
    assert (tmp_path / "loss.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize("bad", [np.inf, -np.inf, np.nan])
def test_weights_that_are_not_finite_are_refused(run, tmp_path, bad):
    leaves, about = checkpoint.read(run / "best.safetensors")
    leaves["embed"][1, 2] = bad
    checkpoint.write(tmp_path / "w.safetensors", leaves, about)
    with pytest.raises(InputError, match="embed holds numbers that are not finite"):
        open_run(tmp_path / "w.safetensors")


def test_a_probability_may_be_zero_but_not_all_of_a_distribution(tmp_path):
    counted = count_table(CORPUS, 2, smoothing=0)
    path = tmp_path / "w.safetensors"
    assert np.isneginf(counted.params["log_prob"]).any()
    mm.save(mm.mix([counted, count_table(CORPUS, 1)], weights=[1, 0]), path)
    assert np.isneginf(mm.open(path).params["log_weight"]).any()
    for bad in (-np.inf, np.inf, np.nan):
        params = {"log_prob": np.array(counted.params["log_prob"])}
        params["log_prob"][2] = bad
        mm.save(counted._replace(params=params), path)
        with pytest.raises(InputError, match="log_prob holds numbers that are not finite"):
            mm.open(path)
