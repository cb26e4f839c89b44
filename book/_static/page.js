/* What the theme leaves out for readers who use a keyboard or listen. */
"use strict";
addEventListener("DOMContentLoaded", () => {
  for (const summary of document.querySelectorAll(".bd-links details > summary")) {
    const chapter = summary.closest("li").querySelector("a");
    summary.setAttribute("aria-label", `Notebooks of: ${chapter ? chapter.textContent.trim() : "this chapter"}`);
  }
  for (const list of document.querySelectorAll(".citation-list[role='list']")) list.removeAttribute("role");
  const wide = "figure, .pst-scrollable-table-container, pre, .output.text_html, .math";
  const reach = () => {  // what scrolls sideways can be scrolled by keys
    for (const box of document.querySelectorAll(wide))
      if (box.scrollWidth > box.clientWidth + 1) box.tabIndex = 0;
  };
  addEventListener("load", () => document.fonts.ready.then(reach));
  addEventListener("resize", reach);
});
