"""Make the data files of this folder from their sources; data/README.md says where those come from.

python data/make.py names yob2018.txt              -> names.txt, names-by-sex.txt
python data/make.py verses kjv.txt                 -> verses.txt
python data/make.py words american-english         -> words.txt
python data/make.py digits                         -> digits.txt   (needs scikit-learn)
"""

import re
import sys
from pathlib import Path

FOLDER = Path(__file__).parent


def names(source: str) -> dict[str, list[str]]:
    """Given names in lower case, in file order: girls by count, then boys; and with the sex, F or M, before each."""
    rows = [row.split(",") for row in Path(source).read_text().split()]
    return {
        "names.txt": [name.lower() for name, _, _ in rows],
        "names-by-sex.txt": [sex + name.lower() for name, sex, _ in rows],
    }


def verses(source: str) -> dict[str, list[str]]:
    """Verses without the reference, such as `Ge1:1`, before each."""
    return {"verses.txt": [line.split(" ", 1)[1] for line in Path(source).read_text().splitlines()]}


def words(source: str) -> dict[str, list[str]]:
    """The words that are purely a-z."""
    return {"words.txt": [word for word in Path(source).read_text().split() if re.fullmatch("[a-z]+", word)]}


def digits() -> dict[str, list[str]]:
    """A picture a line: the label 0-9, then 64 grey levels row by row, a (paper) to q (full ink)."""
    from sklearn.datasets import load_digits

    pictures, labels = load_digits(return_X_y=True)
    levels = [[chr(ord("a") + int(level)) for level in picture] for picture in pictures]
    return {"digits.txt": [f"{label}{''.join(row)}" for label, row in zip(labels, levels, strict=True)]}


if __name__ == "__main__":
    if sys.argv[1:2] not in (["names"], ["verses"], ["words"], ["digits"]):
        sys.exit(__doc__)
    for name, lines in globals()[sys.argv[1]](*sys.argv[2:]).items():
        (FOLDER / name).write_text("\n".join(lines) + "\n")
        print(f"{name}: {len(lines):,} lines, {len(set(lines)):,} distinct")
