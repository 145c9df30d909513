// Numbers as text: the twin of format.py, for the format specs "[+][,][.digits](g|f|e|d)".

const NARROW_SPACE = "\u202f";

// toFixed and toExponential round an exact tie up; Python rounds it to the even digit. A double that
// lies on a tie shows a 5 and then zeros only, so a few more digits tell.
function roundDecimal(magnitude, digits, method) {
  const rounded = magnitude[method](digits);
  const [longer] = magnitude[method](Math.min(100, digits + 40)).split("e");
  const rest = longer.replace(".", "").slice(-40);
  if (!/^50*$/.test(rest) || digits > 60) return rounded;
  const lower = longer.slice(0, longer.length - 40).replace(/\.$/, "");
  if (Number(lower.at(-1)) % 2 === 1) return rounded;
  const exponent = magnitude[method](Math.min(100, digits + 40)).split("e")[1];
  return exponent === undefined ? lower : `${lower}e${exponent}`;
}

function toFixedExactly(magnitude, digits) {
  if (magnitude < 1e21) return roundDecimal(magnitude, digits, "toFixed");
  return BigInt(magnitude).toString() + (digits ? "." + "0".repeat(digits) : "");
}

function toGeneral(magnitude, digits) {
  const precision = Math.max(1, digits);
  if (magnitude === 0) return "0";
  const scientific = roundDecimal(magnitude, precision - 1, "toExponential");
  const exponent = Number(scientific.split("e")[1]);
  const text = exponent < -4 || exponent >= precision
    ? scientific
    : roundDecimal(magnitude, precision - 1 - exponent, "toFixed");
  const [mantissa, power] = text.split("e");
  const short = mantissa.includes(".") ? mantissa.replace(/\.?0+$/, "") : mantissa;
  return power === undefined ? short : `${short}e${power}`;
}

function superscript(integer) {
  return String(integer).replace(/[-0-9]/g, (c) => (c === "-" ? "⁻" : "⁰¹²³⁴⁵⁶⁷⁸⁹"[c]));
}

function formatNumber(value, spec = ".3g") {
  if (Number.isNaN(value)) return "undefined";
  if (!Number.isFinite(value)) return "beyond range";
  const [, plus, group, precision, letter] = /^(\+?)(,?)(?:\.(\d+))?([gfed])$/.exec(spec);
  const digits = letter === "d" ? 0 : Number(precision ?? 6);
  const magnitude = Math.abs(value);
  let text;
  if (letter === "g") text = toGeneral(magnitude, digits);
  else if (letter === "e") text = roundDecimal(magnitude, digits, "toExponential");
  else text = toFixedExactly(magnitude, digits);
  let [mantissa, power] = text.split("e");
  if (group) mantissa = mantissa.replace(/^\d+/, (whole) => whole.replace(/\B(?=(\d{3})+$)/g, ","));
  const negative = value < 0 && /[1-9]/.test(mantissa);
  const sign = negative ? "\u2212" : plus;
  const tail = power === undefined
    ? ""
    : `${NARROW_SPACE}×${NARROW_SPACE}10${superscript(Number(power))}`;
  return sign + mantissa + tail;
}

function withUnit(text, unit) {
  return unit ? `${text}\u00a0${unit}` : text;
}
