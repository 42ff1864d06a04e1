"""A person's mistake gets one clear line and exit status 2, and nothing on disk is lost."""

import json
import os
import subprocess
import sys

import pytest

from tests.conftest import ROOT

LONG = b"emma\n" + b"a" * 1_000_000 + b"\n"


@pytest.fixture
def quick(command, tmp_path):
    """The bigram command on a small file, without gradient descent."""
    (tmp_path / "few.txt").write_text("emma\nolivia\nava\n")

    def run(*flags):
        quiet = ["--data", tmp_path / "few.txt", "--out", tmp_path / "run", "--steps", 0, "--no-figures"]
        return command("bigram", *quiet, *flags)

    return run


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--data", "none.txt"], "'none.txt': no such file"),
        (["--data", "data"], "'data': is a directory"),
        (["--prefix", "q"], r"'q' (U+0071) is not in the vocabulary; its characters are: aeilmov"),
        (["--prefix", "emma" * 10], "--prefix has 40 characters and samples stop at 12"),
        (["--score", "emma", "zoë"], r"'z' (U+007A) is not in the vocabulary; its characters are: aeilmov"),
        (["--smoothing", "-1"], "--smoothing is -1.0; it must be 0 or from 1e-30 to 1e30"),
        (["--smoothing", "nan"], "--smoothing is nan"),
        (["--steps", str(2**64)], "--steps is 18446744073709551616; it must be 0 or more, and below 2**31"),
        (["--learning-rate", "-50"], "--learning-rate is -50.0; it must be from 1e-30 to 1e30"),
        (["--penalty", "-0.01"], "--penalty is -0.01; it must be 0 or from"),
        (["--smoothing", "1e38"], "--smoothing is 1e+38; it must be 0 or from 1e-30 to 1e30"),
        (["--prefix", "em\nma"], r"'em\nma' has a line end inside"),
        (["--samples", "100000000"], "--samples is 100000000; it must be from 1 to 100,000"),
        (["--steps", "-1"], "--steps is -1; it must be 0 or more"),
        (["--samples", "0"], "--samples is 0; it must be from 1 to 100,000"),
        (["--seed", "-1"], "--seed is -1"),
        (["--temperature", "-0.5"], "--temperature is -0.5; it must be 0 or from"),
        (["--top-k", "0"], "--top-k is 0; it must be at least 1"),
        (["--top-p", "0"], "--top-p is 0.0; it must be above 0 and at most 1"),
        (["--top-p", "1.5"], "--top-p is 1.5"),
        (["--max-length", "0"], "--max-length is 0; it must be at least 1"),
        (["--out", "README.md/run"], "'README.md/run': not a directory; choose another --out"),
        (["--out", "/proc/run"], "'/proc/run': no such file or directory; choose another --out"),
        (["--out", "data"], "'data': the folder holds files that are not a run's"),
        (["--step", "3"], "Unrecognized options: --step, 3; did you mean --steps? see"),
        (["--steps", "many"], "Error parsing --steps: invalid literal for int() with base 10: 'many'; see"),
        (["--steps"], "Missing value for argument '--steps'"),
        (["names.txt"], "Unrecognized options: names.txt; see python -m experiments.bigram --help"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_bad_flags(quick, flags, message):
    status, out, err = quick(*flags)
    assert status == 2
    assert err.startswith(f"error: {message}")
    assert err.count("\n") == 1
    assert not out


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        (b"", "empty file"),
        (b"\n \n", "only blank lines"),
        (b"emma\n\xff\n", "line 2: not UTF-8"),
        (LONG, "line 2: 1,000,000 characters, over the limit of 4,096; put one item on a line, or cut lines"),
    ],
)
def test_bad_files(quick, tmp_path, raw, message):
    path = tmp_path / "bad.txt"
    path.write_bytes(raw)
    status, out, err = quick("--data", path)
    assert (status, out) == (2, "")
    assert err.startswith(f"error: {str(path)!r}")
    assert message in err
    assert err.count("\n") == 1
    assert not (tmp_path / "run").exists()


def test_a_long_line_can_be_cut_and_one_line_works(quick, tmp_path):
    (tmp_path / "long.txt").write_bytes(LONG)
    assert quick("--data", tmp_path / "long.txt", "--max-length", 20)[0] == 0
    (tmp_path / "one.txt").write_text("emma")
    status, out, _ = quick("--data", tmp_path / "one.txt", "--out", tmp_path / "one")
    assert status == 0
    assert "too few lines to hold some out" in out


def test_a_run_of_another_configuration_is_kept(quick, tmp_path):
    run = tmp_path / "run"
    assert quick()[0] == 0
    before = {path.name: path.read_bytes() for path in run.iterdir() if path.name != "lock"}
    status, out, err = quick("--seed", 1, "--samples", 3)
    assert (status, out) == (2, "")
    assert f"{str(run)!r}: holds a run of another configuration (samples 10 there, 3 here, seed 0 there, 1 here)" in err
    assert {path.name: path.read_bytes() for path in run.iterdir() if path.name != "lock"} == before
    assert quick()[0] == 0  # the same again may run
    assert quick("--seed", 1, "--overwrite")[0] == 0
    assert json.loads((run / "config.json").read_text())["seed"] == 1
    (tmp_path / "few.txt").write_text("emma\nava\n")
    status, _, err = quick("--seed", 1)  # other data under the same name
    assert status == 2
    assert "lines_sha256" in err


