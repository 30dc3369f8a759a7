// A gRPC client in Node that calls a grain over the open contract, with JSON payloads.
// node client.mjs <proto folder> <host:port> <cluster> <seconds> <callers>: prints one line of JSON.

import grpc from "@grpc/grpc-js";
import loader from "@grpc/proto-loader";

const [folder, address, cluster, seconds, callers] = process.argv.slice(2);
const definition = loader.loadSync("grange/v1/silo.proto", { includeDirs: [folder], longs: Number, keepCase: true, arrays: true });
const { Silo } = grpc.loadPackageDefinition(definition).grange.v1;
const client = new Silo(address, grpc.credentials.createInsecure());
const stream = client.Connect();
const waiting = new Map();
let next = 1;
let queued = [];

stream.on("data", (frame) => {
  if (frame.refusal) throw new Error(frame.refusal.message);
  if (frame.welcome) run().catch((error) => { console.error(error.message); process.exit(1); });
  for (const response of frame.responses) settle(response.id, response.failed ? "failed" : null, response.payload);
  for (const rejection of frame.rejections) settle(rejection.id, rejection.message, null);
});
stream.write({ hello: { cluster, role: "ROLE_CLIENT", name: "node", protocol_min: 1, protocol_max: 1 } });

function settle(id, error, payload) {
  const { resolve, reject } = waiting.get(id);
  waiting.delete(id);
  if (error) reject(new Error(error));
  else resolve(JSON.parse(payload.toString()));
}

function call(key, ...args) {
  return new Promise((resolve, reject) => {
    const id = next++;
    waiting.set(id, { resolve, reject });
    if (!queued.length) setImmediate(flush);
    queued.push({
      id, grain_type: "desk", grain_key: String(key), method: "typed",
      args: Buffer.from(JSON.stringify(args)), encoding: "ENCODING_JSON", timeout_ms: 30000,
    });
  });
}

function flush() {
  const requests = queued;
  queued = [];
  stream.write({ requests });
}

async function load(count) {
  const began = process.hrtime.bigint();
  const cpu = process.cpuUsage();
  const end = Date.now() + Number(seconds) * 1000;
  let made = 0;
  const order = { sku: "apple", quantity: 3, price: 1.5, tags: ["red", "ripe"] };
  async function caller(key) {
    while (Date.now() < end) {
      await call(key, order);
      made += 1;
    }
  }
  await Promise.all(Array.from({ length: count }, (_, key) => caller(key)));
  const took = Number(process.hrtime.bigint() - began) / 1e9;
  const used = process.cpuUsage(cpu);
  return { calls_per_s: Math.round(made / took), client_us: Math.round((used.user + used.system) / made) };
}

async function run() {
  const sequential = await load(1);
  const many = await load(Number(callers));
  console.log(JSON.stringify({ sequential, many }));
  stream.end();
  client.close();
}
