"""The folder of a run: a table of damages, each with what resuming and reading must do; locks, readers, permissions."""

import errno
import json
import os
import shutil
import stat
import warnings

import jax
import numpy as np
import pytest

from makemore_jax.checkpoint import read, write
from makemore_jax.distributed import orbax_state as sharded
from makemore_jax.errors import InputError
from makemore_jax.runs import folder as run_folder
from makemore_jax.runs.folder import open_run, states
from makemore_jax.runs.lock import claim
from makemore_jax.runs.saved_run import SavedRun
from tests.tiny_run import CONFIG, CORPUS, MODEL, RECIPE, contents, train


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    path = tmp_path_factory.mktemp("whole") / "run"
    assert train(path) == []
    return path


@pytest.fixture(scope="module")
def half(tmp_path_factory):
    """The same run, stopped after 30 of its 40 steps."""
    path = tmp_path_factory.mktemp("half") / "run"
    assert train(path, until=30) == []
    return path


@pytest.fixture
def run(half, tmp_path):
    return shutil.copytree(half, tmp_path / "run")


def flip(file, where=0.9, bit=6):
    """Flip one bit of a file."""
    raw = bytearray(file.read_bytes())
    raw[int(where * len(raw))] ^= 1 << bit
    file.write_bytes(raw)


