// From A to B: two implementations side by side, chosen by hand or by the address.
"use strict";
((site, {make, dotted, link, scroll}) => {
  const form = document.getElementById("pair");
  if (!form) return;
  const view = document.getElementById("port");
  const ready = site.load("porting");
  ready.then(({rows}) => {
    const libraries = [...new Set(rows.map((row) => row.library))];
    for (const name of ["from", "to"]) {
      form.elements[name].replaceChildren(...libraries.map((library) => make("optgroup", {label: library},
        rows.filter((row) => row.library === library).map((row) => make("option", {value: row.name}, row.name)))));
    }
    form.hidden = false;
  }, (error) => view.replaceChildren(make("p", {class: "banner", role: "alert"}, `${error.message}.`)));
  const asked = () => ({from: form.elements.from.value, to: form.elements.to.value});
  form.addEventListener("input", () => { location.href = site.to("porting.html", asked()); });
  document.getElementById("swap").addEventListener("click", () => {
    const {from, to} = asked();
    location.href = site.to("porting.html", {from: to, to: from});
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
  const value = (row, field) => row.declared[field] || row.seen[field] || "";
  function choices(fields, from, to) {
    const all = [...new Set([from, to].flatMap((row) => [...Object.keys(row.declared), ...Object.keys(row.seen)]))];
    const apart = all.filter((field) => value(from, field) !== value(to, field) && (field in from.declared || field in to.declared || (value(from, field) && value(to, field))));
    if (!apart.length) return make("p", {}, "Both make the same choices in all that their documentation says and the numbers show.");
    return table("Where their choices differ", from, to, apart.map((field) => line(
      [make("code", {}, field), fields[field] ? make("div", {class: "quiet"}, fields[field]) : ""], true,
      ...[from, to].map((row) => [value(row, field) || make("span", {class: "quiet"}, "as the spec has it"),
        field in row.declared ? make("div", {class: "quiet"}, "documented") : row.seen[field] ? make("div", {class: "quiet"}, "seen in its numbers") : ""]))));
  }
  function wrong(row, other) {
    const shared = new Set(other.findings.map(([sentence]) => sentence));
    const own = row.findings.filter(([sentence]) => !shared.has(sentence));
    return [make("h3", {}, "Only ", named(row)), own.length
      ? make("ul", {class: "causes"}, own.map(([sentence, seen, page, anchor]) => make("li", {},
        make("a", {href: site.at(page, anchor)}, sentence), seen ? ` ${seen}` : "")))
      : make("p", {}, "Nothing that the other does not do too.")];
  }
  function show({fields, rows}, {from: first, to: second}) {
    const from = rows.find((row) => row.name === first) || rows[0];
    const to = rows.find((row) => row.name === second) || rows.find((row) => row.op === from.op && row.library !== from.library) || rows[0];
    form.elements.from.value = from.name;
    form.elements.to.value = to.name;
    const both = from.findings.filter(([sentence]) => to.findings.some(([other]) => other === sentence));
    view.replaceChildren(...[
      from.op !== to.op && make("p", {class: "banner", role: "status"}, `They compute different things: ${from.op} and ${to.op}.`),
      make("h2", {}, "How each is called"), calls(from, to),
      make("h2", {}, "Where their choices differ"), choices(fields, from, to),
      make("h2", {}, "What goes wrong"), wrong(from, to), wrong(to, from),
      both.length ? [make("h3", {}, "Both"), make("ul", {class: "causes"}, both.map(([sentence, , page]) => make("li", {}, link(page, {}, sentence))))] : "",
    ].flat(9).filter(Boolean));
  }
  site.page("porting.html", async (query) => show(await ready, query));
})(conformance, conformance.marks);
