// What inputs, neurons and outputs are called, and values in the units that a person knows.

import { decodeCell, unscaleInput } from "./encode.js";
import { product, unitsOf } from "./forward.js";
import { datum, figure, rounded, visible } from "./numbers.js";
import { RunData } from "./run_data.js";
import { formatOf } from "./sums.js";

export class NamedRun extends RunData {
  /** @param {any} payload what Python's build_payload made */
  constructor(payload) {
    super(payload);
    this.inputs = payload.inputs;
    this.outputs = payload.outputs;
    this.inputSize = product(this.net.input_shape);
  }

  /** Return the class that is answered. @param {ArrayLike<number>} a */
  chosen(a) {
    if (this.outputs.task === "binary") return a[0] >= 0.5 ? 1 : 0;
    let best = 0;
    for (let i = 1; i < a.length; i++) if (a[i] > a[best]) best = i;
    return best;
  }

  /** Return an output of a regression in the unit of the target. @param {number} value */
  unit(value) {
    const learned = value * this.outputs.scale + this.outputs.mean;
    return this.outputs.log ? Math.exp(learned) : learned;
  }

  /** @param {number} id */
  className(id) {
    return this.outputs.classes.length ? visible(this.outputs.classes[id]) : this.outputName(id);
  }

  /** @param {number} output */
  outputName(output) {
    return visible(this.outputs.names[output] ?? `output ${output}`);
  }

  /**
   * Return what an output says, so that it is understood where it stands alone: the target of a number, the class of a
   * probability; of a class that is a number or a yes, the target too: churn = 1.
   * @param {number} output
   */
  answerName(output) {
    const { task, target, classes, names } = this.outputs;
    if (task === "regression") return names.length > 1 ? this.outputName(output) : visible(target ?? "", 40);
    if (task !== "binary" || names.length > 1) return this.outputName(output);
    return this.binaryName(1);
  }

  /** Return the name of one of two classes, as `answerName` has it. @param {number} id */
  binaryName(id) {
    const { target, classes } = this.outputs;
    const name = this.className(id);
    return target && /^([-+]?[\d.]+|yes|no|true|false)$/i.test(String(classes[id] ?? "").trim()) ? `${visible(target, 40)} = ${name}` : name;
  }

  /** Return the name of an input of the network. @param {number} i */
  inputName(i) {
    if (this.inputs.kind === "picture") {
      const [, columns, channels = 1] = this.inputs.shape;
      const pixel = Math.floor(i / channels);
      const end = this.inputs.shape.length > 2 && channels > 1 ? ` ${channels === 3 ? ["red", "green", "blue"][i % 3] : `channel ${i % channels}`}` : "";
      return `pixel (${Math.floor(pixel / columns)}, ${pixel % columns})${end}`;
    }
    return visible(this.inputs.names[i] ?? `x[${i}]`);
  }

  /** Return an input's value in its original unit; null where it is seen as it is. @param {number} i @param {number} value */
  inputWords(i, value) {
    if (this.inputs.kind === "table") {
      const known = this.inputOf(i);
      return known && known.scaled ? datum(rounded(unscaleInput(known, value))) : null;
    }
    if (this.inputs.means) {
      const [mean, scale] = [this.inputs.means[i], this.inputs.scales[i]];
      return mean === 0 && scale === 1 ? null : datum(rounded(value * scale + mean));
    }
    return null;
  }

  /** @param {number} i @returns {import("./encode.js").Input | undefined} */
  inputOf(i) {
    const all = this.cached("inputs by place", () => {
      /** @type {Map<number, any>} */
      const found = new Map();
      for (const column of this.inputs.columns) for (const input of column.inputs) found.set(input.place, input);
      return found;
    });
    return all.get(i);
  }

  /**
   * Return what one row has in a column, in words.
   * @param {import("./encode.js").Column} column
   * @param {ArrayLike<number>} x
   */
  cellWords(column, x) {
    const cell = decodeCell(column, x);
    if (cell.missing) return "missing";
    if (cell.value === null) return "none seen";
    if (column.kind === "yes/no") return cell.value === 1 ? "yes" : cell.value === 0 ? "no" : figure(Number(cell.value));
    return typeof cell.value === "number" ? datum(cell.value) : visible(cell.value, 24);
  }

  /** Return the name of an input of a layer: of the data, or of a neuron below. @param {number} index @param {number} i */
  sourceName(index, i) {
    for (let below = index - 1; below >= 0; below--) {
      const layer = this.net.layers[below];
      if (layer.kind === "Flatten" || layer.kind === "Dropout") continue;
      return this.unitName(below, i);
    }
    return this.inputName(i);
  }

  /** Return the name of an output of a layer, `conv1[7] @ (3, 4)`. @param {number} index @param {number} i */
  unitName(index, i) {
    const layer = this.net.layers[index];
    const { neuron } = unitsOf(layer);
    const name = this.neuronName(index, neuron(i));
    if (layer.output_shape.length === 1) return name;
    const [row, column] = placeOf(layer, i);
    return `${name} @ (${row}, ${column})`;
  }
}

/**
 * Return row and column of an output of a layer of pictures.
 * @param {import("./forward.js").Layer} layer
 * @param {number} i
 * @returns {[number, number]}
 */
export function placeOf(layer, i) {
  if (layer.output_shape.length === 2) return [Math.floor(i / layer.output_shape[1]), i % layer.output_shape[1]];
  const [first, second, third] = layer.output_shape;
  if (formatOf(layer) === "channels_last") {
    const place = Math.floor(i / third);
    return [Math.floor(place / second), place % second];
  }
  const place = i % (second * third);
  return [Math.floor(place / third), place % third];
}
