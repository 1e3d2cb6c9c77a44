// The pure modules of the front end, run by node: `node --test`.
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { pathToFileURL } from "node:url";

const STATIC = pathToFileURL(`${process.env.NEURONWISE_STATIC}/`);
const load = (name) => import(new URL(`${name}.js`, STATIC));
const { fromHalf, swap, unpack } = await load("decode");
const { axis, datum, steadyPercent, figure, percent, signed, steady, steadySigned, visible } = await load("numbers");
const { glyph, largestSize, PALETTES, signedColour, ticks } = await load("scales");
const { normalDistribution } = await load("activations");
const { forward, unitsOf } = await load("forward");
const { gradients } = await load("backward");
const { contributions, sumOf } = await load("contributions");
const { neuronSum, patchIndex, sumAsText, topTerms } = await load("sums");
const { dateParts, decodeCell, encodeCell } = await load("encode");
const { likeTraining, rasterise, unexplained } = await load("drawing");
const { drawnLayers, laneOf, layOut, positionOf, strongest, unitAt } = await load("layout");
const { fromAddress, Store, toAddress } = await load("state");
const { Memory } = await load("memory");
const { Model } = await load("model");

const vectors = JSON.parse(readFileSync(process.env.NEURONWISE_VECTORS, "utf8"));
const near = (found, expected, tolerance, words) => {
  if (Number.isNaN(expected)) return assert.ok(Number.isNaN(found), `${words}: ${found} is not NaN`);
  if (!Number.isFinite(expected)) return assert.equal(found, expected, words);
  return assert.ok(Math.abs(found - expected) <= tolerance * Math.max(1, Math.abs(expected)), `${words}: ${found} is not ${expected}`);
};

for (const network of vectors.networks) {
  test(`the forward pass equals NumPy's: ${network.name}`, () => {
    const [parameters, buffers] = [unpack(network.parameters), unpack(network.buffers)];
    network.inputs.forEach((input, row) => {
      const trace = forward(network.net, parameters, buffers, unpack(input.x));
      trace.forEach((layer, index) => {
        const expected = input.layers[index];
        for (const key of ["z", "a"]) {
          if (expected[key] === null) continue;
          const values = unpack(expected[key]);
          assert.equal(layer[key].length, values.length);
          values.forEach((value, i) => near(layer[key][i], value, 1e-5, `row ${row}, ${network.net.layers[index].name}.${key}[${i}]`));
        }
      });
    });
  });

  test(`every neuron's sum adds up to its z: ${network.name}`, () => {
    const [parameters, buffers] = [unpack(network.parameters), unpack(network.buffers)];
    const trace = forward(network.net, parameters, buffers, unpack(network.inputs[0].x));
    network.net.layers.forEach((layer, index) => {
      for (let neuron = 0; neuron < Math.min(layer.neurons, 40); neuron++) {
        const sum = neuronSum(layer, parameters, buffers, trace[index], neuron, [1, 1]);
        if (!sum || !Number.isFinite(sum.z)) continue;
        assert.ok(Math.abs(sum.gap) <= sum.tolerance, `${layer.name}[${neuron}] misses by ${sum.gap}, may by ${sum.tolerance}`);
        const { top, rest } = topTerms(sum, 3);
        near(top.reduce((all, term) => all + term.product, rest) + sum.bias, sum.z, 1e-5, "top and rest");
      }
    });
  });

  if (network.smooth) {
    test(`gradients equal differences: ${network.name}`, () => {
      const [parameters, buffers] = [unpack(network.parameters), unpack(network.buffers)];
      const x = unpack(network.inputs[0].x);
      const last = network.net.layers.length - 1;
      const [dx] = gradients(network.net, parameters, buffers, forward(network.net, parameters, buffers, x), 1);
      for (let i = 0; i < x.length; i += Math.max(1, Math.floor(x.length / 12))) {
        const moved = (by) => {
          const other = x.slice();
          other[i] += by;
          return forward(network.net, parameters, buffers, other)[last].z[1];
        };
        near(dx[i], (moved(0.01) - moved(-0.01)) / 0.02, 2e-2, `d z / d x[${i}]`);
      }
    });
  }
}

