// Says whether an answer is right, and if not, why: the same program as verdict.py.

const NOT_YET = "Not yet.";
const REL_TOL = 1e-9; // for expressions

// The reply {right, text} to `typed`: a string, or an option's index or null. `right` is null where
// nothing is judged.
function verdict(question, typed) {
  try {
    return VERDICTS[question.kind](question, typed);
  } catch (error) {
    if (error instanceof UnreadableError) return { right: null, text: error.message };
    throw error;
  }
}

function rightReply(question) {
  return { right: true, text: `Right. ${question.right}`.trimEnd() };
}

function notYet(why) {
  return { right: false, text: `${NOT_YET} ${why}` };
}

function numberVerdict(question, typed) {
  const { answer, unit } = question;
  typed = typed.replace(/^ +| +$/g, "");
  if (unit && typed.endsWith(unit)) typed = typed.slice(0, -unit.length);
  const value = parse(typed)({});

  function near(target, widths = 1) {
    const width = Math.max(question.abs_tol, question.rel_tol * Math.abs(target));
    return Math.abs(value - target) <= widths * width;
  }

  if (near(answer)) return rightReply(question);
  for (const [wrong, why] of question.wrong) {
    if (near(wrong)) return notYet(why);
  }
  if (near(-answer)) return notYet("The size is right, the sign is not.");
  if (near(answer, 5)) return notYet("Very close: keep more digits until the last step.");
  if (Math.abs(value) > 10 * Math.abs(answer) && answer !== 0) {
    return notYet("This is more than ten times too large in size.");
  }
  if (10 * Math.abs(value) < Math.abs(answer)) {
    return notYet("This is more than ten times too small in size.");
  }
  return notYet("Check the steps that lead here, or open a hint.");
}

function expressionVerdict(question, typed) {
  const { points, values: answer } = question;
  const evaluate = parse(typed, Object.keys(points[0]));
  const values = points.map((point) => evaluate(point));
  if (same(values, answer)) return rightReply(question);
  for (const [wrong, why] of question.wrong) {
    if (same(values, wrong)) return notYet(why);
  }
  if (same(values.map((value) => -value), answer)) {
    return notYet("The sign is the wrong way around.");
  }
  const factor = dot(values, answer) / dot(answer, answer);
  if (same(values, answer.map((value) => factor * value))) {
    return notYet("This differs from the answer by a constant factor.");
  }
  return notYet(counterexample(question, values));
}

function dot(a, b) {
  return a.reduce((sum, value, k) => sum + value * b[k], 0);
}

// Whether `values` equals `answer` at every point, to 1e-9 relative.
function same(values, answer) {
  const floor = (1e-3 * answer.reduce((sum, value) => sum + Math.abs(value), 0)) / answer.length;
  return values.every(
    (value, k) => Math.abs(value - answer[k]) <= REL_TOL * Math.max(Math.abs(answer[k]), floor),
  );
}

function counterexample({ places, values: answer }, values) {
  for (const [k, value] of values.entries()) {
    if (short(value) !== short(answer[k])) {
      return `At ${places[k]} the answer is ${short(answer[k])}, and yours gives ${short(value)}.`;
    }
  }
  return "Very close: write exact fractions in place of rounded decimals.";
}

// `value` to four significant digits.
function short(value) {
  const rounded = value.toExponential(3);
  const [digits, exponent] = rounded.split("e").map(Number);
  if (exponent >= -4 && exponent < 6) return String(Number(rounded) || 0);
  return `${digits}e${exponent}`;
}

function choiceVerdict(question, typed) {
  if (typed === null) return { right: null, text: "Choose an answer first." };
  const right = typed === question.answer;
  return { right, text: `${right ? "Right." : NOT_YET} ${question.feedback[typed]}`.trimEnd() };
}

function predictVerdict(question, typed) {
  if (typed === null) return { right: null, text: question.after };
  const guess = question.options[typed].replace(/\.$/, "");
  return { right: null, text: `You predicted: “${guess}”. ${question.after}` };
}

const VERDICTS = {
  number: numberVerdict, choice: choiceVerdict, expression: expressionVerdict,
  predict: predictVerdict,
};
