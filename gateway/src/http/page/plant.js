// Plant: what the gateway said last, as objects that are never changed: a part that changed is
// another object, so that whoever shows it knows at once what to leave alone.

/** Puts changed parts over those known. */
const over = (known, changed) => ({ ...known, ...changed });

export class Plant {
  /** The overview; none before the first event. */
  overview = null;
  /** How many devices match what was asked for, and how many of them were passed over. */
  total = 0;
  offset = 0;
  #devices = new Map();

  /** The devices told, by name. */
  get devices() {
    return [...this.#devices.values()];
  }

  device(name) {
    return this.#devices.get(name);
  }

  /** Takes everything anew. */
  full({ overview, devices }) {
    this.overview = overview;
    this.#take(devices);
    const told = devices.devices.map((device) => [device.name, device]);
    this.#devices = new Map(told);
  }

  /** Takes what changed. */
  change({ overview, devices }) {
    if (overview) this.overview = over(this.overview, overview);
    if (!devices) return;
    this.#take(devices);
    const { whole = [], changed = [], gone = [] } = devices;
    for (const name of gone) this.#devices.delete(name);
    for (const device of whole) this.#devices.set(device.name, device);
    for (const device of changed) {
      const known = this.#devices.get(device.name);
      if (known) this.#devices.set(device.name, merged(known, device));
    }
    if (whole.length > 0) this.#sort();
  }

  #take({ total, offset }) {
    this.total = total ?? this.total;
    this.offset = offset ?? this.offset;
  }

  #sort() {
    const byName = ([one], [other]) => (one < other ? -1 : 1);
    this.#devices = new Map([...this.#devices].sort(byName));
  }
}

/** A device with its changes; sensors that did not change stay the same objects. */
function merged(known, changed) {
  if (!changed.sensors) return over(known, changed);
  const sensors = new Map(known.sensors.map((sensor) => [sensor.name, sensor]));
  for (const sensor of changed.sensors) {
    sensors.set(sensor.name, over(sensors.get(sensor.name), sensor));
  }
  return over(known, { ...changed, sensors: [...sensors.values()] });
}
