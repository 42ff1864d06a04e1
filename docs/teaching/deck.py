"""Build the teaching material: each deck, handout and quiz as one HTML file that needs no network.

Run it:   python docs/teaching/deck.py                   all lectures, into runs/teaching/
          python docs/teaching/deck.py 02_counting --out DIR
Needs:    pip install '.[docs]'
Expect:   for each lecture NAME.html (the deck), NAME-handout.html and NAME-quiz.html, and how long its notes take

A deck is NAME/slides.markdown (the site takes .md only). `---` stands between slides. What follows `. . .` appears at
the next key, and what follows `Note:` is for the speaker. A figure is a PNG file, or the n-th figure (from 0) of a
notebook, on a line of its own: `![text](../../../lessons/01_derivatives.ipynb#0)`.
"""

import argparse
import base64
import json
import re
import sys
from html import escape
from pathlib import Path
from typing import NamedTuple

from latex2mathml.converter import convert
from markdown_it import MarkdownIt
from mdit_py_plugins.dollarmath import dollarmath_plugin
from pygments import highlight
from pygments.formatters import HtmlFormatter
from pygments.lexers import get_lexer_by_name

HERE = Path(__file__).parent
LECTURES = sorted(path.name for path in HERE.glob("[0-9]*"))
FIGURE = re.compile(r"^!\[(.*?)\]\((.+?\.png|.+?\.ipynb#\d+)\)$", re.MULTILINE)
WORDS_A_MINUTE = 130  # read aloud, without haste
PAUSE = "\n. . .\n"
LATER = ' class="later"'


class Figure(NamedTuple):
    """A figure on a slide: its text, its file, and its number if that is a notebook."""

    alt: str
    path: Path
    number: str


class Slide(NamedTuple):
    """One slide: what is shown at once and later, as Markdown without its figures, these, and the speaker's note."""

    heading: str
    first: str
    later: str
    figures: list[Figure]
    figures_wait: bool
    note: str


def read_deck(path: Path) -> list[Slide]:
    """Split a deck into its slides."""
    slides = []
    for part in re.split(r"^---$", path.read_text(encoding="utf-8"), flags=re.MULTILINE):
        body, _, note = part.strip().partition("\nNote:")
        heading, _, text = body.partition("\n")
        figures = [Figure(alt, *locate(path, target)) for alt, target in FIGURE.findall(text)]
        first, _, later = text.partition(PAUSE)
        waits = bool(FIGURE.search(later))
        slides.append(Slide(heading, FIGURE.sub("", first), FIGURE.sub("", later), figures, waits, note.strip()))
    return slides


def locate(deck: Path, target: str) -> tuple[Path, str]:
    """The file that a figure is in, and which of its figures it is; '' if the file is a picture."""
    name, _, number = target.partition("#")
    return (deck.parent / name).resolve(), number


def read_figure(path: Path, number: str) -> bytes:
    """The PNG of a figure. Raises ValueError if a notebook has fewer."""
    if not number:
        return path.read_bytes()
    cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
    outputs = [output.get("data", {}) for cell in cells for output in cell.get("outputs", [])]
    pictures = [data["image/png"] for data in outputs if "image/png" in data]
    if int(number) >= len(pictures):
        raise ValueError(f"{path.name} has the figures 0 to {len(pictures) - 1}, and not {number}")
    return base64.b64decode(pictures[int(number)])


def minutes(slides: list[Slide]) -> float:
    """How long it takes to read the notes of these slides aloud."""
    return sum(len(slide.note.split()) for slide in slides) / WORDS_A_MINUTE


def formula(tex: str, options: dict) -> str:
    """TeX as MathML, which a browser draws without a script."""
    return convert(tex, display="block" if options["display_mode"] else "inline")


def code(text: str, language: str, _: str) -> str:
    """Code in colour."""
    return highlight(text, get_lexer_by_name(language or "text"), HtmlFormatter(nowrap=True))


MARKDOWN = MarkdownIt("commonmark", {"highlight": code}).enable("table").use(dollarmath_plugin, renderer=formula)


def render_slide(slide: Slide) -> str:
    """One slide: the heading, then the text, and the figures where they are larger: beside the text or below it."""
    pngs = [read_figure(figure.path, figure.number) for figure in slide.figures]
    images = [
        f'<img alt="{escape(figure.alt)}" src="data:image/png;base64,{base64.b64encode(png).decode()}">'
        for figure, png in zip(slide.figures, pngs, strict=True)
    ]
    figures = f"<figure{LATER if slide.figures_wait else ''}>{''.join(images)}</figure>" if images else ""
    text = MARKDOWN.render(slide.first)
    if slide.later.strip():
        text += f"<div{LATER}>{MARKDOWN.render(slide.later)}</div>"
    text = f"<div>{text}</div>" if text else ""
    place = "beside" if pngs and text and is_larger_beside(slide.first + slide.later, pngs) else "below"
    body = f'<div class="{place}">{text}{figures}</div>'
    return f"<section>{MARKDOWN.render(slide.heading)}{body}<aside>{MARKDOWN.render(slide.note)}</aside></section>"


def is_larger_beside(text: str, pngs: list[bytes]) -> bool:
    """Whether figures are wider at the right of a slide than under its text, in rem; a line of text takes about 2.5."""
    shape = sum(int.from_bytes(png[16:20]) / int.from_bytes(png[20:24]) for png in pngs)
    lines = sum(3 if line.startswith("$$") else 1 + len(line) // 75 for line in text.splitlines() if line)
    return min(31, 28 * shape) > min(57, (28 - 2.5 * lines) * shape)


def page(template: str, title: str, body: str) -> str:
    """A whole HTML file, from a template beside this file."""
    text = (HERE / template).read_text(encoding="utf-8").replace("TITLE", escape(title))
    return text.replace("/* CODE */", HtmlFormatter().get_style_defs("pre")).replace("<!-- BODY -->", body)


def build(lecture: str, out: Path) -> None:
    """Write the deck, the handout and the quiz of one lecture."""
    slides = read_deck(HERE / lecture / "slides.markdown")
    title = slides[0].heading.lstrip("# ")
    deck = out / f"{lecture}.html"
    deck.write_text(page("presenter.html", title, "\n".join(map(render_slide, slides))), encoding="utf-8")
    for kind in ("handout", "quiz"):
        text = (HERE / lecture / f"{kind}.md").read_text(encoding="utf-8")
        text = re.sub(r"\[([^]]+)\]\(\.[^)]*\)", r"\1", text)  # it travels alone: no links into the project
        sheet = page("sheet.html", f"{title}: {kind}", MARKDOWN.render(text))
        (out / f"{lecture}-{kind}.html").write_text(sheet, encoding="utf-8")
    print(f"{deck}: {len(slides)} slides, {deck.stat().st_size // 1000} kB, {minutes(slides):.0f} minutes of speech")


def main() -> None:
    """Build the lectures that were named, or all."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    names = ", ".join(LECTURES)
    parser.add_argument("lectures", nargs="*", default=LECTURES, metavar="LECTURE", help=f"{names}; by default, all")
    parser.add_argument("--out", type=Path, default=HERE.parents[1] / "runs/teaching", help="folder for the HTML files")
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    try:
        for name in arguments.lectures:
            build(name, arguments.out)
    except (OSError, ValueError) as error:
        sys.exit(f"error: {error}")


if __name__ == "__main__":
    main()
