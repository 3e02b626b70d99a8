// Chart: a device with its sensors, and a sensor with its chart, its newest samples and the
// records made of them.

import { Spark, Value } from './devices.js';
import { Rows, attribute, make, moment, shown, text } from './elements.js';
import { Mark } from './marks.js';
import * as words from './words.js';

/** Shortest time between two questions for a chart. */
const REFRESH_MS = 2_000;
/** Rows of the tables beside the chart. */
const ROWS_MAX = 60;
/** Widths of a chart in pixels: what the gateway draws, and what is narrow. */
const WIDTH_LEAST = 240;
const WIDTH_MOST = 2_000;
const WIDTH_NARROW = 600;
/** What a drawing may be made of; anything else is left out. */
const DRAWN = new Set(['svg', 'g', 'title', 'desc', 'rect', 'line', 'polyline', 'polygon', 'path', 'circle', 'text']);
const DARK = matchMedia('(prefers-color-scheme: dark)');

const iso = (us) => new Date(us / 1000).toISOString();
const api = (device, sensor) =>
  `${location.origin}/api/v1/devices/${encodeURIComponent(device)}/sensors/${encodeURIComponent(sensor)}`;

function crumbs(...names) {
  const items = names.map((name, at) => {
    const isHere = at === names.length - 1;
    const link = make('a', { href: words.place(...names.slice(0, at + 1)), 'aria-current': isHere ? 'page' : null }, name);
    return make('li', {}, link);
  });
  return make('nav', { class: 'crumbs', 'aria-label': 'Where this is' },
    make('ol', {}, make('li', {}, make('a', { href: '#/' }, 'Plant')), ...items));
}

const title = (words) => make('h1', { tabindex: -1 }, words);

function facts(terms) {
  const values = {};
  const root = make('dl', { class: 'facts wide' });
  for (const [key, term] of Object.entries(terms)) {
    values[key] = make('dd', {}, words.NONE);
    root.append(make('div', {}, make('dt', {}, term), values[key]));
  }
  return { root, values };
}