for (const network of vectors.networks.filter((one) => one.explained.length)) {
  test(`contributions are those that Python finds: ${network.name}`, () => {
    const [parameters, buffers] = [unpack(network.parameters), unpack(network.buffers)];
    for (const expected of network.explained) {
      const found = contributions(network.net, parameters, buffers, unpack(network.inputs[0].x), unpack(expected.baseline), 1);
      const exact = expected.method === "local linear map";
      assert.equal(found.steps === 0, exact, expected.method);
      const size = unpack(expected.inputs).reduce((sum, one) => sum + Math.abs(one), 0) + 1;
      const close = (is, should, words) => assert.ok(Math.abs(is - should) <= (exact ? 1e-5 : 5e-4) * size, `${words}: ${is} is not ${should}`);
      close(found.start, expected.start, "start");
      close(found.value, expected.value, "value");
      close(found.start + sumOf(found.inputs), found.value, "the sum");
      unpack(expected.inputs).forEach((value, i) => close(found.inputs[i], value, `input ${i}`));
      network.net.layers.forEach((layer, index) => {
        if (!(layer.name in expected.layers)) return;
        const [packed, start] = expected.layers[layer.name];
        const values = unpack(packed);
        const own = new Float64Array(values.length);
        const { neuron, count } = unitsOf(layer);
        found.layers[index].forEach((value, i) => { own[count === values.length ? neuron(i) : i] += value; });
        values.forEach((value, k) => close(own[k], value, `${layer.name}[${k}]`));
        close(found.below[index], start, `below ${layer.name}`);
        close(found.below[index] + sumOf(found.layers[index]), found.value, `the sum through ${layer.name}`);
      });
    }
  });
}

test("a changed sum is found", () => {
  const network = vectors.networks[0];
  const [parameters, buffers] = [unpack(network.parameters), unpack(network.buffers)];
  const trace = forward(network.net, parameters, buffers, unpack(network.inputs[0].x));
  trace[0].z[0] += 0.01;
  const sum = neuronSum(network.net.layers[0], parameters, buffers, trace[0], 0);
  assert.ok(Math.abs(sum.gap) > sum.tolerance);
});

test("numbers of 16 bits are what IEEE 754 says", () => {
  for (const [bits, value] of [[0x3c00, 1], [0xc000, -2], [0x0001, 2 ** -24], [0x7bff, 65504], [0x7c00, Infinity], [0xfc00, -Infinity], [0x3555, 0.333251953125]]) {
    assert.equal(fromHalf(bits), value);
  }
  assert.ok(Number.isNaN(fromHalf(0x7e00)));
});

test("an array of the wrong length is refused", () => {
  assert.throws(() => unpack({ dtype: "float32", shape: [3], data: btoa("12345678") }), /should have 12 bytes, it has 8/);
  assert.throws(() => unpack({ dtype: "complex128", shape: [1], data: "" }), /complex128/);
});

test("arrays of every type come as Python wrote them", () => {
  for (const { packed, values } of vectors.arrays) unpack(packed).forEach((value, i) => near(value, values[i] === null ? NaN : values[i], 1e-3, packed.dtype));
});

test("numbers read as a person writes them", () => {
  assert.equal(figure(2570), "2,570");
  assert.equal(figure(512345.67, 5), "512,346");
  assert.equal(figure(-0.01234), "−0.0123");
  assert.equal(figure(NaN), "NaN");
  assert.equal(figure(-Infinity), "−∞");
  assert.equal(figure(3.2e-9), "3.2e−9");
  assert.equal(figure(0), "0");
  assert.equal(signed(0.5), "+0.5");
  assert.equal(percent(1e-9), "< 0.01 %");
  assert.equal(percent(0.25), "25 %");
  assert.deepEqual([0.047, 0.92, 0, 1, 1e-9, 0.9998, 0.25].map(steadyPercent), ["4.70 %", "92.0 %", "0 %", "100 %", "< 0.01 %", "99.98 %", "25.0 %"]);
});

