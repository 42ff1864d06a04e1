"""A real browser for the tests of pages.

A page answers some time after an action, so a test that reads it once has a race. `expect` and `wait_for` read until
what they wait for is there.
"""

import re
import shutil

import pytest

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
QUIET = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking"]
QUIET += ["--disable-component-update", "--disable-sync"]
LONG = 120_000  # milliseconds; a busy machine may take its time


@pytest.fixture(scope="module")
def browser():
    sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    if not CHROMIUM:
        pytest.skip("there is no Chromium on this machine")
    sync_api.expect.set_options(timeout=LONG)
    with sync_api.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=CHROMIUM, args=QUIET, timeout=LONG)
        yield browser
        browser.close()


def expect(found):
    """Playwright's assertions about a locator or a page, which wait until they hold."""
    from playwright.sync_api import expect

    return expect(found)


class Tab:
    """A tab that notes what goes wrong in it and what it asks for elsewhere."""

    def __init__(self, browser, address, **options):
        self.context = browser.new_context(**options)
        self.context.set_default_timeout(LONG)
        self.page, self.problems, self.address = self.context.new_page(), [], address.partition("?")[0]
        self.page.on("pageerror", lambda error: self.problems.append(str(error)))
        self.page.on("console", self.hear)
        self.page.on("request", lambda asked: asked.url.startswith(self.address) or self.problems.append(asked.url))
        self.page.goto(address)
        expect(self.page).to_have_url(re.compile(rf"^{re.escape(self.address)}(#|$)"))  # without the token

    def hear(self, said):
        if said.type == "error" and "400 (Bad Request)" not in said.text:  # what the page shows as one line
            self.problems.append(said.text)

    def open(self, view):
        self.page.goto(f"{self.address}#{view}")
        self.page.locator(f"#tab-{view}").click()
        return self.page.locator(f"#{view}")

    def fits(self):
        return self.page.evaluate("document.documentElement.scrollWidth <= innerWidth")
