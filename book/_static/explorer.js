/* The explorer page: what a scaling law recommends for a compute, and what it costs to stray from it.

   Laws come from explorer_laws.js, which the package writes (src/minichin/explorer.py), or from a reader's file.
   A law is a row [ln k_N, a, ln k_D, b] and, where it has a loss surface, E, A, B, alpha, beta; so is each
   bootstrap replicate. All sizes, tokens and FLOPs are natural logarithms until they are shown. */
"use strict";
(() => {
  const root = document.getElementById("ex-root");
  const given = window.MINICHIN_LAWS;
  if (!root || !given) return;
  const $ = id => document.getElementById(`ex-${id}`);
  const laws = [...given.laws];
  const START = {c: 1e21, law: "besiroglu", count: "6ND", inf: 0, stray: 2};
  const state = {...START};

  /* ---- the law ---- */

  /** What a row says of ln C: the optimum, straying by a factor, and the best size with serving. */
  function consequences(row, logC, stray, served) {
    const [k, a, m, b] = row, n = k + a * logC, d = m + b * logC;
    const found = {params: Math.exp(n), tokens: Math.exp(d), ratio: Math.exp(d - n), a, b, n, d};
    if (row.length < 9) return found;
    const [E, A, B, alpha, beta] = row.slice(4);
    const model = x => A * Math.exp(-alpha * x), data = y => B * Math.exp(-beta * y);
    const m0 = model(n), d0 = data(d);
    // FLOPs are kappa N D with kappa as N^s near the optimum, where the surface touches the line of equal compute
    const power = alpha * m0 / (beta * d0);  // 1 + s
    const tokensFor = x => {  // ln D with which size x reaches the optimum's loss; infinite where none does
      const left = m0 + d0 - model(x);
      return left > 0 ? (Math.log(B) - Math.log(left)) / beta : Infinity;
    };
    Object.assign(found, {loss: E + m0 + d0, power, E, model, data, tokensFor});
    for (const [name, shift] of [["large", Math.log(stray)], ["small", -Math.log(stray)]]) {
      const x = n + shift;
      found[`loss_${name}`] = model(x) - m0 + data(d - power * shift) - d0;
      found[`compute_${name}`] = Math.exp(power * shift + tokensFor(x) - d) - 1;
    }
    if (served > 0) Object.assign(found, lifetime(found, logC, alpha, beta, served));
    return found;
  }

  /** The least of kappa N (D + served / 3) at the optimum's loss, by bisection on its slope in ln N. */
  function lifetime(at, logC, alpha, beta, served) {
    const floor = at.n + Math.log(at.model(at.n) / (at.loss - at.E)) / alpha;  // below, no tokens suffice
    let low = floor, high = at.n;
    for (let i = 0; i < 100; i++) {
      const x = (low + high) / 2, y = at.tokensFor(x), tokens = Math.exp(y);
      const gain = alpha * at.model(x) / (beta * at.data(y)) * tokens / (tokens + served / 3);
      if (!isFinite(y) || gain > at.power) low = x; else high = x;
    }
    const x = high, y = at.tokensFor(x), shift = x - at.n;
    const cost = (shift, tokens) => Math.exp(logC + at.power * shift - at.d) * tokens;
    const train = cost(shift, Math.exp(y)), life = cost(shift, Math.exp(y) + served / 3);
    return {
      life_params: Math.exp(x), life_tokens: Math.exp(y), life_ratio: Math.exp(y - x), life_train: train,
      life_total: life, life_saved: 1 - life / cost(0, Math.exp(at.d) + served / 3), life_n: x, life_d: y,
    };
  }

  /** The central 95 % of values as numpy's percentile has it; null with fewer than 20. */
  function interval(values) {
    const sorted = values.filter(v => !Number.isNaN(v)).sort((p, q) => p < q ? -1 : p > q ? 1 : 0);
    if (sorted.length < 20) return null;
    return [0.025, 0.975].map(q => {
      const place = q * (sorted.length - 1), i = Math.floor(place), j = Math.min(i + 1, sorted.length - 1);
      return sorted[i] === sorted[j] ? sorted[i] : sorted[i] + (place - i) * (sorted[j] - sorted[i]);
    });
  }

  function rowOf(law) {
    const row = [Math.log(law.n_opt.coefficient), law.n_opt.exponent,
                 Math.log(law.d_opt.coefficient), law.d_opt.exponent];
    return "E" in law ? [...row, law.E, law.A, law.B, law.alpha, law.beta] : row;
  }

  /* ---- numbers in and out ---- */

  const SCALES = {k: 1e3, m: 1e6, b: 1e9, t: 1e12, "": 1};
  const RAISED = "⁰¹²³⁴⁵⁶⁷⁸⁹";

  /** A number as people write it: 1e21, 5.76 × 10^23, 10^21, 300B, 1,000; NaN for anything else. */
  function parse(text) {
    const plain = text.trim().toLowerCase().replace(/[\s,_ ]/g, "")
      .replace(/[⁻⁰¹²³⁴⁵⁶⁷⁸⁹]+/g, t => "^" + [...t].map(c => c === "⁻" ? "-" : RAISED.indexOf(c)).join(""));
    const power = plain.match(/^(?:(\d*\.?\d+)[x×*·])?10(?:\^|\*\*)(\d+)$/);
    if (power) return Number(`${power[1] ?? 1}e${power[2]}`);
    const found = plain.match(/^(\d+\.?\d*(?:e[+-]?\d+)?|\.\d+)([kmbt]?)$/);
    return found ? Number(found[1]) * SCALES[found[2]] : NaN;
  }

  const short = x => String(Number(x.toPrecision(4))).replace("e+", "e");
  const typed = x => x >= 1e5 ? x.toExponential().replace("e+", "e") : String(x);
  const typedShort = x => typed(Number(x.toPrecision(4)));
  const raise = n => [...String(n)].map(c => c === "-" ? "⁻" : RAISED[c]).join("");

  function scientific(x, digits = 4) {
    const [mantissa, power] = x.toExponential(digits - 1).split("e");
    const front = digits > 1 && Number(mantissa) !== 1 ? `${mantissa} × ` : digits > 1 ? "" : `${mantissa} × `;
    return `${front}10${raise(Number(power))}`;
  }

  /** Four digits, with words for the thousands. */
  function count(x) {
    if (x >= 1e15 || x < 1e-2) return scientific(x);
    for (const [size, word] of [[1e12, " trillion"], [1e9, " billion"], [1e6, " million"]])
      if (x >= size * 0.99995) return (x / size).toPrecision(4) + word;
    return x >= 999.95 ? Math.round(Number(x.toPrecision(4))).toLocaleString("en") : x.toPrecision(4);
  }

  /** The same without zeros at the end, for what was typed. */
  const round = x => count(x).replace(/\.(\d*?)0+(?= |$)/, (_, kept) => kept ? "." + kept : "");

  const fixed = x => x.toPrecision(5);
  const sign = x => x < 0 ? "−" : "+";
  const excess = x => !isFinite(x) ? "never" : `${sign(x)}${Math.abs(x) < 5e-7 ? 0 : Number(Math.abs(x).toPrecision(3))}`;
  const percent = x => !isFinite(x) ? "never" : x >= 9 ? `${Number((x + 1).toPrecision(3)).toLocaleString("en")} times`
    : `${sign(x)}${Number(Math.abs(100 * x).toPrecision(3))} %`;
  const part = x => `${Number((100 * x).toPrecision(3))} %`;

  /* ---- the reader's own law ---- */

  /** Laws of an object of `minichin fit --json`, approach 3 first; throws one line that says what is wrong. */
  function lawsOf(found, name) {
    const cure = `drop what "minichin fit TABLE --json FILE" writes`;
    if (typeof found !== "object" || found === null || Array.isArray(found))
      throw Error(`${name} holds ${Array.isArray(found) ? "a list" : found === null ? "nothing" : `a ${typeof found}`}, not the object of a fit: ${cure}`);
    const names = ["approach3", "approach2", "approach1"].filter(key => key in found);
    if (!names.length) {
      const keys = Object.keys(found).slice(0, 3).join(", ");
      throw Error(`${name} has no key approach1, approach2 or approach3 (it has ${keys || "none"}): ${cure}`);
    }
    const good = names.filter(key => found[key] && !found[key].error);
    if (!good.length) throw Error(`${name}: no approach succeeded (${names[0]}: ${found[names[0]]?.error ?? "empty"}); add runs and fit again`);
    return good.map(key => ownLaw(found, key, name));
  }

  function ownLaw(found, key, name) {
    const fit = found[key], law = {replicates: null, a_interval: fit.a_interval, b_interval: fit.b_interval};
    const read = (object, place, low = 0) => {
      const last = place.split(".").at(-1), value = object?.[last];
      if (typeof value !== "number" || !isFinite(value) || value < low || (value === 0 && last !== "E" && low === 0))
        throw Error(`${name}, ${key}.${place} must be a ${low ? "" : "positive "}number, got ${JSON.stringify(value) ?? "nothing"}: fit the table again`);
      return value;
    };
    for (const line of ["n_opt", "d_opt"])
      law[line] = {coefficient: read(fit[line], `${line}.coefficient`), exponent: read(fit[line], `${line}.exponent`, -9)};
    if ("E" in fit) for (const constant of ["E", "A", "B", "alpha", "beta"]) law[constant] = read(fit, constant);
    const convention = typeof found.convention === "string" ? found.convention : "6ND";
    return {
      id: `own${key.at(-1)}`, label: `Yours: ${name}, approach ${key.at(-1)}`, source: name, unit: "nats, of the unit of the file",
      note: "", range: null, own: true, counts: {[convention]: law}, name,
    };
  }

  function adopt(found) {
    for (let i = laws.length - 1; i >= 0; i--) if (laws[i].own) laws.splice(i, 1);
    laws.push(...found);
    state.law = found[0].id;
    fillLaws();
  }

  async function take(files) {
    const said = $("file-said"), file = files[0];
    if (!file) return;
    try {
      if (files.length > 1) throw Error(`${files.length} files were dropped, the page reads one: drop a single JSON file`);
      if (file.size > 2e7) throw Error(`${file.name} has ${Math.round(file.size / 1e6)} MB, too large for a fit: drop what "minichin fit TABLE --json FILE" writes`);
      let found;
      try { found = JSON.parse(await file.text()); } catch (error) {
        throw Error(`${file.name} is not JSON (${error.message}): drop what "minichin fit TABLE --json FILE" writes`);
      }
      adopt(lawsOf(found, file.name));
      said.className = "ex-right";
      said.textContent = `Read ${file.name}.`;
      update();
    } catch (error) {
      said.className = "ex-wrong";
      said.textContent = error.message;
    }
  }

  /** The own law in few characters, for the link; and back. */
  function pack(law) {
    const [convention, fit] = Object.entries(law.counts)[0];
    const numbers = rowOf(fit).map(x => String(Number(x.toPrecision(9))));
    return [law.name, law.id.at(-1), convention, ...numbers].map(encodeURIComponent).join("~");
  }

  function unpack(text) {
    const [name, approach, convention, ...rest] = text.split("~").map(decodeURIComponent);
    const x = rest.map(Number);
    if (![4, 9].includes(x.length)) throw Error(`the link's own law has ${x.length} numbers, not 4 or 9: ask for the link anew`);
    const fit = {n_opt: {coefficient: Math.exp(x[0]), exponent: x[1]}, d_opt: {coefficient: Math.exp(x[2]), exponent: x[3]}};
    if (x.length === 9) [fit.E, fit.A, fit.B, fit.alpha, fit.beta] = x.slice(4);
    return [ownLaw({convention, [`approach${approach}`]: fit}, `approach${approach}`, name)];
  }

  /* ---- the link ---- */

  function writeLink() {
    const law = lawNow(), parts = [`c=${typed(state.c)}`, `law=${law.id}`, `count=${state.count}`];
    parts.push(`inf=${typed(state.inf)}`, `stray=${state.stray}`);
    if (law.own) parts.push(`own=${pack(law)}`);
    const hash = "#" + parts.join("&");
    try { history.replaceState(history.state, "", hash); } catch { location.hash = hash; }
  }

  function readLink() {
    const asked = Object.fromEntries(location.hash.slice(1).split("&").map(part => {
      const at = part.indexOf("=");
      return [part.slice(0, at), part.slice(at + 1)];
    }));
    const number = (name, ok) => { const x = Number(asked[name]); if (name in asked && ok(x)) state[name] = x; };
    number("c", x => x >= 1e6 && x <= 1e40);
    number("inf", x => x >= 0 && x <= 1e30);
    number("stray", x => x > 1 && x <= 1e4);
    if (asked.count in given.conventions) state.count = asked.count;
    try {
      if (asked.own) adopt(unpack(asked.own));
    } catch (error) {
      $("file-said").className = "ex-wrong";
      $("file-said").textContent = error.message;
    }
    if (laws.some(law => law.id === asked.law)) state.law = asked.law;
  }

  /* ---- the form ---- */

  const lawNow = () => laws.find(law => law.id === state.law) ?? laws[0];
  const countNow = law => state.count in law.counts ? state.count : Object.keys(law.counts)[0];

  function fillLaws() {
    const groups = [["Published", l => l.unit === "nats a token"], ["Ours", l => l.range], ["Yours", l => l.own]];
    $("law").replaceChildren(...groups.filter(([, test]) => laws.some(test)).map(([name, test]) => {
      const group = document.createElement("optgroup");
      group.label = name;
      group.append(...laws.filter(test).map(law => new Option(law.label, law.id)));
      return group;
    }));
  }

  function fillForm() {
    const law = lawNow();
    $("flops").value = typed(state.c);
    $("tokens").value = typed(state.inf);
    $("factor").value = String(state.stray);
    $("slider").value = Math.log10(state.c);
    $("law").value = law.id;
    $("count").replaceChildren(...Object.keys({...given.conventions, ...law.counts}).map(name => {
      const option = new Option(name, name);
      option.disabled = !(name in law.counts);
      if (option.disabled) option.text += " (not of this law)";
      return option;
    }));
    $("count").value = countNow(law);
  }

  function field(id, key, low, high, advice) {
    const input = $(id), wrong = $(`${id}-wrong`);
    const check = () => {
      const value = parse(input.value), ok = value >= low && value <= high;
      input.setAttribute("aria-invalid", String(!ok));
      wrong.hidden = ok;
      wrong.textContent = ok ? "" : `${JSON.stringify(input.value)} is no ${advice}`;
      if (ok) { state[key] = value; update(input); }
    };
    input.addEventListener("input", check);
    input.addEventListener("change", check);
  }

  /* ---- what is shown ---- */

  const ROWS = [
    ["params", "Best size N<sub>opt</sub>, parameters", count],
    ["tokens", "Tokens D<sub>opt</sub>", count],
    ["ratio", "Tokens a parameter", count],
    ["loss", "Loss, predicted", fixed],
    ["a", "Exponent a of N<sub>opt</sub>", x => x.toFixed(4)],
    ["b", "Exponent b of D<sub>opt</sub>", x => x.toFixed(4)],
    ["", () => `${short(state.stray)} times the best size, same compute`],
    ["loss_large", "Loss excess", excess],
    ["compute_large", "Compute excess for the same loss", percent],
    ["", () => `1/${short(state.stray)} of the best size, same compute`],
    ["loss_small", "Loss excess", excess],
    ["compute_small", "Compute excess for the same loss", percent],
    ["", () => `Same loss, and ${round(state.inf)} tokens served`, "life_params"],
    ["life_params", "Best size, parameters", count],
    ["life_tokens", "Training tokens", count],
    ["life_ratio", "Tokens a parameter", count],
    ["life_train", "Training FLOPs", scientific],
    ["life_total", "FLOPs over its life", scientific],
    ["life_saved", "Saved against the best size above", part],
  ];

  function showRows(found, intervals) {
    let head = null;
    const rows = [];
    for (const [key, label, show] of ROWS) {
      const tr = document.createElement("tr");
      if (!key) {
        tr.className = "ex-head";
        tr.innerHTML = `<th scope="colgroup" colspan="3"></th>`;
        tr.firstChild.textContent = label();
        head = tr;
        continue;
      }
      if (found[key] === undefined) continue;
      if (head) { rows.push(head); head = null; }
      tr.dataset.key = key;
      tr.dataset.value = found[key];
      const range = intervals[key];
      const unit = key === "loss" || key.startsWith("loss_") ? ` <span class="ex-unit">nats</span>` : "";
      tr.innerHTML = `<th scope="row">${label}</th><td><span>${show(found[key])}</span>${unit}</td><td>${range ? `<span>${show(range[0])}</span> to <span>${show(range[1])}</span>` : "none"}</td>`;
      if (range) { tr.dataset.low = range[0]; tr.dataset.high = range[1]; }
      rows.push(tr);
    }
    $("rows").replaceChildren(...rows);
  }

  function notesOn(law, convention, fit, found) {
    const notes = [`${law.source}.`];
    if (law.note) notes.push(law.note[0].toUpperCase() + law.note.slice(1) + ".");
    notes.push(found.loss === undefined ? "Without a loss surface there is no loss, no cost of straying and no serving." : `Loss in ${law.unit}.`);
    if (!fit.replicates) notes.push(law.own
      ? "No intervals but those of the exponents: such a file carries no bootstrap sample."
      : "No intervals: no bootstrap sample of this law is published.");
    if (convention !== state.count) notes.push(`Counted by ${convention}, the only way this law is known.`);
    $("notes").textContent = notes.join(" ");
    if (!law.range) return;
    const [low, high] = law.range, factor = state.c > high ? state.c / high : low / state.c;
    if (factor <= 1.001) { $("notes").append(` Within the runs, ${scientific(low)} to ${scientific(high)} FLOPs.`); return; }
    const near = state.c > high ? high : low;
    const strong = document.createElement("strong"), button = document.createElement("button");
    strong.textContent = ` ${count(factor)} times ${state.c > high ? "beyond the largest" : "below the smallest"} of the runs: an extrapolation, which the intervals do not cover. `;
    button.type = "button";
    button.textContent = `Go to ${scientific(near)} FLOPs`;
    button.addEventListener("click", () => { state.c = near; update(); $("flops").focus(); });
    $("notes").append(strong, button);
  }

  let waiting = 0;
  function tell(law, convention, found, intervals) {
    const range = key => intervals[key] ? ` (${count(intervals[key][0])} to ${count(intervals[key][1])})` : "";
    let text = `At ${scientific(state.c)} FLOPs (${convention}), ${law.label}: ${count(found.params)} parameters${range("params")}, ` +
      `${count(found.tokens)} tokens${range("tokens")}, ${count(found.ratio)} tokens a parameter`;
    if (found.loss !== undefined) text += `, loss ${fixed(found.loss)} nats`;
    text += ".";
    if (found.life_params) text += ` With ${round(state.inf)} tokens served: ${count(found.life_params)} parameters on ${count(found.life_tokens)} tokens.`;
    clearTimeout(waiting);
    waiting = setTimeout(() => { if ($("said").textContent !== text) $("said").textContent = text; }, $("said").textContent ? 250 : 0);
  }

  /* ---- pictures ---- */

  const NS = "http://www.w3.org/2000/svg";
  function draw(parent, name, attributes, text) {
    const element = document.createElementNS(NS, name);
    for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
    if (text !== undefined) element.textContent = text;
    parent.append(element);
    return element;
  }

  /** Axes in a box of the page; x and y are natural logarithms, y plain where `linear`. Returns the helpers. */
  function axes(box, [x0, x1], [y0, y1], xName, yName, alt, linear) {
    const width = Math.max(260, box.clientWidth), height = Math.round(Math.min(400, Math.max(270, width * 0.66)));
    const left = 58, right = 14, top = 22, bottom = 46, id = box.id + "-clip";
    const X = x => left + (x - x0) / (x1 - x0) * (width - left - right);
    const Y = y => height - bottom - (y - y0) / (y1 - y0) * (height - top - bottom);
    const svg = document.createElementNS(NS, "svg");
    for (const [key, value] of Object.entries({width, height, viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": alt})) svg.setAttribute(key, value);
    const clip = draw(draw(svg, "defs", {}), "clipPath", {id});
    draw(clip, "rect", {x: left, y: top, width: width - left - right, height: height - top - bottom});
    const decades = (low, high, room) => {
      const first = Math.ceil(low / Math.LN10), last = Math.floor(high / Math.LN10);
      const step = Math.max(1, Math.ceil((last - first + 1) / Math.max(2, room)));
      return Array.from({length: Math.max(0, Math.floor((last - first) / step) + 1)}, (_, i) => first + i * step)
        .map(e => [e * Math.LN10, `10${raise(e)}`]);
    };
    const even = (low, high) => {
      const rough = (high - low) / 5, unit = 10 ** Math.floor(Math.log10(rough));
      const step = [1, 2, 5, 10].map(m => m * unit).find(s => s >= rough), digits = Math.max(0, -Math.floor(Math.log10(step) + 1e-9));
      return Array.from({length: 12}, (_, i) => (Math.ceil(low / step) + i) * step).filter(v => v <= high).map(v => [v, v.toFixed(digits)]);
    };
    for (const [x, text] of decades(x0, x1, width / 75)) {
      draw(svg, "line", {class: "ex-grid", x1: X(x), x2: X(x), y1: top, y2: height - bottom});
      draw(svg, "text", {x: X(x), y: height - bottom + 17, "text-anchor": "middle"}, text);
    }
    for (const [y, text] of linear ? even(y0, y1) : decades(y0, y1, height / 45)) {
      draw(svg, "line", {class: "ex-grid", x1: left, x2: width - right, y1: Y(y), y2: Y(y)});
      draw(svg, "text", {x: left - 6, y: Y(y) + 4, "text-anchor": "end"}, text);
    }
    draw(svg, "text", {x: (left + width - right) / 2, y: height - 8, "text-anchor": "middle"}, xName);
    draw(svg, "text", {x: 6, y: 13}, yName);
    draw(svg, "path", {class: "ex-axis", d: `M${left},${top}V${height - bottom}H${width - right}`});
    const plot = draw(svg, "g", {"clip-path": `url(#${id})`}), over = draw(svg, "g", {});
    box.replaceChildren(svg);
    const line = (points, kind) => {
      let d = "", pen = "M";
      for (const [x, y] of points) {
        if (!isFinite(y)) { pen = "M"; continue; }
        d += `${pen}${X(x).toFixed(1)},${Math.max(-1e4, Math.min(1e4, Y(y))).toFixed(1)}`;
        pen = "L";
      }
      return draw(plot, "path", {class: kind, d});
    };
    const inside = (x, y) => x >= x0 && x <= x1 && y >= y0 && y <= y1;
    const mark = (x, y, shape) => {
      if (!inside(x, y)) return;
      const p = X(x), q = Y(y), paths = {
        dot: `M${p - 5},${q}a5,5 0 1,0 10,0a5,5 0 1,0 -10,0`, small: `M${p - 3},${q}a3,3 0 1,0 6,0a3,3 0 1,0 -6,0`,
        square: `M${p - 4.5},${q - 4.5}h9v9h-9z`, diamond: `M${p},${q - 7}l6,7l-6,7l-6,-7z`,
      };
      draw(over, "path", {class: `ex-${shape}`, d: paths[shape]});
    };
    const label = (x, y, text, dx, dy, anchor = "middle") => {
      if (!inside(x, y)) return;
      const at = draw(over, "text", {x: X(x) + dx, y: Y(y) + dy, "text-anchor": anchor, class: "ex-label"}, text);
      const half = text.length * 3.5;
      if (anchor === "middle") at.setAttribute("x", Math.min(width - right - half, Math.max(left + half, X(x) + dx)));
    };
    const bar = (ax, ay, bx, by) => line([[ax, ay], [bx, by]], "ex-bar");
    return {line, mark, label, bar};
  }

  const steps = (low, high, many = 120) => Array.from({length: many + 1}, (_, i) => low + (high - low) * i / many);
  const BUDGETS = [0.01, 0.1, 1, 10];
  const spread = Math.log(10);

  function showValleys(row, logC, found, intervals) {
    const figure = $("valleys").parentElement;
    figure.hidden = found.loss === undefined;
    if (figure.hidden) return;
    const logs = BUDGETS.map(f => logC + Math.log(f));
    const all = logs.map(c => consequences(row, c, state.stray, 0));
    const valley = (at, x) => at.E + at.model(x) + at.data(at.d - at.power * (x - at.n));
    const reach = Math.max(spread, Math.log(state.stray) * 1.15);
    const sizes = all.map(at => at.n).concat(found.life_n ?? found.n, found.n - reach, found.n + reach);
    const x0 = Math.min(...sizes) - spread * 0.7, x1 = Math.max(...sizes) + spread * 0.7;
    const floors = all.map(at => at.loss), drop = Math.max(...floors) - Math.min(...floors);
    const high = Math.max(Math.max(...floors) + drop * 0.25, valley(found, found.n - Math.log(state.stray)), valley(found, found.n + Math.log(state.stray)));
    const low = Math.min(...floors) - drop * 0.2;
    const worst = Math.min(high, Math.max(...floors) + drop * 2);
    const alt = `Loss against parameters for four budgets from ${scientific(state.c / 100)} to ${scientific(state.c * 10)} FLOPs: ` +
      `valleys whose floors fall and move to larger models; at ${scientific(state.c)} the floor is at ${count(found.params)} parameters and ${fixed(found.loss)} nats.`;
    const {line, mark, label, bar} = axes($("valleys"), [x0, x1], [low, worst + drop * 0.05], "parameters", `loss, ${lawNow().unit}`, alt, true);
    all.forEach((at, i) => line(steps(x0, x1).map(x => [x, valley(at, x)]), BUDGETS[i] === 1 ? "ex-now" : "ex-other"));
    line(steps(logs[0] - 9, logs.at(-1) + 9).map(c => { const at = consequences(row, c, 2, 0); return [at.n, at.loss]; }), "ex-frontier");
    if (intervals.params) bar(Math.log(intervals.params[0]), found.loss, Math.log(intervals.params[1]), found.loss);
    all.forEach((at, i) => {
      if (BUDGETS[i] !== 1) mark(at.n, at.loss, "small");
      label(at.n, at.loss, scientific(Math.exp(logs[i]), Number.isInteger(Number((logs[i] / Math.LN10).toFixed(6))) ? 4 : 3), -6, 19, "end");
    });
    mark(found.n, found.loss, "dot");
    for (const way of [1, -1]) { const x = found.n + way * Math.log(state.stray); mark(x, valley(found, x), "square"); }
    if (found.life_n !== undefined) mark(found.life_n, found.loss, "diamond");
    $("valleys-said").innerHTML = key([["now", "loss at the chosen compute"], ["other", "at a hundredth, a tenth and ten times it"], ["frontier", "frontier"],
      ["dot", "best size" + (intervals.params ? ", with its interval" : "")], ["square", `${short(state.stray)} times off`], ...(found.life_n !== undefined ? [["diamond", "best size with serving, same loss"]] : [])]);
  }

  function showPlane(row, logC, found, intervals) {
    const logs = BUDGETS.map(f => logC + Math.log(f));
    const all = logs.map(c => consequences(row, c, state.stray, 0));
    const power = found.power ?? 1;
    const near = [...all, found.life_n === undefined ? found : {n: found.life_n, d: found.life_d}];
    const pad = spread * 0.8, x = near.map(at => at.n), y = near.map(at => at.d);
    const xs = [Math.min(...x) - pad, Math.max(...x) + pad], ys = [Math.min(...y) - pad, Math.max(...y) + pad];
    const alt = `Tokens against parameters: the frontier rises through ${count(found.params)} parameters and ${count(found.tokens)} tokens at ${scientific(state.c)} FLOPs` +
      (found.loss === undefined ? "." : ", where the contour of equal loss touches the line of equal compute.");
    const {line, mark, label, bar} = axes($("plane"), xs, ys, "parameters", "tokens", alt, false);
    all.forEach((at, i) => {
      const now = BUDGETS[i] === 1;
      line(steps(...xs).map(u => [u, at.d - power * (u - at.n)]), now ? "ex-now ex-thin" : "ex-other ex-thin");
      if (at.tokensFor) line(steps(...xs, 400).map(u => [u, at.tokensFor(u)]), now ? "ex-contour ex-contour-now" : "ex-contour");
    });
    line(steps(logs[0] - 12, logs.at(-1) + 12).map(c => [row[0] + row[1] * c, row[2] + row[3] * c]), "ex-frontier");
    if (intervals.params) {
      bar(Math.log(intervals.params[0]), found.d, Math.log(intervals.params[1]), found.d);
      bar(found.n, Math.log(intervals.tokens[0]), found.n, Math.log(intervals.tokens[1]));
    }
    all.forEach((at, i) => { if (BUDGETS[i] !== 1) mark(at.n, at.d, "small"); });
    if (found.loss !== undefined) for (const way of [1, -1]) { const shift = way * Math.log(state.stray); mark(found.n + shift, found.d - power * shift, "square"); }
    mark(found.n, found.d, "dot");
    if (found.life_n !== undefined) mark(found.life_n, found.life_d, "diamond");
    all.forEach((at, i) => label(at.n, at.d, scientific(Math.exp(logs[i]), Number.isInteger(Number((logs[i] / Math.LN10).toFixed(6))) ? 4 : 3), 0, 21));
    $("plane-said").innerHTML = key([["now ex-thin", "equal compute"], ...(found.loss === undefined ? [] : [["contour", "equal loss"]]), ["frontier", "frontier"],
      ["dot", "best size and tokens"], ...(found.life_n !== undefined ? [["diamond", "with serving"]] : [])]);
  }

  const GLYPHS = {dot: "M7,7a5,5 0 1,0 10,0a5,5 0 1,0 -10,0", square: "M7.5,2.5h9v9h-9z", diamond: "M12,0l6,7l-6,7l-6,-7z"};
  const key = items => items.map(([kind, text]) =>
    `<span class="ex-key"><svg width="24" height="14" aria-hidden="true"><path class="ex-${kind}" d="${GLYPHS[kind] ?? "M1,7H23"}"/></svg> ${text}</span>`).join(" ");

  /* ---- all of it ---- */

  let last = null;
  function picture() {
    if (!last) return;
    showValleys(...last);
    showPlane(...last);
  }

  function update(source) {
    const law = lawNow(), convention = countNow(law), fit = law.counts[convention], row = rowOf(fit);
    const logC = Math.log(state.c), found = consequences(row, logC, state.stray, state.inf);
    const copies = (fit.replicates ?? []).map(r => consequences(r, logC, state.stray, state.inf));
    const intervals = {a: fit.a_interval, b: fit.b_interval};
    for (const [name] of ROWS) if (name && copies.length && found[name] !== undefined) intervals[name] = interval(copies.map(c => c[name]));
    const typing = source && source.type === "text" ? source : null, kept = typing?.value;
    fillForm();
    if (typing) typing.value = kept;
    $("slider").setAttribute("aria-valuetext", `${scientific(state.c)} FLOPs`);
    showRows(found, intervals);
    notesOn(law, convention, fit, found);
    tell(law, convention, found, intervals);
    last = [row, logC, found, intervals];
    picture();
    writeLink();
  }

  fillLaws();
  readLink();
  root.hidden = false;
  $("slider").addEventListener("input", () => { state.c = Number((10 ** Number($("slider").value)).toPrecision(4)); update(); });
  $("law").addEventListener("change", () => { state.law = $("law").value; update(); });
  $("count").addEventListener("change", () => { state.count = $("count").value; update(); });
  field("flops", "c", 1e6, 1e40, "number of FLOPs from 1e6 to 1e40: write 1e21 or 5.76e23");
  field("tokens", "inf", 0, 1e30, "number of tokens from 0 to 1e30: write 0, 2e12 or 2T");
  field("factor", "stray", 1.0001, 1e4, "factor above 1 and up to 10000: write 2");
  $("file").addEventListener("change", () => { take($("file").files); });
  for (const type of ["dragover", "dragenter"]) root.addEventListener(type, event => { event.preventDefault(); root.classList.add("ex-over"); });
  for (const type of ["dragleave", "drop"]) root.addEventListener(type, () => root.classList.remove("ex-over"));
  root.addEventListener("drop", event => { event.preventDefault(); take(event.dataTransfer.files); });
  root.querySelector("form").addEventListener("submit", event => event.preventDefault());
  $("copy").addEventListener("click", async () => {
    try { await navigator.clipboard.writeText(location.href); $("copied").textContent = "Copied."; }
    catch { $("copied").textContent = "The browser does not let the page copy: take the address from its bar."; }
  });
  $("reset").addEventListener("click", () => { Object.assign(state, START); update(); });
  window.addEventListener("hashchange", () => { readLink(); update(); });
  new ResizeObserver(picture).observe($("plane").parentElement.parentElement);
  update();
})();
