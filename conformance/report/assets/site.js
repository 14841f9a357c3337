// The namespace of all scripts: data on demand, addresses, and which page is shown.
//
// Data arrive as scripts that call `conformance.receive(name, value)`, because a page that was opened from disk may
// load scripts and nothing else; in a single file they are JSON elements. The fragment of the address says what a page
// shows; in a single file its `page` says which. A page's script registers `conformance.page(path, show)`.
"use strict";
window.conformance = (() => {
  const html = document.documentElement;
  const single = "single" in html.dataset;
  const root = html.dataset.root || "";
  const arrived = new Map();
  const expected = new Map();
  const shows = new Map();

  function receive(name, value) {
    expected.get(name)(value);
  }
  // A promise of the data of that name; asked for once, kept.
  function load(name) {
    if (!arrived.has(name)) {
      arrived.set(name, single ? inside(name) : fetched(name));
    }
    return arrived.get(name);
  }
  async function inside(name) {
    return JSON.parse(document.querySelector(`script[data-name="${name}"]`).textContent);
  }
  function fetched(name) {
    return new Promise((resolve, reject) => {
      expected.set(name, resolve);
      const script = document.createElement("script");
      script.src = `${root}data/${name}.js`;
      script.addEventListener("error", () => reject(new Error(`data/${name}.js could not be read`)));
      document.head.append(script);
    });
  }

  /* Addresses: kept readable where that is safe, and the same as the templates write them. */
  const quoted = (value) => encodeURIComponent(value).replace(/%(2F|3A|2B|2C|40)/g, (each) => decodeURIComponent(each));
  const fragment = (query) => "#" + Object.entries(query).map(([name, value]) => `${name}=${quoted(value)}`).join("&");
  function to(page, query = {}) {
    if (single) return fragment({page, ...query});
    return root + page + (Object.keys(query).length ? fragment(query) : "");
  }
  function at(page, anchor) {
    return single ? fragment({page, at: anchor}) : `${root}${page}#${anchor}`;
  }
  function query() {
    const found = {};
    for (const part of location.hash.replace(/^#/, "").split("&")) {
      const at = part.indexOf("=");
      if (at < 1) continue;
      try { found[part.slice(0, at)] = decodeURIComponent(part.slice(at + 1)); } catch { /* not ours */ }
    }
    return found;
  }
  const here = () => (single ? query().page || "index.html" : html.dataset.page);

  /* Pages */
  function page(path, show) {
    shows.set(path, show);
  }
  function turn() {
    if (single) reveal(here());
    const {page: _, at, ...rest} = query();
    shows.get(here())?.(rest);
    if (single && at) document.getElementById(at)?.scrollIntoView();
  }
  // Of a single file: shows one page, and hides the others.
  function reveal(path) {
    const all = [...document.querySelectorAll("main > [data-page]")];
    const shown = all.find((each) => each.dataset.page === path) || all[0];
    const changed = shown.hidden;
    for (const each of all) each.hidden = each !== shown;
    for (const each of document.querySelectorAll("nav [data-to]")) {
      if (each.dataset.to === shown.dataset.page) each.setAttribute("aria-current", "page");
      else each.removeAttribute("aria-current");
    }
    document.title = `${shown.dataset.title} · Batch normalization conformance`;
    if (changed) scrollTo(0, 0);
  }
  addEventListener("hashchange", turn);
  document.addEventListener("DOMContentLoaded", turn);
  // A skip link moves the focus; its fragment would take the place of what the page shows.
  document.addEventListener("click", (event) => {
    if (!event.target.closest("a.skip")) return;
    event.preventDefault();
    document.getElementById("main").focus();
    document.getElementById("main").scrollIntoView();
  });

  return {receive, load, to, at, query, page, single};
})();