def test_a_foreign_config_is_kept(quick, tmp_path):
    (tmp_path / "run").mkdir()
    for foreign in ('{"model_type": "gpt2"}', "[" * 200_000, "3"):
        (tmp_path / "run/config.json").write_text(foreign)
        status, _, err = quick()
        assert status == 2
        assert "the folder holds files that are not a run's" in err
        assert (tmp_path / "run/config.json").read_text() == foreign


def test_data_in_the_run_folder_is_refused(quick, tmp_path):
    (tmp_path / "run").mkdir()
    (tmp_path / "run/config.json").write_text("emma\nava\n")
    status, _, err = quick("--data", tmp_path / "run/config.json", "--overwrite")
    assert status == 2
    assert "lies in the run folder" in err
    assert (tmp_path / "run/config.json").read_text() == "emma\nava\n"


def test_overwriting_leaves_nothing_of_the_old_run(quick, tmp_path):
    assert quick()[0] == 0
    (tmp_path / "run/loss.png").write_bytes(b"old")
    status, _, err = quick("--overwrite", "--steps", 1, "--penalty", 1e25)
    assert status == 2
    assert "the run with penalty 1e+25 diverged; lower it or the learning rate" in err
    assert {path.name for path in (tmp_path / "run").iterdir()} == {"config.json", "lock"}


def test_control_characters_are_shown_and_not_obeyed(quick, tmp_path):
    (tmp_path / "few.txt").write_text("em\x1b[31mma\nav\u2028a\n")
    status, out, _ = quick()
    assert status == 0
    assert "\x1b" not in out
    assert "\u2028" not in out
    assert r"em\x1b[31mma" in out


def test_a_foreign_folder_is_kept(quick, tmp_path):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "summary.json").write_text("mine")
    assert quick()[0] == 2
    assert (tmp_path / "run" / "summary.json").read_text() == "mine"
    assert quick("--overwrite")[0] == 2  # it replaces runs, and nothing else
    assert (tmp_path / "run" / "summary.json").read_text() == "mine"


def test_a_diverging_rate_says_so_and_may_be_corrected_in_place(quick):
    status, _, err = quick("--steps", 30, "--learning-rate", 1e30)
    assert status == 2
    assert "diverged; lower the learning rate" in err
    assert quick()[0] == 0


def test_the_process_itself(tmp_path):
    """The same through the shell: no traceback, status 2; a reader that stops early is no error."""
    run = [sys.executable, "-m", "experiments.bigram", "--out", tmp_path / "run", "--steps", "0", "--no-figures"]
    failed = subprocess.run([*run, "--top-p", "7"], cwd=ROOT, capture_output=True, text=True)
    assert (failed.returncode, failed.stdout) == (2, "")
    assert failed.stderr == "error: --top-p is 7.0; it must be above 0 and at most 1\n"
    (tmp_path / "name.txt").write_text("zoë\n東京\n" * 20)
    ascii_only = {**os.environ, "PYTHONIOENCODING": "ascii"}
    flags = ["--data", tmp_path / "name.txt", "--out", tmp_path / "ascii"]
    shown = subprocess.run([*run, *flags], cwd=ROOT, env=ascii_only, capture_output=True, text=True)
    assert (shown.returncode, shown.stderr) == (0, "")
    assert r"zo\xeb" in shown.stdout
    piped = subprocess.Popen([*run, *flags], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    piped.stdout.close()
    assert "Traceback" not in piped.stderr.read()
    piped.stderr.close()
    piped.wait()


@pytest.mark.parametrize(
    ("module", "flags", "message"),
    [
        ("train", ["--batch", 2**31], "--batch is 2147483648; it must be below 2**31"),
        ("train", ["--context-length", 2**63], "--context-length is 9223372036854775808; it must be at least 2, and"),
        (
            "train",
            ["--tokens", "bpe", "--vocab-size", 2**40],
            "--vocab-size is 1099511627776; it must be from 258 (the",
        ),
        ("train", ["--coordinator", "a:1", "--process", 0, "--processes", 2**64], "it must be at least 1, and below"),
        ("train", ["--coordinator", "a:65536", "--process", 0, "--processes", 1], "it must be HOST:PORT"),
        ("sweep", ["--seeds", 2**31], "--seeds is 2147483648; it must be from 1 to 1,000"),
        ("sweep", ["--seeds", 10**5], "--seeds is 100000; it must be from 1 to 1,000"),
    ],
)
def test_numbers_that_no_library_can_hold(command, tmp_path, module, flags, message):
    status, _, err = command(module, *flags, "--out", tmp_path)
    assert (status, err.count("\n")) == (2, 1), err
    assert message in err
