"""The course in docs/teaching: every deck is built, and what plans, decks, handouts and quizzes point to exists."""

import importlib.util
import json
import re
from itertools import pairwise

import pytest

from tests.browser import LONG, expect
from tests.conftest import ROOT

pytest.importorskip("latex2mathml", reason="latex2mathml is not installed")
TEACHING = ROOT / "docs/teaching"
LECTURES = sorted(path.stem for path in (ROOT / "lessons").glob("[0-9]*.py"))
PAGE = "".join(path.read_text() for path in sorted((ROOT / "experiments/explore/page").glob("*.*s*")))
SHARED = [ROOT / "makemore_jax/recipe.py", *(ROOT / "makemore_jax/models").glob("*.py")]
SHARED += (ROOT / "experiments/shared").glob("*.py")
NUMBER = re.compile(r"(?<![\w.,\\{^])\d+(?:,\d{3})*(?:\.\d+)?(?:e-?\d+)?(?![\w{])")
each_lecture = pytest.mark.parametrize("lecture", LECTURES)


def load_builder():
    spec = importlib.util.spec_from_file_location("deck", TEACHING / "deck.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


deck = load_builder()


def slides_of(lecture):
    return deck.read_deck(TEACHING / lecture / "slides.markdown")


def texts(lecture):
    """The four texts of a lecture, by their file names."""
    return {path.name: path.read_text() for path in sorted((TEACHING / lecture).iterdir())}


def plan_rows(lecture):
    """(from, to, cells) of each row of the plan's table."""
    lines = (TEACHING / lecture / "plan.md").read_text().splitlines()
    found = [(re.match(r"\| (\d+)–(\d+) \|", line), line.split(" | ")) for line in lines]
    return [(int(match[1]), int(match[2]), cells) for match, cells in found if match]


def named_slides(cells):
    """The numbers in `slide 3` or `slides 3 to 5`."""
    found = re.findall(r"\bslides? (\d+)(?: to (\d+))?", cells[2])
    return [number for low, high in found for number in range(int(low), int(high or low) + 1)]


def test_every_lesson_has_a_lecture():
    assert LECTURES == deck.LECTURES
    for lecture in LECTURES:
        assert [*texts(lecture)] == ["handout.md", "plan.md", "quiz.md", "slides.markdown"]
        assert f"({lecture}/plan.md)" in (TEACHING / "index.md").read_text()


@each_lecture
def test_a_deck_is_one_file_that_needs_no_network(lecture, tmp_path, capsys):
    deck.build(lecture, tmp_path)
    assert f"{lecture}.html: {len(slides_of(lecture))} slides" in capsys.readouterr().out
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        f"{lecture}-handout.html",
        f"{lecture}-quiz.html",
        f"{lecture}.html",
    ]
    assert not [path for path in tmp_path.iterdir() if 'href="' in path.read_text()]
    html = (tmp_path / f"{lecture}.html").read_text()
    assert not re.findall(r"(?:src|srcset)=\"(?!data:)|<link|@import|url\(|fetch\(", html)
    assert html.count("<img") == sum(len(slide.figures) for slide in slides_of(lecture))
    assert "$" not in re.sub(r"<script>.*</script>|<pre>.*?</pre>|<code>.*?</code>", "", html, flags=re.DOTALL)


@each_lecture
def test_a_deck_has_eight_to_fifteen_slides_and_the_speaker_has_words_for_each(lecture):
    slides = slides_of(lecture)
    assert 8 <= len(slides) <= 15
    for number, slide in enumerate(slides, 1):
        assert slide.heading.startswith("# " if number == 1 else "## ")
        assert len(slide.note.split()) >= 20, slide.heading
        assert "![" not in slide.first + slide.later, "a figure stands on a line of its own"
        assert all(figure.alt for figure in slide.figures)
        code = re.findall(r"```\w+\n(.*?)```", slide.first + slide.later, re.DOTALL)
        assert all(len(line) <= 74 for line in "".join(code).splitlines()), f"{slide.heading}: code wraps"
    assert any(slide.figures for slide in slides)


