// Reads what a reader types: the same program as arithmetic.py, which explains the grammar.

const FUNCTIONS = {
  sqrt: Math.sqrt, exp: Math.exp, log: Math.log, ln: Math.log,
  sin: Math.sin, cos: Math.cos, abs: Math.abs,
};
const CONSTANTS = { pi: Math.PI, e: Math.E };
const MAX_LENGTH = 200;
const MAX_DEPTH = 40;

const GREEK_LETTERS = [..."αβγδεζηθικλμνξοπρστυφχψωΓΔΘΛΞΠΣΦΨΩµϵϑϕϱ"];
const GREEK_NAMES = (
  "alpha beta gamma delta epsilon zeta eta theta iota kappa lambda mu nu xi omicron pi rho " +
  "sigma tau upsilon phi chi psi omega Gamma Delta Theta Lambda Xi Pi Sigma Phi Psi Omega " +
  "mu epsilon theta phi rho"
).split(" ");
const GREEK = new Map(GREEK_LETTERS.map((letter, k) => [letter, GREEK_NAMES[k]]));

const SYNONYMS = [
  ["**", "^"], ["−", "-"], ["–", "-"], ["·", "*"], ["⋅", "*"], ["×", "*"], ["∗", "*"], ["÷", "/"],
  ["⁄", "/"], ["∕", "/"], ["√", "sqrt"], ["²", "^2"], ["³", "^3"],
  ["\u00a0", " "], ["\u2009", " "], ["\u202f", " "], ["\t", " "], ["\n", " "],
  ...[..."₀₁₂₃₄₅₆₇₈₉"].map((digit, value) => [digit, `_${value}`]),
];
const ADVICE = new Map([
  [",", "Write decimals with a point, as in 0.25, and nothing between thousands."],
  ["=", "Type only what stands on the right of the “=”."],
  ["%", "Write percent as a fraction: 25 percent is 0.25."],
  ["|", "Write abs(x) for an absolute value."],
  ...[..."[]{}"].map((bracket) => [bracket, "Use round parentheses."]),
]);
const TOKEN = new RegExp(
  "(?<number>(?:[0-9]+\\.?[0-9]*|\\.[0-9]+)(?:[eE][+-]?[0-9]+)?)" +
  `|(?<name>[A-Za-z][A-Za-z0-9_]*|[${GREEK_LETTERS.join("")}][0-9]*(?:_[A-Za-z0-9_]+)?)` +
  "|(?<op>[-+*/^()])",
  "uy",
);

class UnreadableError extends Error {}

// The expression in `text` as a function of its variables' values, an object {name: value}.
function parse(text, names = []) {
  if ([...text].length > MAX_LENGTH) {
    throw new UnreadableError(`That is longer than ${MAX_LENGTH} characters.`);
  }
  for (const [char, meaning] of SYNONYMS) text = text.replaceAll(char, meaning);
  if (/^ *$/.test(text)) throw new UnreadableError("Type an answer first.");
  return new Parser(tokens(text), names).whole();
}

function tokens(text) {
  const found = [];
  let at = 0;
  while (at < text.length) {
    TOKEN.lastIndex = at;
    const match = TOKEN.exec(text);
    if (match) {
      const kind = ["number", "name", "op"].find((group) => match.groups[group] !== undefined);
      found.push({ kind, text: match[0] });
      at = TOKEN.lastIndex;
    } else if (text[at] === " ") {
      at += 1;
    } else {
      const char = String.fromCodePoint(text.codePointAt(at));
      throw new UnreadableError(`I cannot read “${char}”. ${ADVICE.get(char) ?? ""}`.trimEnd());
    }
  }
  return [...found, { kind: "end", text: "" }];
}

class Parser {
  constructor(list, names) {
    this.tokens = list;
    this.names = names;
    this.at = 0;
    this.depth = 0;
  }

  whole() {
    const value = this.sum();
    if (this.next.kind !== "end") {
      throw new UnreadableError(`There is a “${this.next.text}” too many.`);
    }
    return value;
  }

