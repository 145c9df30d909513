"""Every question of every page: the right answer, and each wrong one that its author listed."""

import pytest
from collect import collect, page_names

PAGES = page_names()
ICONS = {True: "✓", False: "✗", None: "→"}


@pytest.mark.parametrize("name", PAGES)
def test_listed_answers_get_their_reply_in_the_page_and_in_the_notebook(tabs, name):
    tab = tabs(name)
    for id, question in collect(name).questions.items():
        form = tab.page.locator(f"form[data-question='{id}']")
        form.scroll_into_view_if_needed()
        replies = []
        for place, typed in enumerate(question.listed):
            where = f"{name}, {id}, answer {typed!r}"
            reply = question.check(typed)
            if id.startswith("ex-"):
                assert reply.right is (place == 0), f"{where}: {reply}"
            if "options" in question.question:
                form.get_by_role("radio").nth(typed).check()
            else:
                form.get_by_role("textbox").fill(typed)
            form.locator("[type=submit]").click()
            said = form.get_by_role("status").inner_text()
            assert said.split("\n") == [ICONS[reply.right], reply.text], where
            replies.append(reply.text)
        assert len(set(replies)) == len(replies), f"{name}, {id}: two answers get one reply"
    assert tab.problems == [], name


@pytest.mark.parametrize("name", PAGES)
def test_every_exercise_holds_its_box_two_hints_and_a_solution(tabs, name):
    page = tabs(name).page
    exercises = page.locator(".exercise")
    ids = exercises.evaluate_all("(all) => all.map((one) => one.id)")
    for id in ids:
        exercise = page.locator(f".exercise#{id}")
        assert exercise.locator(f"form[data-question='{id}']").count() == 1, f"{name}, {id}: no box"
        assert exercise.locator("details.hint").count() == 2, f"{name}, {id}: hints"
        assert exercise.locator("details.solution").count() == 1, f"{name}, {id}: solution"
    asked = [id for id in collect(name).questions if id.startswith("ex-")]
    assert asked == ids, f"{name}: questions without an exercise, or in another order"


@pytest.mark.parametrize("name", PAGES)
def test_without_scripts_the_questions_can_be_read(browser, site, name):
    from browser import Tab

    tab = Tab(browser, scripts=False)
    text = " ".join(tab.open(f"{site}{name}.html").inner_text("main").split())
    for id, question in collect(name).questions.items():
        for part in (question.question["prompt"], *question.question.get("options", ())):
            assert " ".join(part.split()) in text, f"{name}, {id}: {part!r} is missing"
    tab.close()