def cut(file):
    os.truncate(file, file.stat().st_size // 2)


def test_a_run_leaves_what_it_says(whole):
    names = {"config.json", "best.safetensors", "checkpoints", "metrics.jsonl", "lock"}
    assert {file.name for file in whole.iterdir()} == names
    assert [file.name for file in states(whole)] == ["40.safetensors", "30.safetensors"]
    rows = [json.loads(row) for row in (whole / "metrics.jsonl").read_text().splitlines()]
    assert [row["step"] for row in rows] == [10, 20, 30, 40]
    assert rows[-1]["dev"] < rows[0]["dev"]
    trained = open_run(whole)
    assert (trained.model, trained.vocab, trained.context) == (MODEL, CORPUS.vocab, CORPUS.context)
    assert not np.array_equal(*(read(file)[0]["state.params.embed"] for file in states(whole)))


def test_a_stopped_run_continues_bit_for_bit(run, whole):
    assert contents(run) != contents(whole)
    assert train(run, resume=True) == []
    assert contents(run) == contents(whole)
    assert train(run, resume=True) == []  # it is finished: nothing to do
    assert contents(run) == contents(whole)


def test_a_state_too_large_for_one_host_is_saved_in_parts(tmp_path, whole, monkeypatch):
    """Every state counts as too large: the run continues bit for bit, and a damaged one is passed over."""
    monkeypatch.setattr(sharded, "SHARE", 0)
    path = tmp_path / "run"
    train(path, until=20)
    train(path, until=30, resume=True)
    assert [state.name for state in states(path)][:2] == ["30.sharded", "20.sharded"]
    copy = shutil.copytree(path, tmp_path / "copy")
    monkeypatch.undo()
    train(path, resume=True)
    assert [state.name for state in states(path)][:2] == ["40.safetensors", "30.sharded"]
    assert contents(path) == contents(whole)
    (copy / "checkpoints/30.sharded/_CHECKPOINT_METADATA").unlink()
    assert "30.sharded': damaged (its description cannot be read); continuing from" in train(copy, resume=True)[0]
    assert contents(copy) == contents(whole)
    train(copy, overwrite=True)
    assert sorted(file.name for file in copy.glob("checkpoints/*")) == ["30.safetensors", "40.safetensors"]


def test_losses_are_logged_for_each_chunk_whenever_it_was_stopped(tmp_path):
    recorded = []
    for stops in ([40], [25, 40]):
        path = tmp_path / str(len(stops))
        for number, until in enumerate(stops):
            with claim(path, CONFIG, resume=number > 0) as folder:
                run = SavedRun(jax.random.key(0), MODEL, CORPUS, RECIPE, folder)
                stop = lambda until=until, run=run: run.now.step >= until
                run.train(evaluate_every=25, progress=False, should_stop=stop)
        recorded.append((path / "metrics.jsonl").read_text())
    rows = [json.loads(row) for row in recorded[0].splitlines()]
    assert [(row["step"], "dev" in row) for row in rows] == [(25, True), (40, True)]
    assert recorded[0] == recorded[1]


@pytest.mark.parametrize("evaluation", [1, 2])
def test_a_signal_during_an_evaluation_saves_and_the_run_continues_bit_for_bit(
    tmp_path, whole, monkeypatch, evaluation
):
    from makemore_jax.runs import saved_run as runs

    calls, evaluate = [], runs.exact_loss

    def interrupt(*args):
        calls.append(args)
        if len(calls) == evaluation:
            raise KeyboardInterrupt
        return evaluate(*args)

    with monkeypatch.context() as patch:
        patch.setattr(runs, "exact_loss", interrupt)
        train(tmp_path / "run")
    assert int(states(tmp_path / "run")[0].stem) == 10 * evaluation
    train(tmp_path / "run", resume=True)
    assert contents(tmp_path / "run") == contents(whole)


def test_time_saves_too(tmp_path):
    train(tmp_path / "run", save_every=0.0)
    steps = [int(file.stem) for file in states(tmp_path / "run")]
    assert steps == [40, 30]
    with claim(tmp_path / "other", CONFIG) as folder:
        run = SavedRun(jax.random.key(0), MODEL, CORPUS, RECIPE, folder)
        stop = lambda: run.now.step >= 40
        assert run.train(evaluate_every=100, save_every=0.0, progress=False, should_stop=stop)
    assert states(tmp_path / "other")


# What is done to a run that stopped at step 30 -> what a warning of --resume says. The run must end as if nothing was.
MENDED = {
    "one bit of the weights": (lambda run: flip(states(run)[0]), "its checksum does not match"),
    "one bit of the header": (lambda run: flip(states(run)[0], 0.02), "30.safetensors': damaged"),
    "one bit in the description": (lambda run: flip(states(run)[0], 0.05), "30.safetensors': damaged"),
    "cut short": (lambda run: cut(states(run)[0]), "30.safetensors': damaged"),
    "empty": (lambda run: states(run)[0].write_bytes(b""), "30.safetensors': damaged"),
    "random bytes": (lambda run: states(run)[0].write_bytes(os.urandom(9999)), "damaged"),
    "renamed": (lambda run: states(run)[0].rename(run / "checkpoints/99.safetensors"), "belongs to another step"),
    "a folder in its place": (lambda run: (states(run)[0].unlink(), (run / "checkpoints/30.safetensors").mkdir()), ""),
    "an empty folder with a number": (lambda run: (run / "checkpoints/35").mkdir(), None),
    "half a save": (lambda run: (run / "checkpoints/40.safetensors.part").write_bytes(b"half"), None),
    "the newest is gone": (lambda run: states(run)[0].unlink(), None),
    "no metrics": (lambda run: (run / "metrics.jsonl").unlink(), None),
    "edited metrics": (lambda run: (run / "metrics.jsonl").write_text('{"step": 1e99}\n[[[['), None),
    "the best weights are gone": (lambda run: (run / "best.safetensors").unlink(), None),
    "the best weights are damaged": (lambda run: flip(run / "best.safetensors"), None),
    "config.json is gone": (lambda run: (run / "config.json").unlink(), None),
    "config.json is damaged": (lambda run: (run / "config.json").write_text('{"model": [[[['), None),
}


@pytest.mark.parametrize("name", MENDED)
def test_damage_that_resuming_mends(run, whole, name):
    damage, message = MENDED[name]
    before = contents(run) if name != "a folder in its place" else None
    damage(run)
    told = train(run, resume=True)
    if message is None:
        assert told == []
    else:
        assert len(told) == 1
        assert message in told[0]
        assert "continuing from the previous state" in told[0]
    assert before != contents(whole)
    assert contents(run) == contents(whole)


def foreign(run, *names):
    """Another seed's files of these names take the place of the run's; without names, of its checkpoints."""
    train(run.parent / "foreign", until=30, seed=1)
    for file in map(run.joinpath, names) if names else states(run):
        shutil.copy(run.parent / "foreign" / file.relative_to(run), file)


# What is done -> what --resume refuses with. Nothing in the folder may change.
REFUSED = {
    "both checkpoints are damaged": (lambda run: [flip(file) for file in states(run)], "No checkpoint can be read"),
    "another run's checkpoints": (foreign, "a checkpoint of another run"),
    "another configuration": (
        lambda run: (run / "config.json").write_text(json.dumps(CONFIG | {"seed": 7, "files": ["loss.png"]})),
        "holds a run of another configuration (seed 7 there, 0 here)",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_damage_that_resuming_refuses(run, name):
    damage, message = REFUSED[name]
    damage(run)
    before = {file: file.read_bytes() for file in run.rglob("*") if file.is_file() and file.name != "lock"}
    with pytest.raises(InputError) as error:
        train(run, resume=True)
    assert message in str(error.value)
    assert "\n" not in str(error.value)
    after = {file: file.read_bytes() for file in run.rglob("*") if file.is_file() and file.name != "lock"}
    assert after == before


BEST, STATES = "best.safetensors", ("checkpoints/20.safetensors", "checkpoints/30.safetensors")

# What is done -> what reading says: an error, or a warning and the newest whole checkpoint in place of the best.
READ = {
    "the best has a flipped bit": (lambda run: flip(run / "best.safetensors"), "using 30.safetensors instead"),
    "the best is cut short": (lambda run: cut(run / "best.safetensors"), "using 30.safetensors instead"),
    "the best is gone": (lambda run: (run / "best.safetensors").unlink(), None),
    "the best is another run's": (
        lambda run: foreign(run, BEST),
        "belongs to another run than config.json; using 30.safetensors instead",
    ),
    "all are another run's": (lambda run: foreign(run, BEST, *STATES), InputError),
    "the best is another run's, and nobody can say so": (
        lambda run: (foreign(run, BEST), (run / "config.json").unlink()),
        None,
    ),
    "only an old checkpoint is whole": (
        lambda run: [flip(run / "best.safetensors"), flip(states(run)[0])],
        "using 20.safetensors instead",
    ),
    "all are damaged": (
        lambda run: [flip(run / "best.safetensors"), *(flip(file) for file in states(run))],
        InputError,
    ),
    "nothing is there": (lambda run: shutil.rmtree(run), InputError),
    "an empty folder": (lambda run: (shutil.rmtree(run), run.mkdir()), InputError),
}


@pytest.mark.parametrize("name", READ)
def test_reading_takes_the_newest_whole_weights_and_writes_nothing(run, name):
    damage, message = READ[name]
    damage(run)
    before = {file: file.stat().st_mtime_ns for file in run.parent.rglob("*")}
    if message is InputError:
        with pytest.raises(InputError) as error:
            open_run(run)
        assert "overwrite" not in str(error.value)
    else:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            trained = open_run(run)
        assert [message in str(w.message) for w in caught] == ([True] if message else [])
        assert trained.vocab == CORPUS.vocab
    assert {file: file.stat().st_mtime_ns for file in run.parent.rglob("*")} == before


@pytest.mark.parametrize("about", [5, ["step"], None, "step"])
def test_a_description_of_another_kind_is_damage(run, about):
    for file in (run / BEST, states(run)[0]):
        write(file, read(file)[0], about)
    with pytest.warns(UserWarning, match="its description cannot be read"):
        open_run(run)


def edit(file, change):
    """Edit the description of a checkpoint as a person could, with a checksum that fits."""
    leaves, about = read(file)
    change(about)
    write(file, leaves, about)


@pytest.mark.parametrize(
    "change",
    [
        lambda about: about.update(symbols=about["symbols"][:-1]),
        lambda about: about.update(symbols=["."] * len(about["symbols"])),
        lambda about: about["sizes"].update(hidden=10**12),
        lambda about: about["sizes"].update(hidden=True),
        lambda about: about["sizes"].update(hidden=8.5),
        lambda about: about["sizes"].update(window=[[[]]]),
        lambda about: about.update(context=10**12),
        lambda about: about.update(context=0),
        lambda about: about.update(model="gru"),
        lambda about: about.update(model=["mlp"]),
        lambda about: about.clear(),
    ],
)
def test_a_description_that_does_not_fit_is_refused(run, change):
    (run / "best.safetensors").rename(run / "weights.safetensors")
    assert open_run(run / "weights.safetensors").vocab == CORPUS.vocab
    edit(run / "weights.safetensors", change)
    with pytest.raises(InputError) as error:
        open_run(run / "weights.safetensors")
    assert "weights.safetensors" in str(error.value)


def test_one_process_writes_and_says_who_it_is(run):
    with claim(run, CONFIG, ("loss.png",), resume=True):
        open_run(run)  # a reader asks nobody
        with pytest.raises(InputError, match=rf"process {os.getpid()} on \S+, since [-\d]+ [:\d]+, is writing to it"):
            train(run, resume=True)
    train(run, resume=True)


def test_a_file_system_without_locks_is_told_and_used(tmp_path, monkeypatch):
    """As Lustre is without its option `flock`."""

    def flock(*args):
        raise OSError(errno.ENOSYS, "Function not implemented")

    monkeypatch.setattr("fcntl.flock", flock)
    (told,) = train(tmp_path / "run", until=10)
    assert "flock not supported on this filesystem, falling back to SoftFileLock" in told
    assert states(tmp_path / "run")


def test_files_have_the_permissions_that_the_umask_gives(tmp_path):
    before = os.umask(0o027)
    try:
        train(tmp_path / "run", until=10)
    finally:
        os.umask(before)
    files = [file for file in (tmp_path / "run").rglob("*") if file.is_file()]
    assert len(files) >= 5
    assert {stat.S_IMODE(file.stat().st_mode) for file in files} == {0o640}


def test_a_folder_that_another_user_may_not_read_is_named(run):
    before = os.geteuid()
    run.chmod(0)
    if before == 0:
        os.seteuid(65534)  # the superuser may read everything
    try:
        with pytest.raises(InputError, match="permission denied"):
            open_run(run)
    finally:
        os.seteuid(before)
        run.chmod(0o755)


def test_a_folder_is_claimed_only_where_nothing_is_lost(run, tmp_path):
    with pytest.raises(InputError, match="holds this run already; continue it with `resume`"):
        train(run)
    with pytest.raises(InputError, match="holds a run of another configuration"):
        train(run, seed=1)
    (run / "own.png").write_bytes(b"a picture of mine")
    (run / "loss.png").write_bytes(b"the run's")
    train(run, seed=1, until=10, overwrite=True)
    assert (run / "own.png").exists()
    assert not (run / "loss.png").exists()
    assert [file.name for file in states(run)] == ["10.safetensors"]
    for number, name in enumerate(("checkpoints", "config.json", "notes.txt")):
        foreign = tmp_path / f"foreign{number}"
        foreign.mkdir()
        (foreign / name).mkdir() if name == "checkpoints" else (foreign / name).write_text('{"model_type": "gpt2"}')
        for overwrite in (False, True):
            with pytest.raises(InputError, match="the folder holds files that are not a run's"):
                train(foreign, overwrite=overwrite)
        assert [file.name for file in foreign.iterdir()] == [name]


def test_what_a_killed_process_had_begun_to_write_is_deleted(run):
    names = ("checkpoints/35.safetensors", BEST, "metrics.jsonl", "config.json", "loss.png")
    parts = [run / f"{name}.0123456789abcdef.part" for name in names]
    mine = [run / name for name in ("config.json.part", "notes.0123456789abcdef.part", f"{BEST}.01234567.part")]
    for part in parts + mine:
        part.write_bytes(b"half")
    open_run(run)
    assert all(part.exists() for part in parts)
    train(run, until=30, resume=True)
    assert set(run.rglob("*.part")) == set(mine)


def test_killed_while_it_claimed_the_folder(tmp_path):
    (tmp_path / "run").mkdir()
    (tmp_path / "run/lock").write_text("")
    (tmp_path / "run/config.json.0123456789abcdef.part").write_text('{"mod')
    assert train(tmp_path / "run", until=10) == []


def test_a_loop_of_links_and_a_file_are_no_folders(tmp_path):
    (tmp_path / "a").symlink_to(tmp_path / "b")
    (tmp_path / "b").symlink_to(tmp_path / "a")
    (tmp_path / "file").write_text("")
    for name in ("a", "file", "file/run"):
        with pytest.raises(InputError, match="choose another `out`"):
            train(tmp_path / name)


def test_identity_is_the_configuration_and_the_data_wherever_it_lies():
    assert run_folder.identity(CONFIG) == run_folder.identity(CONFIG | {"data": "/elsewhere/names.txt"})
    assert run_folder.identity(CONFIG) == run_folder.identity(CONFIG | {"files": ["loss.png"]})
    for other in ({"seed": 1}, {"lines_sha256": "e"}, {"stream": True}, {"more": None}):
        assert run_folder.identity(CONFIG) != run_folder.identity(CONFIG | other)
