"""Live figures in headless Chromium, on a page of their own opened from file://."""

import json
import os
import re
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from playwright.sync_api import sync_playwright
from sample_figures import halves, lines, plane

from pagewidget import write_page

ROOT = Path(__file__).parents[3]
sys.path.insert(0, str(ROOT / "book" / "tools"))
from chromium import find  # noqa: E402

# What the book's set-up installs.
PLOTLY = ROOT / "node_modules/plotly.js-cartesian-dist-min/plotly-cartesian.min.js"
FLAGS = ["--no-sandbox", "--disable-gpu", "--no-first-run", "--host-resolver-rules=MAP * ~NOTFOUND"]
# Under load Chromium now and then stops drawing one tab for good. Whoever waits for a frame of it
# waits forever, so our scripts wait with a limit, and a test that says this has another try.
STOPPED = "Chromium stopped drawing this tab"
pytestmark = pytest.mark.flaky(reruns=2, only_rerun=[STOPPED])
WITHIN = f"""
  window.within = (promise) => Promise.race([promise, new Promise((_, failed) =>
    setTimeout(() => failed(new Error("{STOPPED}")), 20_000))]);
"""
READY = """
() => within((async () => {
  await pagewidget.mountAll();
  const figures = [...document.querySelectorAll(".livejax")];
  await Promise.all(figures.map((figure) => figure.livejax.ready));
})())
"""


@pytest.fixture(scope="module")
def figures():
    return {"fig-lines": lines(), "fig-plane": plane(), "fig-halves": halves()}


@pytest.fixture(scope="module")
def address(figures, tmp_path_factory):
    folder = tmp_path_factory.mktemp("page")
    files = {PLOTLY.name: PLOTLY.read_text(encoding="utf-8")}
    return write_page(folder, list(figures.values()), "Samples", files).as_uri()


@pytest.fixture(scope="module")
def browser():
    path = os.environ.get("CHROMIUM") or find()
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=FLAGS)
        yield browser
        browser.close()


@pytest.fixture
def open_page(browser, address):
    """open_page(fragment) -> a page with its figures drawn; a console error fails the test."""
    contexts, problems = [], []

    def open_page(fragment="", **settings):
        settings.setdefault("viewport", {"width": 900, "height": 800})
        context = browser.new_context(**settings)
        contexts.append(context)
        context.add_init_script(WITHIN)
        page = context.new_page()
        page.on("pageerror", lambda error: problems.append(str(error)))
        page.on("console", lambda m: problems.append(m.text) if m.type == "error" else None)
        page.goto(address + fragment)
        page.evaluate(READY)
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert problems == []


def until(page, check, limit=15):
    """Run `check` until it passes: what follows a move comes with a later frame or timer."""
    end = time.monotonic() + limit
    while True:
        try:
            return check()
        except AssertionError:
            if time.monotonic() > end:
                raise
        page.wait_for_timeout(50)


def move(page, name, control, value):
    """Set a control from a script, and wait for the draw."""
    page.evaluate(
        "([id, control, value]) => within(document.getElementById(id).livejax.set(control, value))",
        [name, control, value],
    )


def darken(page):
    """Turn the page dark, which redraws each figure as a whole, and wait for the last of them."""
    inks = """() => [...document.querySelectorAll(".livejax-plot .xtick text")]
        .map((tick) => getComputedStyle(tick).fill)"""
    light = page.evaluate(inks)
    assert light != []
    page.evaluate("() => { document.documentElement.dataset.theme = 'dark'; }")

    def dark():
        assert not set(light) & set(page.evaluate(inks))

    until(page, dark)


def state(page, name):
    return page.evaluate("(id) => document.getElementById(id).livejax.state", name)


def outputs(page, name):
    texts = page.evaluate(
        "(id) => Object.entries(document.getElementById(id).livejax.outputs)"
        ".map(([key, values]) => [key, Array.from(values, String)])",
        name,
    )
    return {key: np.array([float(text) for text in values]) for key, values in texts}


def python_state(page, name):
    return {k: tuple(v) if isinstance(v, list) else v for k, v in state(page, name).items()}


