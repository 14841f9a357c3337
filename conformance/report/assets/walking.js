// A table of links that is walked with the arrow keys: one stop of the Tab key for the whole body, arrows, Home and End go on.
"use strict";
conformance.walk = (table) => {
  // Makes the first link that is shown the stop; to be called when the links have changed.
  function settle() {
    const links = [...table.querySelectorAll("tbody a")];
    for (const each of links) each.tabIndex = -1;
    // By what is hidden in the table: the page itself may not be shown yet.
    const first = links.find((each) => !each.closest("td[hidden], tr[hidden], tbody[hidden]"));
    if (first) first.tabIndex = 0;
  }
  // The link that a key leads to: fields without one, and hidden ones, are passed over.
  function beside(cell, key) {
    const row = [...cell.parentElement.cells];
    const rows = [...table.querySelectorAll("tbody tr:not(.section)")];
    const column = rows.map((each) => each.cells[cell.cellIndex]);
    const at = rows.indexOf(cell.parentElement);
    const paths = {
      ArrowRight: row.slice(cell.cellIndex + 1), ArrowLeft: row.slice(0, cell.cellIndex).reverse(),
      ArrowDown: column.slice(at + 1), ArrowUp: column.slice(0, Math.max(0, at)).reverse(),
      Home: row, End: [...row].reverse(),
    };
    return (paths[key] || []).map((each) => each?.querySelector("a")).find((each) => each && each.offsetParent !== null);
  }
  table.addEventListener("focusin", (event) => {
    const link = event.target.closest("tbody a");
    if (!link) return;
    const stop = table.querySelector('tbody a[tabindex="0"]');
    if (stop) stop.tabIndex = -1;
    link.tabIndex = 0;
  });
  table.addEventListener("keydown", (event) => {
    const cell = event.target.closest("tbody td, tbody th");
    const next = cell && !event.ctrlKey && !event.altKey && !event.metaKey && beside(cell, event.key);
    if (!next) return;
    event.preventDefault();
    next.focus();
  });
  settle();
  return settle;
};
