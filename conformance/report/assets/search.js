// The page of the search: every word must be in what is found, in whatever order. The address has the words.
"use strict";
((site, {make, link, dotted, count}) => {
  const MOST = 15;
  const form = document.getElementById("search");
  if (!form) return;
  const into = document.getElementById("search-found");
  const ready = Promise.all([site.load("words"), site.load("index"), site.load("causes")]);
  ready.catch((error) => into.replaceChildren(make("p", {class: "banner", role: "alert"}, error.message)));

  // What may be found, by kind: the text in which words are looked for, and the link that leads there.
  function things([words, index, causes]) {
    const implementations = new Map();
    for (const [, name, mode, device, framework, slug, taken] of words.columns) {
      const known = implementations.get(name) || {slug, text: `${name} ${framework}`};
      implementations.set(name, {...known, text: `${known.text} ${mode} ${device} ${taken}`});
    }
    return [
      ["Implementations", [...implementations].map(([name, {slug, text}]) => [text, () => link(`implementations/${slug}.html`, {}, dotted(name))])],
      ["Causes", causes.map(([page, sentence, id, names]) => [`${id} ${sentence} ${names}`, () => link(`causes/${page}.html`, {}, sentence)])],
      ["Clauses", words.clauses.map(([number, title]) => [`${number} ${title} clause`, () => link("matrix.html", {clause: number}, `${number} ${title}`)])],
      ["Cases", index.cases.map(([id, title, op, dtype]) => [`${id} ${title} ${op} ${dtype}`, () => link("case.html", {case: id}, make("code", {}, id), ` ${title}`)])],
    ].map(([kind, entries]) => [kind, entries.map(([text, made]) => [text.toLowerCase(), made])]);
  }
  function show(all, asked) {
    const wanted = asked.toLowerCase().split(/\s+/).filter(Boolean);
    const parts = wanted.length ? all.flatMap(([kind, entries]) => {
      const found = entries.filter(([text]) => wanted.every((word) => text.includes(word)));
      return found.length ? [
        make("h2", {}, kind, " ", make("span", {class: "quiet"}, count(found.length))),
        make("ul", {class: "causes"}, found.slice(0, MOST).map(([, made]) => make("li", {}, made()))),
        found.length > MOST ? make("p", {class: "quiet"}, `and ${count(found.length - MOST)} more: add a word`) : null,
      ] : [];
    }) : [];
    into.replaceChildren(...parts.filter(Boolean), wanted.length
      ? make("p", {}, link("matrix.html", {text: asked}, "Cells with these words"))
      : make("p", {class: "quiet"}, "Names, sentences, clauses, cases and arguments of calls: keras momentum, overflow float16, 8.1."));
  }
  let all = null;
  form.elements.words.addEventListener("input", async () => {
    history.replaceState(null, "", site.to("search.html", form.elements.words.value ? {words: form.elements.words.value} : {}));
    all ||= things(await ready);
    show(all, form.elements.words.value);
  });
  form.addEventListener("submit", (event) => event.preventDefault());
  site.page("search.html", async (query) => {
    form.elements.words.value = query.words || "";
    all ||= things(await ready);
    show(all, form.elements.words.value);
    form.elements.words.focus({preventScroll: true});
  });
})(conformance, conformance.marks);