def agree(page, figure):
    now = python_state(page, figure.id)
    found = outputs(page, figure.id)
    for key, expected in figure.evaluate(**now).items():
        expected = np.ravel(expected).astype(float)
        scale = np.max(np.abs(expected[np.isfinite(expected)]), initial=1e-300)
        np.testing.assert_allclose(found[key], expected, rtol=1e-9, atol=1e-12 * scale, err_msg=key)


@pytest.mark.parametrize("name", ["fig-lines", "fig-plane"])
def test_every_slider_reaches_its_ends_and_agrees_with_jax(open_page, figures, name):
    page, figure = open_page(), figures[name]
    root = page.locator(f"#{name}")
    for control in root.locator("[data-control]").all():
        for slider in control.locator("input[type=range]").all():
            for key in ("Home", "End"):
                slider.press(key)
                assert slider.evaluate("(e) => e.value === e.min") == (key == "Home")

                def follows():
                    agree(page, figure)
                    expected = figure.summary_text(**python_state(page, name))
                    assert root.locator(".livejax-summary").inner_text() == expected

                until(page, follows)
                label = root.locator(".livejax-plot").get_attribute("aria-label")
                shown = root.inner_text() + label
                assert not re.search(r"\bNaN\b|Infinity|\bnan\b", shown)
    ends = figure.controls
    final = state(page, name)
    for key, control in ends.items():
        if hasattr(control, "max"):
            assert final[key] == control.max


def test_choices_switches_and_arrow_keys_move_the_state(open_page):
    page = open_page()
    root = page.locator("#fig-lines")
    root.get_by_role("radio", name="long bowl").check()
    root.get_by_role("switch").press("Space")
    slider = root.get_by_label("momentum μ")
    slider.press("ArrowRight")
    one = state(page, "fig-lines")["momentum"]
    slider.press("PageUp")
    assert state(page, "fig-lines")["momentum"] > one + 0.05
    now = state(page, "fig-lines")
    assert (now["method"], now["noisy"]) == ("long", True)
    assert one == pytest.approx(0.51)
    assert slider.get_attribute("aria-valuetext") == f"{now['momentum']:.2f}"
    root.get_by_role("button", name="Reset").click()
    assert state(page, "fig-lines")["method"] == "round"
    assert root.get_by_role("radio", name="round bowl").is_checked()


def test_a_drop_down_list_redraws_the_map(open_page, figures):
    page = open_page()
    image = page.locator("#fig-plane .heatmaplayer image")
    before = image.get_attribute("href")
    page.locator("#fig-plane").get_by_label("power").select_option("2 to the 3")

    def redrawn():
        assert state(page, "fig-plane")["power"] == "p3"
        assert image.get_attribute("href") != before
        agree(page, figures["fig-plane"])

    until(page, redrawn)


def test_a_switch_shows_and_hides_a_curve(open_page):
    page = open_page()
    shown = """() => [...document.querySelectorAll("#fig-halves .trace path.js-line")]
        .map((line) => line.getBoundingClientRect().width > 20 && line.getAttribute("d"))
        .filter(Boolean)"""
    switch = page.locator("#fig-halves").get_by_role("switch")
    rising = page.evaluate(shown)
    assert len(rising) == 1

    def falls():
        assert len(page.evaluate(shown)) == 1
        assert page.evaluate(shown) != rising

    def rises():
        assert page.evaluate(shown) == rising

    switch.press("Space")
    until(page, falls)
    switch.press("Space")
    until(page, rises)


def test_a_direct_move_draws_what_plotly_would(open_page):
    """Lines and markers whose SVG was written by hand lie where a full redraw puts them."""
    page = open_page()
    geometry = """
    () => [...document.querySelectorAll(".scatterlayer .trace")].map((trace) => {
      const line = trace.querySelector("path.js-line");
      const { x, y, width, height } = line.getBBox();
      const markers = [...trace.querySelectorAll("path.point")];
      const points = markers.map((marker) => marker.getAttribute("transform"));
      return { box: [x, y, width, height], length: line.getTotalLength(), points };
    })
    """
    before = page.evaluate(geometry)
    move(page, "fig-lines", "momentum", 0.83)
    move(page, "fig-plane", "start", [-0.9, 0.3])
    moved = page.evaluate(geometry)
    darken(page)
    redrawn = page.evaluate(geometry)
    assert moved[1] != before[1] and moved[2] != before[2]
    for one, other in zip(moved, redrawn, strict=True):
        np.testing.assert_allclose(one["box"], other["box"], atol=0.5)
        assert one["length"] == pytest.approx(other["length"], abs=2)
        numbers = [[float(x) for x in re.findall(r"-?[\d.]+", p)] for p in one["points"]]
        others = [[float(x) for x in re.findall(r"-?[\d.]+", p)] for p in other["points"]]
        assert len(numbers) == len(others)
        if numbers:
            np.testing.assert_allclose(numbers, others, atol=0.02)