// Matrices of Machado, Oliveira and Fernandes (2009), "A Physiologically-based Model for Simulation of Color Vision
// Deficiency", table 1, severity 1.0, for linear RGB.
const SEEN_BY = {
  "every cone": [[1, 0, 0], [0, 1, 0], [0, 0, 1]],
  protanopia: [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]],
  deuteranopia: [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.01182, 0.04294, 0.968881]],
  tritanopia: [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.3039]],
};
const linear = (value) => (value / 255 <= 0.04045 ? value / 255 / 12.92 : ((value / 255 + 0.055) / 1.055) ** 2.4);
const luminance = (colour) => { const [r, g, b] = colour.map(linear); return 0.2126 * r + 0.7152 * g + 0.0722 * b; };
/** CIE L*a*b* (D65) of an sRGB colour as someone sees it. */
function lab(colour, matrix) {
  const rgb = colour.map(linear);
  const [r, g, b] = matrix.map((row) => Math.min(1, Math.max(0, row.reduce((sum, one, i) => sum + one * rgb[i], 0))));
  const f = (t) => (t > 216 / 24389 ? Math.cbrt(t) : (24389 / 27 * t + 16) / 116);
  const [x, y, z] = [(0.4124 * r + 0.3576 * g + 0.1805 * b) / 0.95047, 0.2126 * r + 0.7152 * g + 0.0722 * b, (0.0193 * r + 0.1192 * g + 0.9505 * b) / 1.08883].map(f);
  return [116 * y - 16, 500 * (x - y), 200 * (y - z)];
}
const distance = (p, q) => Math.hypot(...p.map((one, i) => one - q[i]));

for (const [name, palette] of Object.entries(PALETTES)) {
  for (const [eye, matrix] of Object.entries(SEEN_BY)) {
    test(`sign and size are seen in the ${name} scale with ${eye}`, () => {
      const at = (value) => lab(signedColour(value, 1, palette), matrix);
      let before = { positive: 0, negative: 0 };
      for (const size of [0.02, 0.1, 0.3, 0.6, 1]) {
        const away = { positive: distance(at(size), at(0)), negative: distance(at(-size), at(0)) };
        for (const side of ["positive", "negative"]) {
          assert.ok(away[side] > before[side] + 2, `${side} ${size}: ${away[side]} after ${before[side]}`);
        }
        before = away;
        // A just noticeable difference is about 2.3.
        const apart = distance(at(size), at(-size));
        assert.ok(apart >= (size >= 0.1 ? 15 : 5), `±${size} are ${apart.toFixed(1)} apart`);
      }
      assert.ok(distance(at(1), at(-1)) > 45, "the ends");
      // The same size on either side is about equally far from zero: none of them shouts.
      assert.ok(before.positive / before.negative > 0.55 && before.positive / before.negative < 1.8, JSON.stringify(before));
      assert.ok(distance(lab(palette.odd, matrix), at(0)) > 40, "what is not finite");
    });
  }
  test(`a dash is seen on the ${name} scale's negative colour`, () => {
    const dash = name === "dark" ? [16, 18, 22] : [255, 255, 255];
    const [high, low] = [luminance(dash), luminance(palette.negative)].sort((p, q) => q - p);
    assert.ok((high + 0.05) / (low + 0.05) > 3);
  });
}

test("that test of colours can fail: red and green are one to some", () => {
  const [red, green] = [[214, 39, 40], [120, 130, 20]].map((colour) => lab(colour, SEEN_BY.deuteranopia));
  const seen = [[214, 39, 40], [120, 130, 20]].map((colour) => lab(colour, SEEN_BY["every cone"]));
  assert.ok(distance(red, green) < 0.4 * distance(...seen));
});

test("hostile names are seen as what they are", () => {
  assert.equal(visible("a\u202eb"), "a⟨U+202E⟩b");
  assert.equal(visible("\u001b[31mred"), "⟨U+001B⟩[31mred");
  assert.match(visible("x".repeat(10000)), /^x{60}… \(10,000 characters\)$/);
  assert.equal(visible(""), "“”");
  assert.equal(visible("</script><img onerror=alert(1)>"), "</script><img onerror=alert(1)>");
});

test("a name is cut only where that makes it shorter, and never within a character", () => {
  assert.equal(visible("very good, would buy again", 24), "very good, would buy again");
  assert.equal(visible("😀".repeat(50), 9), `${"😀".repeat(4)}… (100 characters)`);
});

test("numbers of a column end at one place, years have no comma, an axis has room for its own", () => {
  assert.deepEqual([1.1, 0.46, 2, 0, 4090.4, NaN, 1.5e-7].map(steady), ["1.10", "0.460", "2", "0", "4,090", "NaN", "1.50e−7"]);
  assert.deepEqual([0.46, -0.33].map(steadySigned), ["+0.460", "−0.330"]);
  assert.deepEqual([2017, 62658.2, 1.57954, -0.5].map((value) => datum(value)), ["2017", "62,658", "1.58", "−0.5"]);
  assert.deepEqual([200000, -10000, 1000000, 0.05, -0.00015, 5e-7, 1234].map((value) => axis(value)), ["200k", "−10k", "1M", "0.05", "−1.5e−4", "5e−7", "1,234"]);
  for (const value of [123456, -987654321, 0.000123, -0.00123, 99999]) assert.ok(axis(value).length <= 8, axis(value));
});

