// Typesets formulas: one JSON question per line of the input, one JSON answer per line of the output.
// Arguments: the folder of the npm package katex, and the macros as JSON.
"use strict";

const [folder, macros] = process.argv.slice(2);
const katex = require(folder);

// A line break outside of an environment is harmless; anything else that LaTeX would refuse is refused.
const strict = (code) => (code === "newLineInDisplayMode" ? "ignore" : "error");

require("node:readline").createInterface({ input: process.stdin }).on("line", (line) => {
  const { formula, display } = JSON.parse(line);
  let answer;
  try {
    answer = { html: katex.renderToString(formula, { displayMode: display, macros: JSON.parse(macros), strict }) };
  } catch (error) {
    answer = { error: error.message };
  }
  process.stdout.write(`${JSON.stringify(answer)}\n`);
});
