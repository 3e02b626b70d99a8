// Page: what the address asks for, shown of what the gateway says.
//
//   address ──▶ query ──▶ live ──events──▶ plant ──▶ the views
//
// Addresses: `#/` the plant, `#/?match=pump-*&health=late&offset=200` some of its devices,
// `#/devices/pump-1` a device, `#/devices/pump-1/pressure` a sensor; `#rules` and the like are
// places on the plant's view. The page asks for nothing but what it shows, and changes nothing.

import { DeviceView, SensorView } from './chart.js';
import { Devices, Filter } from './devices.js';
import { attribute, make, shown, text } from './elements.js';
import { Live } from './live.js';
import { Mark } from './marks.js';
import { Alerts, Figures, State } from './overview.js';
import { Plant } from './plant.js';
import { Bill, Ledger, Limits, Rules, Sinks } from './upstream.js';
import * as words from './words.js';

const byId = (id) => document.getElementById(id);
/** The gateway's clock goes on with every event; standing still for so long, it is said. */
const OLD_MS = 6_000;

const plant = new Plant();
const alerts = new Alerts(announce);
const overview = [new State(), new Figures(), alerts];
const upstream = [new Rules(), new Sinks(), new Ledger(), new Bill(), new Limits()];
const devices = new Devices((filter) => go(filter.address));
let filter = new Filter();
let detail = null;
/** Whether what is known answers what is asked for now. */
let isAnswered = false;
let version = null;

/** Announcements for those who do not see the page, one after the other. */
function announce(what) {
  const line = make('span', {}, `${what} `);
  byId('announcements').append(line);
  setTimeout(() => line.remove(), 10_000);
}

function go(address) {
  if (address === location.hash) return;
  history.replaceState(null, '', address);
  route();
}

/** The connection, in a word, with the time of what is shown. */
class Connection {
  #mark = new Mark('unknown');
  #state = 'connecting';
  #why = null;
  #progress = performance.now();
  #at = null;

  constructor() {
    byId('connection-mark').append(this.#mark.root);
    setInterval(() => this.#tell(), 1_000);
  }

  heard(at) {
    if (at !== this.#at) this.#progress = performance.now();
    this.#at = at;
    if (this.#state === 'live') this.#why = null;
  }

  /** The gateway lives, and could not say more. */
  busy() {
    this.#why = 'the gateway is too busy to tell more';
  }

  state(state, why) {
    const before = this.#state;
    this.#state = state;
    this.#why = why;
    if (before === 'live' && state !== 'live') announce('The connection to the gateway is lost; trying again.');
    if (before === 'reconnecting' && state === 'live') announce('Connected again.');
    this.#tell();
  }

  #tell() {
    const age = performance.now() - this.#progress;
    const isOld = this.#state === 'live' && age > OLD_MS;
    const state = isOld ? 'old' : this.#state;
    attribute(byId('connection'), 'data-state', state);
    this.#mark.show({ live: 'live', connecting: 'unknown' }[state] ?? 'odd');
    const shownIs = this.#at ? `, shown is of ${words.time(new Date(this.#at))}` : '';
    text(byId('connection-words'), { live: 'live', connecting: 'connecting', old: `old${shownIs}` }[state] ?? `reconnecting${shownIs}`);
    const isStale = Boolean(this.#at) && state !== 'live';
    attribute(byId('main'), 'data-stale', isStale);
    shown(byId('stale'), isStale);
    if (isStale) this.#stale(age);
  }

  #stale(age) {
    const why = this.#why ?? (this.#state === 'live' ? 'nothing new comes from the gateway' : 'the gateway does not answer');
    const line = byId('stale');
    if (!line.firstChild) line.append(new Mark('odd').root, make('span'));
    text(line.lastChild, `Not live: ${why}. What is shown is ${words.stretch(age)} old, of ${words.time(new Date(this.#at))}. The page goes on by itself.`);
  }
}

const connection = new Connection();

function show() {
  connection.heard(plant.overview.at);
  attribute(byId('main'), 'data-at', plant.overview.at);
  if (detail) detail.show(plant, isAnswered);
  else if (isAnswered) devices.show(plant);
  for (const part of overview) part.show(plant.overview);
  if (!detail) for (const part of upstream) part.show(plant.overview);
  renewed(plant.overview.status.gateway.version);
}

/** A gateway of another version may have another page. */
function renewed(told) {
  version ??= told;
  if (version !== told) location.reload();
}

const live = new Live({
  full(data) {
    plant.full(data);
    isAnswered = true;
    show();
  },
  change(data) {
    plant.change(data);
    show();
  },
  busy: () => connection.busy(),
  state: (state, why) => connection.state(state, why),
});

/** The view that an address asks for; none: the plant's. */
function viewOf(address) {
  const [, kind, device, sensor] = address.split('/').map(decodeURIComponent);
  if (kind !== 'devices' || !device) return null;
  return sensor ? new SensorView(device, sensor) : new DeviceView(device);
}

const deviceOf = (address) => new URLSearchParams({ match: decodeURIComponent(address.split('/')[2]), limit: 1 });

function route() {
  const [, address, parameters] = location.hash.match(/^#?([^?]*)\??(.*)$/);
  const isPlace = !address.startsWith('/');
  const wasDetail = Boolean(detail);
  detail?.leave();
  detail = isPlace ? null : viewOf(address);
  if (!detail && !isPlace) filter = Filter.of(new URLSearchParams(parameters));
  devices.asked(filter);
  attribute(byId('main'), 'data-view', detail ? 'detail' : 'plant');
  shown(byId('plant'), !detail);
  shown(byId('detail'), Boolean(detail));
  byId('detail').replaceChildren(...(detail ? [detail.root] : []));
  if (live.ask(String(detail ? deviceOf(address) : filter.query))) isAnswered = false;
  if (plant.overview) show();
  document.title = detail ? `${detail.title()} – Tidegate` : 'Tidegate';
  arrive(isPlace ? address : '', wasDetail);
}

/** Puts whoever moved through the page where they wanted to be. */
function arrive(place, wasDetail) {
  if (detail) {
    scrollTo(0, 0);
    detail.root.querySelector('h1').focus({ preventScroll: true });
  } else if (place) byId(place)?.scrollIntoView();
  else if (wasDetail) byId('main').focus({ preventScroll: true });
}

byId('skip').addEventListener('click', (event) => {
  event.preventDefault();
  byId('main').focus();
  byId('main').scrollIntoView();
});
window.addEventListener('hashchange', route);
const { timeZone } = Intl.DateTimeFormat().resolvedOptions();
text(byId('zone'), timeZone ? `your zone, ${timeZone}` : 'your zone');
route();
