// Batch normalization or centering in JavaScript, checked against test vectors: node consumer.mjs VECTORS [RESULTS.jsonl [centering]]
// `conformance export --out VECTORS` writes them; `conformance judge VECTORS RESULTS.jsonl` judges the results.
// The other operations (masked, synchronized, renormalized, … statistics) are not computed: each is an algorithm of its own.
import { readFileSync, writeFileSync } from "node:fs"
import { dirname, join } from "node:path"
const [folder, results, op = "batch_norm"] = process.argv.slice(2)
const DIGITS = { float64: [53, -1074, 1024], float32: [24, -149, 128], float16: [11, -24, 16], bfloat16: [8, -133, 128] }
const WIDTHS = { float64: 8, float32: 4, float16: 2, bfloat16: 2, bool: 1 }
function number(text) { // a hexadecimal float
  const parts = /^(-?)0x([01])\.?([0-9a-f]*)p([+-]\d+)$/.exec(text)
  if (!parts) return text === true || text === false ? text : { nan: NaN, inf: Infinity, "-inf": -Infinity }[text]
  const [, sign, whole, digits, power] = parts, half = Math.trunc(power / 2) // 2 ** -1074 in two factors
  return (sign ? -1 : 1) * (parseInt(whole + digits, 16) / 16 ** digits.length) * 2 ** half * 2 ** (power - half)
}
function rounded(x, dtype) { // to nearest, ties to even
  const [digits, least, most] = DIGITS[dtype]
  if (dtype === "float64" || !Number.isFinite(x) || x === 0) return x
  const unit = 2 ** Math.max(Math.floor(Math.log2(Math.abs(x))) - digits + 1, least), q = Math.round(x / unit)
  const r = (Math.abs(x / unit - Math.trunc(x / unit)) === 0.5 ? 2 * Math.round(x / unit / 2) : q) * unit
  return Math.abs(r) >= 2 ** most ? Math.sign(r) * Infinity : r
}
function half(bits, digits) { // float16 or bfloat16, by its bits
  const e = (bits >> digits) & (2 ** (15 - digits) - 1), f = bits & (2 ** digits - 1), bias = 2 ** (14 - digits) - 1
  const size = e === 2 * bias + 1 ? (f ? NaN : Infinity) : e ? (1 + f / 2 ** digits) * 2 ** (e - bias) : f / 2 ** digits * 2 ** (1 - bias)
  return bits >> 15 ? -size : size
}
function tensors(path) { // a safetensors file
  const file = readFileSync(path), size = Number(file.readBigUInt64LE(0)), table = JSON.parse(file.subarray(8, 8 + size))
  const read = { float64: i => file.readDoubleLE(i), float32: i => file.readFloatLE(i), bool: i => file[i] === 1,
    float16: i => half(file.readUInt16LE(i), 10), bfloat16: i => half(file.readUInt16LE(i), 7) }
  return ({ dtype, tensor, shape }) => Array.from({ length: shape.reduce((a, b) => a * b, 1) },
    (_, i) => read[dtype](8 + size + table[tensor].data_offsets[0] + i * WIDTHS[dtype]))
}
function features(shape, axes) { // of each element, the number of its feature
  const sizes = axes.map(axis => shape[axis]), strides = shape.map((_, axis) => shape.slice(axis + 1).reduce((a, b) => a * b, 1))
  return Array.from({ length: shape.reduce((a, b) => a * b, 1) },
    (_, i) => axes.reduce((c, axis, k) => c * sizes[k] + Math.floor(i / strides[axis]) % shape[axis], 0))
}
function perform({ kind, learning_rate }, { input: x, upstream: g }, state, gradients, shape, c) { // one step
  const { gamma, beta, moving_mean: M, moving_variance: V = M } = state, C = c.feature_axes.reduce((n, a) => n * c.shape[a], 1)
  if (kind === "sgd") return Object.fromEntries(Object.keys(gradients).map(p => [p, state[p].map((v, k) => v - learning_rate * gradients[p][k])]))
  if (kind !== "train" && kind !== "infer") return {}
  const of = features(shape, c.feature_axes), m = x.length / C, zeros = () => new Array(C).fill(0)
  const sum = f => x.reduce((s, _, i) => (s[of[i]] += f(i, of[i]), s), zeros())
  const train = kind === "train" && m > 0, mean = train ? sum(i => x[i]).map(s => s / m) : M
  const variance = train ? sum((i, k) => (x[i] - mean[k]) ** 2).map(s => s / m) : V
  const root = variance.map(v => op === "centering" ? 1 : Math.sqrt(v + c.epsilon)), normal = x.map((v, i) => (v - mean[of[i]]) / root[of[i]])
  const result = { output: normal.map((v, i) => v * (gamma?.[of[i]] ?? 1) + (beta?.[of[i]] ?? 0)) }
  const move = (old, batch) => old.map((v, k) => train && c.decay < 1 ? c.decay * v + (1 - c.decay) * batch[k] : v)
  if (kind === "train") Object.assign(result, { moving_mean: move(M, mean), moving_variance: move(V, variance) })
  if (!g) return result
  const dbeta = sum(i => g[i]), dgamma = sum(i => g[i] * normal[i])
  const along = (i, k) => op === "centering" ? 0 : normal[i] * dgamma[k] / m
  const through = (i, k) => train ? g[i] - dbeta[k] / m - along(i, k) : g[i]
  return { ...result, ...(beta && { grad_beta: dbeta }), ...(gamma && { grad_gamma: dgamma }),
    grad_input: g.map((_, i) => (gamma?.[of[i]] ?? 1) / root[of[i]] * through(i, of[i])) }
}
const index = JSON.parse(readFileSync(join(folder, "index.json"))), lines = []
if (index.format !== 1) throw new Error(`format ${index.format}, expected 1`)
const cases = index.cases.filter(entry => entry.op === op), wrong = new Set()
for (const entry of cases) {
  const vector = JSON.parse(readFileSync(join(folder, entry.file))), c = vector.case.configuration
  const stored = vector.tensors && tensors(join(folder, dirname(entry.file), vector.tensors))
  const values = array => array.tensor ? stored(array) : array.values.map(number)
  const all = arrays => Object.fromEntries(Object.entries(arrays ?? {}).map(([name, array]) => [name, values(array)]))
  const steps = vector.steps.map(step => {
    if (step.refused) return { refused: step.refused } // no layer here is made for a size that an input could miss
    const shape = step.arrays.input?.shape ?? c.shape
    const got = perform(step, all(step.arrays), all(step.before), all(step.gradients), shape, c), quantities = {}
    for (const name of Object.keys(got).filter(name => step.expected[name])) {
      const { value, bound, rest, may_overflow } = step.expected[name], like = name === "output" || name === "grad_input"
      const dtype = like ? c.dtype : c.parameter_dtype, [right, allowed] = [values(value), values(bound)]
      const [less, loud] = [rest && values(rest), may_overflow && values(may_overflow)]
      const mine = got[name].map(v => rounded(v, dtype))
      const fits = (v, i) => !Number.isFinite(right[i]) ? !Number.isFinite(v) : !Number.isFinite(v) ? loud?.[i] === true
        : Math.abs(v - right[i] - (less?.[i] ?? 0)) <= allowed[i]
      if (!mine.every(fits)) { wrong.add(entry.id); console.log(`${entry.id} step ${step.number} ${name}: outside the bound`) }
      quantities[name] = { dtype, shape: value.shape, values: mine.map(v => Number.isFinite(v) ? v : Number.isNaN(v) ? "nan" : v > 0 ? "inf" : "-inf") }
    }
    return { quantities }
  })
  lines.push({ case: entry.id, steps })
}
const header = { implementation: `javascript.${op}`, op, library: "javascript", version: process.versions.node, state: "vectors" }
if (results) writeFileSync(results, [header, ...lines].map(line => JSON.stringify(line)).join("\n") + "\n")
console.log(`${cases.length} cases, ${wrong.size} wrong`)
process.exitCode = wrong.size ? 1 : 0
