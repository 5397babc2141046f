"""The page of the server in a browser, as somebody uses it.

    pip install -r tools/checks/requirements-server.txt
    python tools/checks/server_page.py [--browser /usr/bin/chromium] [--screenshots FOLDER]

A clip is typed, its preview changes while it is made, and it is played; another is cancelled; the
page is loaded again in the middle; a clip is dropped and gives its settings; the page is used by
the keyboard alone, at the width of a phone, in the dark, and with a key. Exit code 1 where
something is missing, the page asks for anything elsewhere, the browser logs an error, or axe finds
a serious fault.
"""

from __future__ import annotations

import argparse
import base64
import io
import sys
import tempfile
import warnings
from pathlib import Path
from typing import Any

from axe_playwright_python.sync_playwright import Axe
from PIL import Image
from playwright.sync_api import Page, sync_playwright

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "tests"))

from helpers.running_server import RunningServer, start_server

_PROMPT = "a red circle moves right on a blue background"
_PATIENCE_MS = 120_000
# Drops a file, given in base64, as a hand would.
_DROP = """data => {
    const transfer = new DataTransfer();
    const bytes = Uint8Array.from(atob(data), (character) => character.charCodeAt(0));
    transfer.items.add(new File([bytes], "clip.mp4", { type: "video/mp4" }));
    const values = { dataTransfer: transfer, bubbles: true, cancelable: true };
    document.getElementById("drop").dispatchEvent(new DragEvent("drop", values));
}"""


