"""Cases of the campaign: folders that move away, files of others, other texts of one size and time, two encoders."""

import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from makemore_jax.data.corpus import Encoding
from makemore_jax.data.lines import digest
from makemore_jax.data.token_files import load
from makemore_jax.errors import InputError
from makemore_jax.runs.folder import open_run
from tests import tiny_run

ROOT = Path(__file__).parent.parent
OTHER_USER = """
import os, sys
from pathlib import Path
from makemore_jax.runs.folder import open_run
open_run(sys.argv[1])  # imports what reading needs
os.setuid(65534)
try:
    print(open_run(sys.argv[2]).vocab.size)
except Exception as error:
    print(type(error).__name__, error)
"""
ENCODE = """
import sys, time
from makemore_jax.data.corpus import Encoding
from makemore_jax.data.token_files import load
time.sleep(float(sys.argv[2]))
print(load(sys.argv[1], Encoding(tokens=sys.argv[3]), progress=False).digest)
"""
PLANTED = ["lock", "config.json", "config.json.part", "best.safetensors", "metrics.jsonl", "summary.json", "loss.png"]
PLANTED += [
    "checkpoints",
    "checkpoints/20.safetensors",
    "checkpoints/30.safetensors",
    "checkpoints/40.safetensors.part",
]


class ForeignFiles:
    """What `tests.campaign` draws besides its own cases; each returns what failed, or nothing."""

    def moved(self) -> str | None:
        """The folder is moved away or deleted while a run writes to it; another run may take its place."""
        out, away, kind = self.new(), self.new(), self.random.choice(["moved", "deleted", "replaced"])
        child = self.start(out)
        while child.poll() is None and not (out / "config.json").exists():
            time.sleep(0.01)
        time.sleep(self.random.uniform(0, 0.5) * self.seconds)
        out.rename(away)
        if kind == "deleted":
            shutil.rmtree(away)
        if kind == "replaced":
            tiny_run.train(out, until=10, seed=1)
        before = snapshot(out)
        errors = child.communicate()[1]
        lines = [line for line in errors.splitlines() if line.startswith("error: ")]
        if child.returncode not in (0, 2) or len(lines) != child.returncode // 2 or "Traceback" in errors:
            return f"{kind}: {child.returncode} {errors[-300:]}"
        if snapshot(out) != before:
            return f"{kind}: it wrote on"
        return None if kind == "deleted" else self.end(away)

    def planted(self) -> str | None:
        """Links, pipes, folders and files of somebody else by the names of a run's files, 20 times over."""
        for _ in range(20):
            self.tried["plants"] += 1
            out, precious, draw = self.new(), self.new(), self.random
            shutil.copytree(draw.choice([self.tiny_half, self.tiny_whole]), out)
            precious.mkdir()
            (precious / "file").write_text("precious")
            file = out / draw.choice(PLANTED)
            what = f"{self.plant(file, precious)} {file.name}"
            planted, before = snapshot(out).get(file), snapshot(precious)
            try:
                if draw.random() < 0.3:
                    open_run(out)
                else:
                    tiny_run.train(out, **draw.choice([{"resume": True}, {"overwrite": True}, {}]))
            except InputError as error:
                if "\n" in str(error):
                    return f"{what}: {error}"
                if snapshot(out).get(file) != planted:
                    return f"{what}: refused, and gone"
            except Exception as error:
                return f"{what}: {type(error).__name__} {error}"
            if snapshot(precious) != before:
                return f"{what}: written through"
            if planted == b"precious" and file.name in ("lock", "config.json.part") and not file.exists():
                return f"{what}: deleted"
            shutil.rmtree(out)
        return None

    def plant(self, file: Path, precious: Path) -> str:
        """Something else in the place of a file; says what."""
        kind = self.random.choice(["link", "dangling link", "link to a folder", "pipe", "folder", "file"])
        shutil.rmtree(file) if file.is_dir() else file.unlink(missing_ok=True)
        if "link" in kind:
            file.symlink_to({"link": precious / "file", "dangling link": precious / "none"}.get(kind, precious))
        elif kind == "pipe":
            os.mkfifo(file)
        elif kind == "folder":
            file.mkdir()
            (file / "mine").write_text("precious")
        else:
            file.write_text("precious")
        return kind

    def same_texts(self) -> str | None:
        """Other texts of the same size and time in the place of one that was encoded, 5 times over."""
        text, lines = self.new(), self.data.read_text().splitlines()
        for _ in range(5):
            self.tried["texts"] += 1
            self.random.shuffle(lines)
            text.write_text("\n".join(lines))
            os.utime(text, ns=(1, 1))
            encoding = Encoding(tokens=self.random.choice(["character", "byte"]))
            if load(text, encoding, progress=False).digest != digest(lines):
                return f"{encoding.tokens}: the tokens of another text"
        return None

    def two_encoders(self) -> str | None:
        """Up to four processes encode one text at once; one may be killed."""
        text, kind = self.new(), self.random.choice(["character", "word"])
        lines = self.data.read_text().splitlines() * self.random.choice([1, 100, 1000])
        text.write_text("\n".join(lines))
        pipe = subprocess.PIPE
        command = lambda: [sys.executable, "-c", ENCODE, str(text), str(self.random.uniform(0, 0.1)), kind]
        start = lambda: subprocess.Popen(command(), cwd=ROOT, env=self.env, stdout=pipe, stderr=pipe, text=True)
        children = [start() for _ in range(self.random.randint(2, 4))]
        killed = self.random.random() < 0.5
        if killed:
            time.sleep(self.random.uniform(0, 0.7) * self.seconds)
            children[0].kill()
        for number, child in enumerate(children):
            said, errors = child.communicate()
            if said.strip() != digest(lines) and not (killed and number == 0):
                return f"{child.returncode}: {errors[-300:]}"
        load(text, Encoding(tokens=kind), progress=False)
        left = {path.name for path in Path(f"{text}.tokens").iterdir()}
        return None if len(left - {f"{name}.lock" for name in left if killed}) == 1 else f"{left} are left"

    def other_user(self) -> str | None:
        """Another user reads a run: whole under a common umask, one line under a strict one."""
        if os.geteuid():
            return None
        out, mask = self.new(), self.random.choice([0o022, 0o077])
        before = os.umask(mask)
        tiny_run.train(out, until=10)
        os.umask(before)
        for folder in (self.folder, *self.folder.parents):
            if str(folder).startswith(tempfile.gettempdir() + "/"):
                folder.chmod(0o755)
        command = [sys.executable, "-c", OTHER_USER, str(self.tiny_whole), str(out)]
        said = subprocess.run(command, cwd=ROOT, env=self.env, capture_output=True, text=True)
        expected = str(tiny_run.CORPUS.vocab.size) if mask == 0o022 else "InputError"
        return None if said.stdout.startswith(expected) else f"other user, {mask:o}: {said.stdout} {said.stderr[-300:]}"


def snapshot(folder: Path) -> dict[Path, bytes | int]:
    """What lies in a folder; links are not followed."""
    content = lambda path: path.read_bytes() if path.is_file() and not path.is_symlink() else path.lstat().st_ino
    return {path: content(path) for path in folder.rglob("*") if path.name != "lock" or path.is_symlink()}
