// What tells two implementations apart, and the map of all pairs, whose fields say how much of it there is.
"use strict";
conformance.pairs = ((site, {make, dotted, scroll}, walk) => {
  const value = (row, field) => row.declared[field] || row.seen[field] || "";
  // The fields in which two choose otherwise, by their documentation or by their numbers where both show some.
  function choices(from, to) {
    const all = [...new Set([from, to].flatMap((row) => [...Object.keys(row.declared), ...Object.keys(row.seen)]))];
    return all.filter((field) => value(from, field) !== value(to, field) &&
      (field in from.declared || field in to.declared || (value(from, field) && value(to, field))));
  }
  // The findings of one that the other does not have.
  function alone(row, other) {
    const shared = new Set(other.findings.map(([sentence]) => sentence));
    return row.findings.filter(([sentence]) => !shared.has(sentence));
  }
  // How many cases were judged on both, came out differently, and are right in one alone; null where none was.
  function cases(pairs, from, to) {
    const known = from.op === to.op ? pairs[from.op] : null;
    const [one, two] = [from, to].map((row) => (known ? known.names.indexOf(row.name) : -1)).sort((a, b) => a - b);
    if (one < 0 || one === two) return null;
    const at = 3 * (one * known.names.length - (one * (one + 1)) / 2 + two - one - 1);
    const [both, apart, disagreeing] = known.pairs.slice(at, at + 3);
    return both ? {both, apart, disagreeing} : null;
  }
  const several = (number, noun) => `${number} ${noun}${number === 1 ? "" : "s"}`;
  const LEVELS = [0, 2, 5, 10, 20];

  function field(data, from, to) {
    if (from === to) return make("td", {class: "none"}, make("span", {class: "unseen"}, "itself"));
    const [chosen, faults] = [choices(from, to), [...alone(from, to), ...alone(to, from)]];
    const known = cases(data.pairs, from, to);
    const told = `${from.name} → ${to.name}: ${several(chosen.length, "choice")} differ${chosen.length === 1 ? "s" : ""}` +
      `${chosen.length ? ` (${chosen.join(", ")})` : ""}, ${several(faults.length, "fault")} of one alone` +
      `${known ? `; ${known.apart} of ${several(known.both, "common case")} come out differently` : "; no case was judged on both"}`;
    const level = LEVELS.filter((limit) => chosen.length + faults.length > limit).length;
    return make("td", {class: `heat-${level}`},
      make("a", {href: site.to("porting.html", {from: from.name, to: to.name}), title: told}, `${chosen.length}+${faults.length}`));
  }
  // The table of one operation; `rows` are its implementations.
  function table(data, rows) {
    const named = (row) => make("a", {href: site.to(`implementations/${row.slug}.html`)}, dotted(row.name));
    const made = make("table", {class: "heat"},
      make("caption", {}, "Row to column: choices that differ + faults that one of the two has alone"),
      make("thead", {}, make("tr", {}, make("td"), rows.map((row) => make("th", {scope: "col", class: "upright"}, make("span", {}, named(row)))))),
      make("tbody", {}, rows.map((from) => make("tr", {}, make("th", {scope: "row"}, named(from)), rows.map((to) => field(data, from, to))))));
    walk(made);
    return scroll("Map of pairs", made);
  }
  // The map with what narrows it: the operation, and whether variants of a layer stand beside it.
  function map(data, {op: asked, variants}) {
    const counts = new Map();
    for (const {op} of data.rows) counts.set(op, (counts.get(op) || 0) + 1);
    const ops = [...counts].filter(([, count]) => count > 1).map(([op]) => op);
    const op = ops.includes(asked) ? asked : ops.includes("batch_norm") ? "batch_norm" : ops[0];
    if (!op) return [make("p", {}, "No operation of this run has two implementations.")];
    const all = data.rows.filter((row) => row.op === op);
    const plain = all.filter((row) => !row.variant);
    const chosen = make("select", {}, ops.map((each) => make("option", {value: each}, each.replaceAll("_", " "))));
    const folded = make("input", {type: "checkbox"});
    chosen.value = op;
    folded.checked = Boolean(variants);
    const turn = () => {
      location.href = site.to("porting.html", {op: chosen.value, ...(folded.checked ? {variants: "1"} : {})});
    };
    for (const each of [chosen, folded]) each.addEventListener("change", turn);
    const shown = variants || plain.length < 2 ? all : plain;
    return [
      make("h2", {}, "All pairs"),
      make("p", {class: "quiet"}, "A field leads to its pair. It says how many documented or observed choices tell the two apart, and how many faults ",
        "only one of them has: 0+0 is a move that changes nothing. Arrow keys go from field to field."),
      make("p", {id: "map"}, make("label", {}, "Operation ", chosen), " ",
        all.length > plain.length ? make("label", {}, folded, ` variants of a layer too (${all.length} in place of ${plain.length})`) : null),
      table(data, shown),
    ];
  }
  return {value, choices, alone, cases, several, map};
})(conformance, conformance.marks, conformance.walk);
