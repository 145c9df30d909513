"""Exercises: one card with the question, the box that checks the answer, hints and the solution."""

from typing import Any, ClassVar

from docutils import nodes
from docutils.parsers.rst import directives
from sphinx.application import Sphinx
from sphinx.transforms import SphinxTransform
from sphinx.util.docutils import SphinxDirective

from metabook.boxes import Box, box, text_box
from metabook.statements import NumberedDirective, boxes_of, choice_of, identifier

GRADES = {"warm-up": "Warm-up", "core": "Core", "challenge": "Challenge"}


class Exercise(NumberedDirective):
    """`:::{exercise} Title` with `:id:`, `:grade:`, `:minutes:`, `:objective:`."""

    option_spec: ClassVar = {
        "id": identifier,
        "grade": choice_of(*GRADES),
        "minutes": directives.positive_int,
        "objective": directives.unchanged_required,
    }

    def run(self) -> list[nodes.Node]:
        self.required("id", "grade", "minutes", "objective")
        grade, minutes = self.options["grade"], self.options["minutes"]
        node = box(
            "div",
            role="exercise",
            ids=[self.options["id"]],
            classes=["exercise", f"exercise-{grade}"],
            grade=grade,
        )
        self.set_source_info(node)
        label = text_box("span", "", classes=["exercise-number"], role="number")
        node += box("p", label, *self.titled("exercise-title"), classes=["box-head"])
        facts = text_box(
            "p", f"{GRADES[grade]} · {minutes} minutes · Goal: ", classes=["exercise-facts"]
        )
        facts.extend(self.parse_inline(self.options["objective"])[0])
        node += facts
        self.state.nested_parse(self.content, self.content_offset, node)
        return [node]


class Fold(SphinxDirective):
    """`:::{hint}` and `:::{solution}`: closed until the reader opens them, without any script."""

    has_content = True

    def run(self) -> list[nodes.Node]:
        node = box("details", role=self.name, classes=[self.name, "fold"])
        self.set_source_info(node)
        node += text_box("summary", self.name.capitalize(), role="summary")
        body = box("div", classes=["fold-body"])
        self.state.nested_parse(self.content, self.content_offset, body)
        node += body
        return [node]


class GatherExercises(SphinxTransform):
    """Move what follows an exercise, up to its solution, into the exercise's card."""

    default_priority = 410

    def apply(self, **kwargs: Any) -> None:
        for exercise in boxes_of(self.document, "exercise"):
            siblings = exercise.parent.children
            following = siblings[siblings.index(exercise) + 1 :]
            own = []
            for node in following:
                if isinstance(node, nodes.section) or is_box(node, "exercise"):
                    break
                own.append(node)
                if is_box(node, "solution"):
                    break
            if not (own and is_box(own[-1], "solution")):
                own = [node for node in own if is_box(node, "hint")]
            for node in own:
                exercise.parent.remove(node)
                exercise.append(node)
            hints = boxes_of(exercise, "hint")
            for number, hint in enumerate(hints, start=1):
                if len(hints) > 1:
                    summary = next(n for n in hint if n.get("role") == "summary")
                    summary += nodes.Text(f" {number}")


def is_box(node: nodes.Node, role: str) -> bool:
    """Whether `node` is a box of that role."""
    return isinstance(node, Box) and node.get("role") == role


def setup(app: Sphinx) -> None:
    app.add_directive("exercise", Exercise)
    # docutils has a directive of this name; ours takes its place.
    app.add_directive("hint", Fold, override=True)
    app.add_directive("solution", Fold)
    app.add_transform(GatherExercises)
