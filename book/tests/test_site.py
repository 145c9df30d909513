"""Every page of the built site, read in a browser that can reach nothing but this machine."""

import time

import pytest
from axe import violations
from browser import DESKTOP, HTML, PHONE, SCHEMES, Tab, gzipped_size
from collect import page_names

PAGES = page_names()
BEFORE_SCROLL, AFTER_SCROLL = 500_000, 1_500_000  # bytes, compressed
SIZES = {"desktop": DESKTOP, "phone": PHONE}


def all_pages():
    """Every HTML file of the site, those outside the table of contents included."""
    return sorted(
        path.relative_to(HTML).as_posix()
        for path in HTML.rglob("*.html")
        if not path.relative_to(HTML).parts[0].startswith("_")
    )


def test_every_page_of_the_contents_is_built(site):
    assert {f"{name}.html" for name in PAGES} <= set(all_pages())


# Both ways and both schemes; that a page loads in one of each does not depend on the pairing.
@pytest.mark.parametrize(("way", "scheme"), [("http", "light"), ("file", "dark")])
def test_pages_load_without_errors_or_foreign_requests(browser, site, way, scheme):
    base = site if way == "http" else HTML.as_uri() + "/"
    tab = Tab(browser, scheme=scheme)
    for path in all_pages():
        tab.open(base + path)
        tab.mount()
        assert tab.problems == [], f"{path} over {way}, {scheme}"
        assert tab.page.locator("html").get_attribute("data-theme") == scheme, path
        failed = tab.page.locator("[data-page-widget]:not([data-mounted=true])")
        assert failed.count() == 0, f"{path} over {way}: a widget did not start"
    tab.close()


# Colors depend on the scheme and the layout on the size, neither on the other one.
@pytest.mark.parametrize(("scheme", "size"), [("light", "desktop"), ("dark", "phone")])
@pytest.mark.parametrize("name", PAGES)
def test_axe_finds_nothing(browser, site, name, scheme, size):
    tab = Tab(browser, scheme=scheme, size=SIZES[size])
    tab.open(f"{site}{name}.html")
    page = tab.mount()
    if size == "phone":
        # innerWidth would not do: a page that is too wide widens it.
        wide = page.evaluate("document.documentElement.scrollWidth") - PHONE["width"]
        assert wide <= 0, f"{name} is {wide} px wider than a phone"
    found = violations(page)
    assert found == [], f"{name}, {scheme}, {size}: {len(found)}\n" + "\n".join(found)
    assert tab.problems == [], name
    tab.close()


@pytest.mark.parametrize("path", ["search.html", "search.html?q=momentum"])
@pytest.mark.parametrize("scheme", SCHEMES)
def test_axe_finds_nothing_on_the_search_page(browser, site, scheme, path):
    tab = Tab(browser, scheme=scheme, size=PHONE)
    page = tab.open(site + path)
    if "?" in path:
        page.wait_for_selector("#search-results a")
    assert violations(page) == [], path
    assert tab.problems == []
    tab.close()


@pytest.mark.parametrize("name", PAGES)
def test_weight(browser, site, name):
    """Compressed bytes while no widget has come near the viewport, and after reading it all."""
    for limit, scroll in ((BEFORE_SCROLL, False), (AFTER_SCROLL, True)):
        tab = Tab(browser)
        if not scroll:
            # The front page's figure is in view at once; here nothing ever comes near.
            tab.page.add_init_script(
                "IntersectionObserver = class { observe() {} unobserve() {} disconnect() {} };"
            )
        tab.open(f"{site}{name}.html")
        if scroll:
            tab.mount()
        sizes = {url: gzipped_size(url, site) for url in dict.fromkeys(tab.requests)}
        total = sum(sizes.values())
        when = "after all figures are loaded" if scroll else "before the first figure is near"
        table = "\n".join(f"{size:9} {url}" for url, size in sizes.items())
        print(f"{name}: {total / 1e3:.0f} kB {when}")
        assert total <= limit, f"{name}: {total} bytes {when}:\n{table}"
        tab.close()


def arrive_late(route):
    """As a font does on a slow line."""
    time.sleep(0.2)
    route.continue_()


