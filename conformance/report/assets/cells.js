// A list of cells, worst first, a piece at a time.
"use strict";
conformance.cells = (({make, link, dotted, head, scroll, mark, short, count}) => {
  const PIECE = 100;

  function row(cells, at) {
    const {words, index} = cells;
    const [id, title, , dtype] = index.cases[index.case[at]];
    const [, implementation, mode, device, , slug] = words.columns[index.column[at]];
    const code = index.code[at], stands = words.stands.length;
    return make("tr", {},
      make("td", {}, mark(words, Math.floor(code / stands), code % stands)),
      make("td", {}, link("case.html", {cell: cells.id(at)}, make("span", {class: "clip"}, title)), make("div", {class: "quiet"}, `${id} · ${dtype}`)),
      make("td", {}, link(`implementations/${slug}.html`, {}, dotted(implementation)), make("div", {class: "quiet"}, `${mode} ${device}`)),
      make("td", {class: "number"}, short(index.score[at])),
      make("td", {}, make("span", {class: "clip", dir: "auto"}, index.texts[index.what[at]])));
  }

  function show(into, cells, positions) {
    const body = make("tbody");
    const more = make("button", {type: "button"});
    let shown = 0;
    const extend = () => {
      body.append(...positions.slice(shown, shown += PIECE).map((at) => row(cells, at)));
      more.hidden = shown >= positions.length;
      more.textContent = `Show ${Math.min(PIECE, positions.length - shown)} more of ${count(positions.length)}`;
    };
    extend();
    more.addEventListener("click", extend);
    into.replaceChildren(positions.length
      ? scroll("Cells found", make("table", {class: "cells"}, make("caption", {class: "unseen"}, "Cells found, worst first"),
        head("Verdict", "Case", "Implementation", "Score", "What"), body))
      : make("p", {}, "No cell matches. Clear a filter."), more);
  }
  return {show};
})(conformance.marks);
