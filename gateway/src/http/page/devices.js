// Devices: a card each with its sensors, the filter and the pages.

import { Rows, attribute, draw, make, moment, shown, text } from './elements.js';
import { Mark } from './marks.js';
import * as words from './words.js';

const byId = (id) => document.getElementById(id);
/** Sensors on a card; the rest is on the device's own view. */
const SENSORS_FEW = 12;
/** Devices on a page; on a narrow screen fewer, which keeps it short. */
const PAGE = 200;
const PAGE_NARROW = 40;
const NARROW = '(max-width: 40rem)';
/** So long after the last key the filter is asked. */
const TYPED_MS = 250;
/** A spark line's own measures. */
const WIDTH = 72;
const HEIGHT = 18;
const INSET = 2;
/** Values that tell how many decimals a sensor has. */
const TELLING = 4;

/** What is asked for: by name, by health, from where. */
export class Filter {
  match = '';
  health = '';
  offset = 0;

  /** The same as part of this page's address. */
  get address() {
    const asked = new URLSearchParams();
    if (this.match) asked.set('match', this.match);
    if (this.health) asked.set('health', this.health);
    if (this.offset) asked.set('offset', this.offset);
    return asked.size ? `#/?${asked}` : '#/';
  }

  /** The same as the API wants it. A name without a star is looked for anywhere. */
  get query() {
    const asked = new URLSearchParams({ offset: this.offset, limit: Filter.page });
    if (this.match) asked.set('match', /[*?[]/.test(this.match) ? this.match : `*${this.match}*`);
    if (this.health) asked.set('health', this.health);
    return String(asked);
  }

  static get page() {
    return matchMedia(NARROW).matches ? PAGE_NARROW : PAGE;
  }

  /** Reads what `address` wrote. */
  static of(parameters) {
    const filter = new Filter();
    filter.match = parameters.get('match') ?? '';
    const health = parameters.get('health') ?? '';
    filter.health = words.HEALTHS.includes(health) ? health : '';
    filter.offset = Math.max(0, Number.parseInt(parameters.get('offset') ?? '0', 10) || 0);
    return filter;
  }
}

/** The section: filter, cards, pages. */
export class Devices {
  #rows = new Rows(byId('cards'), (device) => device.name, card);
  #match = byId('filter-match');
  #health = byId('filter-health');
  #typed = 0;
  #filter = new Filter();
  #go;

  /** `go(filter)` is called when somebody asks for other devices. */
  constructor(go) {
    this.#go = go;
    for (const health of words.HEALTHS) this.#health.append(make('option', { value: health }, health));
    byId('filter').addEventListener('submit', (event) => {
      event.preventDefault();
      this.#ask(0);
    });
    this.#match.addEventListener('input', () => {
      clearTimeout(this.#typed);
      this.#typed = setTimeout(() => this.#ask(0), TYPED_MS);
    });
    this.#health.addEventListener('change', () => this.#ask(0));
    byId('pager-back').addEventListener('click', () => this.#turn(-1));
    byId('pager-on').addEventListener('click', () => this.#turn(1));
  }

  /** Shows what is asked for. */
  asked(filter) {
    this.#filter = filter;
    if (document.activeElement !== this.#match) this.#match.value = filter.match;
    this.#health.value = filter.health;
  }

  #ask(offset) {
    const filter = new Filter();
    filter.match = this.#match.value.trim();
    filter.health = this.#health.value;
    filter.offset = offset;
    this.#go(filter);
  }

  #turn(pages) {
    this.#ask(Math.max(0, this.#filter.offset + pages * Filter.page));
    byId('devices').scrollIntoView();
  }