test("colours are symmetric at zero and not finite values have none of them", () => {
  for (const palette of Object.values(PALETTES)) {
    assert.deepEqual(signedColour(0, 1, palette), palette.zero);
    assert.deepEqual(signedColour(1, 1, palette), palette.positive);
    assert.deepEqual(signedColour(-1, 1, palette), palette.negative);
    assert.deepEqual(signedColour(NaN, 1, palette), palette.odd);
    const way = (value) => Math.hypot(...signedColour(value, 1, palette).map((v, i) => v - palette.zero[i])) / Math.hypot(...signedColour(Math.sign(value), 1, palette).map((v, i) => v - palette.zero[i]));
    assert.ok(Math.abs(way(0.3) - way(-0.3)) < 0.02);
  }
  assert.equal(glyph(-2), "−");
  assert.equal(glyph(NaN), "×");
  assert.equal(largestSize([1, -3, NaN, Infinity]), 3);
  assert.deepEqual(ticks(0, 1, 4), [0, 0.5, 1]);
});

test("the two signs stay apart for people who see colours otherwise", () => {
  // Viénot, Brettel and Mollon (1999) for protanopia and deuteranopia; Brettel et al. (1997) in the linear form of
  // Machado, Oliveira and Fernandes (2009), severity 1, for tritanopia.
  const matrices = {
    protanopia: [0.152286, 1.052583, -0.204868, 0.114503, 0.786281, 0.099216, -0.003882, -0.048116, 1.051998],
    deuteranopia: [0.367322, 0.860646, -0.227968, 0.280085, 0.672501, 0.047413, -0.01182, 0.04294, 0.968881],
    tritanopia: [1.255528, -0.076749, -0.178779, -0.078411, 0.930809, 0.147602, 0.004733, 0.691367, 0.3039],
  };
  const linear = (v) => (v / 255 <= 0.04045 ? v / 255 / 12.92 : ((v / 255 + 0.055) / 1.055) ** 2.4);
  const gamma = (v) => 255 * (v <= 0.0031308 ? 12.92 * v : 1.055 * Math.max(v, 0) ** (1 / 2.4) - 0.055);
  for (const palette of Object.values(PALETTES)) {
    for (const [name, m] of Object.entries(matrices)) {
      const seen = (colour) => { const c = colour.map(linear); return [0, 1, 2].map((i) => gamma(m[3 * i] * c[0] + m[3 * i + 1] * c[1] + m[3 * i + 2] * c[2])); };
      const apart = (p, q) => Math.hypot(...seen(p).map((v, i) => v - seen(q)[i]));
      assert.ok(apart(palette.negative, palette.positive) > 110, name);
      assert.ok(apart(palette.negative, palette.zero) > 60, `${name}, negative and zero`);
      assert.ok(apart(palette.positive, palette.zero) > 60, `${name}, positive and zero`);
    }
  }
});

test("rows are encoded as the encoder in Python does, and read back", () => {
  for (const { columns, rows } of vectors.tables) {
    for (const { cells, x } of rows) {
      const expected = unpack(x);
      const found = new Float32Array(expected.length);
      columns.forEach((column, k) => {
        const back = decodeCell(column, expected);
        assert.equal(back.missing, cells[k].missing, column.name);
        if (!cells[k].missing && typeof cells[k].value === "number") near(back.value, cells[k].value, 1e-4, column.name);
        else if (!cells[k].missing) assert.equal(back.value, cells[k].value, column.name);
        encodeCell(column, cells[k], found);
      });
      expected.forEach((value, i) => near(found[i], value, 1e-5, `input ${i}`));
    }
  }
});

test("the parts of a date", () => {
  assert.deepEqual(dateParts("2024-03-08", "2023-12-31"), { year: 2024, month: 3, "day of year": 68, "days since first": 68, hour: 0 });
  assert.equal(dateParts("2024-12-31T18:30", "2024-01-01").hour, 18.5);
  assert.equal(dateParts("2024-12-31", "2024-01-01")["day of year"], 366);
});