@each_lecture
def test_the_minutes_of_a_plan_hold_what_is_said_in_them(lecture):
    rows, slides = plan_rows(lecture), slides_of(lecture)
    assert rows[0][0] == 0
    assert all(before[1] == after[0] for before, after in pairwise(rows))
    assert f"{rows[-1][1]} minutes" in texts(lecture)["plan.md"].partition("| minute")[0]
    assert [number for *_, cells in rows for number in named_slides(cells)] == [*range(1, len(slides) + 1)]
    for start, end, cells in rows:
        assert len(cells) == 4
        said = deck.minutes([slides[number - 1] for number in named_slides(cells)])
        assert said <= end - start, f"minutes {start} to {end}: the notes alone take {said:.1f}"


@each_lecture
def test_what_a_plan_shows_exists(lecture):
    notebook = json.loads((ROOT / f"lessons/{lecture}.ipynb").read_text())
    prose = "".join("".join(cell["source"]) + "\n" for cell in notebook["cells"] if cell["cell_type"] == "markdown")
    headings = re.findall(r"^#+ (.+)", prose, re.MULTILINE)
    for *_, cells in plan_rows(lecture):
        for part in cells[2].split(";"):
            for heading in re.findall(r"lesson \*(.+?)\*", part):
                assert heading in headings
            for view in re.findall(r"page \*(.+?)\*", part):
                assert f'id="tab-{view.lower()}"' in (ROOT / "experiments/explore/page/index.html").read_text()
                assert all(label in PAGE for label in re.findall(r'"([^"]+)"', part))


@pytest.mark.parametrize("path", sorted(TEACHING.glob("**/*.m*")), ids=lambda path: f"{path.parent.name}/{path.name}")
def test_commands_and_links_exist(path):
    text = path.read_text()
    for command, rest in re.findall(r"python -m experiments\.(\w+)([^`#\n]*)", text):
        own = ROOT / f"experiments/{command}.py"
        files = [own] if own.exists() else [*(ROOT / "experiments" / command).glob("*.py")]
        assert files, command
        known = "".join(file.read_text() for file in [*files, *SHARED])
        for flag in re.findall(r"--([\w-]+)", rest):
            assert re.search(rf"^    {flag.replace('-', '_')}: ", known, re.MULTILINE), f"{command}: --{flag}"
    prose = re.sub(r"```.*?```|`[^`\n]*`", "", text, flags=re.DOTALL)
    for target in re.findall(r"\]\(([^)#\s]+)[^)]*\)", prose):
        assert target.startswith("https://") or (path.parent / target).exists(), target
    for place in re.findall(r"`((?:makemore_jax|experiments|lessons|data|tests)/[\w/.-]+)`", text):
        assert (ROOT / place).exists(), place


@each_lecture
def test_a_quiz_has_five_questions_with_one_right_answer_and_every_wrong_one_is_explained(lecture):
    questions = re.split(r"^## (?=\d\. )", texts(lecture)["quiz.md"], flags=re.MULTILINE)[1:]
    assert [question[0] for question in questions] == list("12345")
    for question in questions:
        asked, _, answer = question.partition("<details>")
        options = re.findall(r"^- ([a-d])\) ", asked, re.MULTILINE)
        right, wrong = re.findall(r"\*\*([a-d]) is right\.\*\*", answer), re.findall(r"\*([a-d]) is wrong:\*", answer)
        assert len(right) == 1
        assert sorted(right + wrong) == options == list("abcd")[: len(options)]
        assert len(options) >= 3


@each_lecture
def test_every_figure_is_one_that_a_lesson_or_a_report_prints(lecture):
    """Figures of three digits or more, outside of inline code."""
    notebook = json.loads((ROOT / f"lessons/{lecture}.ipynb").read_text())
    reports = [ROOT / "README.md", ROOT / "lessons/README.md", *(ROOT / "docs").glob("*.md")]
    printed = "".join(path.read_text() for path in reports)
    for cell in notebook["cells"]:
        outputs = [
            output.get("text") or output.get("data", {}).get("text/plain", []) for output in cell.get("outputs", [])
        ]
        printed += "\n".join("".join(lines) for lines in [cell["source"], *outputs]) + "\n"
    known = {float(re.sub("[_,]", "", number)) for number in re.findall(r"\d[\d_,]*(?:\.\d+)?(?:e-?\d+)?", printed)}
    for name, text in texts(lecture).items():
        prose = re.sub(r"\]\([^)]*\)|`[^`\n]*`|\b(?:19|20)\d\d\b", "", text)
        figures = [number.replace(",", "") for number in NUMBER.findall(prose)]
        unknown = [figure for figure in figures if len(figure.replace(".", "")) >= 3 and float(figure) not in known]
        assert not unknown, f"{name}: printed nowhere: {unknown}"


