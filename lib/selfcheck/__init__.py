"""Questions that answer back, in the built page and in the notebook.

`number`, `choice`, `expression` and `predict` make a `Question`. As the last value of a cell it is
a form that checks what the reader enters; in code, `question.check(value)` gives the same reply.
"""

from selfcheck.question import Question
from selfcheck.questions import choice, expression, number, predict
from selfcheck.verdict import Feedback

__all__ = ["Feedback", "Question", "choice", "expression", "number", "predict"]
