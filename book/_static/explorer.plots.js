/* The explorer's two pictures, drawn as SVG at the width that there is, so that letters keep their size. */
"use strict";
const ExplorerPlots = (() => {
  const {raise, scientific, count, round, loss} = ExplorerNumbers;
  const {optimum} = ExplorerLaw;
  const NS = "http://www.w3.org/2000/svg";
  const EDGE = {left: 58, right: 14, top: 22, bottom: 46};
  const BUDGETS = [0.01, 0.1, 1, 10];  // times the chosen compute
  const SHAPES = {  // round where the pen is
    dot: "m-5,0a5,5 0 1,0 10,0a5,5 0 1,0 -10,0", small: "m-3,0a3,3 0 1,0 6,0a3,3 0 1,0 -6,0",
    square: "m-4.5,-4.5h9v9h-9z", diamond: "m0,-7l6,7l-6,7l-6,-7z",
  };

  function draw(parent, name, attributes, text) {
    const element = document.createElementNS(NS, name);
    for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
    if (text !== undefined) element.textContent = text;
    parent.append(element);
    return element;
  }

  const steps = ([low, high], many = 160) => Array.from({length: many + 1}, (_, i) => low + (high - low) * i / many);
  const around = (values, pad) => [Math.min(...values) - pad, Math.max(...values) + pad];

  /** Ticks [place, text] at decades of a natural logarithm, at most `room` or so. */
  function decades([low, high], room) {
    const first = Math.ceil(low / Math.LN10), last = Math.floor(high / Math.LN10);
    const step = Math.max(1, Math.ceil((last - first + 1) / Math.max(2, room)));
    const many = Math.max(0, Math.floor((last - first) / step) + 1);
    return Array.from({length: many}, (_, i) => first + i * step).map(e => [e * Math.LN10, `10${raise(e)}`]);
  }

  /** Ticks [place, text] at round numbers, about five. */
  function even([low, high]) {
    const unit = 10 ** Math.floor(Math.log10((high - low) / 5));
    const step = [1, 2, 5, 10].map(m => m * unit).find(s => s >= (high - low) / 5);
    const digits = Math.max(0, -Math.floor(Math.log10(step) + 1e-9)), first = Math.ceil(low / step);
    const places = Array.from({length: 12}, (_, i) => (first + i) * step);
    return places.filter(v => v <= high).map(v => [v, v.toFixed(digits)]);
  }

  /** Empty axes in `box`, and what draws on them: line, mark, label, bar. x is a natural logarithm. */
  function axes(box, xs, ys, xName, yName, alt, linear) {
    const width = Math.max(260, box.clientWidth), height = Math.round(Math.min(400, Math.max(270, width * 0.66)));
    const {left, right, top, bottom} = EDGE, foot = height - bottom, end = width - right;
    const X = x => left + (x - xs[0]) / (xs[1] - xs[0]) * (end - left);
    const Y = y => foot - (y - ys[0]) / (ys[1] - ys[0]) * (foot - top);
    const shell = document.createDocumentFragment();
    const svg = draw(shell, "svg", {width, height, viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": alt});
    const clip = draw(draw(svg, "defs", {}), "clipPath", {id: `${box.id}-clip`});
    draw(clip, "rect", {x: left, y: top, width: end - left, height: foot - top});
    for (const [x, text] of decades(xs, width / 75)) {
      draw(svg, "path", {class: "ex-grid", d: `M${X(x)},${top}V${foot}`});
      draw(svg, "text", {x: X(x), y: foot + 17, "text-anchor": "middle"}, text);
    }
    for (const [y, text] of linear ? even(ys) : decades(ys, height / 45)) {
      draw(svg, "path", {class: "ex-grid", d: `M${left},${Y(y)}H${end}`});
      draw(svg, "text", {x: left - 6, y: Y(y) + 4, "text-anchor": "end"}, text);
    }
    draw(svg, "text", {x: (left + end) / 2, y: height - 8, "text-anchor": "middle"}, xName);
    draw(svg, "text", {x: 6, y: 13}, yName);
    draw(svg, "path", {class: "ex-axis", d: `M${left},${top}V${foot}H${end}`});
    const under = draw(svg, "g", {"clip-path": `url(#${box.id}-clip)`}), over = draw(svg, "g", {});
    box.replaceChildren(shell);
    const inside = (x, y) => x >= xs[0] && x <= xs[1] && y >= ys[0] && y <= ys[1];
    const line = (points, kind) => {
      let d = "", pen = "M";
      for (const [x, y] of points) {
        if (!isFinite(y)) { pen = "M"; continue; }
        d += `${pen}${X(x).toFixed(1)},${Math.max(-1e4, Math.min(1e4, Y(y))).toFixed(1)}`;
        pen = "L";
      }
      draw(under, "path", {class: kind, d});
    };
    return {
      line,
      bar: (from, to) => line([from, to], "ex-bar"),
      mark: (x, y, shape) => {
        if (inside(x, y)) draw(over, "path", {class: `ex-${shape}`, d: `M${X(x)},${Y(y)}${SHAPES[shape]}`});
      },
      label: (x, y, text, dx, dy, anchor) => {
        const at = {class: "ex-label", x: X(x) + dx, y: Y(y) + dy, "text-anchor": anchor};
        if (inside(x, y)) draw(over, "text", at, text);
      },
    };
  }

  /** The legend under a picture: [class of the line or shape, words]. */
  const legend = items => items.map(([kind, text]) =>
    `<span class="ex-key"><svg width="24" height="14" aria-hidden="true"><path class="ex-${kind}" ` +
    `d="${SHAPES[kind] ? `M12,7${SHAPES[kind]}` : "M1,7H23"}"/></svg> ${text}</span>`).join(" ");

  const budgetName = logC => scientific(Math.exp(logC), Math.abs(logC / Math.LN10 % 1) < 1e-6 ? 4 : 3);
  const budgets = (row, logC) => BUDGETS.map(factor => {
    const log = logC + Math.log(factor);
    return {...optimum(row, log), log, now: factor === 1};
  });

  /** Loss over size at a few budgets; `picture` is {row, logC, found, intervals, stray, unit}. */
  function valleys(box, caption, {row, logC, found, intervals, stray, unit}) {
    const all = budgets(row, logC), off = [found.n + Math.log(stray), found.n - Math.log(stray)];
    const wide = around([found.n, ...off], 0.15 * Math.log(stray));
    const xs = around([...all.map(at => at.n), ...wide, found.life_n ?? found.n], 1.6);
    const floors = around(all.map(at => at.loss), 0), drop = floors[1] - floors[0];
    const strayed = off.map(x => found.loss + found.excess(x));
    const ys = [floors[0] - 0.2 * drop, Math.min(Math.max(floors[1] + 0.3 * drop, ...strayed), floors[1] + 2 * drop)];
    const C = Math.exp(logC), alt = `Loss against parameters for four budgets, ${scientific(C / 100)} to ` +
      `${scientific(C * 10)} FLOPs: valleys whose floors fall and move to larger models. At ${scientific(C)} FLOPs the ` +
      `floor is at ${count(found.params)} parameters and ${loss(found.loss)} nats.`;
    const {line, mark, label, bar} = axes(box, xs, ys, "parameters", `loss, ${unit}`, alt, true);
    for (const at of all) line(steps(xs).map(x => [x, at.loss + at.excess(x)]), at.now ? "ex-now" : "ex-other");
    line(steps([logC - 14, logC + 12]).map(c => optimum(row, c)).map(at => [at.n, at.loss]), "ex-frontier");
    if (intervals.params) bar(...intervals.params.map(size => [Math.log(size), found.loss]));
    for (const at of all) {
      label(at.n, at.loss, budgetName(at.log), -6, 19, "end");
      mark(at.n, at.loss, at.now ? "dot" : "small");
    }
    off.forEach((x, i) => mark(x, strayed[i], "square"));
    const key = [["now", "loss at the chosen compute"], ["other", "at a hundredth, a tenth and ten times it"],
      ["frontier", "frontier"], ["dot", `best size${intervals.params ? ", with its interval" : ""}`],
      ["square", `${round(stray)} times off`]];
    if (found.life_n !== undefined) {
      mark(found.life_n, found.loss, "diamond");
      key.push(["diamond", "best size with serving, same loss"]);
    }
    caption.innerHTML = legend(key);
  }

  /** Tokens over size: lines of equal compute, contours of equal loss, and the frontier; `picture` as above. */
  function plane(box, caption, {row, logC, found, intervals, stray}) {
    const all = budgets(row, logC), power = found.power ?? 1;
    const xs = around([...all.map(at => at.n), found.life_n ?? found.n], 1.8);
    const ys = around([...all.map(at => at.d), found.life_d ?? found.d], 1.8);
    const alt = `Tokens against parameters: the frontier rises through ${count(found.params)} parameters and ` +
      `${count(found.tokens)} tokens at ${scientific(Math.exp(logC))} FLOPs` +
      (found.loss === undefined ? "." : ", where a contour of equal loss touches the line of equal compute.");
    const {line, mark, label, bar} = axes(box, xs, ys, "parameters", "tokens", alt, false);
    for (const at of all) {
      line(xs.map(x => [x, at.d - power * (x - at.n)]), `ex-thin ${at.now ? "ex-now" : "ex-other"}`);
      if (at.tokensFor) line(steps(xs, 400).map(x => [x, at.tokensFor(x)]), `ex-contour${at.now ? " ex-contour-now" : ""}`);
    }
    line([-40, 40].map(step => optimum(row, logC + step)).map(at => [at.n, at.d]), "ex-frontier");
    if (intervals.params) {
      bar(...intervals.params.map(size => [Math.log(size), found.d]));
      bar(...intervals.tokens.map(tokens => [found.n, Math.log(tokens)]));
    }
    for (const at of all) label(at.n, at.d, budgetName(at.log), 0, 21, "middle");
    const key = [["now ex-thin", "equal compute"], ["frontier", "frontier"], ["dot", "best size and tokens"]];
    if (found.loss !== undefined) {
      key.splice(1, 0, ["contour", "equal loss"]);
      key.push(["square", `${round(stray)} times off`]);
      for (const shift of [Math.log(stray), -Math.log(stray)]) mark(found.n + shift, found.d - power * shift, "square");
    }
    for (const at of all) mark(at.n, at.d, at.now ? "dot" : "small");
    if (found.life_n !== undefined) {
      mark(found.life_n, found.life_d, "diamond");
      key.push(["diamond", "with serving"]);
    }
    caption.innerHTML = legend(key);
  }

  return {valleys, plane};
})();