def main() -> int:
    """Use the page and return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--browser", default="/usr/bin/chromium")
    parser.add_argument("--screenshots", type=Path)
    arguments = parser.parse_args()
    # The client library's, of the service that its interface was made for.
    warnings.filterwarnings("ignore", "The Sora API", DeprecationWarning)
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=arguments.browser, args=["--no-sandbox"]
        )
        server = start_server(Path(folder) / "data")
        try:
            faults = _use(browser, server, arguments.screenshots)
        finally:
            server.stop()
        keyed = start_server(Path(folder) / "other", LTX2CPP_API_KEY="sesame")
        try:
            faults += _use_with_key(browser, keyed)
        finally:
            keyed.stop()
        browser.close()
    print("\n".join(faults) or "the page: no fault")
    return 1 if faults else 0


def _open(browser: Any, server: RunningServer, faults: list[str], **context: Any) -> Page:
    """Open the page, and note what the browser complains of and where it asks."""
    address = f"http://127.0.0.1:{server.port}/"
    page: Page = browser.new_context(**context).new_page()
    page.set_default_timeout(_PATIENCE_MS)
    page.on("pageerror", lambda error: faults.append(f"error: {error}"))
    page.on(
        "console", lambda line: faults.append(f"log: {line.text}") if line.type == "error" else None
    )
    page.on(
        "request",
        lambda request: (
            None
            if request.url.startswith((address, "blob:"))
            else faults.append(f"asks elsewhere: {request.url}")
        ),
    )
    page.goto(address)
    return page


def _use(browser: Any, server: RunningServer, shots: Path | None) -> list[str]:
    faults: list[str] = []
    page = _open(browser, server, faults, viewport={"width": 1100, "height": 900})
    page.get_by_label("What happens in it?").fill(_PROMPT)
    page.wait_for_selector("#fit.good")
    page.get_by_text("More settings").click()
    # The first one takes so long that it is not finished before it is cancelled.
    for steps, size in (("200", "192x128"), ("", "")):
        page.get_by_label("Steps", exact=True).fill(steps)
        page.get_by_label("Exact size").fill(size)
        page.get_by_role("button", name="Make clip").click()
    page.wait_for_selector("#queue li:nth-child(2)")
    _watch(page)
    _shoot(page, shots, "queue")
    page.reload()
    page.wait_for_selector("#queue li:nth-child(2)")
    page.locator("#queue").get_by_role("button", name="Cancel").first.click()
    view = page.locator("#clips video").first
    view.wait_for()
    view.evaluate("view => { view.muted = true; return view.play(); }")
    page.wait_for_function("view => view.currentTime > 0", arg=view.element_handle())
    duration, width = view.evaluate("view => [view.duration, view.videoWidth]")
    if not (0.6 < duration < 0.8 and width == 96):
        faults.append(f"the clip does not play: {duration} s, {width} pixels")
    if page.locator("#clips .problem").inner_text() != "the job was cancelled":
        faults.append("the cancelled clip does not say so")
    _shoot(page, shots, "clips")
    _drop(page, server, faults)
    _axe(page, "light", faults)
    phone = _open(
        browser, server, faults, viewport={"width": 360, "height": 800}, color_scheme="dark"
    )
    phone.wait_for_selector("#clips video")
    if (width := phone.evaluate("document.documentElement.scrollWidth")) > 360:
        faults.append(f"the page is {width} pixels wide on a phone")
    _axe(phone, "dark", faults)
    _shoot(phone, shots, "phone")
    _by_keyboard(phone, faults)
    _close_pages(browser)
    return faults


def _close_pages(browser: Any) -> None:
    """Close all pages, which would complain of a server that is gone."""
    for context in browser.contexts:
        context.close()


def _watch(page: Page) -> None:
    """Wait until the preview of the first clip has shown two pictures."""
    page.locator("#queue img").first.wait_for()
    drawn = """() => {
        const picture = document.querySelector("#queue img");
        const canvas = document.createElement("canvas");
        [canvas.width, canvas.height] = [picture.naturalWidth, picture.naturalHeight];
        canvas.getContext("2d").drawImage(picture, 0, 0);
        const shown = canvas.toDataURL();
        window.firstShown ??= picture.naturalWidth ? shown : undefined;
        return window.firstShown && shown !== window.firstShown;
    }"""
    page.wait_for_function(drawn)


def _drop(page: Page, server: RunningServer, faults: list[str]) -> None:
    """Drop a finished clip on the page, which brings its settings."""
    with server.client() as client:
        made = next(video for video in client.videos.list() if video.status == "completed")
        clip = client.videos.download_content(made.id).read()
        assert made.model_extra is not None
        seed = str(made.model_extra["seed"])
    page.evaluate(_DROP, base64.b64encode(clip).decode())
    page.get_by_text("The settings of the clip were taken.").wait_for(state="attached")
    found = page.locator("#seed").input_value(), page.locator("#prompt").input_value()
    if found != (seed, _PROMPT):
        faults.append(f"a dropped clip gave {found}")


def _by_keyboard(page: Page, faults: list[str]) -> None:
    """Make a clip without a pointer."""
    before = page.locator("#queue li, #clips li").count()
    page.locator("#prompt").focus()
    page.keyboard.type(_PROMPT)
    for _ in range(12):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.id") == "start":
            page.keyboard.press("Enter")
            break
    page.locator("#queue li, #clips li").nth(before).wait_for()
    page.locator("#clips li").nth(before).wait_for()
    if page.locator("#news").inner_text() == "":
        faults.append("a screen reader hears nothing of a finished clip")


def _use_with_key(browser: Any, server: RunningServer) -> list[str]:
    faults: list[str] = []
    page = _open(browser, server, faults)
    page.get_by_label("Key of this server").fill("sesame")
    page.get_by_role("button", name="Use").click()
    page.get_by_label("What happens in it?").fill(_PROMPT)
    page.get_by_role("button", name="Make clip").click()
    view = page.locator("#clips video").first
    view.wait_for()
    view.scroll_into_view_if_needed()
    page.locator("#clips video[src^=blob]").wait_for()
    _close_pages(browser)
    # The browser itself logs the refusal that makes the page ask for the key.
    return [fault for fault in faults if "401" not in fault]


def _axe(page: Page, look: str, faults: list[str]) -> None:
    for fault in Axe().run(page).response["violations"]:
        if fault["impact"] in ("serious", "critical"):
            faults.append(f"axe, {look}: {fault['id']}: {fault['help']}")


def _shoot(page: Page, folder: Path | None, name: str) -> None:
    if folder is not None:
        folder.mkdir(parents=True, exist_ok=True)
        shot = Image.open(io.BytesIO(page.screenshot(full_page=True)))
        shot.save(folder / f"{name}.webp", quality=70, method=6)


if __name__ == "__main__":
    sys.exit(main())