test("Φ(z) is right in both tails and at zero", () => {
  assert.equal(normalDistribution(0), 0.5);
  near(normalDistribution(1), 0.841344746068543, 1e-12, "1");
  near(normalDistribution(-4), 3.167124183311992e-5, 1e-12, "-4");
  assert.ok(Math.abs(normalDistribution(-8) / 6.220960574271785e-16 - 1) < 1e-9);
  assert.ok(Number.isNaN(normalDistribution(NaN)));
});

test("a drawing has the size and the centre of the training's, wherever and however large it was drawn", () => {
  const drawn = { box: 20, row: 13.6, column: 14, stroke: 3, level: 1 };
  const ring = (cx, cy, radius) => Array.from({ length: 40 }, (_, i) => [cx + radius * Math.cos((i * 2 * Math.PI) / 39), cy + radius * Math.sin((i * 2 * Math.PI) / 39)]);
  const [small, large] = [likeTraining([ring(0.2, 0.3, 0.1)], 28, 28, drawn), likeTraining([ring(0.5, 0.5, 0.4)], 28, 28, drawn)];
  let [mass, row, column] = [0, 0, 0];
  small.forEach((value, i) => { mass += value; row += value * Math.floor(i / 28); column += value * (i % 28); });
  near(row / mass, 13.6, 0.02, "row of the centre");
  near(column / mass, 14, 0.02, "column of the centre");
  const inked = (pixels) => pixels.reduce((rows, value, i) => (value > 0.3 ? rows.add(Math.floor(i / 28)) : rows), new Set()).size;
  assert.ok(Math.abs(inked(small) - 20) <= 1);
  assert.ok(Math.max(...small.map((value, i) => Math.abs(value - large[i]))) < 0.35);
  assert.equal(likeTraining([], 28, 28, drawn), null);
  assert.ok(likeTraining([[[0.5, 0.5]]], 28, 28, drawn).some((value) => value > 0.5));
  assert.equal(Math.max(...rasterise([[[2, 2], [2, 6]]], 8, 8, 2)), 1);
});

test("what lies outside the main directions is counted", () => {
  near(unexplained([3, 4, 0], [0, 0, 0], [1, 0, 0]), 16 / 25, 1e-12, "share");
  assert.equal(unexplained([1, 1], [1, 1], [1, 0]), 0);
});

test("the strongest are those of the largest size", () => {
  assert.deepEqual(strongest([0.1, -5, 3, NaN, 0], 3), [3, 1, 2]);
  const many = Float32Array.from({ length: 50000 }, (_, i) => Math.sin(i * 12.9898) * ((i * 7919) % 1000));
  const expected = Array.from(many, (value, i) => [Math.abs(value), i]).sort((p, q) => q[0] - p[0] || p[1] - q[1]).slice(0, 200).map(([, i]) => i);
  assert.deepEqual(strongest(many, 200), expected);
});

test("every neuron that is drawn is found where it is drawn", () => {
  for (const { net } of vectors.networks) {
    for (const width of [360, 700, 1100]) {
      const inputs = net.input_shape.length > 1 ? { kind: "picture", shape: net.input_shape } : { kind: "vector" };
      const layout = layOut(net, inputs, width, net.input_shape.length > 1 ? [] : Array.from({ length: net.input_shape[0] }, (_, i) => i));
      assert.equal(layout.panels.length, drawnLayers(net).length + 1);
      for (const panel of layout.panels) {
        assert.ok(panel.x >= -0.01 && panel.x + panel.w <= layout.width + 0.01, `${panel.form} at ${width}`);
        if (panel.form === "rows" || panel.form === "picture") continue;
        for (const unit of panel.shown) {
          const [x, y] = positionOf(panel, unit);
          const found = unitAt(layout, x, y);
          assert.equal(found?.panel, panel);
          assert.equal(found?.unit, unit);
        }
      }
    }
  }
});

test("links run beside a list of names, not over it", () => {
  const net = vectors.networks.find(({ net: one }) => one.input_shape.length === 1 && one.layers[one.layers.length - 1].output_shape[0] > 1).net;
  const all = Array.from({ length: net.input_shape[0] }, (_, i) => i);
  for (const width of [300, 346, 500]) {
    const { panels } = layOut(net, { kind: "vector" }, width, all);
    const [inputs, outputs] = [panels[0], panels[panels.length - 1]];
    for (const unit of all) {
      const { lane, edge } = laneOf(inputs, unit, 0);
      assert.ok(lane > inputs.x + inputs.w && lane <= width && edge >= inputs.y + inputs.h, `input ${unit} at ${width}`);
    }
    for (const unit of outputs.shown) {
      for (const share of [0, 0.5, 1]) {
        const { lane, edge } = laneOf(outputs, unit, share);
        assert.ok(lane >= 0 && lane < outputs.x && edge <= outputs.y, `output ${unit} at ${width}`);
      }
    }
    assert.equal(laneOf(panels[1], 0, 0), null);
  }
});

