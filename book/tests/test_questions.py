"""The forms of `lib/selfcheck`, in a small page of their own, with keyboard and mouse."""

import pytest
from axe import violations
from browser import DESKTOP, PHONE, SCHEMES, Tab, serve

import selfcheck
from pagewidget import assets

NUMBER = selfcheck.number(
    "ex-number",
    0.25,
    prompt="The step size β is at most",
    unit="seconds",
    wrong=((0.5, "Half of that."),),
    right="A quarter.",
)
EXPRESSION = selfcheck.expression(
    "ex-expression",
    "beta*(1 + mu)",
    prompt="The limit, in β and μ, of a rather long sum whose terms are all alike, is",
    variables={"beta": (0.5, 3.0), "mu": (0.1, 0.9)},
    wrong=(("beta*(1 - mu)", "The sign of mu is lost."),),
)
CHOICE = selfcheck.choice(
    "ex-choice",
    (
        ("It converges.", "Look at the product."),
        ("It swings <for ever>.", "Both lie on the circle."),
    ),
    1,
    prompt="With μ = 1 the run …",
)
PREDICT = selfcheck.predict(
    "predict-it", ("It falls.", "It rises."), prompt="What will happen?", after="Now move it."
)
QUESTIONS = (NUMBER, EXPRESSION, CHOICE, PREDICT)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("questions")
    for name, text in assets().items():
        (folder / name).write_text(text, encoding="utf-8")
    body = "".join(question.page_html() for question in QUESTIONS)
    (folder / "index.html").write_text(
        f"""<!doctype html><html lang="en"><head><meta charset="utf-8"><title>Questions</title>
        <meta name="viewport" content="width=device-width, initial-scale=1">
        <link rel="icon" href="data:,"><link rel="stylesheet" href="pagewidget.css">
        <link rel="stylesheet" href="selfcheck.css"><script src="pagewidget.js" defer></script>
        <style>html[data-theme="dark"] body {{ background: #14181e; color: #ced6dd; }}</style>
        <script>document.documentElement.dataset.theme =
          matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light";</script>
        </head><body><main><h1>Questions</h1>{body}</main></body></html>""",
        encoding="utf-8",
    )
    return folder


@pytest.fixture(scope="module")
def address(folder):
    with serve(folder) as base:
        yield base


def mounted(browser, address, **settings):
    tab = Tab(browser, **settings)
    tab.open(address)
    tab.page.evaluate("() => pagewidget.mountAll()")
    return tab


def form(page, question):
    return page.locator(f"form[data-question='{question.question['id']}']")


def reply(page, question):
    return form(page, question).get_by_role("status")


def answer(page, question, typed):
    """Answer with the keyboard alone and return what the form says."""
    if "options" in question.question:
        form(page, question).get_by_role("radio").nth(typed).focus()
        page.keyboard.press("Space")
    else:
        form(page, question).get_by_role("textbox").fill(typed)
    page.keyboard.press("Enter")
    return reply(page, question)


@pytest.mark.parametrize("size", [DESKTOP, PHONE], ids=["desktop", "phone"])
@pytest.mark.parametrize("scheme", SCHEMES)
def test_axe_finds_nothing(browser, address, scheme, size):
    tab = mounted(browser, address, scheme=scheme, size=size)
    page = tab.page
    assert violations(page) == []
    answer(page, NUMBER, "0.25")
    answer(page, EXPRESSION, "beta")
    answer(page, CHOICE, 0)
    answer(page, PREDICT, 0)
    assert violations(page) == []
    assert page.evaluate("document.documentElement.scrollWidth") <= size["width"]
    for target in page.locator("input, button, label.selfcheck-option").all():
        box = target.bounding_box()
        radio = target.get_attribute("type") == "radio"  # its label is the target
        assert radio or min(box["width"], box["height"]) >= 24, target
    assert tab.problems == []
    tab.close()


ANSWERS = [
    (NUMBER, ("1/4", "0,25", "0.5", "", "abc")),
    (EXPRESSION, ("2β(1+μ)/2", "β(1−μ)", "γ", "1/(β-β)")),
    (CHOICE, (0, 1)),
    (PREDICT, (1,)),
]


def test_the_form_says_what_check_says(browser, address):
    tab = mounted(browser, address)
    for question, typed in [(question, typed) for question, each in ANSWERS for typed in each]:
        expected = question.check(typed)
        icon = {True: "✓", False: "✗", None: "→"}[expected.right]
        said = answer(tab.page, question, typed).inner_text()
        assert said.split("\n") == [icon, expected.text], (question.question["id"], typed)
    tab.close()


