# %% [markdown]
# # Lesson 2: Counting letters
#
# A language model that fits in a table. We count which letter follows which in 32,178 names, turn the counts into
# probabilities, sample new names, and measure how good they are. Then we throw the counts away and let gradient descent
# find them again. Follows Karpathy's
# [makemore part 1](https://github.com/karpathy/nn-zero-to-hero/blob/master/lectures/makemore/makemore_part1_bigrams.ipynb).

# %%
import os
import subprocess
import sys
from pathlib import Path

if "google.colab" in sys.modules and not Path("grading.py").exists():  # Colab opens a notebook without its repository
    address = input("The address of this repository, as for git clone: ")
    subprocess.run(["git", "clone", "-q", address, "/content/makemore_jax"], check=True)
    subprocess.run([sys.executable, "-m", "pip", "install", "-q", "/content/makemore_jax"], check=True)
    os.chdir("/content/makemore_jax/lessons")
ROOT = Path(globals().get("__file__", "a notebook")).resolve().parents[1]  # Jupyter starts a notebook in its own folder
sys.path.insert(0, str(ROOT))
QUICK = "QUICK" in os.environ  # fewer steps, for the tests

import jax
import jax.numpy as jnp
import numpy as np

import makemore_jax as mm
from lessons.graders import lesson_2
from lessons.grading import check

# %%
corpus = mm.load(ROOT / "data/names.txt")
