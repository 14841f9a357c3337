// Older results: those that the report was made with, a file that was chosen, or one dropped onto any page.
"use strict";
((site, {make}) => {
  const FORMATS = [1, 2];
  const PLACES = ["cases", "columns", "environments", "texts"];

  // Returns the document in a file, plain or compressed by gzip; throws what is wrong with it in a sentence.
  async function read(file) {
    const start = new Uint8Array(await file.slice(0, 2).arrayBuffer());
    const packed = start[0] === 0x1f && start[1] === 0x8b;
    let text;
    try {
      text = await new Response(packed ? file.stream().pipeThrough(new DecompressionStream("gzip")) : file.stream()).text();
    } catch {
      throw new Error(`${file.name}: not whole`);
    }
    return checked(text, file.name);
  }
  function checked(text, name) {
    let found;
    try { found = JSON.parse(text); } catch { throw new Error(`${name}: not JSON`); }
    if (!Number.isInteger(found?.format) || !found.cell_fields) {
      throw new Error(`${name}: no results of a conformance report`);
    }
    if (!FORMATS.includes(found.format)) {
      throw new Error(`${name}: results of format ${found.format}; this page reads formats ${FORMATS.join(" and ")}`);
    }
    if (![...PLACES, "runs", "cells"].every((key) => Array.isArray(found[key])) || !reasoned(found) || !found.cells.every((row) => refers(found, row))) {
      throw new Error(`${name}: not whole`);
    }
    return found;
  }
  const reasoned = ({format, reasons, texts}) => format === 1 || (Array.isArray(reasons) && reasons.length === texts.length);
  const refers = (found, [of, column, environment, , , , , text]) =>
    [of, column, environment, text].every((at, place) => found[PLACES[place]][at] !== undefined);

  // Draws the comparison with what `older` promises.
  async function show(into, older) {
    into.setAttribute("aria-busy", "true");
    try {
      const [words, now, base] = await Promise.all([site.load("words"), site.load("results"), older]);
      into.replaceChildren(...site.changes.drawn(words, site.compare(base, now)));
    } catch (error) {
      into.replaceChildren(make("p", {class: "banner", role: "alert"}, `${error.message}.`));
    }
    into.removeAttribute("aria-busy");
  }
  // Where a comparison is shown: on its own page, or before what the page shows.
  function place() {
    const own = document.getElementById("comparison");
    if (own && !own.closest("[hidden]")) return own;
    document.getElementById("dropped")?.remove();
    const into = make("div");
    const close = make("button", {type: "button"}, "Close the comparison");
    const section = make("section", {id: "dropped", "aria-label": "What changed"}, make("h2", {tabindex: "-1"}, "What changed"), into, close);
    close.addEventListener("click", () => section.remove());
    document.getElementById("main").prepend(section);
    section.firstChild.focus();
    scrollTo(0, 0);
    return into;
  }

  addEventListener("dragover", (event) => { if (event.dataTransfer.types.includes("Files")) event.preventDefault(); });
  addEventListener("drop", (event) => {
    const [file] = event.dataTransfer.files;
    if (!file) return;
    event.preventDefault();
    show(place(), read(file));
  });
  document.getElementById("older")?.addEventListener("change", ({target}) => {
    if (target.files[0]) show(document.getElementById("comparison"), read(target.files[0]));
  });
  let begun = false;
  site.page("compare.html", () => {
    const into = document.getElementById("comparison");
    if (begun || !into.dataset.baseline) return;
    begun = true;
    show(into, site.load("baseline"));
  });
})(conformance, conformance.marks);
