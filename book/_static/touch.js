/* Pictures that answer when touched: each `.tip` of a `.touch` tells its aria-label, by pointer or arrow keys. */
"use strict";
for (const box of document.querySelectorAll(".touch")) {
  const tips = [...box.querySelectorAll(".tip")];
  const text = box.appendChild(document.createElement("div"));
  text.className = "touch-text";
  text.setAttribute("role", "status");
  text.hidden = true;
  let at = -1;

  for (const tip of tips)  // a thin line is hard to hit: lay a wide unseen one over it
    for (const path of tip.querySelectorAll("path"))
      if (getComputedStyle(path).fill === "none" && !path.closest("defs")) {
        const wide = path.cloneNode();
        wide.removeAttribute("id");
        wide.setAttribute("style", "fill: none; stroke: transparent; stroke-width: 8; pointer-events: stroke");
        path.after(wide);
      }

  function show(place) {
    if (at >= 0) tips[at].classList.remove("on");
    at = place;
    text.hidden = at < 0;
    if (at < 0) return;
    const tip = tips[at];
    tip.classList.add("on");
    text.textContent = tip.getAttribute("aria-label");
    const frame = box.getBoundingClientRect(), mark = tip.getBoundingClientRect();
    const x = mark.left + mark.width / 2 - frame.left, y = mark.top - frame.top;
    text.style.left = Math.max(0, Math.min(x + 8, frame.width - text.offsetWidth)) + "px";
    const above = y - text.offsetHeight - 8;
    text.style.top = (above < 0 ? Math.min(mark.bottom - frame.top + 8, frame.height) : above) + "px";
  }

  box.addEventListener("pointerover", event => {
    const tip = event.target.closest(".tip");
    if (tip) show(tips.indexOf(tip));
  });
  box.addEventListener("pointerleave", () => show(-1));
  box.addEventListener("blur", () => show(-1));
  box.addEventListener("keydown", event => {
    const step = {ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1}[event.key];
    if (event.key === "Escape") show(-1);
    if (!step || !tips.length) return;
    event.preventDefault();
    show(at < 0 ? (step > 0 ? 0 : tips.length - 1) : (at + step + tips.length) % tips.length);
  });
}