  get next() {
    return this.tokens[this.at];
  }

  // The operator that comes next if it is one of `ops`, else an empty string.
  take(...ops) {
    if (this.next.kind !== "op" || !ops.includes(this.next.text)) return "";
    this.at += 1;
    return this.tokens[this.at - 1].text;
  }

  sum() {
    let value = this.product();
    for (let op = this.take("+", "-"); op; op = this.take("+", "-")) {
      value = combine(op, value, this.product());
    }
    return value;
  }

  product() {
    let value = this.signed();
    let last = "";
    for (;;) {
      const op = this.take("*", "/");
      if (op) {
        value = combine(op, value, this.signed());
        last = op;
      } else if (["number", "name"].includes(this.next.kind) || this.next.text === "(") {
        this.checkJuxtaposition(last);
        value = combine("*", value, this.power());
      } else {
        return value;
      }
    }
  }

  checkJuxtaposition(last) {
    if (last === "/") {
      throw new UnreadableError(
        `What follows the “/” can be read in two ways: put a * before “${this.next.text}”, ` +
        "or parentheses around the denominator.",
      );
    }
    const before = this.tokens[this.at - 1];
    if (before.kind === "number" && this.next.kind === "number") {
      throw new UnreadableError(`Put a * between ${before.text} and ${this.next.text}.`);
    }
  }

  signed() {
    // Every recursion passes here, so this bound keeps deep nests off the call stack.
    this.depth += 1;
    if (this.depth > MAX_DEPTH) throw new UnreadableError("That is nested too deeply.");
    const sign = this.take("+", "-");
    let value;
    if (sign) {
      const inner = this.signed();
      value = sign === "-" ? combine("*", () => -1, inner) : inner;
    } else {
      value = this.power();
    }
    this.depth -= 1;
    return value;
  }

  power() {
    const base = this.atom();
    return this.take("^") ? combine("^", base, this.signed()) : base;
  }

  atom() {
    const token = this.next;
    this.at += 1;
    if (token.kind === "number") {
      const value = Number(token.text);
      return () => finite(value);
    }
    if (token.kind === "name") return this.name(token.text);
    if (token.text === "(") return this.closed();
    if (token.kind === "end") throw new UnreadableError("The end is missing.");
    throw new UnreadableError(`Something is missing before the “${token.text}”.`);
  }

  closed() {
    const value = this.sum();
    if (!this.take(")")) throw new UnreadableError("A closing parenthesis is missing.");
    return value;
  }

  name(typed) {
    const spelled = GREEK.has(typed[0]) ? GREEK.get(typed[0]) + typed.slice(1) : typed;
    for (const name of [spelled, spelled.toLowerCase()]) {
      if (this.names.includes(name)) return (at) => at[name];
      if (Object.hasOwn(CONSTANTS, name)) return () => CONSTANTS[name];
      if (Object.hasOwn(FUNCTIONS, name)) {
        if (!this.take("(")) {
          throw new UnreadableError(`Write ${name} with parentheses: ${name}(...).`);
        }
        const inner = this.closed();
        return (at) => finite(FUNCTIONS[name](inner(at)));
      }
    }
    const known = this.names.length ? `The names here are ${this.names.join(", ")}.` : "Type a number.";
    throw new UnreadableError(`I do not know “${typed}”. ${known}`);
  }
}

function finite(value) {
  if (!Number.isFinite(value)) {
    throw new UnreadableError(
      "This has no finite value (a division by zero, an overflow, or the root or log of a " +
      "number outside its domain).",
    );
  }
  return value;
}

const OPERATIONS = {
  "+": (a, b) => a + b, "-": (a, b) => a - b, "*": (a, b) => a * b, "/": (a, b) => a / b,
  "^": (a, b) => a ** b,
};

function combine(op, left, right) {
  return (at) => finite(OPERATIONS[op](left(at), right(at)));
}
