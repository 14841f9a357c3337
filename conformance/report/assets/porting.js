// From A to B: two implementations side by side, chosen by hand or by the address; without a choice, the map of all pairs.
"use strict";
((site, {make, dotted, link, scroll}, {value, choices, alone, cases, several, map}) => {
  const form = document.getElementById("pair");
  if (!form) return;
  const view = document.getElementById("port");
  const ready = site.load("porting");
  ready.then(({rows}) => {
    const libraries = [...new Set(rows.map((row) => row.library))];
    for (const name of ["from", "to"]) {
      form.elements[name].replaceChildren(make("option", {value: ""}, "choose one"), ...libraries.map((library) => make("optgroup", {label: library},
        rows.filter((row) => row.library === library).map((row) => make("option", {value: row.name}, row.name)))));
    }
    form.hidden = false;
  }, (error) => view.replaceChildren(make("p", {class: "banner", role: "alert"}, `${error.message}.`)));
  const asked = () => ({from: form.elements.from.value, to: form.elements.to.value});
  form.addEventListener("input", () => {
    const {from, to} = asked();
    if (from && to) location.href = site.to("porting.html", {from, to});
  });
  document.getElementById("swap").addEventListener("click", () => {
    const {from, to} = asked();
    if (from && to) location.href = site.to("porting.html", {from: to, to: from});
  });

  const named = (row) => make("a", {href: site.to(`implementations/${row.slug}.html`)}, dotted(row.name));
  const table = (label, from, to, lines) => scroll(label, make("table", {class: "port"}, make("caption", {class: "unseen"}, label),
    make("thead", {}, make("tr", {}, make("td"), make("th", {scope: "col"}, named(from)), make("th", {scope: "col"}, named(to)))),
    make("tbody", {}, lines)));
  const line = (heading, differs, ...values) => make("tr", {class: differs ? "differs" : null}, make("th", {scope: "row"}, heading),
    values.map((value) => make("td", {}, value)));
  const words = (row, thing) => (row.words[thing] || []).flatMap(([keyword, meaning], at) =>
    [at ? ", " : "", make("code", {}, keyword), ` = ${meaning}`]);

  function calls(from, to) {
    const things = [...new Set([...Object.keys(from.words), ...Object.keys(to.words)])];
    const same = (thing) => JSON.stringify(from.words[thing]) === JSON.stringify(to.words[thing]);
    return table("How each is called", from, to, [
      line("call", true, ...[from, to].map((row) => make("code", {}, row.call || "no call was recorded"))),
      ...things.filter((thing) => words(from, thing).length || words(to, thing).length).map((thing) =>
        line(thing, !same(thing), ...[from, to].map((row) => (words(row, thing).length ? words(row, thing) : make("span", {class: "quiet"}, "no argument"))))),
    ]);
  }
  function differing(fields, from, to) {
    const apart = choices(from, to);
    if (!apart.length) return make("p", {}, "Both make the same choices in all that their documentation says and the numbers show.");
    return table("Where their choices differ", from, to, apart.map((field) => line(
      [make("code", {}, field), fields[field] ? make("div", {class: "quiet"}, fields[field]) : ""], true,
      ...[from, to].map((row) => [value(row, field) || make("span", {class: "quiet"}, "as the spec has it"),
        field in row.declared ? make("div", {class: "quiet"}, "documented") : row.seen[field] ? make("div", {class: "quiet"}, "seen in its numbers") : ""]))));
  }
  function wrong(row, other) {
    const own = alone(row, other);
    return [make("h3", {}, "Only ", named(row)), own.length
      ? make("ul", {class: "causes"}, own.map(([sentence, seen, page, anchor]) => make("li", {},
        make("a", {href: site.at(page, anchor)}, sentence), seen ? ` ${seen}` : "")))
      : make("p", {}, "Nothing that the other does not do too.")];
  }
  // The answer in a few lines, before the tables that bear it out.
  function summary(pairs, from, to) {
    const [chosen, one, two, known] = [choices(from, to), alone(from, to), alone(to, from), cases(pairs, from, to)];
    return make("p", {class: "lead", id: "port-summary"},
      make("strong", {}, chosen.length ? `${several(chosen.length, "choice")} differ${chosen.length === 1 ? "s" : ""}` : "They make the same choices"),
      chosen.length ? `: ${chosen.join(", ")}. ` : ". ",
      `${one.length ? several(one.length, "fault") : "No fault"} of ${from.name} alone, ${two.length || "none"} of ${to.name} alone. `,
      known ? `${known.apart ? `${known.apart} of` : "None of"} the ${several(known.both, "case")} judged on both ${known.apart === 1 ? "comes" : "come"} out differently` +
        `${known.apart ? `; on ${known.disagreeing || "none"} of these one is wrong where the other is not` : ""}.` : "No case was judged on both.");
  }
  function show({fields, rows, pairs}, query) {
    const [from, to] = [query.from, query.to].map((name) => rows.find((row) => row.name === name));
    form.elements.from.value = from ? from.name : "";
    form.elements.to.value = to ? to.name : "";
    document.getElementById("swap").hidden = !(from && to);
    if (!from || !to) return view.replaceChildren(...map({rows, pairs}, query));
    const both = from.findings.filter(([sentence]) => to.findings.some(([other]) => other === sentence));
    return view.replaceChildren(...[
      from.op !== to.op && make("p", {class: "banner", role: "status"}, `They compute different things: ${from.op} and ${to.op}.`),
      summary(pairs, from, to),
      make("h2", {}, "How each is called"), calls(from, to),
      make("h2", {}, "Where their choices differ"), differing(fields, from, to),
      make("h2", {}, "What goes wrong"), wrong(from, to), wrong(to, from),
      both.length ? [make("h3", {}, "Both"), make("ul", {class: "causes"}, both.map(([sentence, , page]) => make("li", {}, link(page, {}, sentence))))] : "",
      make("p", {}, link("porting.html", {op: from.op}, "All pairs")),
    ].flat(9).filter(Boolean));
  }
  site.page("porting.html", async (query) => show(await ready, query));
})(conformance, conformance.marks, conformance.pairs);
