"""The HTML of a question, the same on the built page, without scripts and in JupyterLab.

`static/form.js` only enables the form and answers, so nothing jumps when it starts.
"""

from collections.abc import Mapping
from html import escape
from typing import Any

from selfcheck.arithmetic import MAX_LENGTH


def form_html(question: Mapping[str, Any]) -> str:
    """The form of `question`, its inputs disabled until scripts run."""
    field = _options(question) if "options" in question else _text(question)
    if question["kind"] == "predict":
        where = "Make your prediction, then read on."
    else:
        where = "With scripts on, the page checks your answer; the solution is below."
    return (
        f'<form class="selfcheck" data-question="{question["id"]}" novalidate>{field}'
        f'<p class="selfcheck-reply" id="{question["id"]}-reply" role="status">'
        f"<noscript>{where}</noscript></p></form>"
    )


def _text(question: Mapping[str, Any]) -> str:
    id = f"{question['id']}-answer"
    unit = escape(question.get("unit", ""))
    unit = f'<span class="selfcheck-unit">{unit}</span>' if unit else ""
    return (
        f'<label class="selfcheck-prompt" for="{id}">{escape(question["prompt"])}</label>'
        f'<div class="selfcheck-row"><input class="selfcheck-input" id="{id}" type="text" '
        f'autocomplete="off" autocapitalize="none" spellcheck="false" maxlength="{MAX_LENGTH}" '
        f'aria-describedby="{id}-help {question["id"]}-reply" disabled>'
        f"{unit}{_submit('Check')}</div>"
        f'<p class="selfcheck-help" id="{id}-help">{escape(question["help"])}</p>'
    )


def _options(question: Mapping[str, Any]) -> str:
    options = "".join(
        f'<label class="selfcheck-option"><input type="radio" name="{question["id"]}" '
        f'value="{index}" disabled><span>{escape(text)}</span></label>'
        for index, text in enumerate(question["options"])
    )
    buttons = _submit("Check")
    if question["kind"] == "predict":
        skip = '<button type="button" class="selfcheck-skip" disabled>Skip</button>'
        buttons = _submit("This is my prediction") + skip
    return (
        f'<fieldset class="selfcheck-options" aria-describedby="{question["id"]}-reply">'
        f'<legend class="selfcheck-prompt">{escape(question["prompt"])}</legend>'
        f'{options}</fieldset><div class="selfcheck-row">{buttons}</div>'
    )


def _submit(text: str) -> str:
    return f'<button type="submit" class="selfcheck-submit" disabled>{text}</button>'