def test_a_directly_painted_map_is_plotlys_picture(open_page):
    page = open_page()
    pixels = """
    async () => {
      const image = document.querySelector("#fig-plane .heatmaplayer image");
      const picture = new Image();
      picture.src = image.getAttribute("href");
      await picture.decode();
      const canvas = document.createElement("canvas");
      [canvas.width, canvas.height] = [picture.width, picture.height];
      const context = canvas.getContext("2d");
      context.drawImage(picture, 0, 0);
      return [...context.getImageData(0, 0, canvas.width, canvas.height).data];
    }
    """
    before = np.array(page.evaluate(pixels))
    move(page, "fig-plane", "sharpness", 2.5)
    painted = np.array(page.evaluate(pixels))
    darken(page)
    redrawn = np.array(page.evaluate(pixels))
    assert painted.shape == redrawn.shape == before.shape
    assert np.abs(painted - before).max() > 20
    assert np.abs(painted - redrawn).max() <= 3  # of 255; the scale is read at 256 places


def test_divergence_is_marked_at_the_edge(open_page, figures):
    page = open_page()
    move(page, "fig-lines", "step_size", 10)

    def marked():
        labels = page.locator("#fig-lines .livejax-exit").all_inner_texts()
        summary = page.locator("#fig-lines .livejax-summary").inner_text()
        steps = re.findall(r"leaves the plot at (step \d+)", summary)
        assert len(labels) == len(steps) == 2
        for label, step in zip(labels, steps, strict=True):
            assert label.startswith("↑") and label.endswith(step)

    until(page, marked)
    path = page.locator("#fig-lines path.js-line").first.get_attribute("d")
    assert len(re.findall("[ML]", path)) >= 2  # the curve is drawn up to the edge


def test_many_moves_in_one_frame_make_one_draw(open_page):
    page = open_page()
    same = page.evaluate(
        "() => { const f = document.getElementById('fig-lines').livejax;"
        " const draws = [0.1, 0.2, 0.3].map((v) => f.set('momentum', v));"
        " return within(draws[0]).then(() => draws.every((draw) => draw === draws[0])); }"
    )
    assert same and state(page, "fig-lines")["momentum"] == 0.3


def test_the_address_follows_and_the_default_leaves_it_clean(open_page, address):
    page = open_page()
    slider = page.locator("#fig-lines").get_by_label("momentum μ")
    slider.press("End")
    page.wait_for_url(address + "#fig-lines?momentum=1")
    page.locator("#fig-lines .livejax-reset").click()
    page.wait_for_url(address)
    assert page.evaluate("history.length") <= 2  # the back button leaves the page


def test_a_link_restores_the_state_and_scrolls_to_the_figure(open_page):
    page = open_page("#fig-plane?start=-0.5,0.25&sharpness=99&junk=1")
    assert state(page, "fig-plane") == {
        "start": [-0.5, 0.25],
        "sharpness": 6,
        "power": "p0",
    }
    top = page.locator("#fig-plane").bounding_box()["y"]
    assert -5 < top < 400
    page.evaluate("() => { location.hash = '#fig-plane?sharpness=2'; }")

    def restored():
        assert state(page, "fig-plane") == {"start": [0.5, 0.5], "sharpness": 2, "power": "p0"}

    until(page, restored)


def test_copy_link_puts_the_setting_on_the_clipboard(open_page, address):
    page = open_page(permissions=["clipboard-read", "clipboard-write"])
    move(page, "fig-lines", "method", "long")
    page.locator("#fig-lines .livejax-copy").click()
    page.locator("#fig-lines .livejax-status", has_text="Link copied").wait_for()
    assert page.evaluate("navigator.clipboard.readText()") == address + "#fig-lines?method=long"


