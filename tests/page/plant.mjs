// Plant: a gateway with its embedded broker, simulated devices, and a receiver, all on loopback
// and in a folder of their own. What was started is ended by its process id.

import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { mkdtempSync, openSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import { createServer as createSocket } from 'node:net';
import { tmpdir } from 'node:os';
import path from 'node:path';

import { until } from './waiting.mjs';

export const DEVICES = 200;
export const SENSORS = 4;
const SITE = 'pump-house';
const binary = process.env.TIDEGATE_BIN;

/** Five rules; the last two have an alert each. */
const RULES = `
[[rule]]
name = "ten-seconds"
match = { sensor = "*" }
window = { tumbling = "10s", lateness = "5s" }
aggregate = ["count", "mean", "min", "max"]
forward = ["archive", "cloud"]

[[rule]]
name = "minute"
match = { device = "pump-*", sensor = ["temperature", "pressure"] }
window = { tumbling = "1m", lateness = "5s" }
aggregate = ["count", "mean", "p95"]
forward = ["archive"]

[[rule]]
name = "moved"
match = { sensor = "current" }
deadband = 0.2
forward = ["archive"]

[[rule]]
name = "boiler-hot"
match = { device = "boiler*", sensor = "temperature" }
alert = { when = "value > 90", clear = "value < 80" }
priority = "high"
forward = ["archive"]

[[rule]]
name = "vibration-high"
match = { device = "pump-*", sensor = "vibration.rms" }
alert = { when = "value > 100" }
forward = ["archive"]
`;

async function freePort() {
  const socket = createSocket();
  await new Promise((done) => socket.listen(0, '127.0.0.1', done));
  const { port } = socket.address();
  await new Promise((done) => socket.close(done));
  return port;
}

// A test that is interrupted takes along what it started, and its folder.
const started = new Set();
const folders = new Set();
process.once('exit', () => {
  for (const child of started) child.kill('SIGKILL');
  for (const folder of folders) rmSync(folder, { recursive: true, force: true });
});
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP']) process.once(signal, () => process.exit(1));

/** A process that ends with the test. */
class Running {
  constructor(name, args, folder) {
    this.name = name;
    this.log = path.join(folder, `${name}.log`);
    const out = openSync(this.log, 'a');
    this.child = spawn(binary, args, { cwd: folder, stdio: ['ignore', out, out] });
    started.add(this.child);
    this.child.once('exit', () => started.delete(this.child));
    this.ended = new Promise((done) => this.child.once('exit', done));
    this.child.once('error', (error) => console.error(`cannot start ${binary}: ${error.message}`));
  }

  /** Kills it as a power cut would. */
  async kill() {
    if (this.child.exitCode === null && this.child.signalCode === null) this.child.kill('SIGKILL');
    await this.ended;
  }

  signal(name) {
    this.child.kill(name);
  }

  /** The end of what it wrote. */
  tail() {
    return readFileSync(this.log, 'utf8').split('\n').slice(-30).join('\n');
  }
}

/** What takes records over HTTP, until it is told to refuse them. */
class Receiver {
  refusal = null;

  async start() {
    this.server = createServer((request, answer) => {
      request.resume();
      request.on('end', () => {
        answer.writeHead(this.refusal ? 401 : 204);
        answer.end(this.refusal ?? undefined);
      });
    });
    await new Promise((done) => this.server.listen(0, '127.0.0.1', done));
    this.port = this.server.address().port;
  }

  async stop() {
    this.server.closeAllConnections();
    await new Promise((done) => this.server.close(done));
  }
}

export class Plant {
  #processes = [];

  /** `http` holds further lines of that section, `files` those that it names. */
  static async start(http = '', files = {}) {
    assert.ok(binary, 'TIDEGATE_BIN names the binary that is tested');
    const plant = new Plant();
    plant.folder = mkdtempSync(path.join(tmpdir(), 'tidegate-page-'));
    folders.add(plant.folder);
    plant.receiver = new Receiver();
    await plant.receiver.start();
    plant.broker = await freePort();
    plant.port = await freePort();
    plant.origin = `http://127.0.0.1:${plant.port}`;
    for (const [name, text] of Object.entries(files)) writeFileSync(path.join(plant.folder, name), text, { mode: 0o600 });
    plant.#configure(http);
    await plant.startGateway();
    return plant;
  }

  #configure(http) {
    writeFileSync(path.join(this.folder, 'tidegate.toml'), `
[gateway]
site = "${SITE}"
data_dir = "./data"

[mqtt]
embedded = { listen = "127.0.0.1:${this.broker}" }

[http]
listen = "127.0.0.1:${this.port}"
${http}

[budget]
bytes_per_month = "100 MiB"

[sink.archive]
type = "file"
path = "./records.ndjson"

[sink.cloud]
type = "http"
url = "http://127.0.0.1:${this.receiver.port}/records"
${RULES}`);
  }

  async startGateway() {
    this.gateway = this.#run('gateway', ['run', '--config', 'tidegate.toml']);
    await until('the gateway serves its page', () => this.get('/healthz').catch(() => null));
  }

  /** Starts simulated pumps; each sample waits at most `holdS` on its device. */
  pumps(count, holdS) {
    return this.#simulate('pumps', ['--device', 'pump', '--devices', String(count),
      '--hold', String(holdS), '--duration', '3600', '--seed', '7']);
  }

  /** Starts a device that plays rows of a table, one a second from now on. */
  trace(device, column, unit, values) {
    const begin = Math.floor(Date.now() / 1000);
    const rows = values.map((value, at) => `${begin + at},${value}`);
    const file = path.join(this.folder, `${device}.csv`);
    writeFileSync(file, `time,${column}\n${rows.join('\n')}\n`);
    return this.#simulate(device, ['--trace', file, '--device', device, '--unit', `${column}=${unit}`, '--hold', '1']);
  }

  #simulate(name, args) {
    const to = ['--broker', `mqtt://127.0.0.1:${this.broker}`, '--site', SITE, '--speed', '1'];
    return this.#run(name, ['simulate', ...args, ...to]);
  }

  #run(name, args) {
    const running = new Running(name, args, this.folder);
    this.#processes.push(running);
    return running;
  }

  /** What the API answers, as an object. */
  async get(address) {
    const answer = await fetch(`${this.origin}${address}`);
    if (!answer.ok) throw new Error(`${address}: ${answer.status} ${await answer.text()}`);
    return answer.headers.get('content-type').includes('json') ? answer.json() : answer.text();
  }

  async stop(hasFailed) {
    for (const running of this.#processes) {
      await running.kill();
      if (hasFailed) console.log(`--- the end of ${running.name}'s output\n${running.tail()}`);
    }
    await this.receiver.stop();
    rmSync(this.folder, { recursive: true, force: true });
  }
}
