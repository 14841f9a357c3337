// Elements, and numbers and verdicts as a person reads them. Data become text nodes only.
"use strict";
conformance.marks = ((site) => {
  function make(tag, properties, ...children) {
    const element = document.createElement(tag);
    for (const [name, value] of Object.entries(properties || {})) {
      if (value !== undefined && value !== null) element.setAttribute(name, value);
    }
    element.append(...children.flat(9).filter((child) => child !== null && child !== undefined && child !== ""));
    return element;
  }
  // A dotted name that may break after its dots and before a plus.
  const dotted = (name) => name.split(/(?<=\.)|(?=\+)/).flatMap((part, at) => (at ? [make("wbr"), part] : [part]));
  const prose = (value) => make("span", {dir: "auto"}, value);
  const link = (page, query, ...children) => make("a", {href: site.to(page, query), dir: "auto"}, ...children);
  const head = (...names) => make("thead", {}, make("tr", {}, names.map((name) =>
    make("th", {scope: "col", class: /^(Score|Seconds|By two-pass bound)$/.test(name) ? "number" : null}, name))));
  // A wide table scrolls within itself, by keyboard too.
  const scroll = (label, ...children) => make("div", {class: "scroll", role: "region", tabindex: "0", "aria-label": label}, ...children);

  function mark(words, verdict, stand) {
    const [name, symbol, word] = words.verdicts[verdict];
    const [standing, sign] = stand === undefined ? ["", ""] : words.stands[stand];
    return make("span", {class: `mark ${name} ${standing}`},
      make("span", {"aria-hidden": "true"}, symbol, sign), ` ${word}`,
      ["unexpected", "stale"].includes(standing) ? make("span", {class: "unseen"}, ` (${standing})`) : null);
  }
  // Scores and seconds come with four digits at most, values as they were recorded.
  function short(value) {
    if (value === null || value === undefined) return "";
    if (typeof value === "string") return value === "Infinity" ? "∞" : value;
    return value !== 0 && (Math.abs(value) >= 1e5 || Math.abs(value) < 1e-4) ? value.toExponential(2) : String(value);
  }
  const count = (value) => String(value).replace(/\B(?=(\d{3})+$)/g, "\u202f");
  return {make, dotted, prose, link, head, scroll, mark, short, count};
})(conformance);