test("names of the outputs have the room they need, as far as there is", () => {
  const { net } = vectors.networks.find(({ net: one }) => one.input_shape.length === 1);
  const labels = (width, names) => { const layout = layOut(net, { kind: "vector" }, width, [0], names); return layout.across ? layout.labels : 0; };
  assert.equal(labels(1066, 0), 112);
  assert.equal(labels(1066, 200), 200);
  assert.ok(labels(1066, 5000) <= 1066 * 0.24);
  const { panels } = layOut(net, { kind: "vector" }, 1066, [0], 5000);
  const last = panels[panels.length - 1];
  assert.ok(last.x + last.w + labels(1066, 5000) <= 1066);
});

test("panels do not overlap", () => {
  for (const { net } of vectors.networks) {
    for (const width of [360, 700, 1100, 1800]) {
      const { panels } = layOut(net, { kind: "vector" }, width, [0, 1, 2]);
      panels.forEach((p, i) => panels.slice(i + 1).forEach((q) => {
        assert.ok(p.x + p.w <= q.x + 0.01 || q.x + q.w <= p.x + 0.01 || p.y + p.h <= q.y + 0.01 || q.y + q.h <= p.y + 0.01, `${width}: ${p.form} and ${q.form}`);
      }));
    }
  }
});

test("a selection comes back from its address, and nonsense is left out", () => {
  const selection = { step: 40, example: -1, layer: 2, neuron: 7, row: -1, column: 3, view: "layer", links: "signals", show: "grad_norm", focus: "x" };
  const { focus, ...kept } = selection;
  assert.deepEqual(fromAddress(`#${toAddress(selection)}`), kept);
  assert.equal(focus, "x");
  assert.deepEqual(fromAddress("#step=abc&view=<img>&__proto__=1&layer=99999999999"), {});
});

test("the store tells each listener once, and none that has ended", () => {
  const store = new Store({ step: 0 });
  const control = new AbortController();
  const heard = [];
  store.listen((now, before) => heard.push([before.step, now.step]), control.signal);
  store.set({ step: 1 });
  store.set({ step: 1 });
  control.abort();
  store.set({ step: 2 });
  assert.deepEqual(heard, [[0, 1]]);
});

test("a model answers, silences, edits and restores", () => {
  const model = new Model(vectors.payload);
  const step = model.delivered;
  const a = () => Array.from(model.trace(step, 0).at(-1).a);
  const before = a();
  unpack(vectors.answers).forEach((value, i) => near(before[i], value, 1e-5, `answer ${i}`));
  const index = model.net.layers.findIndex((layer) => layer.name === "hidden1");
  const loud = model.trace(step, 0)[index].a.findIndex((value) => value > 0.5);
  model.toggleSilence(index, loud);
  assert.notDeepEqual(a(), before);
  assert.deepEqual(Array.from(model.trace(step, 0, true).at(-1).a), before);
  model.restore();
  assert.deepEqual(a(), before);
  const { offset } = model.net.layers.at(-1).parameters.b;
  model.edit(offset, 50);
  assert.equal(model.chosen(a()), 0);
  model.restore();
  assert.deepEqual(a(), before);
  assert.ok(model.quality(step) > 0.5);
  assert.equal(model.nearest(10 ** 9), model.steps.at(-1));
});

test("bytes are turned round for machines that write them the other way", () => {
  const bytes = Uint8Array.of(1, 2, 3, 4, 5, 6, 7, 8);
  swap(bytes, 4);
  assert.deepEqual(Array.from(bytes), [4, 3, 2, 1, 8, 7, 6, 5]);
});

