"""The page in a real Chromium, over a real node: what an operator does with mouse and fingers."""

from __future__ import annotations

import os
import shutil
import threading
import time
from pathlib import Path

import cv2
import numpy as np
import pytest

pytest.importorskip("rclpy")
pytest.importorskip("starlette")
pytest.importorskip("playwright")

from console_process import Browser, ConsoleProcess
from playwright import sync_api as playwright

CHROMIUM = next(
    filter(None, (shutil.which(n) for n in ("chromium", "chromium-browser", "google-chrome"))), None
)
if CHROMIUM is None:
    pytest.skip("No Chromium: apt-get install chromium", allow_module_level=True)

pytestmark = pytest.mark.timeout(400)
PATIENCE_MS = 60_000
DESKTOP, PHONE = {"width": 1280, "height": 800}, {"width": 390, "height": 844}
HOSTILE = '<img src=x onerror="document.title=1">'


@pytest.fixture(scope="module")
def film(start_node, connect, tools):
    """A camera of two squares at 5 Hz, before a node that follows."""
    from rclpy.qos import qos_profile_sensor_data
    from sensor_msgs.msg import Image

    start_node(search="auto", auto_lost_s=0.3)
    camera = connect().node.create_publisher(Image, "image", qos_profile_sensor_data)
    stop = threading.Event()

    def play():
        while not stop.wait(0.2):
            camera.publish(tools.image(tools.square_frame("red", "green")))

    thread = threading.Thread(target=play, daemon=True)
    thread.start()
    tools.wait_for(camera.get_subscription_count, 100, "the node")
    yield
    stop.set()
    thread.join(5)


@pytest.fixture(scope="module")
def chromium():
    with playwright.sync_playwright() as driver:
        # Root may not use Chromium's sandbox; containers have a small /dev/shm; emulating a GPU
        # takes a processor longer than drawing without one.
        options = ["no-sandbox", "disable-dev-shm-usage", "disable-gpu"]
        options += ["disable-software-rasterizer"]
        browser = driver.chromium.launch(
            executable_path=CHROMIUM, args=[f"--{option}" for option in options]
        )
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def console(film, tmp_path_factory):
    process = ConsoleProcess(tmp_path_factory.mktemp("console"))
    yield process
    process.stop()


@pytest.fixture
def open_page(chromium, console):
    """Open the console in a window of its own; no script of the page may fail."""
    contexts, problems = [], []

    def make(url=None, **settings):
        settings.setdefault("viewport", DESKTOP)
        contexts.append(chromium.new_context(**settings))
        page = contexts[-1].new_page()
        page.set_default_timeout(PATIENCE_MS)
        page.on("pageerror", lambda error: problems.append(str(error)))
        page.goto(url or console.url)
        return page

    yield make
    for context in contexts:
        context.close()
    assert problems == []


def until(page, expression):
    """Wait until an expression of the page is true.

    Playwright's own way evaluates strings in the page, which its security policy forbids.
    """
    deadline = time.monotonic() + PATIENCE_MS / 1000
    while not page.evaluate(expression):
        assert time.monotonic() < deadline, expression
        page.wait_for_timeout(50)


def wait_for_picture(page):
    until(page, "document.querySelector('#link b')")


def place(page, tools, colour):
    """Where a square is on the screen: its corners, a little outside."""
    canvas = page.locator("#picture").bounding_box()
    scale = min(canvas["width"] / 320, canvas["height"] / 240)
    left = canvas["x"] + (canvas["width"] - 320 * scale) / 2
    top = canvas["y"] + (canvas["height"] - 240 * scale) / 2
    x, y = tools.SQUARES_XY[colour]
    side = tools.SQUARE
    return (left + x * scale, top + y * scale), (
        left + (x + side) * scale,
        top + (y + side) * scale,
    )


def drag_box(page, tools, colour):
    start, end = place(page, tools, colour)
    page.mouse.move(*start)
    page.mouse.down()
    page.mouse.move((start[0] + end[0]) / 2, (start[1] + end[1]) / 2, steps=3)
    page.mouse.move(*end, steps=3)
    page.mouse.up()
    page.wait_for_selector("#confirm:visible")


def follow(page, name):
    page.fill("#confirm-name", name)
    page.click("#confirm button.primary")
    page.wait_for_selector("#confirm", state="hidden")
    page.wait_for_selector(".card .badge[data-state=tracking]")


@pytest.fixture
def page(open_page, console):
    browser = Browser(console)
    browser.reset()
    browser.close()
    page = open_page()
    wait_for_picture(page)
    page.wait_for_selector("#targets .empty")
    return page


def screen_colours(page, folder):
    """What is on the screen, as a BGR picture."""
    path = folder / "screen.png"
    page.screenshot(path=path)
    return cv2.imread(str(path))


