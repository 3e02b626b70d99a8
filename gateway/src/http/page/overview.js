// Overview: the state of the gateway, the figures and the open alerts.

import { Rows, attribute, make, moment, shown, text } from './elements.js';
import { Mark } from './marks.js';
import * as words from './words.js';

const byId = (id) => document.getElementById(id);
/** Alerts shown before somebody asks for all. */
const ALERTS_FEW = 8;
/** Alerts remembered that were seen to clear. */
const CLEARED_MAX = 5;
/** More at once are announced by their number. */
const ANNOUNCED_MAX = 3;

/** The state: what holds, what it means for the data, what to do. */
export class State {
  #mark = new Mark('unknown');
  #rows = new Rows(byId('states'), (state) => `${state.name} ${state.sink ?? ''}`, stateRow);
  #shown = null;

  constructor() {
    byId('state-mark').append(this.#mark.root);
  }

  show({ status }) {
    if (status === this.#shown) return;
    this.#shown = status;
    const level = levelOf(status);
    attribute(byId('state'), 'data-level', level);
    this.#mark.show(level);
    text(byId('site'), status.gateway.site);
    text(byId('state-words'), stateWords(status));
    text(byId('about'), about(status));
    this.#rows.show([...status.states, ...notes(status)]);
  }
}

function levelOf(status) {
  if (status.works_as_usual) return status.states.length + notes(status).length ? 'odd' : 'fine';
  return status.states.every(({ name }) => name === 'standby') ? 'odd' : 'bad';
}

function stateWords(status) {
  if (!status.works_as_usual) {
    return 'The gateway does not work as usual. What that means for the data, and what to do:';
  }
  const away = awaySinks(status);
  if (away.length === 0) return 'The gateway works as usual.';
  return `The gateway works as usual. Not reached for the moment: ${away.join(', ')}.`;
}

const awaySinks = (status) =>
  Object.keys(status.sinks).filter((name) => status.sinks[name].phase === 'backing-off');

function about({ gateway, configuration }) {
  const start = `start ${words.count(gateway.start)}`;
  const file = configuration ? ` · ${configuration.file}` : '';
  return `gateway ${gateway.id} · ${start} · version ${gateway.version}${file}`;
}

/** What is no state, and is to be known. */
function notes({ configuration, devices }) {
  const notes = [];
  if (configuration?.refused?.is_current) {
    notes.push({
      name: 'configuration',
      title: 'The configuration file was refused',
      meaning: 'The one before it stays in force, and nothing changed.',
      advice: 'Correct the file; “tidegate check” tells every mistake with its place.',
      since: configuration.refused.at,
    });
  }
  if (devices.frames_held > 0) {
    notes.push({
      name: 'held',
      title: `${words.counted(devices.frames_held, 'frame')} wait for the gateway’s clock`,
      meaning: 'They are logged and acked; their records follow when the clock is right.',
      advice: 'Let a time service set the gateway’s clock.',
    });
  }
  return notes;
}

function stateRow() {
  const title = make('h2');
  const meaning = make('dd');
  const advice = make('dd');
  const why = make('dd', { class: 'error' });
  const whyTerm = make('dt', {}, 'Why');
  const since = make('time');
  const sinceTerm = make('dt', {}, 'Since');
  const sinceValue = make('dd', {}, since);
  const root = make('article', { class: 'holding' }, title,
    make('dl', {}, make('dt', {}, 'For the data'), meaning, make('dt', {}, 'What to do'), advice,
      whyTerm, why, sinceTerm, sinceValue));
  const show = (state) => {
    const told = state.title ? state : words.state(state);
    text(title, told.title);
    text(meaning, sentence(state.meaning));
    text(advice, told.advice);
    text(why, state.why ?? '');
    for (const part of [whyTerm, why]) shown(part, Boolean(state.why));
    moment(since, state.since);
    for (const part of [sinceTerm, sinceValue]) shown(part, Boolean(state.since));
  };
  return { root, show };
}

const sentence = (words) => `${words.charAt(0).toUpperCase()}${words.slice(1).replace(/\.?$/, '.')}`;

/** The figures: one tile each, the devices by health as links that filter. */
export class Figures {
  #tiles = {};
  #healths = {};

  constructor() {
    const tiles = {
      devices: 'Devices', samples: 'Samples in', records: 'Records out', sent: 'Sent upstream',
    };
    for (const [key, title] of Object.entries(tiles)) this.#tiles[key] = tile(title);
    byId('figures').append(...Object.values(this.#tiles).map(({ root }) => root));
    const list = make('ul', { class: 'healths' });
    for (const health of words.HEALTHS) {
      const number = make('b');
      const link = make('a', { href: `#/?health=${health}`, title: words.HEALTH_MEANS[health] },
        new Mark(health).root, number, ` ${health}`);
      this.#healths[health] = { item: list.appendChild(make('li', {}, link)), number };
    }
    this.#tiles.devices.note.replaceWith(make('dd', {}, list));
  }

  show({ devices, flow }) {
    const all = Object.values(devices).reduce((sum, number) => sum + number, 0);
    text(this.#tiles.devices.value, words.count(all));
    for (const [health, { item, number }] of Object.entries(this.#healths)) {
      shown(item, devices[health] > 0);
      text(number, words.count(devices[health] ?? 0));
    }
    const { samples, records, sent } = this.#tiles;
    text(samples.value, words.count(flow.samples));
    text(samples.note, `${words.bytes(flow.samples_as_json_bytes)} as JSON messages`);
    text(records.value, words.count(flow.records));
    text(records.note, 'delivered, over all sinks');
    text(sent.value, words.bytes(flow.sent_bytes));
    text(sent.note, `${less(flow)} than JSON, est.`);
  }
}

function less({ sent_bytes: sent, samples_as_json_bytes: json }) {
  return words.savings(sent > 0 && json > 0 ? 100 * (1 - sent / json) : null);
}

function tile(title) {
  const value = make('dd', { class: 'value' }, words.NONE);
  const note = make('dd', { class: 'note' });
  return { root: make('div', {}, make('dt', {}, title), value, note), value, note };
}

const alertKey = ({ rule, device, sensor, cause, since }) =>
  [rule, device, sensor, cause, since].join('\n');

/** The alerts: they come and go while somebody looks, and are announced. */
export class Alerts {
  #open = new Rows(byId('alerts-list'), alertKey, alertRow);
  #cleared = new Rows(byId('alerts-cleared-list'), alertKey, alertRow);
  #seen = null;
  #gone = [];
  #all = false;
  #shown = null;
  #announce;

  constructor(announce) {
    this.#announce = announce;
    byId('alerts-more').addEventListener('click', () => {
      this.#all = !this.#all;
      this.#list();
    });
  }

  show({ at, alerts, alerts_open: open }) {
    text(byId('alerts-tally'), words.count(open));
    attribute(byId('alerts'), 'data-open', open > 0);
    if (alerts === this.#shown) return;
    this.#shown = alerts;
    this.#compare(alerts, open, at);
    this.#list();
    text(byId('alerts-none'), 'No alert is open.');
    shown(byId('alerts-none'), open === 0);
    shown(byId('alerts-cleared'), this.#gone.length > 0);
    this.#cleared.show(this.#gone);
  }

  #list() {
    const alerts = this.#shown;
    const button = byId('alerts-more');
    this.#open.show(this.#all ? alerts : alerts.slice(0, ALERTS_FEW));
    shown(button, alerts.length > ALERTS_FEW);
    text(button, this.#all ? 'Show fewer' : `Show all ${words.count(alerts.length)}`);
    attribute(button, 'aria-expanded', String(this.#all));
  }

  #compare(alerts, open, at) {
    const now = new Map(alerts.map((alert) => [alertKey(alert), alert]));
    const before = this.#seen;
    this.#seen = now;
    if (!before) {
      if (open > 0) this.#announce(`${words.counted(open, 'alert is', 'alerts are')} open.`);
      return;
    }
    const opened = alerts.filter((alert) => !before.has(alertKey(alert)));
    // The list is cut at a length: what left a cut list may still be open.
    const isWhole = alerts.length >= open;
    const cleared = isWhole ? [...before.values()].filter((alert) => !now.has(alertKey(alert))) : [];
    const gone = cleared.map((alert) => ({ ...alert, cleared: at }));
    this.#gone = [...gone, ...this.#gone.filter((alert) => !now.has(alertKey(alert)))];
    this.#gone.length = Math.min(this.#gone.length, CLEARED_MAX);
    this.#tell('opened', opened);
    this.#tell('cleared', cleared);
  }

  #tell(became, alerts) {
    if (alerts.length === 0) return;
    if (alerts.length > ANNOUNCED_MAX) this.#announce(`${words.count(alerts.length)} alerts ${became}.`);
    else for (const alert of alerts) this.#announce(`Alert ${became}: ${alert.rule}, ${whose(alert)}.`);
  }
}

function whose({ device, sensor }) {
  if (device === '*') return sensor === '*' ? 'the whole plant' : `${sensor} of all devices`;
  return sensor === '*' ? `all of ${device}` : `${device} ${sensor}`;
}

function alertRow(alert) {
  const value = make('span', { class: 'value' });
  const since = make('time');
  const isOne = alert.device !== '*' && alert.sensor !== '*';
  const where = isOne
    ? make('a', { href: words.place(alert.device, alert.sensor) }, whose(alert))
    : make('span', {}, whose(alert));
  const historic = alert.historic ? make('span', { class: 'note' }, 'its sample was old when it came') : null;
  const clearedAt = make('time');
  const cleared = alert.cleared ? make('span', { class: 'note' }, 'cleared ', clearedAt) : null;
  const root = make('li', {}, new Mark(cleared ? 'fine' : 'alert').root, make('b', {}, alert.rule), where, value,
    make('span', { class: 'note' }, words.CAUSES[alert.cause] ?? alert.cause, ', since ', since),
    historic, cleared);
  const show = (alert) => {
    text(value, alert.value === null ? '' : `${words.value(alert.value)} ${alert.unit}`);
    moment(since, alert.since);
    moment(clearedAt, alert.cleared);
  };
  return { root, show };
}