def test_the_handle_can_be_dragged(open_page, figures):
    page = open_page()
    handle = page.locator("#fig-plane .livejax-handle")
    handle.scroll_into_view_if_needed()
    box = handle.bounding_box()
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    page.mouse.move(x, y)
    page.mouse.down()
    page.mouse.move(x - 60, y + 40, steps=4)
    page.mouse.up()

    def follows():
        point = state(page, "fig-plane")["start"]
        assert point[0] < 0.4 and point[1] < 0.4
        after = handle.bounding_box()
        assert abs(after["x"] - box["x"] + 60) < 2 and abs(after["y"] - box["y"] - 40) < 2
        agree(page, figures["fig-plane"])

    until(page, follows)


def swipe(page, x, y, dy):
    session = page.context.new_cdp_session(page)
    points = [{"x": x, "y": y + dy * k / 8} for k in range(9)]
    session.send("Input.dispatchTouchEvent", {"type": "touchStart", "touchPoints": points[:1]})
    for point in points[1:]:
        session.send("Input.dispatchTouchEvent", {"type": "touchMove", "touchPoints": [point]})
    session.send("Input.dispatchTouchEvent", {"type": "touchEnd", "touchPoints": []})


def test_a_swipe_on_the_chart_scrolls_and_one_on_the_handle_drags(open_page):
    page = open_page(viewport={"width": 360, "height": 700}, has_touch=True, is_mobile=True)
    assert page.evaluate("document.documentElement.scrollWidth") == 360
    page.locator("#fig-plane .livejax-plot").evaluate(
        "(e) => e.scrollIntoView({ block: 'center' })"
    )
    handle = page.locator("#fig-plane .livejax-handle").bounding_box()
    plot = page.locator("#fig-plane .livejax-plot").bounding_box()
    start, before = page.evaluate("scrollY"), state(page, "fig-plane")
    swipe(page, handle["x"] + 22, handle["y"] + 22, 60)

    def dragged():
        assert state(page, "fig-plane")["start"][1] < before["start"][1]

    until(page, dragged)
    assert page.evaluate("scrollY") == start
    swipe(page, plot["x"] + 80, plot["y"] + plot["height"] - 80, -120)

    def scrolled():
        assert page.evaluate("scrollY") > start + 50

    until(page, scrolled)


def test_nothing_jumps_when_the_scripts_start(open_page, browser, address):
    heights = "() => [...document.querySelectorAll('.livejax')].map((f) => f.offsetHeight)"
    for width in (360, 900):
        size = {"width": width, "height": 800}
        context = browser.new_context(viewport=size)
        still = context.new_page()
        still.route("**/pagewidget.js", lambda route: route.abort())
        still.goto(address)
        before = still.evaluate(heights)
        context.close()
        assert open_page(viewport=size).evaluate(heights) == before


def test_the_colors_follow_the_theme(open_page):
    page = open_page()
    stroke = "() => getComputedStyle(document.querySelector('#fig-lines path.js-line')).stroke"
    light = page.evaluate(stroke)
    darken(page)
    assert light == "rgb(22, 89, 215)" and page.evaluate(stroke) == "rgb(91, 155, 255)"


def test_the_table_shows_the_state(open_page, figures):
    page = open_page()
    move(page, "fig-lines", "steps_shown", 3)
    page.locator("#fig-lines .livejax-data summary").click()

    def shown():
        rows = page.locator("#fig-lines .livejax-data tbody tr")
        assert rows.count() == 3
        assert "(3 of 3 rows)" in page.locator("#fig-lines .livejax-data caption").inner_text()

    until(page, shown)


def test_the_page_makes_no_other_request(browser, address):
    context = browser.new_context()
    context.add_init_script(WITHIN)
    page = context.new_page()
    asked = []
    page.on("request", lambda request: asked.append(request.url))
    page.goto(address)
    page.evaluate(READY)
    context.close()
    folder = address.rsplit("/", 1)[0]
    assert all(url.startswith(folder) for url in asked), json.dumps(asked)
    assert sum(url.endswith("plotly-cartesian.min.js") for url in asked) == 1