def test_a_box_drawn_on_the_picture_is_followed(page, tools, tmp_path):
    drag_box(page, tools, "red")
    assert page.locator("#stage.held").count() == 1
    follow(page, "the red one")
    page.wait_for_selector(".plate[data-state=tracking] >> text=the red one")
    assert "the red one" in page.locator(".card .title b").inner_text()
    # Its outline lies around the square on the screen.
    (x1, y1), (x2, _) = place(page, tools, "red")

    def outlined():
        picture = screen_colours(page, tmp_path).astype(int)
        strip = picture[int(y1) - 4 : int(y1) + 5, int(x1) + 8 : int(x2) - 8].reshape(-1, 3)
        return (np.abs(strip - (0x8A, 0xE6, 0x3E)).max(axis=1) < 40).any()

    tools.wait_for(outlined, what="the outline")


def test_names_are_text_and_never_markup(page, tools):
    drag_box(page, tools, "red")
    follow(page, HOSTILE)
    assert page.locator(".card .title b").inner_text() == HOSTILE
    page.click("nav [data-panel=events]")
    page.wait_for_selector("#events .event")
    assert HOSTILE in page.locator("#events .event .name").first.inner_text()
    assert page.title() == "refdet console"
    assert page.locator("img[src=x]").count() == 0


def test_photos_are_dropped_and_marked(page, tools, tmp_path):
    photo = np.full((120, 200, 3), 114, np.uint8)
    photo[40:80, 90:130] = tools.COLOURS_BGR["green"]
    path = tmp_path / "<b>photo.png"
    cv2.imwrite(str(path), photo)
    page.click("#photos")
    page.set_input_files("#photo-files", [path, path])
    until(page, "document.querySelectorAll('#photo-strip button').length === 2")
    for number in range(2):
        page.locator("#photo-strip button").nth(number).click()
        frame = page.locator("#photo-canvas").bounding_box()
        scale = min(frame["width"] / 200, frame["height"] / 120)
        left = frame["x"] + (frame["width"] - 200 * scale) / 2
        top = frame["y"] + (frame["height"] - 120 * scale) / 2
        page.mouse.move(left + 90 * scale, top + 40 * scale)
        page.mouse.down()
        page.mouse.move(left + 110 * scale, top + 60 * scale, steps=2)
        page.mouse.move(left + 130 * scale, top + 80 * scale, steps=2)
        page.mouse.up()
    page.fill("#photo-name", "green")
    page.click("#photo-set")
    page.wait_for_selector("#photo-dialog", state="hidden")
    page.wait_for_selector(".card .badge[data-state=tracking]")
    assert page.locator(".card .thumbs img").count() == 2


def test_a_file_that_is_no_picture_is_named_in_the_dialog(page, tmp_path):
    path = tmp_path / "<i>notes.txt"
    path.write_text("no picture")
    page.click("#photos")
    page.set_input_files("#photo-files", path)
    page.wait_for_selector("#photo-problem >> text=<i>notes.txt")
    assert page.locator("#photo-problem i").count() == 0
    page.click("#photo-cancel")


def test_views_are_added_cleared_and_brought_back(page, tools):
    drag_box(page, tools, "red")
    follow(page, "car")
    drag_box(page, tools, "red")
    page.select_option("#confirm-what", "add:car")
    page.click("#confirm button.primary")
    until(page, "document.querySelectorAll('.card .thumbs img').length === 2")
    page.click("#clear")
    page.wait_for_selector("#targets .empty")
    page.click("#undo")
    until(page, "document.querySelectorAll('.card .thumbs img').length === 2")


def test_the_held_frame_stands_still_while_it_is_zoomed(page, tools, tmp_path):
    page.click("#hold")
    page.wait_for_selector("#stage.held")
    (x1, y1), (x2, y2) = place(page, tools, "red")
    page.mouse.move((x1 + x2) / 2, (y1 + y2) / 2)
    page.mouse.wheel(0, -700)

    def beside():
        """Blue, green and red of what was the ground beside the square."""
        picture = screen_colours(page, tmp_path)
        return picture[int((y1 + y2) / 2), int(x1 - (x2 - x1) * 0.3)].astype(int)

    # Zoomed around its middle, the square fills it.
    tools.wait_for(lambda: np.abs(beside() - (0, 0, 255)).max() < 60, what="the zoom")
    page.keyboard.press("Escape")
    page.wait_for_selector("#stage:not(.held)")
    page.click("#fit")


def test_a_connection_that_breaks_comes_back_by_itself(open_page, film, start_console):
    console = start_console()
    page = open_page(console.url)
    wait_for_picture(page)
    console.stop()
    page.wait_for_selector("#lost:visible")
    start_console("--port", str(console.port))
    page.wait_for_selector("#lost", state="hidden")
    wait_for_picture(page)


def test_two_browsers_see_each_others_targets(page, open_page, tools):
    other = open_page(viewport=PHONE, has_touch=True, is_mobile=True)
    wait_for_picture(other)
    drag_box(page, tools, "red")
    follow(page, "shared")
    other.wait_for_selector(".card .badge[data-state=tracking]")
    assert other.locator(".card .title b").inner_text() == "shared"