  show(plant) {
    const { devices, total, offset } = plant;
    this.#rows.show(devices);
    text(byId('devices-tally'), words.count(total));
    const isFiltered = Boolean(this.#filter.match || this.#filter.health);
    const none = isFiltered ? 'No device is like that.' : 'No device was seen yet.';
    text(byId('devices-none'), total > 0 ? 'There are no more devices.' : none);
    shown(byId('devices-none'), devices.length === 0);
    this.#page(total, offset, devices.length);
  }

  #page(total, offset, told) {
    shown(byId('pager'), total > told || offset > 0);
    text(byId('pager-words'), `${words.count(Math.min(offset + 1, total))} to ${words.count(offset + told)} of ${words.count(total)}`);
    attribute(byId('pager-back'), 'disabled', offset === 0);
    attribute(byId('pager-on'), 'disabled', offset + told >= total);
  }
}

function card(device) {
  const sign = new Mark(device.health);
  const health = make('span', { class: 'health' });
  const clock = make('span');
  const heard = make('time');
  const why = make('p', { class: 'why' });
  const body = make('tbody');
  const rows = new Rows(body, (sensor) => sensor.name, (sensor) => sensorRow(device.name, sensor));
  const more = make('a', { href: words.place(device.name), class: 'more' });
  const root = make('li', { class: 'card', 'data-device': device.name },
    make('h3', {}, sign.root, make('a', { href: words.place(device.name) }, device.name), health),
    why,
    make('table', { class: 'sensors' }, make('caption', { class: 'unseen' }, `Sensors of ${device.name}`),
      ...sensorHead(), body),
    more,
    make('p', { class: 'note' }, 'heard ', heard, ' · ', clock));
  let sensors = null;
  const show = (device) => {
    sign.show(device.health);
    attribute(root, 'data-health', device.health);
    text(health, device.health);
    text(why, device.why ?? '');
    shown(why, Boolean(device.why));
    moment(heard, device.heard, words.UNKNOWN);
    const [says, means] = words.clock(device.clock);
    text(clock, says);
    attribute(clock, 'title', means);
    if (device.sensors === sensors) return;
    sensors = device.sensors;
    rows.show(sensors.slice(0, SENSORS_FEW));
    text(more, `All ${words.count(sensors.length)} sensors`);
    shown(more, sensors.length > SENSORS_FEW);
  };
  return { root, show };
}

function sensorHead() {
  const titles = { name: 'Sensor', trend: 'Recent values', value: 'Newest value', sign: 'Health' };
  const columns = Object.keys(titles).map((name) => make('col', { class: name }));
  const heads = Object.values(titles).map((title) => make('th', { scope: 'col' }, title));
  return [make('colgroup', {}, ...columns), make('thead', { class: 'unseen' }, make('tr', {}, ...heads))];
}

// Of these there are hundreds: to copy one is cheaper than to make it.
const SPARK = draw('svg', { class: 'spark', 'aria-hidden': 'true', viewBox: `0 0 ${WIDTH} ${HEIGHT}`, preserveAspectRatio: 'none' },
  draw('polyline', { class: 'spark-line' }));
const VALUE = [make('b'), ' ', make('span', { class: 'unit' }), ' ', Mark.blank()];
const ROW = make('tr', {},
  make('th', { scope: 'row' }, make('a')),
  make('td', { class: 'line' }, SPARK.cloneNode(true)),
  make('td', { class: 'reading' }, ...VALUE.map(copied)),
  make('td', { class: 'sign' }, Mark.blank()));

function sensorRow(device, sensor) {
  const root = ROW.cloneNode(true);
  const [head, trend, reading, signs] = root.children;
  const line = new Spark(trend.firstChild);
  const value = new Value(reading);
  const health = new Mark(sensor.health, sensor.health, signs.firstChild);
  const alert = new Mark('alert', 'open alert');
  const link = head.firstChild;
  link.textContent = sensor.name;
  link.title = sensor.name;
  link.href = words.place(device, sensor.name);
  const show = (sensor) => {
    line.show(sensor.spark);
    value.show(sensor);
    health.show(sensor.health, sensor.health);
    const isOpen = sensor.alerts_open > 0;
    if (isOpen !== Boolean(alert.root.parentNode)) isOpen ? head.prepend(alert.root) : alert.root.remove();
  };
  return { root, show };
}

/** A spark line; a straight one where nothing moves. */
export class Spark {
  #line;
  root;

  constructor(root = SPARK.cloneNode(true)) {
    this.root = root;
    this.#line = root.firstChild;
  }

  show(values) {
    this.#line.setAttribute('points', values.length < 2 ? '' : points(values));
  }
}

/** Tenths are finer than a screen; whole numbers of them are cheap to write. */
const tenth = (number) => Math.round(number * 10) / 10;

function points(values) {
  const low = Math.min(...values);
  const range = Math.max(...values) - low;
  const step = (WIDTH - 2 * INSET) / (values.length - 1);
  const height = HEIGHT - 2 * INSET;
  let text = '';
  for (let at = 0; at < values.length; at += 1) {
    const up = range > 0 ? (values[at] - low) / range : 0.5;
    text += `${tenth(INSET + at * step)},${tenth(INSET + (1 - up) * height)} `;
  }
  return text;
}

/** A sensor's newest value with its unit and trend. It never has fewer decimals than before. */
export class Value {
  #number;
  #unit;
  #mark;
  #digits = -1;
  root;

  /** `root` is an element to show it in. */
  constructor(root) {
    this.root = root;
    if (!root.firstChild) root.append(...VALUE.map(copied));
    const [number, unit, sign] = root.children;
    this.#number = number;
    this.#unit = unit;
    this.#mark = new Mark('none', null, sign);
  }

  show({ value, unit, spark, trend }) {
    if (this.#digits < 0) this.#digits = words.decimals(spark.slice(-TELLING));
    if (value !== null) this.#digits = Math.max(this.#digits, words.decimals([value]));
    text(this.#number, words.value(value, this.#digits));
    text(this.#unit, unit);
    this.#mark.show(trend ?? 'none', trend);
  }
}

function copied(part) {
  return typeof part === 'string' ? part : part.cloneNode(true);
}
