"use strict";
// An interpreter of jaxprs: it runs what JAX has traced, without JAX.
//
// A program is a list of operations on numbered arrays: [name, parameters, numbers of its inputs, numbers of its outputs].
// All shapes are known in advance, so each operation is prepared once: it becomes a function without arguments, which
// reads its inputs and fills its outputs. Running the program is calling these functions in order.
//
// An array is flat: the element [i, j] of shape [5, 3] is at the address 3 i + 1 j, and 3 and 1 are its strides. The
// stride of an axis of length 1 is 0, so that such an axis repeats wherever it is stretched.

const TYPES = { float32: Float32Array, int32: Int32Array, int8: Int8Array, uint8: Uint8Array, bool: Uint8Array };
const size = (shape) => shape.reduce((count, length) => count * length, 1);
const stridesOf = (shape) => shape.map((length, axis) => (length === 1 ? 0 : size(shape.slice(axis + 1))));
const array = (type, shape, data) => Object.assign(data ?? new TYPES[type](size(shape)), { type, shape, strides: stridesOf(shape) });

const sum = (list) => list.reduce((total, value) => total + value, 0);
const clip = (index, last) => Math.min(Math.max(index, 0), last);
const pick = (list, axes) => axes.map((axis) => list[axis]);
const place = (list, axes, rank) => Array.from({ length: rank }, (_, axis) => list[axes.indexOf(axis)] ?? 0);
const others = (shape, ...taken) => [...shape.keys()].filter((axis) => !taken.flat().includes(axis));
const addressOf = (x, indices) => sum(indices.map((index, axis) => index * x.strides[axis]));

// The addresses of all elements of a shape in order, where one step along an axis moves the address by its stride
function addresses(shape, strides, start = 0) {
  const found = new Int32Array(size(shape)).fill(start);
  let inner = found.length;
  shape.forEach((length, axis) => {
    inner /= length;
    for (let i = 0; i < found.length; i++) found[i] += (Math.floor(i / inner) % length) * strides[axis];
  });
  return found;
}
const along = (x, axes) => addresses(pick(x.shape, axes), pick(x.strides, axes)); // at index 0 of all other axes
const stretched = (x, shape) => addresses(shape, shape.map((_, axis) => x.strides[axis] ?? 0));

// What many operations have in common: (parameters, outputs, inputs) -> the function that fills the outputs.

const inTurn = (...runs) => () => runs.forEach((run) => run());
const copy = (_, [out], [x]) => () => out.set(x); // the same elements, perhaps in another shape
const each = (f) => (_, [out], [x, y = x, z = x]) => { // a function of the elements at one place
  const [a, b, c] = [x, y, z].map((input) => stretched(input, out.shape));
  return () => { for (let i = 0; i < out.length; i++) out[i] = f(x[a[i]], y[b[i]], z[c[i]]); };
};
const read = (out, x, strides, start = 0, shift = () => 0) => { // each element of the output stands somewhere in x
  const address = addresses(out.shape, strides, start);
  return () => { for (let i = 0, by = shift(); i < out.length; i++) out[i] = x[by + address[i]]; };
};
const write = (out, x, strides, start = 0, shift = () => 0) => { // each element of x goes somewhere in the output
  const address = addresses(x.shape, strides, start);
  return () => { for (let i = 0, by = shift(); i < x.length; i++) out[by + address[i]] = x[i]; };
};
const arranged = (x, axes) => { // x with its axes in this order, and the function that fills it
  if (axes.every((axis, k) => axis === k)) return [x, () => {}];
  const found = array(x.type, pick(x.shape, axes));
  return [found, read(found, x, pick(x.strides, axes))];
};
const fold = (f, first) => ({ axes }, [out], [x]) => { // some axes become one value
  const address = addresses(x.shape, place(out.strides, others(x.shape, axes), x.shape.length));
  const folded = new Float64Array(out.length);
  return () => {
    folded.fill(first);
    for (let i = 0; i < x.length; i++) folded[address[i]] = f(folded[address[i]], x[i]);
    out.set(folded);
  };
};
const accumulate = (f) => ({ axis, reverse }, [out], [x]) => { // each element with all before it
  const starts = along(x, others(x.shape, axis)), last = x.shape[axis] - 1;
  return () => starts.forEach((start) => {
    const at = (k) => start + (reverse ? last - k : k) * x.strides[axis];
    for (let k = 0, value; k <= last; k++) out[at(k)] = value = k ? f(value, x[at(k)]) : x[at(k)];
  });
};
const find = (better) => ({ axes: [axis] }, [out], [x]) => { // the index of the best element
  const starts = along(x, others(x.shape, axis)), indices = [...Array(x.shape[axis]).keys()];
  return () => starts.forEach((start, i) => {
    const value = (k) => x[start + k * x.strides[axis]];
    out[i] = indices.reduce((best, k) => (better(value(k), value(best)) ? k : best));
  });
};

