// Evaluates compiled modules for the Python tests: one JSON request a line on stdin, one answer a
// line on stdout. Numbers travel as the base64 of float64 bytes, so NaN, inf and -0 survive.
import { createInterface } from "node:readline";
import vm from "node:vm";

const decode = (text) => {
  const bytes = Buffer.from(text, "base64");
  return new Float64Array(new Uint8Array(bytes).buffer);
};
const encode = (array) =>
  Buffer.from(array.buffer, array.byteOffset, array.byteLength).toString("base64");

const mains = new Map();
async function load({ key, source, script }) {
  if (!mains.has(key)) {
    const url = "data:text/javascript;base64," + Buffer.from(source ?? "").toString("base64");
    mains.set(key, script ? vm.runInThisContext(source) : (await import(url)).default);
  }
  return mains.get(key);
}

async function answer(request) {
  const main = await load(request);
  return request.calls.map((leaves) => {
    const args = leaves.map(([scalar, text]) => (scalar ? decode(text)[0] : decode(text)));
    const outputs = main(...args);
    for (const output of outputs) {
      if (!(output instanceof Float64Array)) throw new Error("an output is not a Float64Array");
    }
    return outputs.map(encode);
  });
}

for await (const line of createInterface({ input: process.stdin })) {
  let reply;
  try {
    reply = { outputs: await answer(JSON.parse(line)) };
  } catch (error) {
    reply = { error: `${error.name}: ${error.message}` };
  }
  process.stdout.write(JSON.stringify(reply) + "\n");
}
