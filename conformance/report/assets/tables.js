// Tables that are sorted by a click on a head, and lists that are filtered by words.
//
// A table of one body whose rows stand for themselves is sorted, worst or largest first at the second click. A table or
// list of more than a dozen entries gets a field: what has every word stays.
"use strict";
(({make}) => {
  const LONG = 12;
  const text = (element) => (element?.textContent || "").trim();
  const number = (shown) => {
    const plain = shown.replace(/[\s\u202f]/g, "").replace("∞", "Infinity").replace(/^(-?[\d.]+(e[-+]?\d+)?|-?Infinity).*$/i, "$1");
    return plain === "" ? NaN : Number(plain);
  };

  function sorts(table) {
    const [body, ...others] = table.tBodies;
    return body && !others.length && body.rows.length > 1 && !table.closest(".matrix") && !body.querySelector("[rowspan],[colspan]");
  }
  function sort(table, column, descending) {
    const body = table.tBodies[0];
    const keyed = [...body.rows].map((row) => [text(row.cells[column]), row]);
    const numeric = keyed.every(([shown]) => shown === "" || !Number.isNaN(number(shown)));
    const compare = numeric
      ? ([one], [two]) => (one === "") - (two === "") || (descending ? number(two) - number(one) : number(one) - number(two)) || 0
      : ([one], [two]) => (descending ? -1 : 1) * one.localeCompare(two);
    body.append(...keyed.sort(compare).map(([, row]) => row));
  }
  // The heads of the columns: of the last row, and those of rows above that reach down to it.
  function heads(table) {
    const columns = [];
    [...table.tHead.rows].forEach((row, at) => {
      let place = 0;
      for (const cell of row.cells) {
        while (columns[place]?.until > at) place += 1;
        for (let wide = 0; wide < cell.colSpan; wide += 1) columns[place + wide] = {cell, until: at + cell.rowSpan};
        place += cell.colSpan;
      }
    });
    return columns.map(({cell}) => cell);
  }
  function sortable(table) {
    const all = heads(table);
    all.forEach((head, column) => {
      if (head.colSpan > 1 || !text(head) || head.querySelector("a")) return;
      const button = make("button", {type: "button", class: "sort"}, ...head.childNodes);
      button.addEventListener("click", () => {
        const descending = head.getAttribute("aria-sort") === "ascending";
        for (const other of all) other.removeAttribute("aria-sort");
        head.setAttribute("aria-sort", descending ? "descending" : "ascending");
        sort(table, column, descending);
      });
      head.replaceChildren(button);
    });
  }
  function filtered(before, entries, label) {
    const field = make("input", {type: "search", autocomplete: "off", spellcheck: "false"});
    const found = make("output", {class: "quiet", "aria-live": "polite"});
    field.addEventListener("input", () => {
      const wanted = field.value.toLowerCase().split(/\s+/).filter(Boolean);
      let shown = 0;
      for (const entry of entries()) {
        entry.hidden = !wanted.every((word) => text(entry).toLowerCase().includes(word));
        shown += !entry.hidden;
      }
      found.textContent = wanted.length ? `${shown} of ${entries().length}` : "";
    });
    before.before(make("p", {class: "filter"}, make("label", {}, "Filter ", make("span", {class: "unseen"}, label), field), " ", found));
  }

  document.addEventListener("DOMContentLoaded", () => {
    for (const table of document.querySelectorAll("main table")) {
      if (!table.tHead || !sorts(table)) continue;
      sortable(table);
      if (table.tBodies[0].rows.length > LONG) filtered(table.closest(".scroll") || table, () => [...table.tBodies[0].rows], text(table.caption));
    }
    for (const list of document.querySelectorAll("main ul.causes")) {
      if (list.children.length > LONG) filtered(list, () => [...list.children], "the causes");
    }
  });
})(conformance.marks);
