"""The page of experiments.explore in a lecture hall: large, by keys and links, readable, and a training to steer."""

import re
from pathlib import Path

import pytest

import makemore_jax as mm
from experiments.explore import open_runs
from experiments.explore.open_runs import LiveRun, RunOnDisk, Shelf, TableOnDisk
from experiments.explore.saved import models_page, write_page
from makemore_jax.data.corpus import encode
from makemore_jax.data.lines import digest, split
from makemore_jax.errors import InputError
from tests.browser import Tab, expect
from tests.commands.test_explore import SIZES, TOKEN, serving, untrained
from tests.conftest import ROOT

VIEWS = {"table": ".heat.big", "type": ".reader", "make": ".made", "inside": ".arcs", "train": ".samples tbody tr"}
A, N = 1, 14  # the rows of the table


@pytest.fixture(scope="module")
def corpus(names):
    lines = names[:400]
    return encode(split(lines), digest(lines))


@pytest.fixture(scope="module")
def live(corpus):
    """A model that has been trained for 20 steps, and again after it was paused."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(open_runs, "GRU", {"embed": 5, "steps": 20})
        patch.setattr(open_runs, "HIDDEN", 6)
        patch.setattr(open_runs, "EVALUATE_EVERY", 10)
        patch.setattr(mm, "baselines", lambda corpus: {"bigram": 2.5})
        live = LiveRun(corpus)
        live.pause(True)
        live.thread.start()
        with pytest.raises(InputError, match="the size is 0; it must be from 1 to 256"):
            live.start_anew(0, 0.01)
        live.start_anew(7, 0.01)  # ends the training that waits
        live.thread.join()
    return live


@pytest.fixture(scope="module")
def address(live, corpus, tmp_path_factory):
    pytest.importorskip("starlette", reason="starlette is not installed")
    from experiments.explore.server import app

    folder, runs = tmp_path_factory.mktemp("hall"), []
    for name, sizes in (("transformer", {}), ("gru", SIZES)):
        mm.save(untrained(name, corpus, **sizes), folder / f"{name}.safetensors")
        runs.append(RunOnDisk(folder / f"{name}.safetensors"))
    with serving(app(Shelf(runs, live), TableOnDisk(lambda: (ROOT / "data/names.txt",)), TOKEN)) as address:
        yield f"{address}?token={TOKEN}"


@pytest.fixture
def tab(browser, address):
    tab = Tab(browser, address, viewport={"width": 1024, "height": 700})
    yield tab
    tab.context.close()
    assert tab.problems == []


def test_a_training_is_paused_and_starts_anew(live):
    assert (live.hidden, live.rate, live.trainings) == (7, 0.01, 2)
    assert [row["step"] for row in live.rows] == [10, 20]
    assert live.now.trained.model.config.hidden == 7
    assert not live.paused


def test_the_table_shows_what_is_set(tab):
    view = tab.open("table")
    cell, lead = view.locator(f".heat.big td[data-i='{A}'][data-j='{N}']"), view.locator(".lead").first
    number = cell.locator("span").nth(1)
    expect(number).to_have_text("5461")
    expect(number).to_have_css("font-size", re.compile(r"^(9|\d\d)"))  # in pixels, at least 9
    tab.page.keyboard.press("l")
    expect(number).to_have_css("font-size", re.compile(r"^(1[2-9]|[2-9]\d)"))
    assert tab.fits()
    view.get_by_label("added to each count").press("End")
    expect(number).to_have_text("15k")
    expect(lead).to_contain_text("10,000 added to each count")
    view.get_by_label("learned", exact=True).check()
    expect(number).to_have_text(re.compile(r"^5[345]\d\d$"))  # counts still, as the button says
    view.get_by_label("added to each count").press("Home")
    expect(number).to_have_text("5461")
    expect(view).to_contain_text("a dev line holds a pair that train never shows")
    expect(view.locator(".chart")).to_contain_text("lowest 2.46")


def test_a_name_is_drawn_by_keys_and_its_row_follows(tab):
    view = tab.open("table")
    view.locator(".heat.big").wait_for()
    tab.page.keyboard.press("Escape")
    symbols = view.locator(".name .symbol")
    for drawn in (1, 2):
        tab.page.keyboard.press("ArrowRight")
        expect(symbols).to_have_count(1 + drawn)
    expect(view.locator(".below h3")).to_have_text(re.compile(f"^After {symbols.nth(1).inner_text()}:"))
    expect(view.locator(".ranking .chosen .symbol")).to_have_text(symbols.nth(2).inner_text())
    while "the name ends" not in view.locator(".walked").inner_text():
        drawn += 1
        tab.page.keyboard.press("ArrowRight")
        expect(symbols).to_have_count(1 + drawn)
    assert 4 <= drawn - 1 <= 8
    view.locator(f".heat.big td[data-i='{A}'][data-j='{N}']").click()
    view.locator(".lines li").first.wait_for()
    before = tab.page.evaluate("scrollY")
    tab.page.keyboard.press("PageDown")
    expect(view.locator(f".heat.big td[data-i='{A + 8}'][data-j='{N}']")).to_be_focused()
    assert tab.page.evaluate("scrollY") - before < 250  # the page follows the cell, and does not leap


def test_a_line_is_read_in_lower_case_and_its_letter_is_not_expected_instead(tab):
    view = tab.open("type")
    view.locator(".typed").fill("Emma")
    view.get_by_role("button", name="Read emma").first.click()
    reader = view.locator(".reader").first
    reader.locator(".letter").nth(4).wait_for()
    reader.locator(".letter").nth(1).click()
    expect(reader.locator("p.note")).to_have_text(re.compile(r"^Expected instead of m \("))
    assert "m " not in reader.locator("p.note").inner_text().partition(":")[2]
    shown = sum(float(text) for text in reader.locator(".bars .number").all_inner_texts() if text)
    assert 90 < shown < 105  # percent


def test_an_address_opens_what_it_names_and_back_returns(tab):
    tab.page.goto(f"{tab.address}#make?run=gru&text=an&seed=7&lines=3&temperature=0")
    view = tab.page.locator("#make")
    view.get_by_text("3 lines").wait_for()
    view.locator(".made").nth(2).wait_for()
    assert len(set(view.locator(".made .word").all_inner_texts())) == 1
    expect(view).to_contain_text("so all lines are equal")
    expect(view).to_contain_text("ln P(line), in nats")
    tab.page.keyboard.press("1")
    tab.page.locator("#table .heat.big").wait_for()
    tab.page.get_by_label("added to each count").press("End")
    tab.page.wait_for_url("**/#table?smoothing=10000&seed=*")
    tab.page.keyboard.press("4")
    tab.page.wait_for_url("**/#inside?run=transformer&text=emma")
    tab.page.go_back()
    tab.page.wait_for_url("**/#table?smoothing=10000&seed=*")
    tab.page.go_back()
    tab.page.wait_for_url("**/#make?run=gru&text=an&seed=7&lines=3*")
    expect(view.get_by_label("seed", exact=True)).to_have_value("7")


def test_back_returns_to_what_was_set_just_before(tab):
    """The address is written when a while has passed, or another view opens."""
    view = tab.open("table")
    smoothing = view.get_by_label("added to each count")
    smoothing.press("End")
    tab.page.wait_for_url("**/#table?smoothing=10000&seed=*")
    smoothing.evaluate("""slider => {
        slider.value = 0;
        slider.dispatchEvent(new Event("input", { bubbles: true }));
        document.getElementById("tab-inside").click();
    }""")
    tab.page.wait_for_url("**/#inside?run=transformer&text=emma")
    tab.page.go_back()
    tab.page.wait_for_url("**/#table?smoothing=0&seed=*")
    expect(smoothing).to_have_value("0")


def test_lines_that_a_link_asks_for_replace_those_that_are_awaited(tab):
    awaited = []
    tab.page.route("**/api/make", lambda route: awaited.append(route), times=1)
    with tab.page.expect_request("**/api/make"):
        view = tab.open("make")
    tab.page.goto(f"{tab.address}#make?run=gru&text=an&lines=3")
    expect(view.get_by_label("prefix")).to_have_value("an")
    awaited[0].continue_()
    view.get_by_text("3 lines").wait_for()
    expect(view.locator(".made")).to_have_count(3)


def test_a_pause_that_is_told_twice_is_one_pause(tab):
    """The page asks for the state all the time, and may hear of the pause before its order is answered."""
    button = tab.page.evaluate("""async () => {
        const live = { hidden: 7, trainings: 1, rows: [], paused: false }, { send } = page;
        const section = document.createElement("section"), view = page.trainView(section);
        view.refresh(live);
        const heard = () => view.refresh({ ...live, paused: true });
        page.send = async (name, body) => (name === "pause" ? heard() : send(name, body));
        await view.play();
        return section.querySelector("button").textContent;
    }""")
    assert button == "Go on"


def test_a_small_map_selects_its_head_and_tells_its_values(tab):
    tab.page.goto(f"{tab.address}#inside?run=transformer&text=emma")
    maps = tab.page.locator("#inside .heads .map")
    maps.nth(4).click(position={"x": 30, "y": 60})
    layer_and_head = tab.page.locator("#inside .choice input:checked")
    expect(layer_and_head).to_have_count(2)
    for choice in range(2):
        expect(layer_and_head.nth(choice)).to_have_value("1")
    expect(maps.nth(4).locator("figcaption")).to_contain_text("looks at")
    expect(maps.nth(4)).to_have_class(re.compile(r"\bshown\b"))


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing(browser, address, scheme):
    package = pytest.importorskip("axe_playwright_python", reason="axe is not installed")
    axe = Path(package.__file__).with_name("axe.min.js").read_text(encoding="utf-8")
    tab = Tab(browser, address, color_scheme=scheme, bypass_csp=True, reduced_motion="reduce")
    tab.page.evaluate(axe)
    for view, first in VIEWS.items():
        tab.open(view).locator(first).first.wait_for()
        found = tab.page.evaluate("axe.run({ resultTypes: ['violations'] })")["violations"]
        assert [(one["id"], one["nodes"][0]["html"]) for one in found] == [], view
    tab.context.close()
    assert tab.problems == []


def test_a_link_opens_a_saved_page_where_it_says(browser, corpus, tmp_path):
    mm.save(untrained("gru", corpus, **SIZES), tmp_path / "gru.safetensors")
    write_page(models_page(Shelf([RunOnDisk(tmp_path / "gru.safetensors")])), tmp_path / "gru.html")
    tab = Tab(browser, (tmp_path / "gru.html").as_uri())
    tab.page.locator("#type .reader").wait_for()
    tab.page.goto(f"{tab.address}#make?run=gru&text=an&lines=3")
    expect(tab.page.locator("#make .made .word")).to_have_text([re.compile("^an")] * 3)
    tab.page.locator("#tab-type").click()
    tab.page.locator(".typed").fill("ann")
    tab.page.wait_for_url("**/gru.html#type?run=gru&text=ann")
    tab.page.go_back()
    tab.page.locator("#make .made").first.wait_for()
    tab.context.close()
    assert tab.problems == []
