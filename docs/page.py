"""Make the pictures of the page in the browser: python docs/page.py runs/transformer runs/gru, in the project's folder.

It needs what the tests of the page need: the extras `explore` and `test`, and Chromium.
"""

import io
import shutil
import subprocess
import sys
from pathlib import Path

from PIL import Image
from playwright.sync_api import Page, sync_playwright

DOCS = Path(__file__).parent
CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")
ARGS = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking"]


def main() -> None:
    """Serve the page with the runs that are named, use it, and take the pictures."""
    command = [sys.executable, "-m", "experiments.explore", *sys.argv[1:], "--no-open"]
    server = subprocess.Popen(command, cwd=DOCS.parent, stdout=subprocess.PIPE, text=True)
    try:
        address = server.stdout.readline().split()[0]
        with sync_playwright() as driver:
            browser = driver.chromium.launch(executable_path=CHROMIUM, args=ARGS)
            for name, scheme, take in (("table", "light", table), ("type", "dark", line), ("inside", "light", inside)):
                page = browser.new_page(
                    viewport={"width": 1280, "height": 840 if name == "inside" else 600}, color_scheme=scheme
                )
                page.set_default_timeout(120_000)
                page.goto(f"{address}#{name}")
                take(page)
                page.evaluate("document.activeElement.blur()")
                page.wait_for_timeout(1000)
                picture = Image.open(io.BytesIO(page.screenshot(full_page=name == "table")))
                picture.convert("RGB").quantize(256).save(DOCS / f"page-{name}.png", optimize=True)
            browser.close()
    finally:
        server.terminate()
        server.wait()


def table(page: Page) -> None:
    """A name drawn half-way, the lines of a pair, and the learned table after 20 steps."""
    page.locator(".heat.big").wait_for()
    page.get_by_label("learned", exact=True).wait_for()
    for _ in range(3):
        page.get_by_role("button", name="Step", exact=True).click()
    page.locator("#table .heat.big td[data-i='17'][data-j='21']").click()
    page.locator(".lines li").first.wait_for()
    for _ in range(8):
        page.get_by_label("gradient steps").press("ArrowLeft")
    page.mouse.move(0, 0)


def line(page: Page) -> None:
    """A name that two runs read."""
    page.locator("#type .typed").fill("charlot")
    page.locator("#type .letter").nth(15).wait_for()


def inside(page: Page) -> None:
    """Attention along a name, as lines and as maps."""
    page.locator("#inside .typed").fill("charlotte")
    page.locator("#inside .arcs").wait_for()


if __name__ == "__main__":
    main()
