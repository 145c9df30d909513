"""Every control of every live figure, moved by keyboard, mouse and finger, against JAX."""

import itertools
import re

import numpy as np
import pytest
from browser import PHONE, Tab
from collect import collect, page_names
from compare import compare_figure
from figures import check_outputs, check_summary, locate, moves, read
from noderun import Node

PAGES = page_names()
SETTINGS = 200
CLEAN = "() => !location.hash.includes('?')"  # what the default state leaves of an address
COLORS = """(marks) => marks.map((mark) => {
  const style = getComputedStyle(mark);
  return style.fill + style.stroke;
}).join()"""


@pytest.fixture(params=PAGES, scope="module")
def name(request):
    return request.param


def test_every_control_redraws_and_agrees_with_jax(tabs, name):
    tab = tabs(name)
    for figure in collect(name).figures.values():
        root = locate(tab.page, figure)
        root.scroll_into_view_if_needed()
        root.locator("details.livejax-data").evaluate("(fold) => { fold.open = true; }")
        for control in figure.controls:
            seen = {}
            for position, move in moves(tab.page, figure, control):
                move()
                where = f"{name}, {figure.id}, control {control}, {position}"
                shown = read(tab.page, figure)
                check_shown(tab.page, figure, shown, where)
                check_position(figure, control, position, shown, where)
                axis = position.split()[0] if " " in position else ""
                for other, drawing in seen.items():
                    if not axis or other.startswith(axis):
                        assert drawing != shown.drawing, f"{where}: drawn as in {other}"
                seen[position] = shown.drawing
            root.locator(".livejax-reset").click()
        check_corners(tab.page, figure, name)
        state = read(tab.page, figure).state
        assert tidy(state) == tidy(figure.default_state()), f"{name}, {figure.id}: Reset"
        root.locator("details.livejax-data").evaluate("(fold) => { fold.open = false; }")
    assert tab.problems == [], name


def check_corners(page, figure, name):
    """All controls at their first ends together, and at their last."""
    root = locate(page, figure)
    for end in (0, -1):
        for control in figure.controls:
            positions = list(moves(page, figure, control))
            axes = {position.split()[0] if " " in position else "": [] for position, _ in positions}
            for position, move in positions:
                axes[position.split()[0] if " " in position else ""].append(move)
            for sequence in axes.values():
                sequence[end]()
        ends = "last" if end else "first"
        where = f"{name}, {figure.id}, all controls at their {ends} ends"
        check_shown(page, figure, read(page, figure), where)
    root.locator(".livejax-reset").click()


def check_shown(page, figure, shown, where):
    """What must hold at any setting."""
    try:
        check_outputs(figure, shown)
        check_summary(page, figure, shown)
    except AssertionError as error:
        raise AssertionError(f"{where}: {error}") from None
    assert shown.marks > 0, f"{where}: nothing of the moving traces lies in the plot"
    words = ["NaN", "Infinity", "null"]
    if not any(np.isnan(values).any() for values in shown.outputs.values()):
        words.append("undefined")  # which is how a figure prints a number that is none
    found = re.findall(rf".*\b(?:{'|'.join(words)})\b.*", shown.text)
    assert not found, f"{where}: shows {found}"


def check_position(figure, control, position, shown, where):
    """Whether the input really went where it was moved, and nothing else moved."""
    spec, value = figure.controls[control].spec(), shown.state[control]
    default = figure.default_state()
    others = {key: v for key, v in shown.state.items() if key != control}
    assert tidy(others) == tidy({key: default[key] for key in others}), f"{where}: others moved"
    if spec["kind"] == "choice":
        assert value == position.removeprefix("option "), where
    elif spec["kind"] == "switch":
        assert value is (position == "on"), where
    else:
        if spec["kind"] == "point":
            axis = int(position.startswith("vertical"))
            value, (low, high) = value[axis], spec["bounds"][axis]
        else:
            low, high = spec["min"], spec["max"]
        expected = {"Home": value == low, "End": value == high, "middle": low < value < high}
        assert expected[position.split()[-1]], f"{where}: {value} between {low} and {high}"


def tidy(state):
    """A state in a form that can be compared: points are lists or tuples."""
    return {key: list(v) if isinstance(v, list | tuple) else v for key, v in state.items()}


