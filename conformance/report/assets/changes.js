// A comparison, drawn: regressions first, then what the two ran on, then the rest; every cell a link to its case.
"use strict";
conformance.changes = ((site, {make, dotted, link, head, scroll, mark, short, count}) => {
  const ROWS = 200;
  const CELLS = 30;
  const TITLES = ["Regressions", "Moved", "Environments", "Other changes", "Improvements", "Cells of one run alone"];
  const IMPROVEMENTS = ["steadier", "exact", "better"];
  const CUT = ["refused", "timed_out", "crashed"];
  const PARTS = {versions: "version", settings: "setting", process: "variable", host: "host"};
  const REASONS = {
    "": "though the new run has these cases", failed: "their environment failed", absent: "their environment took no part",
    partial: "the new run is partial", narrowed: "the new run was narrowed", tier: "the new run is of another tier",
    case: "the new run has no such cases",
  };
  const counted = (number, word) => `${count(number)} ${word}${number === 1 ? "" : "s"}`;
  const total = (items, of) => items.reduce((sum, each) => sum + of(each), 0);

  function headline(found) {
    const compared = `${counted(found.compared, "cell")} compared, ${count(found.same)} as before.`;
    const bad = (items) => items.filter((each) => each.regression);
    const cells = found.changes.flatMap((each) => each.cells);
    const moved = cells.filter((cell) => cell.kind === "moved").length;
    const parts = [
      [bad(cells).length - moved, "cell"], [bad(found.grades).length, "grade"],
      [total(bad(found.environments), (each) => each.environments.length), "environment"],
      [total(bad(found.vanished), (each) => each.cases.length), "vanished cell"],
      [total(bad(found.appeared), (each) => each.disagreeing.length), "new disagreeing cell"],
    ];
    const regressed = parts.filter(([number]) => number).map((part) => counted(...part)).join(", ");
    const outcomes = [regressed ? `Regression: ${regressed}.` : "", moved ? `Moved: ${counted(moved, "cell")}.` : ""].filter(Boolean);
    return `${outcomes.join(" ") || "No regression."} ${compared}`;
  }
  function notes({base, new: now, redefined}) {
    const left = `${counted(redefined.length, "case")} defined differently and not compared`;
    return [
      base.spec !== now.spec ? `The specs differ: ${left}.` : redefined.length ? `The suites write their cases differently: ${left}.` : "",
      base.suite !== now.suite ? "Different versions of the suite judged, which can move a verdict." : "",
      base.complete ? "" : "The base run is partial.", now.complete ? "" : "The new run is partial.",
    ].filter(Boolean);
  }
  const sides = ({base, new: now}) => scroll("The two that are compared", make("table", {},
    make("caption", {class: "unseen"}, "The two that are compared"), head("Side", "Run files", "Cells", "Suite", "Spec"),
    make("tbody", {}, [["base", base], ["new", now]].map(([name, side]) => make("tr", {},
      make("th", {scope: "row"}, name), make("td", {}, make("bdi", {}, side.files.join(", "))),
      make("td", {}, count(side.cells), side.tiers.filter(Boolean).map((tier) => `, tier ${tier}`), side.narrowed ? ", narrowed" : ""), make("td", {}, side.suite), make("td", {}, make("code", {}, side.spec)))))));

  /* One row per change: who, how, what, where */
  const row = (who, how, what, where) => make("tr", {}, make("th", {scope: "row"}, who), make("td", {}, how),
    make("td", {dir: "auto"}, what), make("td", {}, where));
  function folded(items, word, drawn) {
    if (!items.length) return "";
    const rest = items.length > CELLS ? make("li", {}, `and ${count(items.length - CELLS)} more`) : "";
    return make("details", {}, make("summary", {}, counted(items.length, word)), make("ul", {class: "plain"}, items.slice(0, CELLS).map((each) => make("li", {}, drawn(each))), rest));
  }
  function marked(words, verdict, status) {
    const at = (list, name) => list.findIndex(([each]) => each === name);
    return mark(words, at(words.verdicts, verdict), at(words.stands, status));
  }
  const implementation = (words, name) => {
    const found = words.columns.find(([, each]) => each === name);
    return found ? link(`implementations/${found[5]}.html`, {}, dotted(name)) : dotted(name);
  };
  const column = (words, name) => {
    const found = words.columns.find(([each]) => each === name);
    return found ? [implementation(words, found[1]), make("div", {class: "quiet"}, `${found[2]} ${found[3]}`)] : dotted(name);
  };
  // The ways in which cells changed, each with the number of cells that did so.
  function transitions(words, {cells}) {
    const ways = new Map();
    for (const cell of cells) {
      const key = JSON.stringify([cell.kind, cell.base, cell.new, cell.base_status, cell.new_status]);
      ways.set(key, [...ways.get(key) ?? [], cell]);
    }
    return [...ways.values()].sort((one, other) => other.length - one.length).map((alike) => make("div", {}, transition(words, alike, ways.size > 1)));
  }
  function transition(words, alike, several) {
    const [{kind, base, new: now, base_status: was, new_status: is}] = alike;
    const told = {drift: "less room", steadier: "more room", otherwise: "otherwise", status: "as before"}[kind];
    const factors = alike.map((cell) => cell.factor === "Infinity" ? Infinity : cell.factor).filter((factor) => factor !== null);
    const range = factors.length ? `scores ×${factor(Math.min(...factors))} to ×${factor(Math.max(...factors))}` : told && base === now ? told : "";
    const quiet = [several ? counted(alike.length, "cell") : "", range].filter(Boolean).join(", ");
    return [marked(words, base, was), " → ", marked(words, now, is), quiet ? make("div", {class: "quiet"}, quiet) : ""];
  }
  function change(words, each) {
    const was = `${each.implementation}-`;
    return row(implementation(words, each.implementation), transitions(words, each), each.what,
      folded(each.cells, "cell", (cell) => [
        link("case.html", {cell: `${cell.case}::${cell.column}`}, `${cell.case} ${cell.column.replace(was, "")}`), " ",
        make("span", {class: "quiet"}, scores(cell)),
        cell.what && cell.what !== each.what ? make("div", {class: "quiet", dir: "auto"}, cell.what) : ""]));
  }
  const factor = (value) => (value === Infinity ? "∞" : Number(value.toPrecision(2)));
  function scores(cell) {
    const shown = [[cell.base, cell.base_score], [cell.new, cell.new_score]].filter(([verdict, score]) => !CUT.includes(verdict) && score !== null);
    return [...new Set(shown.map(([, score]) => short(score)))].join(" → ");
  }
  const grade = (words, each) => row(column(words, each.column), `${each.base} → ${each.new}`, `stability in ${each.dtype}`,
    link("case.html", {cell: `${each.case}::${each.column}`}, each.case));
  const vanished = (words, each) => row(column(words, each.column), "vanished", `${each.whole ? "all of it: " : ""}${REASONS[each.reason]}`, folded(each.cases, "cell", (name) => name));
  const explained = (gone) => row(counted(gone.length, "column"), "vanished", REASONS[gone[0].reason],
    folded(gone, "column", (each) => `${each.column}: ${counted(each.cases.length, "cell")}`));
  const appeared = (words, each) => row(column(words, each.column), "new",
    Object.entries(each.verdicts).map(([verdict, number]) => `${count(number)} ${verdict.replaceAll("_", " ")}`).join(", "),
    folded(each.disagreeing, "disagreeing cell", (cell) => [marked(words, cell.verdict, cell.status), " ",
      link("case.html", {cell: `${cell.case}::${each.column}`}, cell.case), " ", make("span", {class: "quiet", dir: "auto"}, cell.what)]));
  function environment(words, each) {
    const [how, what] = each.part === "fault" ? [`${each.base || "worked"} → ${each.new || "works"}`, ""]
      : each.part === "environment" ? [each.new ? "took no part before" : "takes no part now", each.new || each.base]
      : [PARTS[each.part], `${each.name} ${each.base || "none"} → ${each.new || "none"}`];
    return row(each.environments.join(", "), how, what, "");
  }

  function sections(words, found) {
    const of = Object.fromEntries(TITLES.map((title) => [title, []]));
    const put = (items, title, drawn) => {
      for (const each of items) of[each.kind === "moved" ? "Moved" : each.regression ? "Regressions" : typeof title === "string" ? title : title(each)].push(() => drawn(words, each));
    };
    put(found.environments, "Environments", environment);
    put(found.changes, ({kind}) => (IMPROVEMENTS.includes(kind) ? "Improvements" : "Other changes"), change);
    put(found.grades, "Improvements", grade);
    put(found.vanished.filter((each) => each.regression), "Regressions", vanished);
    for (const reason of Object.keys(REASONS)) {
      const gone = found.vanished.filter((each) => !each.regression && each.reason === reason);
      if (gone.length) of["Cells of one run alone"].push(() => explained(gone));
    }
    put(found.appeared, "Cells of one run alone", appeared);
    return Object.entries(of).filter(([, rows]) => rows.length).flatMap(([title, rows]) => [
      make("h2", {}, title, make("span", {class: "quiet"}, ` ${count(rows.length)}`)),
      scroll(title, make("table", {class: "changes"}, make("caption", {class: "unseen"}, title), head("Who", "How", "What", "Where"),
        make("tbody", {}, rows.slice(0, ROWS).map((drawn) => drawn())))),
      rows.length > ROWS ? make("p", {}, `${count(rows.length - ROWS)} more are in what conformance compare writes.`) : "",
    ]);
  }

  // Returns the elements that show a comparison.
  function drawn(words, found) {
    const told = notes(found);
    const parts = sections(words, found);
    const lead = make("p", {class: "lead", role: "status"}, parts.length || told.length ? headline(found) : `Nothing changed: ${counted(found.compared, "cell")} compared.`);
    return [lead, told.length ? make("ul", {class: "banner"}, told.map((note) => make("li", {}, note))) : "", sides(found), ...parts];
  }
  return {drawn};
})(conformance, conformance.marks);
