// What changed between two results.json: the same policy and the same structure as `conformance compare --format json`.
//
// One pure function of two documents; the modules of `conformance/compare/` are its original, name by name, and a
// browser test holds the two against each other.
"use strict";
conformance.compare = (() => {
  const VERDICTS = ["exact", "conforms", "dialect", "unsupported", "not_decidable", "outside_domain", "refused", "deviates", "timed_out", "crashed"];
  const STANDS = {exact: 0, conforms: 1, dialect: 2, unsupported: 3, not_decidable: 3, outside_domain: 3, refused: 4, deviates: 4, timed_out: 5, crashed: 6};
  const ANNOUNCED = 3;
  const EXACT_DATA = "13.4";
  const ACCOUNTED = ["dialect", "deviates"];
  const AGREE = ["exact", "conforms", "dialect"];
  const NONE = {causes: [], fields: []};
  const KINDS = ["worse", "moved", "inexact", "drift", "otherwise", "status", "steadier", "exact", "better"];
  const PARTS = ["fault", "environment", "versions", "settings", "process", "host"];
  const GRADES = "ADWOF";
  const POLICY = {drift_factor: 2, drift_floor: 0.1, fail_on: []};

  // Compares numbers and texts as Python does, place by place: texts by code points, and not by halves of them.
  function ordered(left, right) {
    for (let at = 0; at < left.length; at += 1) {
      if (left[at] === right[at]) continue;
      const [one, other] = HALVES.test(left[at] + right[at]) ? [points(left[at]), points(right[at])] : [left[at], right[at]];
      return one < other ? -1 : 1;
    }
    return 0;
  }
  const HALVES = /[\ud800-\udfff]/;
  const points = (text) => Array.from(text, (each) => each.codePointAt(0).toString(16).padStart(6, "0")).join("");
  const sorted = (items, key) => items.map((item) => [key(item), item]).sort((a, b) => ordered(a[0], b[0])).map(([, item]) => item);
  const texts = (items) => [...items].sort((a, b) => ordered([a], [b]));
  function grouped(items, key) {
    const groups = new Map();
    for (const item of items) {
      const name = JSON.stringify(key(item));
      if (!groups.has(name)) groups.set(name, []);
      groups.get(name).push(item);
    }
    return [...groups].map(([name, of]) => [JSON.parse(name), of]);
  }

  /* Cells */
  function cellsOf(results, redefined) {
    const found = new Map();
    for (const [at, column, environment, verdict, status, score, , diagnosis, grade] of results.cells) {
      const of = results.cases[at];
      if (redefined.has(of.id)) continue;
      const {name, implementation} = results.columns[column];
      const stands = verdict === "refused" && status === "documented" ? ANNOUNCED : STANDS[verdict];
      const number = score === null ? -1 : score === "NaN" ? Infinity : Number(score);
      found.set(`${of.id}::${name}`, {
        case: of, column: name, implementation, environment: results.environments[environment], verdict, status, score,
        number, stands, disagrees: stands > ANNOUNCED, what: results.texts[diagnosis],
        reason: results.reasons?.length ? results.reasons[diagnosis] : NONE, grade,
      });
    }
    return found;
  }

  /* What may account for the change of one cell */
  const inWords = (words) => ({id: "", words, symptom: false});
  function accountsOf(kind, base, now) {
    if (["inexact", "exact", "drift", "steadier"].includes(kind)) return [inWords("")];
    if (kind === "moved") {
      const fields = movedFields(base, now).map((moved) => inWords(movedWords(moved)));
      return fields.length ? fields : [inWords(now.what || base.what)];
    }
    return kind === "better" && !now.what ? causesOf(base, now) : causesOf(now, base);
  }
  function movedFields(base, now) {
    const [before, after] = [base, now].map((cell) => new Map(cell.reason.fields.map(({field, value}) => [field, value || "as documented"])));
    if ((base.what && !before.size) || (now.what && !after.size)) return [];
    return texts(new Set([...before.keys(), ...after.keys()]))
      .map((field) => ({field, base: before.get(field) ?? "", new: after.get(field) ?? ""}))
      .filter((moved) => moved.base !== moved.new);
  }
  const movedWords = (moved) => `${moved.field}: ${moved.base || "canonical"} → ${moved.new || "canonical"}`;
  function causesOf(cell, other) {
    const named = new Set(other.reason.causes.map((cause) => JSON.stringify(cause)));
    const own = cell.reason.causes.filter((cause) => !named.has(JSON.stringify(cause)));
    if (own.length) return own;
    return cell.reason.causes.length ? cell.reason.causes : [inWords(cell.what)];
  }
  // Gives causes, each with the items that it accounts for, until every item stands under one.
  function covered(items) {
    const found = [];
    let remaining = items.map((item) => [item, new Set(item.accounts.map((cause) => JSON.stringify(cause)))]);
    while (remaining.length) {
      const counts = new Map();
      for (const [, causes] of remaining) for (const cause of causes) counts.set(cause, (counts.get(cause) ?? 0) + 1);
      const order = (cause) => { const {symptom, words, id} = JSON.parse(cause); return [symptom ? 1 : 0, -counts.get(cause), words, id]; };
      const [chosen] = sorted([...counts.keys()], order);
      found.push([JSON.parse(chosen), remaining.filter(([, causes]) => causes.has(chosen)).map(([item]) => item)]);
      remaining = remaining.filter(([, causes]) => !causes.has(chosen));
    }
    return found;
  }

  /* Changes of cells that both have */
  function changesOf(pairs, policy) {
    const changed = [];
    for (const [base, now] of pairs) {
      const kind = kindOf(base, now, policy);
      if (kind) changed.push({kind, regression: regressed(kind, base, now, policy), base, now, accounts: accountsOf(kind, base, now)});
    }
    const found = grouped(changed, groupOf).flatMap(([, group]) => covered(group)).map(([account, cells]) => [change(account, cells), cells]);
    const worst = ([{regression, kind, implementation, what, cells: [first]}, cells]) => [
      regression ? 0 : 1, KINDS.indexOf(kind), -Math.max(...cells.map((cell) => VERDICTS.indexOf(cell.now.verdict))),
      -cells.length, implementation, what, first.case, first.column,
    ];
    return sorted(found, worst).map(([each]) => each);
  }
  function groupOf({kind, regression, base, now, accounts}) {
    const verdict = kind === "moved" || accounts.some((account) => account.id) ? null : now.verdict;
    if (kind === "worse" || kind === "otherwise") return [now.implementation, null, false, verdict, ""];
    if (kind === "moved" || kind === "better") return [now.implementation, kind, false, verdict, ""];
    if (kind === "status") return [now.implementation, kind, false, verdict, `${base.status} ${now.status}`];
    return [now.implementation, kind, regression, verdict, ""];
  }
  function change(account, group) {
    const cells = sorted(group, ({regression, now}) => [regression ? 0 : 1, -now.number, now.case.id, now.column]);
    const kind = KINDS[Math.min(...cells.map((cell) => KINDS.indexOf(cell.kind)))];
    const moved = kind === "moved" ? cells.flatMap(({base, now}) => movedFields(base, now)) : [];
    const fields = sorted([...new Map(moved.map((field) => [movedWords(field), field])).values()],
      (field) => [movedWords(field) === account.words ? 0 : 1, movedWords(field)]);
    return {
      kind, regression: cells.some((cell) => cell.regression), implementation: cells[0].now.implementation,
      cause: account.id, what: fields.map(movedWords).join("; ") || account.words, fields, cells: cells.map(cellChange),
    };
  }
  function kindOf(base, now, policy) {
    const agree = (cell) => cell.verdict === "exact" || cell.verdict === "conforms";
    if (agree(base) && agree(now) && base.verdict !== now.verdict) return now.verdict === "conforms" ? "inexact" : "exact";
    if (moved(base, now)) return "moved";
    if (now.stands < base.stands) return "better";
    if (now.stands > base.stands) return base.verdict === "unsupported" ? "otherwise" : "worse";
    if (base.verdict !== now.verdict || (ACCOUNTED.includes(now.verdict) && accountedOtherwise(base, now))) return "otherwise";
    if (base.status !== now.status) return "status";
    if (grew(base.number, now.number, policy)) return "drift";
    return grew(now.number, base.number, policy) ? "steadier" : null;
  }
  function moved(base, now) {
    const dialects = [base, now].filter((cell) => cell.verdict === "dialect").length;
    if (!AGREE.includes(base.verdict) || !AGREE.includes(now.verdict) || !dialects) return false;
    return dialects === 1 || movedFields(base, now).length > 0;
  }
  const accountedOtherwise = (base, now) => base.what !== now.what && !(base.reason.fields.length && now.reason.fields.length);
  const grew = (low, high, policy) => low >= 0 && high > low && high >= policy.drift_floor && high >= policy.drift_factor * low;
  function regressed(kind, base, now, {fail_on: failOn}) {
    switch (kind) {
      case "worse": case "moved": return true;
      case "inexact": return now.case.clauses.includes(EXACT_DATA) || failOn.includes("exactness");
      case "drift": return failOn.includes("drift");
      case "otherwise": return base.verdict === "unsupported" && now.disagrees && failOn.includes("appeared");
      default: return false;
    }
  }
  function cellChange({kind, regression, base, now}) {
    const factor = kind === "drift" || kind === "steadier" ? now.number / base.number : null;
    return {
      case: now.case.id, column: now.column, kind, regression, base: base.verdict, new: now.verdict,
      base_status: base.status, new_status: now.status, base_score: base.score, new_score: now.score,
      factor: factor === Infinity ? "Infinity" : factor, what: now.what || base.what,
    };
  }

  /* Grades, over the cells that both have graded */
  function gradesOf(pairs) {
    const found = [];
    const both = pairs.filter(([base, now]) => base.grade && now.grade);
    for (const [[column, dtype], rungs] of grouped(both, ([, now]) => [now.column, now.case.dtype])) {
      const [before, after] = [0, 1].map((side) => Math.max(...rungs.map((pair) => GRADES.indexOf(pair[side].grade))));
      if (before === after) continue;
      const [side, worse] = after > before ? [1, after] : [0, before];
      const set = rungs.find((pair) => pair[side].grade === GRADES[worse]);
      found.push({regression: side === 1, column, dtype, base: GRADES[before], new: GRADES[after], case: set[side].case.id});
    }
    return sorted(found, (each) => [each.regression ? 0 : 1, each.column, each.dtype]);
  }

  /* Cells that one has alone */
  const narrowed = (results) => results.runs.some((run) => run.narrowed);
  const tiersOf = (results) => texts(new Set(results.runs.map((run) => run.tier)));
  const complete = (results) => results.runs.every((run) => run.complete);
  function vanishedOf(cells, base, now, {fail_on: failOn}) {
    const columns = new Set(now.columns.map((each) => each.name));
    const reason = reasonsOf(base, now);
    const found = grouped(cells, (cell) => [cell.column, reason(cell)]).map(([[column, why], of]) => ({
      regression: why === "" || why === "failed" || failOn.includes("vanished"),
      column, reason: why, whole: !columns.has(column), cases: texts(of.map((cell) => cell.case.id)),
    }));
    return sorted(found, (each) => [each.regression ? 0 : 1, each.whole ? 0 : 1, each.column, each.reason]);
  }
  function reasonsOf(base, now) {
    const cases = new Set(now.cases.map((each) => each.id));
    const present = new Set(now.environments.flatMap((each) => standsFor(each, base)));
    const failed = new Set(now.environments.filter((each) => each.fault).flatMap((each) => standsFor(each, base)));
    const [partial, selected] = [!complete(now), narrowed(now)];
    const retiered = JSON.stringify(tiersOf(base)) !== JSON.stringify(tiersOf(now));
    return (cell) => {
      if (failed.has(cell.environment.id)) return "failed";
      if (!present.has(cell.environment.id)) return "absent";
      if (partial) return "partial";
      if (selected) return "narrowed";
      if (retiered) return "tier";
      return cases.has(cell.case.id) ? "" : "case";
    };
  }
  function appearedOf(cells, {fail_on: failOn}) {
    const found = grouped(cells, (cell) => cell.column).map(([column, of]) => {
      const wrong = sorted(of.filter((cell) => cell.disagrees), (cell) => [-cell.stands, cell.case.id]);
      const counts = VERDICTS.map((verdict) => [verdict, of.filter((cell) => cell.verdict === verdict).length]);
      return {
        regression: wrong.length > 0 && failOn.includes("appeared"), column,
        verdicts: Object.fromEntries(counts.filter(([, count]) => count)),
        disagreeing: wrong.map((cell) => ({case: cell.case.id, verdict: cell.verdict, status: cell.status, what: cell.what})),
      };
    });
    return sorted(found, (each) => [-each.disagreeing.length, each.column]);
  }

  /* Environments */
  function environmentsOf(base, now) {
    const [before, after] = [factsOf(base, now), factsOf(now, base)];
    const differences = texts(new Set([...before.keys(), ...after.keys()])).flatMap((id) =>
      differencesOf(before.get(id), after.get(id)).map((difference) => [difference, id]));
    const found = grouped(differences, ([difference]) => difference).map(([[part, name, was, is], of]) => ({
      regression: part === "fault" && !was, part, name, base: was, new: is, environments: of.map(([, id]) => id),
    }));
    return sorted(found, (each) => [each.regression ? 0 : 1, PARTS.indexOf(each.part), each.name, ...each.environments]);
  }
  // An environment that was not built stands for its whole group.
  function standsFor(environment, other) {
    if (environment.fault !== "not built") return [environment.id];
    const group = other.environments.filter((each) => each.group === environment.group).map((each) => each.id);
    return group.length ? texts(new Set(group)) : [environment.id];
  }
  function factsOf(results, other) {
    const found = new Map();
    for (const each of results.environments) {
      for (const id of standsFor(each, other)) {
        if (!found.has(id)) found.set(id, new Map());
        for (const [part, name, value] of told(each)) {
          const key = JSON.stringify([part, name]);
          if (!found.get(id).has(key)) found.get(id).set(key, new Set());
          found.get(id).get(key).add(value);
        }
      }
    }
    for (const facts of found.values()) for (const [key, values] of facts) facts.set(key, texts(values).join(" / "));
    return found;
  }
  function told(each) {
    const library = `${each.library} ${each.versions[each.library] || ""}`.trim() || each.id;
    const faults = each.fault ? [["fault", "", each.fault]] : [];
    const rest = ["versions", "settings", "process", "host"].flatMap((part) => Object.entries(each[part]).map(([name, value]) => [part, name, value]));
    return [["environment", "", library], ...faults, ...rest];
  }
  function differencesOf(before, after) {
    const [whole, fault] = [JSON.stringify(["environment", ""]), JSON.stringify(["fault", ""])];
    if (!before || !after) return [["environment", "", before?.get(whole) ?? "", after?.get(whole) ?? ""]];
    const pair = (key) => [...JSON.parse(key), before.get(key) ?? "", after.get(key) ?? ""];
    const differs = (key) => before.get(key) !== after.get(key);
    if (before.has(fault) || after.has(fault)) return differs(fault) ? [pair(fault)] : [];
    const keys = sorted([...new Set([...before.keys(), ...after.keys()])], (key) => [PARTS.indexOf(JSON.parse(key)[0]), JSON.parse(key)[1]]);
    return keys.filter((key) => key !== whole && differs(key)).map(pair);
  }

  function sideOf(results) {
    return {
      suite: results.suite, spec: results.spec, files: results.runs.map((run) => run.file), cells: results.cells.length,
      complete: complete(results), narrowed: narrowed(results), tiers: tiersOf(results),
    };
  }

  // Returns what changed from `base` to `now`; throws where they have nothing in common.
  return function compare(base, now, policy = POLICY) {
    const definitions = new Map(base.cases.map((each) => [each.id, each.definition]));
    const other = now.cases.filter((each) => (definitions.get(each.id) ?? each.definition) !== each.definition);
    const redefined = new Set(other.map((each) => each.id));
    const [before, after] = [cellsOf(base, redefined), cellsOf(now, redefined)];
    const pairs = [...before].filter(([key]) => after.has(key)).map(([key, cell]) => [cell, after.get(key)]);
    const alone = (cells, others) => [...cells].filter(([key]) => !others.has(key)).map(([, cell]) => cell);
    const changes = changesOf(pairs, policy);
    const grades = gradesOf(pairs);
    const environments = environmentsOf(base, now);
    const vanished = vanishedOf(alone(before, after), base, now, policy);
    const appeared = appearedOf(alone(after, before), policy);
    const regression = [changes, grades, environments, vanished, appeared].flat().some((each) => each.regression);
    if (!pairs.length && !regression) {
      throw new Error(`nothing to compare: of ${base.cells.length} and ${now.cells.length} cells none is of the same implementation, mode, device and case`);
    }
    return {
      format: 2, policy, regression, base: sideOf(base), new: sideOf(now), compared: pairs.length,
      same: pairs.length - changes.reduce((sum, each) => sum + each.cells.length, 0),
      changes, grades, environments, vanished, appeared, redefined: texts(redefined),
    };
  };
})();