test("a model that follows a training takes in what came, and keeps both ends", () => {
  const model = new Model({ ...vectors.payload, live: true });
  const first = vectors.payload.weights.states[0];
  model.extend({ states: [{ ...first, step: 50 }, { ...first, step: 60 }], training: vectors.payload.training ?? null });
  assert.equal(model.delivered, 60);
  assert.ok(model.steps.includes(50));
  assert.equal(model.nearest(1000), 60);
  const count = model.net.parameter_count;
  model.net.parameter_count = 1e6;
  model.extend({ states: Array.from({ length: 60 }, (_, i) => ({ ...first, step: 100 + i * i })), training: null });
  model.net.parameter_count = count;
  assert.equal(model.steps.length, 30);
  assert.equal(model.steps[0], 0);
  assert.equal(model.steps.at(-1), 100 + 59 * 59);
});

test("what was used last is kept, up to its size", () => {
  const memory = new Memory(100);
  let made = 0;
  const get = (key, size) => memory.get(key, () => { made += 1; return key; }, size);
  get("a", 40);
  get("b", 40);
  get("a", 40);
  get("c", 40); // b goes, as a was used after it
  assert.equal(made, 3);
  get("a", 40);
  assert.equal(made, 3);
  get("b", 40);
  assert.equal(made, 4);
  assert.ok(memory.size <= 100);
  get("huge", 500); // kept alone, as it is in use
  assert.deepEqual([...memory.entries.keys()], ["huge"]);
  memory.forgetAll((key) => key === "huge");
  assert.equal(memory.size, 0);
});

test("a sum as text has every term, largest first, and the sum", () => {
  const sum = { terms: [{ input: 0, w: 0.5, x: 2, product: 1 }, { input: 1, w: -3, x: 1, product: -3 }], bias: 0.25, z: -1.75, a: 0, added: -1.75, gap: 0, tolerance: 1 };
  const text = sumAsText("hidden1[3]", sum, (input) => `x${input}`);
  assert.deepEqual(text.split("\n"), ["hidden1[3]: z = sum of w x + b", "input\tx\tw\tw x", "x1\t1\t-3\t-3", "x0\t2\t0.5\t1", "bias\t\t\t0.25", "z\t\t\t-1.75", ""]);
});

test("every input of a patch lies where its weight does", () => {
  let looked = 0;
  for (const network of vectors.networks) {
    const [parameters, buffers] = [unpack(network.parameters), unpack(network.buffers)];
    const trace = forward(network.net, parameters, buffers, unpack(network.inputs[0].x));
    network.net.layers.forEach((layer, index) => {
      if (layer.kind !== "Conv2D") return;
      const size = layer.parameters.W.shape.slice(1).reduce((p, q) => p * q);
      for (const place of [[0, 0], [1, 1], [layer.rows.places - 1, layer.columns.places - 1]]) {
        for (const term of neuronSum(layer, parameters, buffers, trace[index], 2, place).terms) {
          assert.equal(term.w, parameters[layer.parameters.W.offset + 2 * size + patchIndex(layer, term.input, place)]);
          looked += 1;
        }
      }
    });
  }
  assert.ok(looked > 100);
});

const { largestOf } = await load("cells");
const { blockOf, cellOf, firstBelow, layOutModules, moduleAt } = await load("modules_layout");
const { RunData } = await load("run_data");
const { shrink } = await load("layer_view");

/** Modules as Python's describe_modules gives them. */
const modules = (counts) => ({
  answers: false, input_shape: [0], parameter_count: 0, buffer_count: 0, sizes: "",
  layers: counts.map(([name, neurons], i) => ({ name, kind: "Linear", neurons, every: i === 0 ? 4 : 1, output_shape: [neurons], input_shape: [], parameters: {}, buffers: {}, activation: null })),
});
const packed = (values, shape) => ({ dtype: "float32", shape, data: Buffer.from(Float32Array.from(values).buffer).toString("base64") });

test("modules stand in blocks by their paths", () => {
  assert.equal(blockOf("encoder.layers.0.self_attn.out_proj"), "encoder.layers.0");
  assert.equal(blockOf("encoder.norm"), "encoder");
  assert.equal(blockOf("head"), "");
  assert.equal(blockOf("0"), "");
});

