"""Build the teaching material: each deck, handout and quiz as one HTML file that needs no network.

Run it:   python docs/teaching/deck.py                   all lectures, into docs/_build/teaching/
          python docs/teaching/deck.py 02_counting --out DIR
Needs:    pip install markdown-it-py mdit-py-plugins pygments latex2mathml
Expect:   for each lecture NAME.html (the deck), NAME-handout.html and NAME-quiz.html, and how long its notes take

A deck is Markdown. `---` stands between slides, and what follows `Note:` is for the speaker. A figure is a PNG file, or
the n-th figure (from 0) of a notebook: `![text](../../../lessons/01_derivatives.ipynb#0)`.
"""

import argparse
import base64
import json
import re
import sys
from functools import partial
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
NARROW = 2.0  # a figure of less than this width over height stands beside the text and not below it


class Slide(NamedTuple):
    """One slide: its text as Markdown without its figures, these as (text, path) pairs, and the speaker's note."""

    text: str
    figures: list[tuple[str, Path, str]]
    note: str


def read_deck(path: Path) -> list[Slide]:
    """Split a deck into its slides."""
    slides = []
    for part in re.split(r"^---$", path.read_text(encoding="utf-8"), flags=re.MULTILINE):
        body, _, note = part.partition("\nNote:")
        figures = [(text, *locate(path, target)) for text, target in FIGURE.findall(body)]
        slides.append(Slide(FIGURE.sub("", body).strip(), figures, note.strip()))
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
    """One slide: the heading, then text and figures, side by side if a figure is narrow."""
    heading, _, text = slide.text.partition("\n")
    pictures, narrow = [], False
    for alt, path, number in slide.figures:
        png = read_figure(path, number)
        width, height = (int.from_bytes(png[at : at + 4]) for at in (16, 20))
        narrow |= width < NARROW * height
        pictures.append(f'<img alt="{escape(alt)}" src="data:image/png;base64,{base64.b64encode(png).decode()}">')
    figures = f"<figure>{''.join(pictures)}</figure>" if pictures else ""
    text = f"<div>{MARKDOWN.render(text)}</div>" if text.strip() else ""
    body = f'<div class="{"beside" if narrow else "below"}">{text}{figures}</div>'
    return f"<section>{MARKDOWN.render(heading)}{body}<aside>{MARKDOWN.render(slide.note)}</aside></section>"


def page(template: str, title: str, body: str) -> str:
    """A whole HTML file, from a template beside this file."""
    text = (HERE / template).read_text(encoding="utf-8").replace("TITLE", escape(title))
    return text.replace("/* CODE */", HtmlFormatter().get_style_defs("pre")).replace("<!-- BODY -->", body)


def build(lecture: str, out: Path) -> None:
    """Write the deck, the handout and the quiz of one lecture."""
    slides = read_deck(HERE / lecture / "slides.md")
    title = slides[0].text.partition("\n")[0].lstrip("# ")
    deck = out / f"{lecture}.html"
    deck.write_text(page("presenter.html", title, "\n".join(map(render_slide, slides))), encoding="utf-8")
    for kind in ("handout", "quiz"):
        text = (HERE / lecture / f"{kind}.md").read_text(encoding="utf-8")
        sheet = page("sheet.html", f"{title}: {kind}", MARKDOWN.render(text))
        (out / f"{lecture}-{kind}.html").write_text(sheet, encoding="utf-8")
    print(f"{deck}: {len(slides)} slides, {deck.stat().st_size // 1000} kB, {minutes(slides):.0f} minutes of speech")


def main() -> None:
    """Build the lectures that were named, or all."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    lecture = partial(parser.add_argument, choices=[*LECTURES, []], metavar="LECTURE")
    lecture("lectures", nargs="*", help=f"which to build: {', '.join(LECTURES)}; by default, all")
    parser.add_argument("--out", type=Path, default=HERE.parent / "_build/teaching", help="folder for the HTML files")
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    try:
        for name in arguments.lectures or LECTURES:
            build(name, arguments.out)
    except (OSError, ValueError) as error:
        sys.exit(f"error: {error}")


if __name__ == "__main__":
    main()
