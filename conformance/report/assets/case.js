// One case: what it asks, and every implementation side by side.
"use strict";
((site, {make, link, dotted, prose, head, scroll, mark, short}) => {
  const view = document.getElementById("case");
  if (!view) return;
  const plain = (value) => {
    if (Array.isArray(value)) return `(${value.map(plain).join(", ")})`;
    if (value === null || typeof value !== "object") return String(value);
    return Object.entries(value).map(([name, inner]) => `${name} ${plain(inner)}`).join(", ") || "none";
  };

  // The number of the file that would hold the case: the last whose first case is not beyond it.
  function shardOf(firsts, id) {
    let [low, high] = [0, firsts.length];
    while (low < high) {
      const middle = (low + high) >> 1;
      if (firsts[middle] <= id) low = middle + 1; else high = middle;
    }
    return low - 1;
  }

  /* What the case asks */
  function recipe(given) {
    if (Array.isArray(given)) return `[${given.map(recipe).join(", ")}]`;
    if (given === null || typeof given !== "object") return String(given);
    const {kind, ...rest} = given;
    const inner = Object.entries(rest).map(([name, value]) => `${name}=${recipe(value)}`).join(", ");
    return kind ? `${kind}(${inner})` : `{${inner}}`;
  }
  const steps = (given) => make("ol", {class: "steps"}, given.map((step) => {
    const {step: kind, steps: inner, ...rest} = step;
    const parts = Object.entries(rest).map(([name, value]) => make("span", {class: "recipe"}, `${name} = ${recipe(value)}`));
    return make("li", {}, kind, parts, inner ? steps(inner) : null);
  }));
  const facts = (pairs, lines) => make("dl", {class: lines ? "facts lines" : "facts"}, pairs.map(([name, value]) =>
    make("div", {}, make("dt", {}, name), make("dd", {dir: "auto"}, value))));
  function definition(of) {
    const initial = Object.entries(of.initial).map(([name, value]) => [name, make("span", {class: "recipe"}, recipe(value))]);
    return [
      facts(Object.entries(of.configuration).map(([name, value]) => [name, plain(value)])),
      make("h2", {}, "Formulas"), facts(Object.entries(of.formulas).map(([kind, formula]) => [kind, make("code", {}, formula)]), true),
      initial.length ? [make("h2", {}, "Initial state"), facts(initial, true)]
        : make("p", {class: "quiet"}, "Initial state: gamma and moving variance 1, beta and moving mean 0."),
      make("h2", {}, "Steps and data"), steps(of.steps),
      of.published.length ? [make("h2", {}, "Published numbers"), of.published.map((each) =>
        make("span", {class: "recipe"}, `${each.quantity} at step ${each.step}${each.dtype ? ` (${each.dtype})` : ""}: ${JSON.stringify(each.values)}`))] : null,
    ];
  }

  /* What a cell gave */
  // The digits from the first that differs are marked.
  function differing(value, other) {
    const [one, two] = [String(value), String(other)];
    let same = 0;
    while (same < one.length && one[same] === two[same]) same += 1;
    return make("span", {class: "value"}, one.slice(0, same), same < one.length ? make("b", {}, one.slice(same)) : null);
  }
  function element(worst) {
    if (!worst) return null;
    const [index, expected, observed, allowed] = worst;
    return [
      make("span", {class: "value"}, `[${index.join(", ")}]`), " expected ", make("span", {class: "value"}, String(expected)),
      ", observed ", differing(observed, expected), ", allowed ", make("span", {class: "value"}, `±${short(allowed)}`),
    ];
  }
  function quantityRow(shard, words, position) {
    const [name, code, score, twoPass, worst, fields, reason, dtype, shape] = shard.quantities[position];
    return make("tr", {},
      make("td", {}, name, make("span", {class: "quiet form"}, `${dtype} ${plain(shape)}`)), make("td", {}, mark(words, code)),
      make("td", {class: "number"}, short(score)), make("td", {class: "number"}, short(twoPass)),
      make("td", {}, element(worst), reason ? make("div", {dir: "auto"}, reason) : null,
        fields.length ? make("div", {}, `needs ${fields.join(", ")}`) : null));
  }
  function stepRow(words, [number, kind, verdict, seconds, , inputs], message) {
    return make("tr", {class: "step"},
      make("th", {scope: "rowgroup"}, number ? `Step ${number}: ${kind}` : "Before the first step"), make("td", {}, mark(words, verdict)),
      make("td", {colspan: "3"},
        make("span", {class: "quiet"}, seconds === null ? "" : `${short(seconds)} s`, inputs ? ` · checksum of the inputs ${inputs}` : ""),
        message ? make("pre", {dir: "auto", tabindex: "0"}, message) : null));
  }
  function quantities(shard, words, cell) {
    const groups = cell.steps.map((step) => make("tbody", {}, stepRow(words, step, shard.texts[step[4]]),
      step[6].map((position) => quantityRow(shard, words, position))));
    return make("div", {class: "detail"},
      ["agrees", "apart"].includes(cell.stand) ? native(words, cell).map((each) => make("div", {}, each)) : null,
      make("p", {class: "quiet"}, `Environment ${cell.environment}. Cell `, make("code", {}, cell.id),
        cell.omitted ? `. ${cell.omitted} further steps, none of them worse, are in the run file alone` : "", "."),
      scroll(`Steps and quantities on ${cell.column[0]}`,
        make("table", {}, make("caption", {class: "unseen"}, `Steps and quantities of ${cell.id}`),
          head("Quantity", "Verdict", "Score", "By two-pass bound", "Worst element"), groups)));
  }
  const quoted = (word) => (/^[\w@%+=:,./-]+$/.test(word) ? word : `'${word.replaceAll("'", `'"'"'`)}'`);
  const native = (words, cell) => (cell.call ? [
    ["Called as ", make("code", {dir: "ltr"}, cell.call)],
    ["Alone: ", make("code", {class: "command"}, `conformance reproduce ${quoted(cell.id)} --run ${quoted(words.runs[cell.run])}`)],
  ] : []);
  function notes(words, cell) {
    return [
      cell.diagnosis ? ["Diagnosis: ", prose(cell.diagnosis)] : cell.what ? prose(cell.what) : null,
      ...cell.divergence.map(([reason, why, upstream]) => [cell.stand === "stale" ? "Stale entry: " : "Listed divergence: ", prose(reason),
        why ? [" Why: ", prose(why)] : null,
        /^https?:\/\//.test(upstream) ? [" ", make("a", {href: upstream, rel: "noreferrer"}, "upstream")] : null]),
      cell.first ? ["Tried twice: ", prose(cell.first)] : null,
      ...(["agrees", "apart"].includes(cell.stand) ? [] : native(words, cell)),
    ].filter(Boolean).map((each) => make("div", {}, each));
  }
  function side(shard, words, cell, target) {
    const [number, kind, position] = cell.worst || [];
    const quantity = cell.worst ? shard.quantities[position] : null;
    const details = make("details", {}, make("summary", {}, "Steps, quantities, call"));
    const fill = () => { if (details.childElementCount === 1) details.append(quantities(shard, words, cell)); };
    details.addEventListener("toggle", fill);
    if (target) { fill(); details.open = true; }
    // Rows become blocks on a narrow screen, which only these roles keep from losing their meaning.
    const row = (...children) => make("tr", {role: "row"}, ...children);
    const field = (properties, ...children) => make("td", {role: "cell", ...properties}, ...children);
    return make("tbody", {role: "rowgroup", class: target ? "target" : null},
      row(
        make("th", {role: "rowheader", scope: "row", tabindex: target ? "-1" : null},
          link("case.html", {cell: cell.id}, dotted(cell.column[1])), make("div", {class: "quiet"}, `${cell.column[2]} ${cell.column[3]}`)),
        field({}, mark(words, cell.verdict, cell.standing)),
        field({class: "number"}, cell.score === null ? "" : [make("span", {class: "narrow"}, "score "), short(cell.score)]),
        field({class: "number"}, cell.steps.length && cell.seconds ? [short(cell.seconds), make("span", {class: "narrow"}, " s")] : ""),
        field({}, quantity ? `${quantity[0]}, step ${number} (${kind})` : "",
          quantity && quantity[4] ? make("div", {}, element(quantity[4])) : null,
          quantity && quantity[5].length ? make("div", {}, `needs ${quantity[5].join(", ")}`) : null)),
      row(field({colspan: "5"}, notes(words, cell), cell.steps.length ? details : null)));
  }
  function cellsOf(shard, words, at) {
    return shard.cells.filter((each) => each[0] === at).map(([, column, verdict, standing, score, seconds, what, diagnosis, environment, run, call, divergence, worst, first, omitted, of]) => ({
      column: words.columns[column], verdict, standing, stand: words.stands[standing][0], score, seconds, run,
      what: shard.texts[what], diagnosis: shard.texts[diagnosis], environment: shard.texts[environment], call: shard.texts[call],
      divergence: divergence.map((each) => each.map((position) => shard.texts[position])), worst, omitted, steps: of, first: shard.texts[first],
      id: `${shard.cases[at].id}::${words.columns[column][0]}`,
    }));
  }

  function show(shard, words, at, target) {
    const of = shard.cases[at];
    const here = cellsOf(shard, words, at);
    const beside = [[-1, "previous"], [1, "next"]].filter(([step]) => shard.cases[at + step]);
    const title = make("h1", {tabindex: "-1", dir: "auto"}, of.title);
    view.replaceChildren(...[
      title,
      make("p", {class: "quiet"}, link("case.html", {case: of.id}, of.id), " · ", prose(of.source), " · clauses ",
        of.clauses.map((number, position) => [position ? ", " : "", link("matrix.html", {clause: number},
          `${number} ${(words.clauses.find((each) => each[0] === number) || [])[1] || ""}`)]),
        beside.map(([step, word]) => [" · ", link("case.html", {case: shard.cases[at + step].id}, `${word} case`)])),
      definition(of),
      make("h2", {}, "Side by side"),
      scroll("Implementations side by side",
        make("table", {class: "side", role: "table"}, make("caption", {class: "unseen"}, `Every implementation on ${of.id}`),
          head("Implementation", "Verdict", "Score", "Seconds", "Worst element"),
          here.map((cell) => side(shard, words, cell, cell.id === target)))),
    ].flat(9).filter(Boolean));
    if (!site.single) document.title = `${of.id} · Batch normalization conformance`;
    (view.querySelector(".target th") || title).focus({preventScroll: true});
    view.querySelector(".target")?.scrollIntoView({block: "start"});
  }
  const nothing = (...words) => view.replaceChildren(make("h1", {}, "Case"), make("p", {role: "status"}, ...words));

  async function open({cell, case: named}) {
    const id = named || (cell || "").split("::")[0];
    if (!id) return nothing("Name a case in the address, or choose one from ", link("matrix.html", {}, "the matrix"), ".");
    const words = await site.load("words");
    const number = shardOf(words.shards, id);
    const shard = number < 0 ? {cases: []} : await site.load(`cases-${number}`);
    const at = shard.cases.findIndex((each) => each.id === id);
    if (at < 0 || (cell && !cellsOf(shard, words, at).some((each) => each.id === cell))) {
      return nothing("This report has no such case or cell: ", make("code", {dir: "auto"}, cell || id));
    }
    return show(shard, words, at, cell);
  }
  site.page("case.html", (query) => open(query).catch((error) => nothing(`${error.message}.`)));
})(conformance, conformance.marks);
