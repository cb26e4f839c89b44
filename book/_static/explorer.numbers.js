/* Numbers as people write and read them. */
"use strict";
const ExplorerNumbers = (() => {
  const RAISED = "⁰¹²³⁴⁵⁶⁷⁸⁹";
  const SCALES = {k: 1e3, m: 1e6, b: 1e9, t: 1e12, "": 1};
  const WORDS = [[1e12, " trillion"], [1e9, " billion"], [1e6, " million"]];
  const digits = (x, many) => Number(x.toPrecision(many)).toLocaleString("en", {maximumSignificantDigits: many});
  const sign = x => x < 0 ? "−" : "+";
  const raise = power => [...String(power)].map(c => c === "-" ? "⁻" : RAISED[c]).join("");

  /** 1e21, 5.76 × 10^23, 10²¹, 300B, 1,000 as a number; NaN for what is none. */
  function parse(text) {
    const lower = text.trim().toLowerCase().replace(/[\s,_]/g, "").replace(/[⁻⁰¹²³⁴⁵⁶⁷⁸⁹]+/g,
      raised => "^" + [...raised].map(c => c === "⁻" ? "-" : RAISED.indexOf(c)).join(""));
    const power = lower.match(/^(?:(\d*\.?\d+)[x×*·])?10(?:\^|\*\*)(\d+)$/);
    if (power) return Number(`${power[1] ?? 1}e${power[2]}`);
    const plain = lower.match(/^(\d+\.?\d*(?:e[+-]?\d+)?|\.\d+)([kmbt]?)$/);
    return plain ? Number(plain[1]) * SCALES[plain[2]] : NaN;
  }

  /** As a field holds it: 1e21, 2, 4500. */
  const typed = x => x >= 1e5 ? x.toExponential().replace("e+", "e") : String(x);

  /** 5.760 × 10²³; a power of ten alone as 10²¹. */
  function scientific(x, many = 4) {
    const [mantissa, power] = x.toExponential(many - 1).split("e");
    return `${Number(mantissa) === 1 ? "" : `${mantissa} × `}10${raise(Number(power))}`;
  }

  /** Four digits, with words from a million on: 70.34 billion. */
  function count(x) {
    if (x >= 1e15 || x < 1e-2) return x === 0 ? "0" : scientific(x);
    for (const [size, word] of WORDS) if (x >= size * 0.99995) return (x / size).toPrecision(4) + word;
    return x >= 999.95 ? digits(x, 4) : x.toPrecision(4);
  }

  /** The same without zeros at the end, for what was chosen and not found. */
  const round = x => count(x).replace(/\.(\d*?)0+(?= |$)/, (_, kept) => kept ? `.${kept}` : "");

  const loss = x => x.toPrecision(5);
  const exponent = x => x.toFixed(4);
  const share = x => `${digits(100 * x, 3)} %`;
  const more = x => !isFinite(x) ? "never" : `${sign(x)}${Math.abs(x) < 5e-7 ? 0 : digits(Math.abs(x), 3)}`;
  /** How much more: a percentage, from tenfold on how many times as much. */
  function percentMore(x) {
    if (!isFinite(x)) return "never";
    return x >= 9 ? `${digits(x + 1, 3)} times` : `${sign(x)}${share(Math.abs(x))}`;
  }

  return {parse, typed, raise, scientific, count, round, loss, exponent, share, more, percentMore};
})();
