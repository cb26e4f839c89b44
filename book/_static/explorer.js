/* The explorer page: its form, its table, its address. What a law says is in explorer.law.js, numbers as people
   read them in explorer.numbers.js, pictures in explorer.plots.js; the laws come from explorer_laws.js, which
   src/minichin/explorer.py writes. Plain scripts, loaded in this order, since a page on a disk may import nothing. */
"use strict";
(() => {
  const root = document.getElementById("ex-root"), given = window.MINICHIN_LAWS;
  if (!root || !given) return;
  const {parse, typed, scientific, count, round, loss, exponent, share, more, percentMore} = ExplorerNumbers;
  const $ = id => document.getElementById(`ex-${id}`);
  const START = {c: 1e21, law: "besiroglu", count: "6ND", inf: 0, stray: 2};
  const state = {...START};
  const laws = [...given.laws];
  const lawNow = () => laws.find(law => law.id === state.law) ?? laws[0];
  const countNow = law => state.count in law.counts ? state.count : Object.keys(law.counts)[0];

  /* ---- the address ---- */

  function writeLink() {
    const law = lawNow(), {c, inf, stray} = state;
    const parts = {c: typed(c), law: law.id, count: state.count, inf: typed(inf), stray};
    if (law.own) parts.own = ExplorerLaw.pack(law);
    const hash = "#" + Object.entries(parts).map(([name, value]) => `${name}=${value}`).join("&");
    try { history.replaceState(history.state, "", hash); } catch { location.hash = hash; }
  }

  function readLink() {
    const asked = Object.fromEntries(location.hash.slice(1).split("&").map(part => part.split(/=(.*)/s).slice(0, 2)));
    for (const [name, [low, high]] of Object.entries(LIMITS)) {
      const value = Number(asked[name] ?? NaN);
      if (value >= low && value <= high) state[name] = value;
    }
    if (asked.count in given.conventions) state.count = asked.count;
    try { if (asked.own) adopt([ExplorerLaw.unpack(asked.own)]); } catch (error) { complain(error.message); }
    if (laws.some(law => law.id === asked.law)) state.law = asked.law;
  }

  /* ---- the reader's own law ---- */

  function complain(line) {
    $("file-said").className = "ex-wrong";
    $("file-said").textContent = line;
  }

  function adopt(found) {
    for (let i = laws.length - 1; i >= 0; i--) if (laws[i].own) laws.splice(i, 1);
    laws.push(...found);
    state.law = found[0].id;
    fillLaws();
  }

  async function take(files) {
    const file = files[0];
    if (!file) return;
    try {
      if (files.length > 1) throw Error(`${files.length} files were dropped, and one is read: drop a single file`);
      const size = Math.round(file.size / 1e6);
      if (size > 20) throw Error(`${file.name} has ${size} MB, too much for a fit: ${ExplorerLaw.CURE}`);
      adopt(ExplorerLaw.read(await file.text(), file.name));
      $("file-said").className = "ex-right";
      $("file-said").textContent = `Read ${file.name}.`;
      update();
    } catch (error) {
      complain(error.message);
    }
  }

  /* ---- the form ---- */

  const LIMITS = {c: [1e6, 1e40], inf: [0, 1e30], stray: [1.0001, 1e4]};
  const FIELDS = {
    flops: ["c", "number of FLOPs from 1e6 to 1e40: write 1e21 or 5.76e23"],
    tokens: ["inf", "number of tokens from 0 to 1e30: write 0, 2e12 or 2T"],
    factor: ["stray", "factor above 1, up to 10,000: write 2"],
  };

  function fillLaws() {
    const published = law => !law.own && !law.range;
    const groups = [["Published", published], ["Ours", law => law.range], ["Yours", law => law.own]];
    const full = groups.filter(([, belongs]) => laws.some(belongs));
    $("law").replaceChildren(...full.map(([name, belongs]) => {
      const group = document.createElement("optgroup");
      group.label = name;
      group.append(...laws.filter(belongs).map(law => new Option(law.label, law.id)));
      return group;
    }));
  }

  function fillForm(typing) {
    const law = lawNow(), convention = countNow(law);
    for (const [id, [name]] of Object.entries(FIELDS)) {
      if ($(id) === typing) continue;
      $(id).value = typed(state[name]);
      told(id, true);
    }
    $("slider").value = Math.log10(state.c);
    $("slider").setAttribute("aria-valuetext", `${scientific(state.c)} FLOPs`);
    $("law").value = law.id;
    $("count").replaceChildren(...Object.keys({...given.conventions, ...law.counts}).map(name => {
      const option = new Option(name in law.counts ? name : `${name} (not of this law)`, name);
      option.disabled = !(name in law.counts);
      return option;
    }));
    $("count").value = convention;
    $("count-said").textContent = given.conventions[convention] ?? "the count of your file";
  }

  /** Mark a field as right or wrong, with what to write. */
  function told(id, ok) {
    $(id).setAttribute("aria-invalid", String(!ok));
    $(`${id}-wrong`).hidden = ok;
    $(`${id}-wrong`).textContent = ok ? "" : `${JSON.stringify($(id).value)} is no ${FIELDS[id][1]}`;
  }

  function read(id) {
    const [name] = FIELDS[id], [low, high] = LIMITS[name];
    const value = parse($(id).value), ok = value >= low && value <= high;
    told(id, ok);
    if (!ok) return;
    state[name] = value;
    update($(id));
  }

  /* ---- the table and the words ---- */

  const ROWS = [
    ["params", "Best size N<sub>opt</sub>, parameters", count],
    ["tokens", "Tokens D<sub>opt</sub>", count],
    ["ratio", "Tokens a parameter", count],
    ["loss", "Loss, predicted", loss, "nats"],
    ["a", "Exponent a of N<sub>opt</sub>", exponent],
    ["b", "Exponent b of D<sub>opt</sub>", exponent],
    ["", () => `${round(state.stray)} times the best size, same compute`],
    ["loss_large", "Loss excess", more, "nats"],
    ["compute_large", "Compute excess for the same loss", percentMore],
    ["", () => `1/${round(state.stray)} of the best size, same compute`],
    ["loss_small", "Loss excess", more, "nats"],
    ["compute_small", "Compute excess for the same loss", percentMore],
    ["", () => `Same loss, and ${round(state.inf)} tokens served`],
    ["life_params", "Best size, parameters", count],
    ["life_tokens", "Training tokens", count],
    ["life_ratio", "Tokens a parameter", count],
    ["life_train", "Training FLOPs", scientific],
    ["life_total", "FLOPs over its life", scientific],
    ["life_saved", "Saved against the best size above", share],
  ];

  function showRows(found, intervals) {
    const rows = [];
    let head = null;
    for (const [key, label, show, unit] of ROWS) {
      const tr = document.createElement("tr");
      if (!key) {
        tr.className = "ex-head";
        tr.innerHTML = `<th scope="colgroup" colspan="3">${label()}</th>`;
        head = tr;
        continue;
      }
      if (found[key] === undefined) continue;
      if (head) rows.push(head);
      head = null;
      const range = intervals[key];
      Object.assign(tr.dataset, {key, value: found[key]}, range && {low: range[0], high: range[1]});
      tr.innerHTML = `<th scope="row">${label}</th>` +
        `<td><span>${show(found[key])}</span>${unit ? ` <span class="ex-unit">${unit}</span>` : ""}</td>` +
        `<td>${range ? `<span>${show(range[0])}</span> to <span>${show(range[1])}</span>` : "none"}</td>`;
      rows.push(tr);
    }
    $("rows").replaceChildren(...rows);
  }

  function showNotes(law, convention, found) {
    const notes = [`${law.source}.`];
    if (law.note) notes.push(`${law.note[0].toUpperCase()}${law.note.slice(1)}.`);
    notes.push(found.loss === undefined
      ? "Without a loss surface there is no loss, no cost of straying and no serving." : `Loss in ${law.unit}.`);
    if (!law.counts[convention].replicates) notes.push(law.own
      ? "No intervals but those of the exponents: such a file carries no bootstrap sample."
      : "No intervals: no bootstrap sample of this law is published.");
    if (convention !== state.count) notes.push(`Counted by ${convention}, the only way this law is known.`);
    $("notes").textContent = notes.join(" ");
    if (law.range) showReach(...law.range);
  }

  /** How far the compute lies from the runs of a law, and a way back. */
  function showReach(low, high) {
    const above = state.c > high, factor = above ? state.c / high : low / state.c;
    if (factor <= 1.001) {
      $("notes").append(` Within the runs, ${scientific(low)} to ${scientific(high)} FLOPs.`);
      return;
    }
    const strong = document.createElement("strong"), button = document.createElement("button");
    const side = above ? "beyond the largest" : "below the smallest";
    strong.textContent = ` ${round(factor)} times ${side} of the runs: ` +
      "an extrapolation, which the intervals do not cover. ";
    button.type = "button";
    button.textContent = `Go to ${scientific(above ? high : low)} FLOPs`;
    button.addEventListener("click", () => {
      state.c = above ? high : low;
      update();
      $("flops").focus();
    });
    $("notes").append(strong, button);
  }

  let waiting = 0;
  /** The answer in a sentence, for all and for screen readers: told once the reader pauses. */
  function say(law, convention, found, intervals) {
    const range = key => intervals[key] ? ` (${intervals[key].map(count).join(" to ")})` : "";
    let text = `${law.label}, at ${scientific(state.c)} FLOPs (${convention}): ${count(found.params)} parameters` +
      `${range("params")}, ${count(found.tokens)} tokens${range("tokens")}, ${count(found.ratio)} tokens a parameter`;
    text += found.loss === undefined ? "." : `, loss ${loss(found.loss)} nats.`;
    if (found.life_params) text += ` With ${round(state.inf)} tokens served: ${count(found.life_params)} parameters, ` +
      `${count(found.life_tokens)} tokens.`;
    clearTimeout(waiting);
    const tell = () => { if ($("said").textContent !== text) $("said").textContent = text; };
    waiting = setTimeout(tell, $("said").textContent ? 250 : 0);
  }

  /* ---- all of it ---- */

  let last = null;
  function drawPictures() {
    $("valleys").parentElement.hidden = last.found.loss === undefined;
    if (last.found.loss !== undefined) ExplorerPlots.valleys($("valleys"), $("valleys-said"), last);
    ExplorerPlots.plane($("plane"), $("plane-said"), last);
  }

  /** Compute and show everything; the field that is being typed in is left as it is. */
  function update(typing) {
    const law = lawNow(), convention = countNow(law), fit = law.counts[convention], row = ExplorerLaw.rowOf(fit);
    const logC = Math.log(state.c), all = r => ExplorerLaw.consequences(r, logC, state.stray, state.inf);
    const found = all(row), intervals = {a: fit.a_interval, b: fit.b_interval};
    if (fit.replicates) {
      const copies = fit.replicates.map(all);
      for (const [key] of ROWS) if (key in found) intervals[key] = ExplorerLaw.interval(copies.map(copy => copy[key]));
    }
    fillForm(typing);
    showRows(found, intervals);
    showNotes(law, convention, found);
    say(law, convention, found, intervals);
    last = {row, logC, found, intervals, stray: state.stray, unit: law.unit};
    drawPictures();
    writeLink();
  }

  function listen() {
    $("slider").addEventListener("input", () => {
      state.c = Number((10 ** Number($("slider").value)).toPrecision(4));
      update();
    });
    for (const name of ["law", "count"])
      $(name).addEventListener("change", () => { state[name] = $(name).value; update(); });
    for (const id of Object.keys(FIELDS)) $(id).addEventListener("input", () => read(id));
    root.querySelector("form").addEventListener("submit", event => event.preventDefault());
    $("file").addEventListener("change", () => take($("file").files));
    const over = on => event => {
      if (!event.dataTransfer?.types.includes("Files")) return;
      event.preventDefault();
      root.classList.toggle("ex-over", on);
      if (event.type === "drop") take(event.dataTransfer.files);
    };
    document.addEventListener("dragover", over(true));
    document.addEventListener("dragleave", over(false));
    document.addEventListener("drop", over(false));
    $("copy").addEventListener("click", async () => {
      const done = "Copied.", refused = "The browser refuses: copy the address from its bar.";
      const copying = navigator.clipboard?.writeText(location.href).then(() => done, () => refused);
      $("copied").textContent = await copying ?? refused;
    });
    $("reset").addEventListener("click", () => { Object.assign(state, START); update(); });
    window.addEventListener("hashchange", () => { readLink(); update(); });
  }

  fillLaws();
  readLink();
  root.hidden = false;
  listen();
  update();
  new ResizeObserver(drawPictures).observe($("plane").parentElement.parentElement);
})();