// The address where a window of x of these lengths begins; it is moved inside if it would not fit
const corner = (x, lengths, indices) => addressOf(x, indices.map(([index], axis) => clip(index, x.shape[axis] - lengths[axis])));

// The windows of x that a gather reads and a scatter writes. Each row of `indices` says where one begins along the axes
// `map` of x. Element i of `parts` is in window `row[i]`, `within[i]` from its beginning: its axes `inner` are those of
// x that are neither `removed` nor batched. A window that does not fit is moved inside, or dropped: it begins at -∞.
function windows(x, indices, parts, [inner, removed, map, batchX, batchRows], mode) {
  const kept = others(x.shape, removed, batchX), rows = indices.shape.slice(0, -1), rank = parts.shape.length;
  const within = addresses(parts.shape, place(pick(x.strides, kept), inner, rank));
  const row = addresses(parts.shape, place(stridesOf(rows), others(parts.shape, inner), rank));
  const batch = addresses(rows, place(pick(x.strides, batchX), batchRows, rows.length));
  const last = map.map((axis) => x.shape[axis] - (kept.includes(axis) ? parts.shape[inner[kept.indexOf(axis)]] : 1));
  const begin = new Float64Array(batch.length);
  const locate = () => batch.forEach((address, r) => {
    begin[r] = address + sum(map.map((axis, k) => {
      const index = indices[r * map.length + k], inside = clip(index, last[k]);
      return mode === "FILL_OR_DROP" && index !== inside ? -Infinity : inside * x.strides[axis];
    }));
  });
  return { locate, address: (i) => begin[row[i]] + within[i] };
}

const scatter = (f) => ({ dimension_numbers, mode }, [out], [x, indices, parts]) => { // x.at[indices]
  const { locate, address } = windows(out, indices, parts, dimension_numbers, mode);
  return inTurn(locate, () => out.set(x), () => parts.forEach((part, i) => {
    if (address(i) >= 0) out[address(i)] = f(out[address(i)], part);
  }));
};

// erf(x) = 2/√π exp(−x²) Σ 2ⁿ x²ⁿ⁺¹ / (1·3·5 ⋯ (2n+1)); beyond ±4 it is ±1 in float32
function erf(x) {
  let series = 0;
  for (let n = 1, term = x; n < 80; term *= (2 * x * x) / (2 * n + 1), n++) series += term;
  return Math.abs(x) > 4 ? Math.sign(x) : (2 / Math.sqrt(Math.PI)) * Math.exp(-x * x) * series;
}

