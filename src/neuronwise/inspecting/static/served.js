// What a page asks of the command `neuronwise ui` that shows it.

/**
 * @typedef {{get: (key: string) => any, askStep?: (step: number) => Promise<import("./run_data.js").State>,
 *   askNews?: (since: number) => Promise<any>, askNeuron?: (layer: number, neuron: number) => Promise<any>,
 *   askDiagnosis?: () => Promise<any>}} Host
 */

/**
 * Return what gives a page its data, and more where it is asked for.
 * @param {any} payload
 * @returns {Host}
 */
export function servedHost(payload) {
  const ask = async (/** @type {string} */ path) => {
    const answer = await fetch(`${location.pathname}/${path}`);
    if (!answer.ok) throw new Error(await answer.text());
    return answer;
  };
  return {
    get: () => payload,
    askStep: async (step) => {
      const numbers = new Float32Array(await (await ask(`step/${step}`)).arrayBuffer());
      const count = payload.network.parameter_count;
      return { parameters: numbers.subarray(0, count), buffers: numbers.subarray(count) };
    },
    askNews: async (since) => (await ask(`since/${since}`)).json(),
    askNeuron: async (layer, neuron) => (await ask(`neuron/${layer}/${neuron}`)).json(),
    askDiagnosis: async () => (await ask("diagnosis")).json(),
  };
}