def test_a_finger_draws_a_box_and_two_fingers_zoom(open_page, page, tools):
    phone = open_page(viewport=PHONE, has_touch=True, is_mobile=True)
    wait_for_picture(phone)
    start, end = place(phone, tools, "green")
    touch = phone.context.new_cdp_session(phone)

    def send(kind, *points):
        touch.send(
            "Input.dispatchTouchEvent",
            {"type": kind, "touchPoints": [{"x": x, "y": y, "id": n} for n, (x, y) in points]},
        )

    # Two fingers: a zoom, no box.
    middle = ((start[0] + end[0]) / 2, (start[1] + end[1]) / 2)
    send("touchStart", (0, (middle[0] - 20, middle[1])))
    send("touchStart", (0, (middle[0] - 20, middle[1])), (1, (middle[0] + 20, middle[1])))
    for by in (30, 40, 60):
        send("touchMove", (0, (middle[0] - by, middle[1])), (1, (middle[0] + by, middle[1])))
    send("touchEnd")
    assert phone.locator("#confirm").is_hidden()
    phone.wait_for_selector("#stage:not(.held)")
    # One finger, after fitting the picture again.
    phone.click("#fit")
    send("touchStart", (0, start))
    send("touchMove", (0, middle))
    send("touchMove", (0, end))
    send("touchEnd")
    phone.wait_for_selector("#confirm:visible")
    follow(phone, "by thumb")
    # Nothing sticks out to the side.
    assert phone.evaluate("document.documentElement.scrollWidth") <= PHONE["width"]


def test_a_wrong_token_does_not_get_in(open_page, film, start_console):
    console = start_console("--address", "0.0.0.0", "--token", "right-token-1")
    base = f"http://127.0.0.1:{console.port}/"
    page = open_page(base + "?token=wrong")
    assert "token" in page.locator("body").inner_text()
    assert page.locator("#picture").count() == 0
    page.goto(base + "?token=right-token-1")
    wait_for_picture(page)
    assert page.url == base  # not in the address bar, nor in the history
    assert page.evaluate("document.cookie") == ""


def test_settings_are_changed_from_the_page(page):
    page.click("nav [data-panel=settings]")
    page.wait_for_selector("#setting-search")
    page.fill("#setting-score_threshold", "0.4")
    page.keyboard.press("Tab")
    page.wait_for_selector(".toast >> text=score_threshold is now 0.4")
    page.fill("#setting-score_threshold", "5")
    page.keyboard.press("Tab")
    page.wait_for_selector(".toast.bad")


def test_a_recording_is_made_and_looked_at_again(page, tools):
    drag_box(page, tools, "red")
    follow(page, "filmed")
    page.click("#record")
    page.wait_for_selector("#record[aria-pressed=true]")
    # The title counts the frames, which come at 5 Hz.
    until(page, "parseInt(document.querySelector('#record').title) > 12")
    page.click("#record")
    page.wait_for_selector("#record[aria-pressed=false]")
    page.click("nav [data-panel=recordings]")
    page.locator("#recordings .card button >> text=Play").first.click()  # the newest
    page.wait_for_selector("#player:visible")
    page.wait_for_selector("#player-pause[aria-label=Play]")  # the end
    until(page, "Number(document.querySelector('#player-seek').max) > 1")
    page.locator("#player-seek").fill("0.5")
    page.wait_for_selector(".plate >> text=filmed")
    page.click("#player-close")
    page.wait_for_selector("#player", state="hidden")
    wait_for_picture(page)


@pytest.mark.parametrize("size", [DESKTOP, PHONE, {"width": 844, "height": 390}])
def test_everything_fits_on_the_screen(open_page, size):
    page = open_page(viewport=size)
    wait_for_picture(page)
    for button in page.locator("button:visible").all():
        box = button.bounding_box()
        assert box["x"] >= 0 and box["x"] + box["width"] <= size["width"] + 0.5
        assert box["y"] + box["height"] <= size["height"] + 0.5
    assert page.locator("#picture").bounding_box()["height"] > 180
    if folder := os.environ.get("REFDET_SCREENSHOTS"):
        page.screenshot(path=Path(folder) / f"{size['width']}.png")


def test_the_delay_shown_is_that_of_the_last_seconds(page):
    shown = page.evaluate(
        """async () => {
            const { System } = await import("./system.js");
            const now = performance.now;
            try {
                let time = 1e6;
                performance.now = () => time;
                const system = new System();
                const draw = (latency) => { time += 100; system.drawn({ header: null, latency }); };
                for (let number = 0; number < 100; number += 1) draw(20);
                const fast = system.summary();
                time += 60000;
                const old = system.summary();
                for (let number = 0; number < 3; number += 1) draw(500);
                return [fast, old, system.summary()];
            } finally {
                performance.now = now;
            }
        }"""
    )
    assert [round(item["median"]) for item in shown] == [20, 20, 500]
    assert [round(item["rate"], 1) for item in shown] == [10.2, 0, 0.6]