const OPERATIONS = {
  // Element by element
  abs: each(Math.abs), neg: each((x) => -x), sign: each(Math.sign), floor: each(Math.floor), ceil: each(Math.ceil),
  exp: each(Math.exp), exp2: each((x) => 2 ** x), expm1: each(Math.expm1), log: each(Math.log), log1p: each(Math.log1p),
  sin: each(Math.sin), cos: each(Math.cos), tanh: each(Math.tanh), logistic: each((x) => 1 / (1 + Math.exp(-x))),
  erf: each(erf), erfc: each((x) => 1 - erf(x)), sqrt: each(Math.sqrt), rsqrt: each((x) => 1 / Math.sqrt(x)),
  square: each((x) => x * x), integer_pow: (p, ...arrays) => each((x) => x ** p.y)(p, ...arrays), pow: each((x, y) => x ** y),
  add: each((x, y) => x + y), add_any: each((x, y) => x + y), sub: each((x, y) => x - y), mul: each((x, y) => x * y),
  div: each((x, y) => x / y), rem: each((x, y) => x % y), // an array of integers drops the fraction
  max: each((x, y) => Math.max(x, y)), min: each((x, y) => Math.min(x, y)), clamp: each((low, x, high) => Math.min(Math.max(x, low), high)),
  eq: each((x, y) => x === y), ne: each((x, y) => x !== y), is_finite: each(Number.isFinite),
  lt: each((x, y) => x < y), le: each((x, y) => x <= y), gt: each((x, y) => x > y), ge: each((x, y) => x >= y),
  and: each((x, y) => x & y), or: each((x, y) => x | y), xor: each((x, y) => x ^ y),
  not: (p, [out], xs) => each(out.type === "bool" ? (x) => !x : (x) => ~x)(p, [out], xs),
  convert_element_type: (p, [out], xs) => each(out.type === "bool" ? (x) => x !== 0 : (x) => x)(p, [out], xs),
  select_n: (_, [out], [which, ...cases]) => { // one of several arrays, at each place
    const address = stretched(which, out.shape);
    return () => out.forEach((_, i) => { out[i] = cases[which[address[i]]][i]; });
  },

  // The same elements elsewhere
  copy: copy, stop_gradient: copy, reshape: copy, squeeze: copy,
  broadcast_in_dim: (p, [out], [x]) => read(out, x, place(x.strides, p.broadcast_dimensions, out.shape.length)),
  transpose: (p, [out], [x]) => read(out, x, pick(x.strides, p.permutation)),
  rev: ({ dimensions: back }, [out], [x]) => // backwards along some axes
    read(out, x, x.strides.map((stride, axis) => (back.includes(axis) ? -stride : stride)),
      addressOf(x, x.shape.map((length, axis) => (back.includes(axis) ? length - 1 : 0)))),
  slice: ({ start_indices, strides }, [out], [x]) =>
    read(out, x, x.strides.map((stride, axis) => stride * (strides?.[axis] ?? 1)), addressOf(x, start_indices)),
  split: ({ axis, sizes }, outs, [x]) =>
    inTurn(...outs.map((out, k) => read(out, x, x.strides, x.strides[axis] * sum(sizes.slice(0, k))))),
  concatenate: ({ dimension: axis }, [out], xs) =>
    inTurn(...xs.map((x, k) => write(out, x, out.strides, out.strides[axis] * sum(xs.slice(0, k).map((y) => y.shape[axis]))))),
  stack: ({ axis }, [out], xs) => inTurn(...xs.map((x, k) => write(out, x, out.strides.toSpliced(axis, 1), out.strides[axis] * k))),
  unstack: ({ axis }, outs, [x]) => inTurn(...outs.map((out, k) => read(out, x, x.strides.toSpliced(axis, 1), x.strides[axis] * k))),
  tile: ({ reps }, [out], [x]) => // the whole array again and again, along each axis
    read(array(out.type, reps.flatMap((n, axis) => [n, x.shape[axis]]), out.subarray()), x, x.strides.flatMap((stride) => [0, stride])),
  pad: ({ padding_config: config }, [out], [x, value]) => { // along each axis: before, after, between two elements
    const strides = out.strides.map((stride, axis) => stride * (1 + config[axis][2]));
    return inTurn(() => out.fill(value[0]), write(out, x, strides, addressOf(out, config.map(([before]) => before))));
  },
  iota: ({ dimension }, [out]) => { // 0, 1, 2, ... along one axis
    const numbers = addresses(out.shape, place([1], [dimension], out.shape.length));
    return () => out.set(numbers);
  },
  dynamic_slice: (_, [out], [x, ...indices]) => read(out, x, x.strides, 0, () => corner(x, out.shape, indices)),
  dynamic_update_slice: (_, [out], [x, part, ...indices]) =>
    inTurn(() => out.set(x), write(out, part, out.strides, 0, () => corner(x, part.shape, indices))),
  gather: ({ dimension_numbers, mode, fill_value = NaN }, [out], [x, indices]) => { // x[indices]
    const { locate, address } = windows(x, indices, out, dimension_numbers, mode);
    return inTurn(locate, () => out.forEach((_, i) => { out[i] = address(i) >= 0 ? x[address(i)] : fill_value; }));
  },
  scatter: scatter((old, part) => part), "scatter-add": scatter((old, part) => old + part),
  "scatter-mul": scatter((old, part) => old * part), "scatter-max": scatter(Math.max), "scatter-min": scatter(Math.min),

  // Many elements into one
  dot_general: ({ dimension_numbers: [[summedX, summedY], [batchX, batchY]] }, [out], [x, y]) => { // matrix products
    const rowsX = others(x.shape, summedX, batchX), columnsY = others(y.shape, summedY, batchY);
    const [left, arrangeX] = arranged(x, [...batchX, ...rowsX, ...summedX]);
    const [right, arrangeY] = arranged(y, [...batchY, ...summedY, ...columnsY]);
    const [rows, summed, columns] = [[x, rowsX], [x, summedX], [y, columnsY]].map(([z, axes]) => size(pick(z.shape, axes)));
    const sums = new Float64Array(columns); // a row of the product
    return inTurn(arrangeX, arrangeY, () => {
      for (let i = 0; i * columns < out.length; i++) {
        sums.fill(0);
        for (let k = 0; k < summed; k++) {
          const value = left[i * summed + k], start = (Math.floor(i / rows) * summed + k) * columns;
          for (let j = 0; j < columns; j++) sums[j] += value * right[start + j];
        }
        out.set(sums, i * columns);
      }
    });
  },
  reduce_sum: fold((x, y) => x + y, 0), reduce_prod: fold((x, y) => x * y, 1), reduce_and: fold((x, y) => x & y, 1),
  reduce_or: fold((x, y) => x | y, 0), reduce_max: fold(Math.max, -Infinity), reduce_min: fold(Math.min, Infinity),
  cumsum: accumulate((x, y) => x + y), cumprod: accumulate((x, y) => x * y), cummax: accumulate(Math.max), cummin: accumulate(Math.min),
  argmax: find((x, best) => x > best), argmin: find((x, best) => x < best),

  // Programs inside the program; `inner` prepares one, whose first inputs are arrays from here
  cond: ({ branches }, outs, [which, ...ins], inner) => {
    const prepared = branches.map((branch) => inner(branch, ins));
    return () => assign(outs, prepared[clip(which[0], branches.length - 1)].run());
  },
  while: ({ cond_jaxpr, cond_nconsts, body_jaxpr, body_nconsts }, outs, ins, inner) => {
    const start = cond_nconsts + body_nconsts, test = inner(cond_jaxpr, [...ins.slice(0, cond_nconsts), ...outs]);
    const body = inner(body_jaxpr, [...ins.slice(cond_nconsts, start), ...outs]);
    return () => {
      assign(outs, ins.slice(start));
      while (test.run()[0][0]) assign(outs, body.run());
    };
  },
  scan: ({ jaxpr, length, reverse, num_consts, num_carry }, outs, ins, inner) => {
    const carry = outs.slice(0, num_carry), start = num_consts + num_carry;
    const body = inner(jaxpr, [...ins.slice(0, num_consts), ...carry]), row = (x, of, t) => x.subarray(t * of.length, (t + 1) * of.length);
    return () => {
      assign(carry, ins.slice(num_consts, start));
      for (let step = 0; step < length; step++) {
        const t = reverse ? length - 1 - step : step;
        body.inputs.slice(start).forEach((x, k) => x.set(row(ins[start + k], x, t)));
        const found = body.run();
        outs.slice(num_carry).forEach((all, k) => row(all, found[num_carry + k], t).set(found[num_carry + k]));
        assign(carry, found.slice(0, num_carry));
      }
    };
  },
};