def test_a_handle_follows_the_mouse(tabs, name):
    page = tabs(name).page
    for figure in collect(name).figures.values():
        for control in points_of(figure):
            root = locate(page, figure)
            handle = root.locator(f".livejax-handle[data-handle='{control}']")
            handle.scroll_into_view_if_needed()
            before = read(page, figure)
            box = handle.bounding_box()
            x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
            page.mouse.move(x, y)
            page.mouse.down()
            page.mouse.move(x + 30, y - 20, steps=4)
            page.mouse.up()
            after = read(page, figure)
            where = f"{name}, {figure.id}, handle {control} dragged"
            assert after.state[control] != before.state[control], where
            assert after.drawing != before.drawing, where
            check_shown(page, figure, after, where)
            moved = handle.bounding_box()
            assert abs(moved["x"] - box["x"] - 30) < 4, f"{where}: the handle is elsewhere"
            assert abs(moved["y"] - box["y"] + 20) < 4, f"{where}: the handle is elsewhere"
            root.locator(".livejax-reset").click()


def points_of(figure):
    """The names of the controls that are dragged on the plot."""
    return [key for key, control in figure.controls.items() if control.spec()["kind"] == "point"]


def test_functions_agree_with_jax_at_many_settings(name):
    with Node() as node:
        for figure in collect(name).figures.values():
            try:
                report = compare_figure(figure, node=node, count=SETTINGS)
            except AssertionError as error:
                raise AssertionError(f"{name}, {figure.id}: {error}") from None
            assert report.samples >= SETTINGS, figure.id
            # A single number can be a rounding error and say so; a run has a step to name.
            short = [key for key, rows in report.covered.items() if 1 < report.length[key] > rows]
            assert not short or "reproducible" in figure._html, (
                f"{name}, {figure.id}: {short} cannot be reproduced to the last step; the caption "
                f"or the note must say from which step on: {report.covered}"
            )


def test_without_scripts_each_figure_can_be_read(browser, site, name):
    tab = Tab(browser, scripts=False)
    page = tab.open(f"{site}{name}.html")
    for figure in collect(name).figures.values():
        root, where = locate(page, figure), f"{name}, {figure.id} without scripts"
        assert root.locator(".livejax-takeaway").inner_text().strip(), where
        assert root.locator(".livejax-caption").inner_text().strip(), where
        assert root.locator(".livejax-summary").inner_text() == figure.summary_text(), where
        root.locator("details.livejax-data > summary").click()
        cells = root.locator("details.livejax-data td:visible").all_inner_texts()
        assert len(cells) > 1 and all(cells), f"{where}: no table"
        assert not {"NaN", "undefined", "null"} & set(cells), where
    assert tab.problems == [], name
    tab.close()


def test_the_address_carries_the_state(browser, site, tabs, name):
    page = tabs(name).page
    opened = set()  # the kinds of controls whose address was followed
    for figure in collect(name).figures.values():
        where = f"{name}, {figure.id}"
        root = locate(page, figure)
        root.scroll_into_view_if_needed()
        root.locator(".livejax-reset").click()
        page.wait_for_function(CLEAN)
        for control in figure.controls:
            *_, (_, move) = itertools.islice(moves(page, figure, control), 3)
            move()
        moved = read(page, figure)
        check_summary(page, figure, moved)  # it is written together with the address
        address = page.evaluate("location.href")
        assert f"#{figure.id}?" in address, where
        root.locator(".livejax-copy").click()
        page.wait_for_function(
            "(id) => document.querySelector(`#${id} .livejax-status`).textContent", arg=figure.id
        )
        assert page.evaluate("navigator.clipboard.readText()") == address, where
        kinds = {control.spec()["kind"] for control in figure.controls.values()}
        if not kinds <= opened:  # to load the page takes seconds: once for each kind is enough
            opened |= kinds
            check_address(browser, figure, address, moved.state, where)
        root.locator(".livejax-reset").click()
        page.wait_for_function(CLEAN)


