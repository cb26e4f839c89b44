/* What a scaling law says, as plain functions: no page here.

   A law is an object as `minichin fit --json` writes of one approach: n_opt and d_opt {coefficient, exponent} and,
   where there is a loss surface, E, A, B, alpha, beta. As a row it is [ln k_N, a, ln k_D, b], those five appended;
   so is each bootstrap replicate. Sizes, tokens and FLOPs are natural logarithms inside, and numbers as handed out. */
"use strict";
const ExplorerLaw = (() => {
  const CONSTANTS = ["E", "A", "B", "alpha", "beta"];
  const CURE = `drop what "minichin fit TABLE --json FILE" writes`;

  function rowOf(law) {
    const lines = [law.n_opt, law.d_opt].flatMap(line => [Math.log(line.coefficient), line.exponent]);
    return "E" in law ? [...lines, ...CONSTANTS.map(name => law[name])] : lines;
  }

  function lawOf(row) {
    const law = {n_opt: {coefficient: Math.exp(row[0]), exponent: row[1]},
                 d_opt: {coefficient: Math.exp(row[2]), exponent: row[3]}};
    row.slice(4).forEach((value, i) => { law[CONSTANTS[i]] = value; });
    return law;
  }

  /** The optimum at ln C. With a surface also its loss, and functions of ln N and ln D for what lies around it. */
  function optimum(row, logC) {
    const [k, a, m, b] = row, n = k + a * logC, d = m + b * logC;
    const found = {params: Math.exp(n), tokens: Math.exp(d), ratio: Math.exp(d - n), a, b, n, d};
    if (row.length < 9) return found;
    const [E, A, B, alpha, beta] = row.slice(4);
    const model = x => A * Math.exp(-alpha * x), data = y => B * Math.exp(-beta * y);
    const reducible = model(n) + data(d);
    // FLOPs are kappa N D with kappa as N^s around the optimum, where equal loss touches equal compute
    const power = alpha * model(n) / (beta * data(d));  // 1 + s
    return {
      ...found, loss: E + reducible, reducible, power, model, data, alpha, beta,
      excess: x => model(x) + data(d - power * (x - n)) - reducible,  // loss of size x at this compute, less ours
      tokensFor: x => {  // ln D with which size x comes to our loss; infinite where no tokens suffice
        const left = reducible - model(x);
        return left > 0 ? (Math.log(B) - Math.log(left)) / beta : Infinity;
      },
    };
  }

  /** The optimum, what it costs to stray from it by a factor, and the best size with tokens served. */
  function consequences(row, logC, stray, served) {
    const found = optimum(row, logC);
    if (found.loss === undefined) return found;
    for (const [name, shift] of [["large", Math.log(stray)], ["small", -Math.log(stray)]]) {
      found[`loss_${name}`] = found.excess(found.n + shift);
      const more = found.power * shift + found.tokensFor(found.n + shift) - found.d;
      found[`compute_${name}`] = Math.exp(more) - 1;
    }
    return served > 0 ? {...found, ...lifetime(found, logC, served)} : found;
  }

  /** The least of kappa N (D + served / 3) at the optimum's loss: where its slope in ln N changes sign. */
  function lifetime(at, logC, served) {
    let low = at.n + Math.log(at.model(at.n) / at.reducible) / at.alpha;  // no tokens suffice below
    let high = at.n;
    for (let i = 0; i < 100; i++) {
      const x = (low + high) / 2, y = at.tokensFor(x), tokens = Math.exp(y);
      const fall = at.alpha * at.model(x) / (at.beta * at.data(y)) * tokens / (tokens + served / 3);
      if (!isFinite(y) || fall > at.power) low = x; else high = x;
    }
    const x = high, y = at.tokensFor(x);
    const cost = (x, tokens) => Math.exp(logC + at.power * (x - at.n) - at.d) * tokens;
    const total = cost(x, Math.exp(y) + served / 3);
    return {
      life_params: Math.exp(x), life_tokens: Math.exp(y), life_ratio: Math.exp(y - x), life_n: x, life_d: y,
      life_train: cost(x, Math.exp(y)), life_total: total,
      life_saved: 1 - total / cost(at.n, Math.exp(at.d) + served / 3),
    };
  }

  /** The central 95 % of values, between neighbours as numpy's percentile; null with fewer than 20. */
  function interval(values) {
    const sorted = values.filter(v => !Number.isNaN(v)).sort((p, q) => p < q ? -1 : p > q ? 1 : 0);
    if (sorted.length < 20) return null;
    return [0.025, 0.975].map(q => {
      const place = q * (sorted.length - 1), i = Math.floor(place), j = Math.min(i + 1, sorted.length - 1);
      return sorted[i] === sorted[j] ? sorted[i] : sorted[i] + (place - i) * (sorted[j] - sorted[i]);
    });
  }

  /* ---- the reader's own laws ---- */

  /** Entries for the list of laws from the text of a file, approach 3 first; throws one line: what, where, cure. */
  function read(text, name) {
    let found;
    try { found = JSON.parse(text); } catch (error) {
      throw Error(`${name} is not JSON (${error.message.replace(/\s+/g, " ")}): ${CURE}`);
    }
    if (typeof found !== "object" || found === null || Array.isArray(found)) {
      const kind = Array.isArray(found) ? "a list" : found === null ? "nothing" : `a ${typeof found}`;
      throw Error(`${name} holds ${kind}, not the object of a fit: ${CURE}`);
    }
    const keys = ["approach3", "approach2", "approach1"].filter(key => key in found);
    if (!keys.length) {
      const there = Object.keys(found).slice(0, 3).join(", ") || "none";
      throw Error(`${name} has no key approach1, approach2 or approach3 (it has ${there}): ${CURE}`);
    }
    const good = keys.filter(key => found[key] && !found[key].error);
    if (!good.length) {
      const why = found[keys[0]]?.error ?? "empty";
      throw Error(`${name}: no approach succeeded (${keys[0]}: ${why}); add runs and fit again`);
    }
    return good.map(key => entry(found[key], key.at(-1), found.convention, name));
  }

  function entry(fit, approach, convention, name) {
    const law = {replicates: null, a_interval: fit.a_interval, b_interval: fit.b_interval};
    const number = (object, place, ok, wanted) => {
      const value = object?.[place.split(".").at(-1)];
      if (typeof value === "number" && isFinite(value) && ok(value)) return value;
      const got = JSON.stringify(value) ?? "nothing";
      throw Error(`${name}, approach${approach}.${place} must be a ${wanted}number, got ${got}: fit the table again`);
    };
    const positive = value => value > 0;
    for (const line of ["n_opt", "d_opt"])
      law[line] = {
        coefficient: number(fit[line], `${line}.coefficient`, positive, "positive "),
        exponent: number(fit[line], `${line}.exponent`, () => true, ""),
      };
    if ("E" in fit) {
      law.E = number(fit, "E", value => value >= 0, "non-negative ");
      for (const constant of CONSTANTS.slice(1)) law[constant] = number(fit, constant, positive, "positive ");
    }
    return {
      id: `own${approach}`, label: `Yours: ${name}, approach ${approach}`, source: name, name, own: true, note: "",
      unit: "nats of your table", range: null, counts: {[typeof convention === "string" ? convention : "6ND"]: law},
    };
  }

  /** One own law as text for a link, and back; throws one line where the link is cut. */
  function pack(law) {
    const [convention, fit] = Object.entries(law.counts)[0];
    const numbers = rowOf(fit).map(x => String(Number(x.toPrecision(9))));
    return [law.name, law.id.at(-1), convention, ...numbers].map(encodeURIComponent).join("~");
  }

  function unpack(text) {
    const [name, approach, convention, ...rest] = text.split("~").map(decodeURIComponent);
    if (rest.length !== 4 && rest.length !== 9)
      throw Error(`The link holds ${rest.length} numbers of its own law, not 4 or 9: it was cut; copy it again`);
    return entry(lawOf(rest.map(Number)), approach, convention, name);
  }

  return {CURE, rowOf, optimum, consequences, interval, read, pack, unpack};
})();
