// The matrix: drawn again for the cells of a view, and walked with the arrow keys.
// What a field says of its cells is what matrix.py says: a test compares the two.
"use strict";
conformance.matrix = ((site, {make}, walk) => {

  // Counts of verdicts and stands by field, as one array of numbers: [clause][column][verdict..., stand..., missing].
  function counted(cells, positions, query) {
    const {words, index} = cells;
    const [verdicts, stands, columns] = [words.verdicts.length, words.stands.length, words.columns.length];
    const width = verdicts + stands + stands + 1;
    const counts = new Uint32Array(words.clauses.length * columns * width);
    for (const at of positions) {
      const code = index.code[at], verdict = Math.floor(code / stands), stand = code % stands;
      for (const clause of index.cases[index.case[at]][4]) {
        const start = (clause * columns + index.column[at]) * width;
        counts[start + verdict] += 1;
        counts[start + verdicts + stand] += 1;
        if (words.verdicts[verdict][3]) counts[start + verdicts + stands + stand] += 1;
      }
    }
    const pass = cells.passing(query);
    // What was not run has no verdict and no text to ask for.
    if (!query.verdict && !query.text) for (const [of, column] of index.missing) {
      if (pass.case[of] && pass.column[column]) for (const clause of index.cases[of][4]) {
        counts[(clause * columns + column) * width + width - 1] += 1;
      }
    }
    return (clause, column) => counts.subarray((clause * columns + column) * width, (clause * columns + column + 1) * width);
  }

  function field(words, counts) {
    const {verdicts, stands} = words;
    const of = counts.subarray(0, verdicts.length);
    const standing = counts.subarray(verdicts.length, verdicts.length + stands.length);
    const standingJudged = counts.subarray(verdicts.length + stands.length, counts.length - 1);
    const missing = counts[counts.length - 1];
    let judged = 0, worst = -1, worstJudged = -1;
    of.forEach((count, verdict) => {
      if (!count) return;
      worst = verdict;
      if (verdicts[verdict][3]) { judged += count; worstJudged = verdict; }
    });
    const verdict = worstJudged >= 0 ? worstJudged : worst;
    const stand = (judged ? standingJudged : standing).findLastIndex((count) => count > 0);
    const parts = [...of.keys()].reverse().filter((each) => of[each]).map((each) => `${of[each]} ${verdicts[each][2]}`);
    if (missing) parts.push(`${missing} not run`);
    const notes = [...standing.keys()].reverse().filter((each) => standing[each] && stands[each][2]).map((each) => `${standing[each]} ${stands[each][2]}`);
    const text = (parts.join(", ") || "no case") + (notes.length ? ` (${notes.join(", ")})` : "");
    const right = verdict >= 0 && ["exact", "conforms"].includes(verdicts[verdict][0]);
    const shown = verdict < 0 ? String(missing || "") : right ? String(judged) : judged ? `${of[verdict]}/${judged}` : String(of[verdict]);
    return {verdict, stand, missing, text, shown};
  }

  function draw(td, words, key, {verdict, stand, missing, text, shown}) {
    if (verdict < 0) {
      td.className = missing ? "missing" : "none";
      if (missing) td.title = text; else td.removeAttribute("title");
      const sign = missing ? [make("i", {"aria-hidden": "true"}, "○"), shown] : [];
      td.replaceChildren(...sign, make("span", {class: "unseen"}, missing ? " not run" : "no case"));
      return;
    }
    td.className = `${words.verdicts[verdict][0]} ${words.stands[stand][0]}`;
    td.removeAttribute("title");
    td.replaceChildren(make("a", {href: site.to("matrix.html", {field: key}), title: text},
      make("i", {"aria-hidden": "true"}, words.verdicts[verdict][1] + words.stands[stand][1]), shown,
      make("span", {class: "unseen"}, ` ${words.verdicts[verdict][2]}`)));
  }

  class Matrix {
    constructor(table, words) {
      Object.assign(this, {table, words, columns: words.columns.map((each) => each[0])});
      this.rows = [...table.querySelectorAll("tr[data-clause]")].map((row) => ({
        row, clause: row.dataset.clause, at: words.clauses.findIndex(([number]) => number === row.dataset.clause),
        fields: [...row.cells].slice(1, 1 + this.columns.length),
      }));
      this.settle = walk(table);
    }
    // Draws the fields of those cells; filters that name columns or rows hide the others.
    show(cells, positions, query) {
      const at = counted(cells, positions, query);
      const pass = cells.passing(query);
      const narrowed = Object.keys(query).some((name) => name !== "field");
      for (const {row, clause, at: position, fields} of this.rows) {
        let empty = true;
        fields.forEach((td, column) => {
          const found = field(this.words, at(position, column));
          draw(td, this.words, `${clause}@${this.columns[column]}`, found);
          td.hidden = !pass.column[column];
          if (!td.hidden && (found.verdict >= 0 || found.missing)) empty = false;
        });
        row.hidden = Boolean(query.clause && query.clause !== clause) || (narrowed && empty);
      }
      for (const body of this.table.querySelectorAll("tbody.clauses")) {
        body.hidden = [...body.querySelectorAll("tr[data-clause]")].every((row) => row.hidden);
      }
      this.hideColumns(pass.column);
      this.hideGrades(query, pass.column);
      this.settle();
    }
    hideColumns(pass) {
      for (const each of this.table.querySelectorAll("thead [data-of]")) {
        const shown = each.dataset.of.split(" ").filter((name) => pass[this.columns.indexOf(name)]).length;
        each.hidden = shown === 0;
        each.colSpan = Math.max(1, shown);
      }
      [...this.table.querySelectorAll("thead .mode")].forEach((each, column) => { each.hidden = !pass[column]; });
    }
    hideGrades(query, pass) {
      for (const row of this.table.querySelectorAll("tr[data-dtype]")) {
        [...row.cells].slice(1, 1 + pass.length).forEach((td, column) => { td.hidden = !pass[column]; });
        row.hidden = Boolean(query.dtype && row.dataset.dtype !== query.dtype);
      }
    }
    // Marks the field whose cells are listed.
    point(key) {
      this.table.querySelector("td.listed")?.classList.remove("listed");
      if (!key) return;
      const row = this.rows.find((each) => each.clause === key.slice(0, key.indexOf("@")));
      row?.fields[this.columns.indexOf(key.slice(key.indexOf("@") + 1))]?.classList.add("listed");
    }
  }
  return {Matrix};
})(conformance, conformance.marks, conformance.walk);