def check_address(browser, figure, address, state, where):
    """Whoever follows the address finds the figure in view and in its state."""
    other = Tab(browser)
    other.open(address)
    top = other.page.locator(f"#{figure.id}").bounding_box()["y"]
    assert 0 <= top < 400, f"{where}: {address} does not show the figure, but {top} px off"
    # In view it mounts by itself; the page's other figures need not.
    other.page.wait_for_function(
        "(id) => Boolean(document.getElementById(id).livejax)", arg=figure.id
    )
    assert read(other.page, figure).state == state, f"{where}: {address}"
    assert other.problems == [], where
    other.close()


def test_the_theme_changes_the_figures_colors(tabs, name):
    page = tabs(name).page
    for figure in collect(name).figures.values():
        drawn = {}
        for theme in ("light", "dark", "light"):
            if page.locator("html").get_attribute("data-theme") != theme:
                page.locator(".theme-button").click()
            read(page, figure)
            colors = locate(page, figure).locator(".livejax-plot :is(text, .trace path)")
            drawn.setdefault(theme, []).append(colors.evaluate_all(COLORS))
        where = f"{name}, {figure.id}"
        assert drawn["light"][0] != drawn["dark"][0], f"{where}: the same colors in the dark"
        assert drawn["light"][0] == drawn["light"][1], f"{where}: the light colors do not return"


def test_a_finger_scrolls_on_the_chart_and_drags_the_handle(browser, site, name):
    figures = collect(name).figures.values()
    if not figures:
        return
    tab = Tab(browser, size=PHONE)
    tab.open(f"{site}{name}.html")
    page = tab.mount()
    touch = page.context.new_cdp_session(page)
    for figure in figures:
        where = f"{name}, {figure.id} on a phone"
        plot = locate(page, figure).locator(".livejax-plot")
        plot.evaluate("(plot) => plot.scrollIntoView({ block: 'center', behavior: 'instant' })")
        read(page, figure)
        stand_still(page)  # the swipe before may still be gliding
        box = plot.bounding_box()
        before = read(page, figure), page.evaluate("scrollY")
        swipe(touch, box["x"] + 40, box["y"] + box["height"] - 60, 0, -120)
        for _ in range(100):  # a busy machine scrolls late
            if page.evaluate("scrollY") - before[1] > 60:
                break
            page.wait_for_timeout(50)
        after = read(page, figure), page.evaluate("scrollY")
        assert after[1] - before[1] > 60, f"{where}: a swipe on the chart does not scroll the page"
        assert after[0].state == before[0].state, f"{where}: a swipe moves a control"
        for control in points_of(figure):
            handle = plot.locator("xpath=..").locator(f".livejax-handle[data-handle='{control}']")
            handle.evaluate("(one) => one.scrollIntoView({ block: 'center', behavior: 'instant' })")
            read(page, figure)
            stand_still(page)
            box = handle.bounding_box()
            assert min(box["width"], box["height"]) >= 24, f"{where}: the handle is small: {box}"
            before = read(page, figure), page.evaluate("scrollY")
            swipe(touch, box["x"] + box["width"] / 2, box["y"] + box["height"] / 2, 25, -35)
            after = read(page, figure), page.evaluate("scrollY")
            assert after[0].state[control] != before[0].state[control], f"{where}: handle stuck"
            assert after[1] == before[1], f"{where}: dragging the handle scrolls the page"
            check_shown(page, figure, after[0], f"{where}, handle {control} dragged")
    assert tab.problems == [], name
    tab.close()


def stand_still(page):
    """Wait until the page has kept its place for a quarter of a second."""
    page.evaluate(
        """async () => {
          let place = scrollY, since = performance.now(), now = since;
          while (now - since <= 250) {
            now = await nextFrame();
            if (scrollY !== place) [place, since] = [scrollY, now];
          }
        }"""
    )


def swipe(touch, x, y, dx, dy, steps=8):
    """Put a finger down, move it and lift it."""
    touch.send(
        "Input.dispatchTouchEvent", {"type": "touchStart", "touchPoints": [{"x": x, "y": y}]}
    )
    for k in range(1, steps + 1):
        point = {"x": x + dx * k / steps, "y": y + dy * k / steps}
        touch.send("Input.dispatchTouchEvent", {"type": "touchMove", "touchPoints": [point]})
    touch.send("Input.dispatchTouchEvent", {"type": "touchEnd", "touchPoints": []})
