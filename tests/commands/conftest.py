"""A real browser for the tests of pages."""

import shutil

import pytest

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
QUIET = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking"]
QUIET += ["--disable-component-update", "--disable-sync"]


@pytest.fixture(scope="module")
def browser():
    sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    if not CHROMIUM:
        pytest.skip("there is no Chromium on this machine")
    with sync_api.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=CHROMIUM, args=QUIET)
        yield browser
        browser.close()


class Tab:
    """A tab that notes what goes wrong in it and what it asks for elsewhere."""

    def __init__(self, browser, address, **options):
        self.context = browser.new_context(**options)
        self.page, self.problems, self.address = self.context.new_page(), [], address.partition("?")[0]
        self.page.set_default_timeout(120_000)  # a busy machine may take its time
        self.page.on("pageerror", lambda error: self.problems.append(str(error)))
        self.page.on("console", self.hear)
        self.page.on("request", lambda asked: asked.url.startswith(self.address) or self.problems.append(asked.url))
        self.page.goto(address)
        assert self.page.url.partition("#")[0] == self.address  # without the token

    def hear(self, said):
        if said.type == "error" and "400 (Bad Request)" not in said.text:  # what the page shows as one line
            self.problems.append(said.text)

    def open(self, view):
        self.page.goto(f"{self.address}#{view}")
        self.page.locator(f"#tab-{view}").click()
        return self.page.locator(f"#{view}")

    def fits(self):
        return self.page.evaluate("document.documentElement.scrollWidth <= innerWidth")