@pytest.mark.parametrize("name", PAGES)
def test_nothing_jumps_while_the_page_is_read(browser, site, name):
    tab = Tab(browser)
    tab.page.add_init_script(
        """window.shifts = [];
        new PerformanceObserver((list) => {
          for (const entry of list.getEntries()) window.shifts.push([
            entry.value, entry.sources.map((source) => source.node?.outerHTML?.slice(0, 120)),
          ]);
        }).observe({ type: "layout-shift", buffered: true });"""
    )
    tab.page.route("**/*.woff2", arrive_late)
    tab.open(f"{site}{name}.html")
    tab.mount()
    shifts = tab.page.evaluate("() => window.shifts")
    assert sum(value for value, _ in shifts) < 0.02, f"{name}: the layout jumps: {shifts}"
    tab.close()


@pytest.mark.parametrize("name", PAGES)
def test_tab_walks_through_every_control_and_shows_where_it_is(tabs, name):
    page = tabs(name).page
    page.evaluate(
        """() => {
          const able = "a[href], button, input, select, textarea, summary, [tabindex]";
          const radios = new Set();
          for (const [k, element] of [...document.querySelectorAll(able)].entries()) {
            delete element.dataset.walk;
            if (element.disabled || element.tabIndex < 0 || !element.checkVisibility()) continue;
            if (getComputedStyle(element).visibility === "hidden") continue;
            if (element.type === "radio") { // one stop for a group
              const group = [...document.getElementsByName(element.name)];
              if (radios.has(element.name)) continue;
              radios.add(element.name);
              (group.find((radio) => radio.checked) ?? element).dataset.walk = String(k);
              continue;
            }
            element.dataset.walk = String(k);
          }
          document.activeElement.blur();
          getSelection().removeAllRanges();
          scrollTo({ top: 0, behavior: "instant" });
        }"""
    )
    expected = page.locator("[data-walk]").evaluate_all(
        "(all) => all.map((one) => one.dataset.walk)"
    )
    reached: dict[str, str] = {}
    page.evaluate("() => { const top = document.body; top.tabIndex = -1; top.focus(); }")
    for _ in range(2 * len(expected)):  # Chromium also stops at boxes that scroll
        if reached.keys() >= set(expected):
            break
        page.keyboard.press("Tab")
        walk, label, marked = page.evaluate(
            """() => {
              const element = document.activeElement;
              const style = getComputedStyle(element);
              const parent = getComputedStyle(element.parentElement ?? element);
              const outlined = (s) => s.outlineStyle !== "none" && parseFloat(s.outlineWidth) >= 1;
              const shadow = style.boxShadow !== "none";
              return [element.dataset.walk, element.outerHTML.slice(0, 120),
                outlined(style) || outlined(parent) || shadow];
            }"""
        )
        reached[walk] = label
        assert marked, f"{name}: focus does not show on {label}"
    page.evaluate("() => document.body.removeAttribute('tabindex')")
    missed = [
        page.locator(f"[data-walk='{walk}']").evaluate("(one) => one.outerHTML.slice(0, 120)")
        for walk in expected
        if walk not in reached
    ]
    assert missed == [], f"{name}: the Tab key does not reach {missed}"


def test_reduced_motion_is_respected(browser, site):
    tab = Tab(browser, reduced_motion=True)
    for name in PAGES:
        tab.open(f"{site}{name}.html")
        tab.mount()
        moving = tab.page.evaluate(
            """() => document.getAnimations().filter((one) => one.playState === "running")
              .map((one) => one.effect.target.outerHTML.slice(0, 120))"""
        )
        assert moving == [], name
        smooth = tab.page.evaluate(
            "() => getComputedStyle(document.documentElement).scrollBehavior"
        )
        assert smooth == "auto", name
    tab.close()


def test_the_theme_button_works_and_is_remembered(browser, site):
    tab = Tab(browser)
    page = tab.open(f"{site}{PAGES[0]}.html")
    background = "() => getComputedStyle(document.body).backgroundColor"
    before = page.evaluate(background)
    page.locator(".theme-button").click()
    assert page.locator("html").get_attribute("data-theme") == "dark"
    assert page.evaluate(background) != before
    tab.open(f"{site}{PAGES[-1]}.html")
    assert page.locator("html").get_attribute("data-theme") == "dark"
    tab.close()