// Copies values first, since the same array may stand on both sides
const assign = (targets, values) => values.map((value) => value.slice()).forEach((value, k) => targets[k].set(value));

// Prepares a program whose constants lie in these bytes. An operation on constants alone runs once, now.
function prepare({ arrays, constants, operations, inputs, outputs }, bytes, given = []) {
  const offsets = new Map(constants), known = new Set(offsets.keys());
  const stored = (number, [type, shape]) => offsets.has(number) ? new TYPES[type](bytes, offsets.get(number), size(shape)) : undefined;
  const all = arrays.map((about, number) => given[inputs.indexOf(number)] ?? array(...about, stored(number, about)));
  const runs = operations.flatMap(([name, parameters, ins, outs]) => {
    const run = OPERATIONS[name](parameters, pick(all, outs), pick(all, ins), (program, own) => prepare(program, bytes, own));
    if (!ins.every((number) => known.has(number))) return [run];
    run();
    outs.forEach((number) => known.add(number));
    return [];
  });
  return { inputs: pick(all, inputs), run: () => { runs.forEach((run) => run()); return pick(all, outputs); } };
}

// A model is two programs: `init_cache`, its memory before a line, and `step`: (memory, token) -> (logits, memory).
function loadModel({ init_cache, step }, bytes) {
  const start = prepare(init_cache, bytes).run(), { inputs, run } = prepare(step, bytes);
  return { start, step: (memory, token) => {
    assign(inputs, [...memory, [token]]);
    const [logits, ...after] = run().map((value) => value.slice());
    return [logits, after];
  } };
}