def test_a_figure_that_a_notebook_lacks_is_named(tmp_path):
    notebook = ROOT / "lessons/02_counting.ipynb"
    assert deck.read_figure(notebook, "0").startswith(b"\x89PNG")
    with pytest.raises(ValueError, match=r"02_counting\.ipynb has the figures 0 to \d+, and not 99"):
        deck.read_figure(notebook, "99")


@pytest.fixture
def tab(browser):
    """A tab of a browser that is off line."""
    context = browser.new_context(offline=True, viewport={"width": 1024, "height": 768})
    context.set_default_timeout(LONG)
    yield context.new_page()
    context.close()


TOO_LARGE = """() => slides.filter((slide) => {
  slide.classList.add("now");
  const parts = [slide, ...slide.querySelectorAll(":scope > div, math, pre")];
  const wide = parts.some((part) => part.scrollWidth > part.clientWidth + 1 && part.clientWidth);
  const high = parts.slice(0, 2).some((part) => part.scrollHeight > part.clientHeight + 1);
  slide.classList.remove("now");
  return wide || high;
}).map(heading)"""


@pytest.mark.slow
@each_lecture
def test_slides_fit_the_screen_and_the_handout_fits_one_page(lecture, tab, tmp_path):
    """A slide has the same shape at every size of the window."""
    deck.build(lecture, tmp_path)
    tab.goto(f"file://{tmp_path}/{lecture}.html")
    assert tab.evaluate(TOO_LARGE) == []
    tab.goto(f"file://{tmp_path}/{lecture}-handout.html")
    assert len(re.findall(rb"/Type\s*/Page\b", tab.pdf(prefer_css_page_size=True))) == 1


@pytest.mark.slow
def test_the_keys_turn_the_pages(tab, tmp_path):
    deck.build("02_counting", tmp_path)
    tab.goto(f"file://{tmp_path}/02_counting.html#10")
    slide, figure = tab.locator("section.now"), tab.locator("section.now figure")
    on_slide = lambda number: expect(slide).to_have_attribute("data-number", str(number))
    on_slide(10)
    expect(figure).to_be_hidden()  # the answer waits
    tab.keyboard.press("ArrowRight")
    expect(figure).to_be_visible()
    on_slide(10)
    tab.keyboard.press("ArrowRight")
    on_slide(11)
    expect(figure).to_be_visible()
    tab.clock.set_fixed_time(0)
    with tab.expect_popup() as opened:
        tab.keyboard.press("n")
    notes = opened.value
    expect(notes.locator("body")).to_contain_text("The same, by a neuron")
    notes.keyboard.press("ArrowLeft")
    on_slide(10)
    expect(figure).to_be_visible()
    expect(notes.locator("#clock")).to_have_text("slide 10 of 15, minute 0")
    tab.clock.set_fixed_time(125)  # seconds
    expect(notes.locator("#clock")).to_have_text("slide 10 of 15, minute 2")


@pytest.mark.slow
def test_a_key_counts_from_the_slide_that_the_key_before_it_opened(tab, tmp_path):
    """Both come before the browser has told the page that its address has changed."""
    deck.build("02_counting", tmp_path)
    tab.goto(f"file://{tmp_path}/02_counting.html#10")
    press = "(key) => dispatchEvent(new KeyboardEvent('keydown', { key }))"
    assert tab.evaluate(f"['End', 'ArrowLeft', 'ArrowLeft'].map({press}) && at + 1") == 13
    expect(tab.locator("section.now")).to_have_attribute("data-number", "13")
    tab.go_back()
    expect(tab.locator("section.now")).to_have_attribute("data-number", "14")
