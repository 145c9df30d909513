"""The widget, and the one dictionary that both twins of the check read."""

import operator
from collections.abc import Sequence
from importlib.resources import files
from typing import Any

import traitlets

from pagewidget import PageWidget
from selfcheck.markup import form_html
from selfcheck.verdict import Feedback, verdict


def static_text(*names: str) -> str:
    """The texts of the files `static/<name>`, one after the other."""
    folder = files("selfcheck") / "static"
    return "\n".join((folder / name).read_text(encoding="utf-8") for name in names)


class Question(PageWidget):
    """A question that answers back, in the page and in the notebook.

    Made by `selfcheck.number`, `choice`, `expression` and `predict`, which check their input.

    Attributes:
        question: what the page needs to ask and to judge, as JSON.
        typed: the answer given last in the notebook (text, or an option's index); None before.
        listed: the answers that the author wrote down, as a reader would type them; the right one
            comes first (a prediction has none). Not part of the page.
    """

    page_name = "selfcheck"
    _esm = static_text("arithmetic.js", "verdict.js", "form.js")
    _css = static_text("form.css")

    question = traitlets.Dict().tag(sync=True)
    typed = traitlets.Any(None, allow_none=True).tag(sync=True)

    def __init__(self, question: dict[str, Any], listed: Sequence[str | int]) -> None:
        """Wrap the checked dictionary `question`."""
        self.listed = tuple(listed)
        super().__init__(question=question, _html=form_html(question))

    def check(self, value: Any) -> Feedback:
        """The reply to `value`, word for word the one that the page gives.

        Args:
            value: for numbers and expressions a text as typed, or a number; for choices and
                predictions the index of an option, counted from 0, or None for no answer.

        Raises:
            ValueError: if `value` is no index of an option.
            TypeError: if `value` is of a type that this question has no use for.
        """
        if "options" in self.question:
            return verdict(self.question, self._option(value))
        return verdict(self.question, value if isinstance(value, str) else repr(float(value)))

    def _option(self, value: Any) -> int | None:
        if value is None:
            return None
        index, count = operator.index(value), len(self.question["options"])
        if not 0 <= index < count:
            raise ValueError(f"value is {index}; allowed are the options 0 to {count - 1}")
        return index
