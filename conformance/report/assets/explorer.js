// The page of the matrix: the address says the filters, the filters draw the matrix and the list.
"use strict";
((site, {Cells, NAMES}, {Matrix}, list, {make, count}) => {
  // Addresses of views of the matrix once began with the front page.
  site.page("index.html", (query) => { if (Object.keys(query).length) location.replace(site.to("matrix.html", query)); });
  const form = document.getElementById("filter");
  if (!form) return;
  const box = document.getElementById("filters");
  const found = document.getElementById("found");
  const ready = Promise.all([site.load("words"), site.load("index")]).then(([words, index]) => start(new Cells(words, index)));
  ready.catch((error) => { box.before(make("p", {class: "banner", role: "alert"}, `${error.message}: the filters are off.`)); });

  function start(cells) {
    const matrix = new Matrix(document.getElementById("matrix"), cells.words);
    for (const name of NAMES) {
      const choices = name === "column" ? implementations(cells.words.columns) : cells.choices(name).map(option);
      if (form.elements[name].tagName === "SELECT") form.elements[name].replaceChildren(make("option", {value: ""}, "all"), ...choices);
    }
    box.hidden = false;
    box.open = innerWidth > 640 || Object.keys(site.query()).some((name) => NAMES.includes(name));
    document.getElementById("cells").hidden = false;
    let drawn = "";  // the templates drew the matrix of all cells

    // Draws what the query asks for; the matrix only where its filters changed.
    function draw(query) {
      const {field, ...filters} = query;
      const positions = cells.matching(filters);
      const key = JSON.stringify(filters);
      if (key !== drawn && (drawn || key !== "{}")) matrix.show(cells, positions, filters);
      drawn = key;
      const listed = field ? cells.ofField(positions, field) : positions;
      matrix.point(field);
      list.show(document.getElementById("list"), cells, listed);
      title(cells, filters, field, listed.length);
      found.textContent = `${count(positions.length)} of ${count(cells.size)} cells`;
    }
    function filters() {
      const chosen = NAMES.map((name) => [name, form.elements[name].type === "checkbox" ? (form.elements[name].checked ? "1" : "") : form.elements[name].value]);
      return Object.fromEntries(chosen.filter(([, value]) => value));
    }
    // By hand: the address follows, without an entry in the history for each letter.
    function filtered() {
      history.replaceState(null, "", site.to("matrix.html", filters()));
      draw(filters());
    }
    let waiting = 0;
    form.addEventListener("input", () => { clearTimeout(waiting); waiting = setTimeout(filtered, 60); });
    form.addEventListener("reset", () => setTimeout(filtered));
    form.addEventListener("submit", (event) => event.preventDefault());
    document.getElementById("matrix").addEventListener("click", (event) => keep(event, filters()));
    document.addEventListener("keydown", (event) => {
      if (event.key !== "/" || event.target.matches("input, select, textarea")) return;
      if (box.offsetParent === null) return;
      event.preventDefault();
      box.open = true;
      form.elements.text.focus();
    });
    return (query) => {
      for (const name of NAMES) {
        if (form.elements[name].type === "checkbox") form.elements[name].checked = Boolean(query[name]);
        else form.elements[name].value = query[name] || "";
      }
      const known = Object.fromEntries(Object.entries({...filters(), field: query.field}).filter(([, value]) => value));
      draw(known);
      if (known.field) lead();
    };
  }
  // A link of the matrix keeps the filters that are set: to a field adds it, to a clause filters by it too.
  function keep(event, filters) {
    const link = event.target.closest("tr[data-clause] a");
    if (!link || event.ctrlKey || event.metaKey || event.shiftKey) return;
    event.preventDefault();
    const {page: _, ...asked} = parsed(link.hash);
    const address = site.to("matrix.html", {...filters, ...asked});
    // The same address again changes nothing, and still leads to the list.
    if (location.href.endsWith(address)) lead();
    else location.href = address;
  }
  const parsed = (hash) => Object.fromEntries(hash.replace(/^#/, "").split("&").map((part) => {
    const at = part.indexOf("=");
    return [part.slice(0, at), decodeURIComponent(part.slice(at + 1))];
  }));
  function lead() {
    document.getElementById("cells-heading").focus({preventScroll: true});
    document.getElementById("cells").scrollIntoView();
  }
  function title(cells, filters, field, size) {
    const heading = document.getElementById("cells-heading");
    if (!field) return heading.replaceChildren("Cells ", make("span", {class: "quiet"}, `${count(size)}, worst first`));
    const [clause, column] = [field.slice(0, field.indexOf("@")), field.slice(field.indexOf("@") + 1)];
    const named = cells.words.clauses.find(([number]) => number === clause) || [clause, ""];
    return heading.replaceChildren("Cells of ", make("bdi", {}, named.join(" ")), ` on ${column} `,
      make("span", {class: "quiet"}, `${count(size)} · `, make("a", {href: site.to("matrix.html", filters)}, "all cells")));
  }
  const option = ([value, label]) => make("option", {value}, label);
  const implementations = (columns) => [...new Set(columns.map((each) => each[1]))].map((name) =>
    make("optgroup", {label: name}, option([name, name]), columns.filter((each) => each[1] === name).map((each) =>
      option([each[0], `${name} ${each[2]} ${each[3]}`]))));

  let asked = 0;
  site.page("matrix.html", async (query) => {
    const turn = asked += 1;
    const show = await ready;
    if (turn === asked) show(query);
  });
})(conformance, conformance.filters, conformance.matrix, conformance.cells, conformance.marks);
