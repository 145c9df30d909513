"""Six line colors that stay apart for color-blind readers, in a light and a dark variant.

Use the attributes in a template, for example `line={"color": livejax.palette.c1}`; on the page each
one is drawn in the variant of the reader's theme. Every color has a contrast of at least 3:1 to the
page (the tests compute it, and the distance between any two of them under simulated protanopia,
deuteranopia and tritanopia). Choice of colors: ours.
"""

LIGHT = {
    "c1": "#1659d7",  # blue
    "c2": "#9c2e00",  # rust
    "c3": "#13a077",  # green
    "c4": "#c860bb",  # orchid
    "c5": "#a88b00",  # ochre
    "c6": "#23272e",  # ink
}
DARK = {
    "c1": "#5b9bff",
    "c2": "#e0661a",
    "c3": "#17cf8a",
    "c4": "#d07fb0",
    "c5": "#f4cb30",
    "c6": "#e8eaee",
}
c1, c2, c3, c4, c5, c6 = LIGHT.values()

DASHES = ("solid", "dash", "dot", "dashdot", "longdash", "longdashdot")
SYMBOLS = ("circle", "square", "diamond", "triangle-up", "x", "cross")
COLOR_SCALE = "Cividis"