def test_a_choice_without_an_option_and_a_skipped_prediction(browser, address):
    tab = mounted(browser, address)
    page = tab.page
    form(page, CHOICE).get_by_role("button", name="Check").click()
    assert "Choose an answer first." in reply(page, CHOICE).inner_text()
    form(page, PREDICT).get_by_role("button", name="Skip").click()
    assert reply(page, PREDICT).inner_text().split("\n")[1] == PREDICT.check(None).text
    tab.close()


def test_a_new_answer_takes_the_old_verdict_away(browser, address):
    tab = mounted(browser, address)
    page = tab.page
    box = form(page, NUMBER).get_by_role("textbox")
    assert "Half" in answer(page, NUMBER, "0.5").inner_text()
    assert box.get_attribute("aria-invalid") is None
    answer(page, NUMBER, "0,25")
    assert box.get_attribute("aria-invalid") == "true"
    box.press("Backspace")
    assert reply(page, NUMBER).inner_text() == ""
    assert box.get_attribute("aria-invalid") is None
    tab.close()


def test_right_answers_are_remembered_and_wrong_ones_are_not(browser, address):
    tab = mounted(browser, address)
    page = tab.page
    answer(page, NUMBER, "1/4")
    answer(page, EXPRESSION, "beta")
    answer(page, CHOICE, 1)
    answer(page, PREDICT, 0)
    page.reload()
    page.evaluate("() => pagewidget.mountAll()")
    assert form(page, NUMBER).get_by_role("textbox").input_value() == "1/4"
    assert "A quarter." in reply(page, NUMBER).inner_text()
    assert form(page, EXPRESSION).get_by_role("textbox").input_value() == ""
    assert form(page, CHOICE).get_by_role("radio").nth(1).is_checked()
    assert "Now move it." in reply(page, PREDICT).inner_text()
    # A stored answer that is not right any more, and rubbish, are ignored.
    keys = page.evaluate(
        "() => Object.keys(localStorage).filter((key) => key.startsWith('selfcheck:'))"
    )
    assert len(keys) == 3
    page.evaluate(
        "(keys) => keys.forEach((key, k) => localStorage.setItem(key, ['5', '\"7\"', '{'][k]))",
        keys,
    )
    page.reload()
    page.evaluate("() => pagewidget.mountAll()")
    assert [reply(page, question).inner_text() for question in QUESTIONS] == ["", "", "", ""]
    assert tab.problems == []
    tab.close()


def test_without_storage_the_questions_still_answer(browser, address):
    tab = Tab(browser)
    tab.page.add_init_script(
        """Object.defineProperty(window, "localStorage", {
          get() { throw new Error("blocked"); },
        });"""
    )
    tab.open(address)
    tab.page.evaluate("() => pagewidget.mountAll()")
    assert "Right." in answer(tab.page, NUMBER, "0.25").inner_text()
    assert tab.problems == []
    tab.close()


def test_opened_as_a_file(browser, folder):
    tab = mounted(browser, (folder / "index.html").as_uri())
    assert "Right." in answer(tab.page, NUMBER, "0.25").inner_text()
    assert tab.problems == []
    tab.close()


def test_tab_reaches_every_control_and_shows_where_it_is(browser, address):
    tab = mounted(browser, address)
    page = tab.page
    reached = []
    for _ in range(9):
        page.keyboard.press("Tab")
        reached.append(
            page.evaluate(
                """() => {
                  const style = getComputedStyle(document.activeElement);
                  return [
                    document.activeElement.closest("form")?.dataset.question,
                    document.activeElement.tagName,
                    parseFloat(style.outlineWidth) >= 2 && style.outlineStyle !== "none",
                  ];
                }"""
            )
        )
    controls = [(question, tag) for question, tag, _ in reached if question]
    assert controls == [
        ("ex-number", "INPUT"), ("ex-number", "BUTTON"),
        ("ex-expression", "INPUT"), ("ex-expression", "BUTTON"),
        ("ex-choice", "INPUT"), ("ex-choice", "BUTTON"),
        ("predict-it", "INPUT"), ("predict-it", "BUTTON"), ("predict-it", "BUTTON"),
    ]  # fmt: skip
    assert all(outlined for question, _, outlined in reached if question)
    tab.close()


def test_without_scripts_the_questions_can_be_read(browser, address):
    tab = Tab(browser, scripts=False)
    text = tab.open(address).inner_text("main")
    for question in QUESTIONS:
        assert question.question["prompt"] in text
        for option in question.question.get("options", ()):
            assert option in text
    assert "the solution is below" in text
    tab.close()
