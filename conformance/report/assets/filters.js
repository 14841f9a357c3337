// Which cells a view is of. The index holds the cells by columns, worst first; a view is an array of positions.
"use strict";
conformance.filters = (() => {
  const NAMES = ["framework", "column", "op", "clause", "dtype", "mode", "device", "verdict", "text", "differ"];

  // For each of `values`, 1 where it passes.
  const flags = (values, passes) => Uint8Array.from(values, (value, at) => (passes(value, at) ? 1 : 0));
  const has = (texts, word) => flags(texts, (text) => text.includes(word));

  class Cells {
    constructor(words, index) {
      Object.assign(this, {words, index, size: index.case.length});
      this.clauseAt = new Map(words.clauses.map(([number], at) => [number, at]));
      this.lower = {
        cases: index.cases.map(([id, title, op, dtype, clauses]) =>
          [id, title, op, dtype, ...clauses.map((at) => words.clauses[at].join(" "))].join("\n").toLowerCase()),
        columns: words.columns.map((each) => [...each.slice(1, 5), each[6]].join(" ").toLowerCase()),
        texts: index.texts.map((text) => text.toLowerCase()),
      };
    }
    // For each cell, 1 where it is judged and of another kind than most judged cells of its case; what is right, in its
    // documented dialect or not, is one kind. Of kinds that are equally many the better one counts as that of most.
    get disagreeing() {
      return (this.disagreement ||= this.disagreements());
    }
    disagreements() {
      const {stands, verdicts} = this.words;
      const verdict = (at) => Math.floor(this.index.code[at] / stands.length);
      const right = verdicts.findIndex(([name]) => name === "conforms");
      const alike = (code) => (["exact", "dialect"].includes(verdicts[code][0]) ? right : code);
      const counts = this.index.cases.map(() => new Uint32Array(verdicts.length));
      for (let at = 0; at < this.size; at += 1) if (verdicts[verdict(at)][3]) counts[this.index.case[at]][alike(verdict(at))] += 1;
      const most = counts.map((of) => of.indexOf(Math.max(...of)));
      return flags(this.index.case, (of, at) => verdicts[verdict(at)][3] && alike(verdict(at)) !== most[of]);
    }
    // What may be in the list of a filter: [value, label].
    choices(name) {
      const {columns, verdicts, stands, clauses} = this.words;
      const distinct = (values) => [...new Set(values)].map((value) => [value, value]);
      switch (name) {
        case "framework": return distinct(columns.map((each) => each[4]));
        case "mode": return distinct(columns.map((each) => each[2]));
        case "device": return distinct(columns.map((each) => each[3]));
        case "op": return distinct(this.index.cases.map((each) => each[2]));
        case "dtype": return distinct(this.index.cases.map((each) => each[3]));
        case "clause": {
          const named = new Set(this.index.cases.flatMap((each) => each[4]));
          return clauses.filter((_, at) => named.has(at)).map(([number, title]) => [number, `${number} ${title}`]);
        }
        case "verdict": {
          const codes = new Set(this.index.code);
          const seen = (passes) => [...codes].some((code) => passes(Math.floor(code / stands.length), code % stands.length));
          return [
            ...stands.filter(([, , word], at) => word && seen((_, stand) => stand === at)).reverse().map(([name, sign, word]) => [name, `${sign} ${word}`.trim()]),
            ...verdicts.filter((_, at) => seen((verdict) => verdict === at)).map(([name, symbol, word]) => [name, `${symbol} ${word}`]),
          ];
        }
        default: return [];
      }
    }
    passing(query) {
      const {stands, verdicts, columns} = this.words;
      return {
        column: flags(columns, ([name, implementation, mode, device, framework]) =>
          (!query.framework || framework === query.framework) &&
          (!query.column || name === query.column || implementation === query.column) &&
          (!query.mode || mode === query.mode) && (!query.device || device === query.device)),
        case: flags(this.index.cases, ([, , op, dtype, clauses]) =>
          (!query.op || op === query.op) && (!query.dtype || dtype === query.dtype) &&
          (!query.clause || clauses.includes(this.clauseAt.get(query.clause)))),
        code: flags({length: verdicts.length * stands.length}, (_, code) => !query.verdict ||
          verdicts[Math.floor(code / stands.length)][0] === query.verdict || stands[code % stands.length][0] === query.verdict),
      };
    }
    // The positions of the cells that pass every filter, worst first.
    matching(query) {
      const {case: cases, column: columns, code: codes, what} = this.index;
      const pass = this.passing(query);
      const said = (query.text || "").toLowerCase().split(/\s+/).filter(Boolean).map((word) =>
        [has(this.lower.cases, word), has(this.lower.columns, word), has(this.lower.texts, word)]);
      const found = [];
      for (let at = 0; at < this.size; at += 1) {
        if ((!query.differ || this.disagreeing[at]) && pass.column[columns[at]] && pass.case[cases[at]] && pass.code[codes[at]] &&
          said.every(([one, two, three]) => one[cases[at]] || two[columns[at]] || three[what[at]])) found.push(at);
      }
      return found;
    }
    // Those among them of one field of the matrix, named CLAUSE@COLUMN.
    ofField(positions, field) {
      const [clause, column] = [field.slice(0, field.indexOf("@")), field.slice(field.indexOf("@") + 1)];
      const wanted = this.clauseAt.get(clause);
      return positions.filter((at) => this.words.columns[this.index.column[at]][0] === column &&
        this.index.cases[this.index.case[at]][4].includes(wanted));
    }
    id(at) {
      return `${this.index.cases[this.index.case[at]][0]}::${this.words.columns[this.index.column[at]][0]}`;
    }
  }
  return {Cells, NAMES};
})();