/** What is known of a device besides its sensors. */
class About {
  #mark = new Mark('unknown');
  #health = make('span');
  #heard = make('time');
  #down = make('time');
  #facts = facts({
    health: 'Health', heard: 'Last heard', link: 'Link', clock: 'Clock', backlog: 'Backlog', epoch: 'Epoch',
  });
  root = this.#facts.root;

  constructor() {
    const { health, heard } = this.#facts.values;
    health.replaceChildren(this.#mark.root, this.#health);
    heard.replaceChildren(this.#heard);
  }

  show(device) {
    const { link, clock, backlog, epoch } = this.#facts.values;
    this.#mark.show(device.health);
    const means = device.why ?? words.HEALTH_MEANS[device.health];
    text(this.#health, `${device.health}: ${means}`);
    moment(this.#heard, device.heard, words.UNKNOWN);
    if (device.is_down) {
      if (this.#down.parentNode !== link) link.replaceChildren('down since ', this.#down);
      moment(this.#down, device.down_since, words.UNKNOWN);
    } else text(link, device.heard ? 'up' : words.UNKNOWN);
    text(clock, words.clock(device.clock)[1]);
    text(backlog, backlogWords(device));
    text(epoch, words.count(device.epoch));
  }
}

function backlogWords({ backlog, frames_waiting: waiting }) {
  const there = backlog ? 'frames wait on the device' : 'none on the device';
  return waiting > 0 ? `${there}; ${words.counted(waiting, 'frame waits', 'frames wait')} here` : there;
}

/** A device. */
export class DeviceView {
  #name;
  #about = new About();
  #body = make('tbody');
  #rows;
  #missing = make('p', { class: 'notice', hidden: true });
  root;

  constructor(name) {
    this.#name = name;
    this.#rows = new Rows(this.#body, (sensor) => sensor.name, (sensor) => sensorRow(name, sensor));
    const titles = ['Sensor', 'Newest value', 'Recent', 'Taken', 'Health', 'Logged', 'Held back', 'Rejected', 'Alerts'];
    this.root = make('article', { class: 'detail' }, crumbs(name), title(name), this.#missing, this.#about.root,
      make('h2', {}, 'Sensors'),
      make('table', { role: 'table', class: 'wide stacked' },
        make('caption', { class: 'unseen' }, `Sensors of ${name}`),
        make('thead', { role: 'rowgroup' }, make('tr', { role: 'row' },
          ...titles.map((title) => make('th', { role: 'columnheader', scope: 'col' }, title)))),
        this.#body));
  }

  title() {
    return this.#name;
  }

  /** `isWhole`: a device that is not there does not exist. */
  show(plant, isWhole) {
    const device = plant.device(this.#name);
    text(this.#missing, 'The gateway knows no device of this name.');
    shown(this.#missing, isWhole && !device);
    if (!device) return;
    this.#about.show(device);
    this.#rows.show(device.sensors);
  }

  leave() {}
}

function sensorRow(device, sensor) {
  const value = new Value(make('td'));
  const line = new Spark();
  const time = make('time');
  const health = new Health();
  const numbers = { logged: make('td'), suppressed: make('td'), rejected: make('td'), alerts_open: make('td') };
  const labels = { logged: 'Logged', suppressed: 'Held back', rejected: 'Rejected', alerts_open: 'Alerts' };
  const labelled = (cell, label) => {
    cell.setAttribute('role', 'cell');
    cell.dataset.label = label;
    return cell;
  };
  for (const [key, cell] of Object.entries(numbers)) labelled(cell, labels[key]);
  const root = make('tr', { role: 'row' },
    make('th', { role: 'rowheader', scope: 'row' }, make('a', { href: words.place(device, sensor.name) }, sensor.name)),
    labelled(value.root, 'Newest value'),
    labelled(make('td', {}, line.root), 'Recent'),
    labelled(make('td', {}, time), 'Taken'),
    labelled(make('td', {}, health.root), 'Health'),
    ...Object.values(numbers));
  const show = (sensor) => {
    value.show(sensor);
    line.show(sensor.spark);
    moment(time, sensor.time);
    health.show(sensor.health);
    for (const [key, cell] of Object.entries(numbers)) text(cell, words.count(sensor[key]));
  };
  return { root, show };
}

/** A sensor: its chart stays up to date while this is open. */
export class SensorView {
  #device;
  #sensor;
  #value = new Value(make('span'));
  #health = new Health();
  #taken = make('time');
  #facts = facts({ value: 'Newest value', taken: 'Taken', health: 'Health', logged: 'Logged', suppressed: 'Held back', rejected: 'Rejected' });
  #notice = make('p', { class: 'notice', hidden: true });
  #paper = make('div');
  #caption = make('figcaption');
  #samples = new Listing('Newest samples', ['Time', '#Value'], sampleRow, ([us]) => us);
  #records = new Listing('Records', ['Rule', 'From', 'To', '#Value', '#Lowest', '#Highest', 'Alert'],
    recordRow, (bar) => `${bar.rule} ${bar.start_us} ${bar.end_us} ${bar.alert ?? ''}`);
  #known = null;
  #due = true;
  #asked = -Infinity;
  #timer = 0;
  #left = false;
  #again = () => {
    this.#due = true;
    this.#refresh();
  };
  root;

  constructor(device, sensor) {
    this.#device = device;
    this.#sensor = sensor;
    DARK.addEventListener('change', this.#again);
    const { value, taken, health } = this.#facts.values;
    value.replaceChildren(this.#value.root);
    taken.replaceChildren(this.#taken);
    health.replaceChildren(this.#health.root);
    this.root = make('article', { class: 'detail' }, crumbs(device, sensor), title(`${device} ${sensor}`),
      this.#notice, this.#facts.root,
      make('figure', { class: 'paper' }, this.#paper, this.#caption),
      make('div', { class: 'listings' }, this.#samples.root, this.#records.root));
  }

  title() {
    return `${this.#device} ${this.#sensor}`;
  }

  /** `isWhole`: a sensor that is not there does not exist. */
  show(plant, isWhole) {
    const device = plant.device(this.#device);
    const sensor = device?.sensors.find(({ name }) => name === this.#sensor);
    text(this.#notice, device ? 'This device has no sensor of this name.' : 'The gateway knows no device of this name.');
    shown(this.#notice, isWhole && !sensor);
    if (!sensor) return;
    if (sensor !== this.#known) {
      this.#known = sensor;
      this.#about(sensor);
      this.#due = true;
    }
    this.#refresh();
  }

  #about(sensor) {
    const { logged, suppressed, rejected } = this.#facts.values;
    this.#value.show(sensor);
    this.#health.show(sensor.health);
    moment(this.#taken, sensor.time);
    text(logged, words.count(sensor.logged));
    text(suppressed, words.count(sensor.suppressed));
    text(rejected, words.count(sensor.rejected));
  }

  /** Asks for the chart when it is due, and not too often. */
  #refresh() {
    const wait = this.#asked + REFRESH_MS - performance.now();
    if (!this.#due || this.#left || document.hidden) return;
    if (wait > 0) {
      clearTimeout(this.#timer);
      this.#timer = setTimeout(() => this.#refresh(), wait);
      return;
    }
    this.#due = false;
    this.#asked = performance.now();
    this.#ask();
  }

  async #ask() {
    try {
      const answer = await fetch(api(this.#device, this.#sensor), { cache: 'no-store' });
      if (!answer.ok) throw new Error(`the gateway answers ${answer.status}`);
      const chart = await answer.json();
      await this.#picture(chart);
      if (!this.#left) this.#tables(chart);
    } catch {
      // The stream says that the gateway is away; when it is back, what changed asks again.
      this.#due = true;
    }
  }

  /** Puts the newest picture in place of the one before. */
  async #picture(chart) {
    const width = Math.round(Math.min(Math.max(this.#paper.clientWidth, WIDTH_LEAST), WIDTH_MOST));
    const theme = DARK.matches ? 'dark' : 'light';
    const asked = new URLSearchParams({ theme, width, height: width < WIDTH_NARROW ? 300 : 360 });
    const answer = await fetch(`${api(this.#device, this.#sensor)}/chart.svg?${asked}`, { cache: 'no-store' });
    if (!answer.ok) throw new Error(`the gateway answers ${answer.status}`);
    const drawing = drawn(await answer.text());
    const told = this.#tell(chart);
    drawing.setAttribute('class', 'chart');
    drawing.setAttribute('aria-label', `Chart. ${told}`);
    this.#paper.replaceChildren(drawing);
    text(this.#caption, `${told} The chart’s times are UTC.`);
  }

  #tell({ samples, bars, unit }) {
    if (samples.length === 0) return 'No samples are kept yet: they are from now on, and drawn as they come.';
    const values = samples.map(([, value]) => value);
    const digits = words.decimals(values);
    const [[first]] = samples;
    const [last] = samples.at(-1);
    const span = (us) => words.time(new Date(us / 1000));
    const between = `between ${words.value(Math.min(...values), digits)} and ${words.value(Math.max(...values), digits)} ${unit}`;
    return `${words.counted(samples.length, 'sample')} from ${span(first)} to ${span(last)}, ${between.trimEnd()}, and ${words.counted(bars.length, 'record')}.`;
  }

  #tables({ samples, bars, unit }) {
    const digits = words.decimals(samples.map(([, value]) => value));
    const newest = (list) => list.slice(-ROWS_MAX).reverse();
    this.#samples.show(newest(samples).map((sample) => Object.assign(sample, { digits, unit })), samples.length);
    this.#records.show(newest(bars).map((bar) => ({ ...bar, digits, unit })), bars.length);
  }

  leave() {
    this.#left = true;
    DARK.removeEventListener('change', this.#again);
    clearTimeout(this.#timer);
  }
}

/** A table of the newest of something, in a box that scrolls. */
class Listing {
  #count = make('span', { class: 'tally' });
  #body = make('tbody');
  #rows;
  root;

  /** Titles that begin with `#` are of numbers. */
  constructor(name, titles, row, key) {
    const head = (title) => make('th', { scope: 'col', class: title.startsWith('#') ? 'number' : null }, title.replace('#', ''));
    this.#rows = new Rows(this.#body, key, row);
    this.root = make('section', { class: 'panel' }, make('h2', {}, `${name} `, this.#count),
      make('div', { class: 'scrolled', tabindex: 0, role: 'region', 'aria-label': name },
        make('table', {},
          make('thead', {}, make('tr', {}, ...titles.map(head))),
          this.#body)));
  }

  show(items, all) {
    text(this.#count, items.length < all ? `${words.count(items.length)} of ${words.count(all)}` : words.count(all));
    this.#rows.show(items);
  }
}

function sampleRow() {
  const time = make('time');
  const value = make('td', { class: 'number' });
  const show = (sample) => {
    const [us, number] = sample;
    moment(time, iso(us));
    text(value, `${words.value(number, sample.digits)} ${sample.unit}`.trimEnd());
  };
  return { root: make('tr', {}, make('td', {}, time), value), show };
}

function recordRow() {
  const [from, to] = [make('time'), make('time')];
  const cells = { rule: make('td'), middle: make('td', { class: 'number' }), low: make('td', { class: 'number' }), high: make('td', { class: 'number' }), alert: make('td') };
  const root = make('tr', {}, cells.rule, make('td', {}, from), make('td', {}, to), cells.middle, cells.low, cells.high, cells.alert);
  const show = ({ rule, start_us, end_us, middle, low, high, alert, digits, unit }) => {
    text(cells.rule, rule);
    moment(from, iso(start_us));
    moment(to, iso(end_us));
    const shownValue = (value) => (value === null ? words.NONE : `${words.value(value, digits)} ${unit}`.trimEnd());
    text(cells.middle, shownValue(middle));
    text(cells.low, shownValue(low));
    text(cells.high, shownValue(high));
    text(cells.alert, alert ?? '');
  };
  return { root, show };
}

/** A health as a mark with its word. */
class Health {
  #mark = new Mark('unknown');
  #word = make('span');
  root = make('span', { class: 'health' }, this.#mark.root, this.#word);

  show(health) {
    this.#mark.show(health);
    text(this.#word, health);
    attribute(this.root, 'title', words.HEALTH_MEANS[health]);
  }
}

/** A drawing as an element of this page. */
function drawn(svg) {
  const { documentElement } = new DOMParser().parseFromString(svg, 'image/svg+xml');
  const parts = [documentElement, ...documentElement.querySelectorAll('*')];
  if (documentElement.nodeName !== 'svg') throw new Error('the gateway drew nothing');
  for (const part of parts) if (!DRAWN.has(part.nodeName)) part.remove();
  return document.importNode(documentElement, true);
}
