// Stream: the gateway's events as another client reads them, so that what a page shows can be
// compared with what the API said at the same moment.

const KEPT = 30;

export class Stream {
  /** What was known at each of the newest moments: `at` to { overview, devices }. */
  moments = new Map();
  #control = new AbortController();

  /** Reads the stream of a selection until `stop`. */
  static async open(origin, query) {
    const stream = new Stream();
    const answer = await fetch(`${origin}/api/v1/events?${query}`, { signal: stream.#control.signal });
    if (!answer.ok) throw new Error(`events: ${answer.status} ${await answer.text()}`);
    stream.done = stream.#read(answer.body);
    return stream;
  }

  async #read(body) {
    let text = '';
    try {
      for await (const chunk of body.pipeThrough(new TextDecoderStream())) {
        text += chunk;
        const events = text.split('\n\n');
        text = events.pop();
        events.forEach((event) => this.#take(event));
      }
    } catch (error) {
      if (error.name !== 'AbortError') throw error;
    }
  }

  #take(event) {
    const field = (name) => event.match(new RegExp(`^${name}: ?(.*)$`, 'm'))?.[1];
    const [name, data] = [field('event'), field('data')];
    if (name === 'full') this.#full(JSON.parse(data));
    if (name === 'change') this.#change(JSON.parse(data));
    if (!this.overview) return;
    this.moments.set(this.overview.at, { overview: this.overview, devices: structuredClone(this.devices) });
    if (this.moments.size > KEPT) this.moments.delete(this.moments.keys().next().value);
  }

  #full({ overview, devices }) {
    this.overview = overview;
    this.devices = Object.fromEntries(devices.devices.map((device) => [device.name, device]));
  }

  #change({ overview, devices = {} }) {
    this.overview = { ...this.overview, ...overview };
    const { whole = [], changed = [], gone = [] } = devices;
    for (const name of gone) delete this.devices[name];
    for (const device of whole) this.devices[device.name] = device;
    for (const { sensors = [], ...rest } of changed) {
      const device = Object.assign(this.devices[rest.name], rest);
      for (const sensor of sensors) {
        device.sensors[device.sensors.findIndex(({ name }) => name === sensor.name)] = sensor;
      }
    }
  }

  async stop() {
    this.#control.abort();
    await this.done;
  }
}
