// Draws lists of cells, and cases with every implementation side by side, from the JSON in #data.
// The address says what is shown: #case=ID, #cell=ID, or filters (#clause=7.1&column=NAME&verdict=V&text=T).
// Data become text nodes only.
(() => {
  "use strict";
  const data = JSON.parse(document.getElementById("data").textContent);
  const byId = (id) => document.getElementById(id);
  const form = byId("filter"), list = byId("list"), view = byId("case"), found = byId("found");
  const FILTERS = ["column", "verdict", "clause", "text"];
  const NUMBERS = ["Score", "Seconds", "By two-pass bound"];
  const PAGE = 150;

  const text = (position) => data.texts[position];
  const columns = data.columns.map(([name, implementation, mode, device]) => ({name, implementation, mode, device}));
  const cells = data.cells.map(
    ([of, column, verdict, standing, score, seconds, what, diagnosis, environment, call, divergence, worst, omitted, steps]) => ({
      of: data.cases[of], column: columns[column], order: column, verdict, standing: data.standings[standing], score,
      seconds, what: text(what), diagnosis: text(diagnosis), environment: text(environment), call: text(call),
      divergence: divergence.map((each) => each.map(text)), worst, omitted, steps,
      id: `${data.cases[of].id}::${columns[column].name}`,
    }),
  );

  /* Elements */
  function make(tag, properties, ...children) {
    const element = document.createElement(tag);
    for (const [name, value] of Object.entries(properties || {})) {
      if (value !== undefined) element.setAttribute(name, value);
    }
    element.append(...children.flat(9).filter((child) => child !== null && child !== undefined && child !== ""));
    return element;
  }
  // A dotted name that may break after its dots and before a plus.
  const dotted = (name) => name.split(/(?<=\.)|(?=\+)/).flatMap((part, at) => (at ? [make("wbr"), part] : [part]));
  const prose = (value) => make("span", {dir: "auto"}, value);
  const head = (...names) => make("thead", {}, make("tr", {}, names.map((name) =>
    make("th", {scope: "col", class: NUMBERS.includes(name) ? "number" : undefined}, name))));
  const SIGNS = {known: "†", documented: "°"};

  function mark(code, standing) {
    const [verdict, symbol, word] = data.verdicts[code];
    return make("span", {class: `mark ${verdict} ${standing || ""}`},
      make("span", {"aria-hidden": "true"}, symbol, SIGNS[standing] || ""), ` ${word}`,
      standing === "unexpected" ? make("span", {class: "unseen"}, " (unexpected)") : null);
  }
  const link = (name, value, ...children) =>
    make("a", {href: `#${name}=${encodeURIComponent(value)}`, dir: "auto"}, ...children);

  /* Numbers: scores and seconds come with four digits, values as they were recorded. */
  function short(value) {
    if (value === null) return "";
    if (typeof value === "string") return value === "Infinity" ? "∞" : value;
    return value !== 0 && (Math.abs(value) >= 1e5 || Math.abs(value) < 1e-4) ? value.toExponential(2) : String(value);
  }
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
      make("span", {class: "value"}, `[${index.join(", ")}]`), " expected ",
      make("span", {class: "value"}, String(expected)), ", observed ", differing(observed, expected), ", allowed ",
      make("span", {class: "value"}, `±${short(allowed)}`),
    ];
  }

  /* Address */
  function parse(hash) {
    const query = {};
    for (const part of hash.replace(/^#/, "").split("&")) {
      const at = part.indexOf("=");
      if (at < 1) continue;
      try { query[part.slice(0, at)] = decodeURIComponent(part.slice(at + 1)); } catch { /* not ours */ }
    }
    return query;
  }
  function filters() {
    return Object.fromEntries(FILTERS.map((name) => [name, form.elements[name].value]).filter(([, value]) => value));
  }
  const address = (query) =>
    "#" + Object.entries(query).map(([name, value]) => `${name}=${encodeURIComponent(value)}`).join("&");

  /* List */
  const standing = (cell, wanted) => cell.standing === wanted || data.verdicts[cell.verdict][0] === wanted;
  const haystack = (cell) => cell.haystack ??= [
    cell.id, cell.of.title, cell.of.source, cell.what, cell.diagnosis, cell.of.op, cell.of.configuration.dtype,
    ...cell.divergence.flat(),
  ].join("\n").toLowerCase();
  function matching(query) {
    const words = (query.text || "").toLowerCase().split(/\s+/).filter(Boolean);
    return cells.filter((cell) =>
      (!query.column || cell.column.name === query.column || cell.column.implementation === query.column) &&
      (!query.verdict || standing(cell, query.verdict)) &&
      (!query.clause || cell.of.clauses.includes(query.clause)) &&
      words.every((word) => haystack(cell).includes(word)));
  }
  const row = (cell) => make("tr", {},
    make("td", {}, mark(cell.verdict, cell.standing)),
    make("td", {}, link("cell", cell.id, make("span", {class: "clip"}, cell.of.title)), make("div", {class: "quiet"}, cell.of.id)),
    make("td", {}, dotted(cell.column.implementation), make("div", {class: "quiet"}, `${cell.column.mode} ${cell.column.device}`)),
    make("td", {class: "number"}, short(cell.score)),
    make("td", {}, make("span", {class: "clip", dir: "auto"}, cell.divergence.length ? cell.divergence[0][0] : cell.what)));

  function showList(query) {
    view.replaceChildren();
    list.hidden = false;
    const hits = matching(query);
    found.textContent = `${hits.length} of ${cells.length} cells`;
    const body = make("tbody");
    const more = make("button", {type: "button"});
    let shown = 0;
    const extend = () => {
      body.append(...hits.slice(shown, shown += PAGE).map(row));
      more.hidden = shown >= hits.length;
      more.textContent = `Show ${Math.min(PAGE, hits.length - shown)} more`;
    };
    extend();
    more.addEventListener("click", extend);
    list.replaceChildren(hits.length
      ? make("div", {class: "scroll", role: "region", tabindex: "0", "aria-label": "Cells found"},
        make("table", {class: "cells"}, make("caption", {class: "unseen"}, "Cells found, worst first"),
          head("Verdict", "Case", "Implementation", "Score", "What"), body))
      : make("p", {}, "No cell matches. Clear a filter."), more);
  }

  /* Case */
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
  const plain = (value) => (Array.isArray(value) ? `(${value.join(", ")})` : String(value));

  function quantityRow(position) {
    const [name, code, score, twoPass, worst, fields, reason, dtype, shape] = data.quantities[position];
    return make("tr", {},
      make("td", {}, name, make("span", {class: "quiet form"}, `${dtype} ${plain(shape)}`)), make("td", {}, mark(code)),
      make("td", {class: "number"}, short(score ?? null)), make("td", {class: "number"}, short(twoPass ?? null)),
      make("td", {}, element(worst), reason ? make("div", {dir: "auto"}, reason) : null,
        fields.length ? make("div", {}, `needs ${fields.join(", ")}`) : null));
  }
  function stepRow(number, kind, verdict, seconds, message, inputs) {
    return make("tr", {class: "step"},
      make("th", {scope: "rowgroup"}, number ? `Step ${number}: ${kind}` : "Before the first step"), make("td", {}, mark(verdict)),
      make("td", {colspan: "3"},
        make("span", {class: "quiet"}, seconds === null ? "" : `${short(seconds)} s`, inputs ? ` · checksum of the inputs ${inputs}` : ""),
        message ? make("pre", {dir: "auto", tabindex: "0"}, message) : null));
  }
  function quantities(cell) {
    const groups = cell.steps.map(([number, kind, verdict, seconds, message, inputs, of]) => make("tbody", {},
      stepRow(number, kind, verdict, seconds, text(message), inputs), of.map(quantityRow)));
    return make("div", {class: "detail"},
      cell.call ? make("p", {}, "Called as ", make("code", {dir: "ltr"}, cell.call)) : null,
      make("p", {class: "quiet"}, `Environment ${cell.environment}. Cell `, make("code", {}, cell.id),
        cell.omitted ? `. ${cell.omitted} further steps, none of them worse, are in the run file alone` : "", "."),
      make("div", {class: "scroll", role: "region", tabindex: "0", "aria-label": `Steps and quantities on ${cell.column.name}`},
        make("table", {}, make("caption", {class: "unseen"}, `Steps and quantities of ${cell.id}`),
          head("Quantity", "Verdict", "Score", "By two-pass bound", "Worst element"), groups)));
  }

  function side(cell, target) {
    const [number, kind, position] = cell.worst || [];
    const quantity = cell.worst ? data.quantities[position] : null;
    const details = make("details", {}, make("summary", {}, "Steps and quantities"));
    const fill = () => { if (details.childElementCount === 1) details.append(quantities(cell)); };
    details.addEventListener("toggle", fill);
    if (target) { fill(); details.open = true; }
    const notes = [
      cell.diagnosis ? ["Diagnosis: ", prose(cell.diagnosis)] : null,
      !cell.diagnosis && cell.what ? prose(cell.what) : null,
      ...cell.divergence.map(([reason, why, upstream]) => make("div", {}, "Listed divergence: ", prose(reason),
        why ? [" Why: ", prose(why)] : null,
        /^https?:\/\//.test(upstream) ? [" ", make("a", {href: upstream, rel: "noreferrer"}, "upstream")] : null)),
    ].filter(Boolean);
    return make("tbody", {class: target ? "target" : undefined},
      make("tr", {},
        make("th", {scope: "row", tabindex: target ? "-1" : undefined},
          link("cell", cell.id, dotted(cell.column.implementation)), make("div", {class: "quiet"}, `${cell.column.mode} ${cell.column.device}`)),
        make("td", {}, mark(cell.verdict, cell.standing)),
        make("td", {class: "number"}, short(cell.score)),
        make("td", {class: "number"}, cell.steps.length && cell.seconds ? short(cell.seconds) : ""),
        make("td", {}, quantity ? `${quantity[0]}, step ${number} (${kind})` : "",
          quantity && quantity[4] ? make("div", {}, element(quantity[4])) : null,
          quantity && quantity[5].length ? make("div", {}, `needs ${quantity[5].join(", ")}`) : null)),
      make("tr", {}, make("td", {colspan: "5"}, notes.map((note) => make("div", {}, note)), details)));
  }

  function showCase(id, target) {
    const of = data.cases.find((each) => each.id === id);
    const here = cells.filter((cell) => cell.of === of).sort((one, two) => one.order - two.order);
    list.hidden = true;
    found.textContent = "";
    const back = make("p", {}, make("a", {href: address(filters()) === "#" ? "#text=" : address(filters())}, "← List of cells"));
    if (!of || (target && !here.some((cell) => cell.id === target))) {
      view.replaceChildren(back, make("p", {role: "status"}, "This page has no such case or cell: ", make("code", {dir: "auto"}, target || id)));
      return;
    }
    const title = make("h3", {tabindex: "-1", dir: "auto"}, of.title);
    view.replaceChildren(...[
      back, title,
      make("p", {class: "quiet"}, link("case", of.id, of.id), " · ", prose(of.source), " · clauses ",
        of.clauses.flatMap((number, at) => [at ? ", " : "", link("clause", number, `${number} ${data.clauses[number] || ""}`)])),
      facts(Object.entries(of.configuration).map(([name, value]) => [name, plain(value)])),
      make("h4", {}, "Formulas"), facts(Object.entries(of.formulas).map(([kind, formula]) => [kind, make("code", {}, formula)]), true),
      Object.keys(of.initial).length
        ? [make("h4", {}, "Initial state"), facts(Object.entries(of.initial).map(([name, value]) => [name, make("span", {class: "recipe"}, recipe(value))]), true)]
        : make("p", {class: "quiet"}, "Initial state: gamma and moving variance 1, beta and moving mean 0."),
      make("h4", {}, "Steps"), steps(of.steps),
      of.published.length ? [make("h4", {}, "Published numbers"), of.published.map((each) =>
        make("span", {class: "recipe"}, `${each.quantity} at step ${each.step}${each.dtype ? ` (${each.dtype})` : ""}: ${JSON.stringify(each.values)}`))] : null,
      make("h4", {}, "Side by side"),
      make("div", {class: "scroll", role: "region", tabindex: "0", "aria-label": "Implementations side by side"},
        make("table", {class: "side"}, make("caption", {class: "unseen"}, `Every implementation on ${of.id}`),
          head("Implementation", "Verdict", "Score", "Seconds", "Worst element"),
          here.map((cell) => side(cell, cell.id === target)))),
    ].flat(9).filter(Boolean));
    (view.querySelector(".target th") || title).focus({preventScroll: true});
    (view.querySelector(".target") || view).scrollIntoView({block: "start"});
  }

  /* From address to page */
  function show() {
    const query = parse(location.hash);
    if (query.cell) showCase(query.cell.split("::")[0], query.cell);
    else if (query.case) showCase(query.case);
    else {
      const asked = FILTERS.some((name) => name in query);
      if (asked || !location.hash) for (const name of FILTERS) form.elements[name].value = query[name] || "";
      showList(filters());
      if (asked) byId("cells-heading").focus({preventScroll: true}), byId("cells").scrollIntoView();
    }
  }
  function choices(name, all, options) {
    form.elements[name].replaceChildren(make("option", {value: ""}, all), ...options);
  }
  const option = ([value, label]) => make("option", {value}, label);
  const implementations = [...new Set(columns.map((each) => each.implementation))];
  choices("column", "all", implementations.map((name) => make("optgroup", {label: name},
    option([name, name]), columns.filter((each) => each.implementation === name).map((each) =>
      option([each.name, `${name} ${each.mode} ${each.device}`])))));
  choices("verdict", "all", [
    ...[["unexpected", "unexpected"], ["known", "known divergence"], ["documented", "documented"]]
      .filter(([name]) => cells.some((cell) => cell.standing === name)),
    ...data.verdicts.filter((_, code) => cells.some((cell) => cell.verdict === code)).map(([name, symbol, word]) => [name, `${symbol} ${word}`]),
  ].map(option));
  const named = new Set(data.cases.flatMap((each) => each.clauses));
  choices("clause", "all", Object.entries(data.clauses).filter(([number]) => named.has(number)).map(([number, title]) =>
    option([number, `${number} ${title}`])));
  byId("browser").hidden = false;

  const filtered = () => {
    history.replaceState(null, "", address(filters()));
    showList(filters());
  };
  form.addEventListener("input", filtered);
  form.addEventListener("reset", () => setTimeout(filtered));
  form.addEventListener("submit", (event) => event.preventDefault());
  addEventListener("hashchange", show);
  show();
})();