test("every neuron of every module is found in the cell where it is drawn, none twice", () => {
  for (const width of [300, 380, 700, 1400]) {
    const net = modules([["embed", 7], ["blocks.0.a", 300], ["blocks.0.b", 5000], ["blocks.1.a", 1], ["norm", 0], ["head", 100000]]);
    const layout = layOutModules(net, width);
    assert.equal(layout.blocks.length, 4);
    for (const row of layout.rows) {
      const { strip } = row;
      assert.ok(strip.x + strip.columns * strip.cell <= width + 0.01, `${row.name} at ${width}`);
      const neurons = net.layers[row.index].neurons;
      assert.ok(strip.cells * strip.group >= neurons && (strip.cells - 1) * strip.group < Math.max(neurons, 1), "all are in a cell");
      for (let k = 0; k < strip.cells; k += Math.max(1, Math.floor(strip.cells / 50))) {
        const neuron = k * strip.group;
        if (neuron >= neurons) continue;
        const found = moduleAt(layout, ...cellOf(row, neuron));
        assert.equal(found?.row, row);
        assert.equal(found?.neuron, neuron);
      }
    }
    layout.rows.slice(1).forEach((row, i) => assert.ok(row.y >= layout.rows[i].y + layout.rows[i].h));
    assert.equal(firstBelow(layout.rows, -1), 0);
    assert.equal(firstBelow(layout.rows, 1e9), layout.rows.length);
  }
});

test("of a group the largest is shown, and what is no number before all others", () => {
  assert.equal(largestOf([1, -3, 2], 0, 3), -3);
  assert.equal(largestOf([1, -3, 2], 2, 3), 2);
  assert.ok(Number.isNaN(largestOf([1, NaN, 2], 0, 3)));
  assert.deepEqual([...shrink([1, -5, 2, 3, 4, 0], 2, 3, 2, 2)], [-5, 2]);
  assert.deepEqual([...shrink([1, 2, 3, 4], 4, 1, 3, 1)], [3, 4]);
  assert.ok(Number.isNaN(shrink([1, NaN], 1, 2, 1, 2)[0]));
});

test("statistics of every so-manieth neuron are found under their own numbers, and those asked for come first", () => {
  const steps = [0, 10, 40];
  // Two fields of layers of 3 neurons (all) and of 5 (every second: 0, 2, 4).
  const value = (s, f, k) => 100 * s + 10 * f + k;
  const values = steps.flatMap((_, s) => [0, 1].flatMap((f) => [0, 1, 2, 3, 4, 5].map((k) => value(s, f, k))));
  const summed = steps.flatMap((_, s) => [7 + s, NaN]);
  const run = new RunData({
    format: "neuronwise-inspector", network: modules([["a", 3], ["b", 5]]), weights: { delivered: 40, states: [] },
    statistics: { fields: ["mean", "grad_norm"], layers: [{ name: "a", first: 0, neurons: 3, every: 4, spacing: 1 }, { name: "b", first: 3, neurons: 5, every: 1, spacing: 2 }], steps, values: packed(values, [3, 2, 6]), sums: ["grad_norm"], summed: packed(summed, [3, 1, 2]), of_frames: 9 },
  });
  assert.deepEqual(run.steps, [0, 10, 40]);
  assert.deepEqual(run.history(1, 2, "grad_norm"), { steps, values: [14, 114, 214] });
  assert.equal(run.history(1, 3, "grad_norm"), null);
  assert.equal(run.history(1, 2, "unknown"), null);
  assert.deepEqual([...run.atFrame(1, "mean", 1).values], [103, 104, 105]);
  assert.equal(run.atFrame(1, "mean", 1).spacing, 2);
  assert.deepEqual(run.sumOf(0, "grad_norm").values, [7, 8, 9]);
  assert.deepEqual([run.frameOf(3), run.frameOf(6), run.frameOf(1000)], [0, 1, 2]);
  assert.ok(run.statisticsNote(12).includes("3 steps are here, of 9"));
  assert.ok(run.statisticsNote(12).includes("Shown is step 10"));
  run.takeNeuron(1, 3, { mean: { steps: [0, 1], values: packed([5, 6], [2]) } });
  assert.deepEqual(run.history(1, 3, "mean"), { steps: [0, 1], values: [5, 6] });
  assert.equal(run.history(1, 3, "grad_norm"), null);
  assert.equal(run.hasWeights, false);
  assert.throws(() => run.recorded(10), /no weights/);
  // Names as the recording says them: of embeddings the number of the row.
  assert.equal(run.neuronName(0, 2), "a[8]");
  assert.deepEqual(run.find("a[8]"), { layer: 0, neuron: 2 });
  assert.deepEqual(run.find("b"), { layer: 1, neuron: null });
  assert.deepEqual([run.find("b[5]"), run.find("c[0]"), run.find("b[x]")], [null, null, null]);
});
