// Upstream: what becomes of the samples: rules, sinks, the ledger, the bill and the limits.

import { Rows, attribute, draw, make, shown, text } from './elements.js';
import { Mark } from './marks.js';
import * as words from './words.js';

const byId = (id) => document.getElementById(id);

/** A table whose rows begin with a line of their own (what it is) above their numbers. */
function table(id, caption, columns) {
  const body = make('tbody', { role: 'rowgroup' });
  const heads = columns.map((column) => make('th', { role: 'columnheader', scope: 'col' }, column));
  byId(id).replaceChildren(
    make('table', { role: 'table', class: 'lined' },
      make('caption', { class: 'unseen' }, caption),
      make('thead', { role: 'rowgroup' }, make('tr', { role: 'row' }, ...heads)),
      body),
  );
  return body;
}

/** A number with a remark below it. */
function cell() {
  const value = make('span', { class: 'value' });
  const note = make('span', { class: 'note' });
  return { root: make('td', { role: 'cell' }, value, note), value, note };
}

function fillCell(cell, value, note = '') {
  text(cell.value, value);
  text(cell.note, note);
}

const row = (head, ...cells) => make('tr', { role: 'row' }, head, ...cells);
const rowHead = (...children) => make('th', { role: 'rowheader', scope: 'row' }, ...children);

/** Rules in force, in their order. */
export class Rules {
  #rows = new Rows(
    table('rules-table', 'Rules in force; saved is said against one JSON message per sample', ['Rule', 'Samples in', 'Records out', 'Bytes sent', 'Saved']),
    (rule) => rule.name,
    ruleRow,
  );
  #shown = null;

  show({ rules }) {
    if (rules === this.#shown) return;
    this.#shown = rules;
    text(byId('rules-tally'), words.count(rules.length));
    this.#rows.show(rules);
  }
}

function ruleRow() {
  const name = make('b');
  const goes = make('span', { class: 'note' });
  const alerts = make('span', { class: 'badge' });
  const [samples, records, sent, less] = [cell(), cell(), cell(), cell()];
  const root = row(rowHead(name, goes, alerts), samples.root, records.root, sent.root, less.root);
  const show = (rule) => {
    text(name, rule.name);
    const to = rule.forward.length ? `to ${rule.forward.join(', ')}` : 'to no sink';
    text(goes, `version ${rule.version}, ${to}`);
    text(alerts, rule.alerts_open ? words.counted(rule.alerts_open, 'alert') : '');
    shown(alerts, rule.alerts_open > 0);
    fillCell(samples, words.count(rule.samples), rule.left_out ? `${words.count(rule.left_out)} left out` : '');
    fillCell(records, words.count(rule.records), rule.waiting ? `${words.count(rule.waiting)} waiting` : '');
    const month = rule.sent ? words.bytes(words.wireBytes(rule.sent)) : words.UNKNOWN;
    fillCell(sent, words.bytes(rule.sent_bytes), `month ${month}`);
    fillCell(less, words.percent(rule.savings_percent));
    attribute(less.value, 'title', rule.savings_percent === null ? null : 'against one JSON message per sample');
  };
  return { root, show };
}

/** Sinks by name. */
export class Sinks {
  #rows = new Rows(
    table('sinks-table', 'Sinks', ['Sink', 'Waiting', 'On disk', 'Confirmed', 'Dead letters']),
    ([name]) => name,
    sinkRow,
  );
  #shown = null;

  show({ status: { sinks } }) {
    if (sinks === this.#shown) return;
    this.#shown = sinks;
    const all = Object.entries(sinks);
    text(byId('sinks-tally'), words.count(all.length));
    this.#rows.show(all);
  }
}

function sinkRow() {
  const sign = new Mark('fine');
  const name = make('b');
  const phase = make('span', { class: 'note' });
  const error = make('span', { class: 'error' });
  const [waiting, disk, confirmed, dead] = [cell(), cell(), cell(), cell()];
  const head = rowHead(sign.root, name, phase, error);
  const root = row(head, waiting.root, disk.root, confirmed.root, dead.root);
  const show = ([called, sink]) => {
    const [doing, level] = words.PHASES[sink.phase] ?? [sink.phase, 'odd'];
    sign.show(level);
    text(name, called);
    text(phase, drained(doing, sink));
    text(error, sink.last_error ?? '');
    shown(error, Boolean(sink.last_error));
    fillCell(waiting, words.count(sink.records_waiting), 'records');
    fillCell(disk, words.bytes(sink.spool_bytes));
    fillCell(confirmed, words.count(sink.counters.records), 'since the start');
    fillCell(dead, words.count(sink.dead_letters));
  };
  return { root, show };
}

const drained = (doing, { drain }) =>
  drain ? `${doing}, ${words.counted(drain.records, 'record')} of it so far` : doing;

/** Pairs of a term and its value, in a list of their own. */
class Facts {
  #values = {};

  constructor(id, terms) {
    for (const [key, term] of Object.entries(terms)) {
      this.#values[key] = make('dd', {}, words.NONE);
      byId(id).append(make('div', {}, make('dt', {}, term), this.#values[key]));
    }
  }

  show(values) {
    for (const [key, value] of Object.entries(values)) text(this.#values[key], value);
  }
}

/** Whether every sample is where a counter says. */
export class Ledger {
  #mark = new Mark('unknown');
  #facts = new Facts('ledger-facts', {
    logged: 'Samples logged',
    unmatched: 'of them matched by no rule',
    delivered: 'Samples in records that sinks confirmed',
    waiting: 'Samples in records that wait for a sink',
  });

  constructor() {
    byId('ledger-mark').append(this.#mark.root);
  }

  show({ ledger }) {
    this.#mark.show(ledger.balanced ? (ledger.unknown ? 'odd' : 'fine') : 'bad');
    text(byId('ledger-words'), verdict(ledger));
    this.#facts.show({
      logged: words.count(ledger.logged),
      unmatched: words.count(ledger.unmatched),
      delivered: words.count(ledger.delivered),
      waiting: words.count(ledger.waiting),
    });
  }
}

function verdict({ balanced, unknown }) {
  if (!balanced) return 'The books do not balance: “tidegate ledger” says where samples are missing.';
  if (unknown) return 'The books balance, but for something that cannot be known: “tidegate ledger” says what, and its bound.';
  return 'The books balance: every sample is where a counter says.';
}

/** What the month cost, and its budget. */
export class Bill {
  #rows = new Rows(
    table('bill-table', 'Bytes sent this month', ['Sink', 'Records', 'Bodies', 'Framing est.', 'Total est.']),
    ([name]) => name,
    costRow,
  );
  #budget = new Budget(byId('budget'));

  show({ bill, status: { budget } }) {
    text(byId('bill-month'), bill ? words.month(bill.month) : '');
    const sinks = Object.entries(bill?.sinks ?? {});
    text(byId('bill-none'), bill ? billWords(bill, sinks) : 'The month is not known, as the gateway’s clock is not.');
    shown(byId('bill-none'), !bill || bill.gap || sinks.length === 0);
    shown(byId('bill-table'), sinks.length > 0);
    this.#rows.show(sinks);
    this.#budget.show(budget);
  }
}

function billWords({ gap }, sinks) {
  if (gap) return 'At least: something that was sent may be missing.';
  return sinks.length === 0 ? 'Nothing was sent this month.' : '';
}

function costRow() {
  const name = make('b');
  const cells = [cell(), cell(), cell(), cell()];
  const root = row(rowHead(name), ...cells.map((cell) => cell.root));
  const show = ([called, cost]) => {
    text(name, called);
    fillCell(cells[0], words.count(cost.records));
    fillCell(cells[1], words.bytes(cost.bytes_after));
    fillCell(cells[2], words.bytes(cost.framing_bytes));
    fillCell(cells[3], words.bytes(words.wireBytes(cost)));
  };
  return { root, show };
}

/** How full something is: a bar beside words that say the same. */
function bar() {
  const used = draw('rect', { class: 'used', height: 6, width: 0, rx: 3 });
  const root = draw('svg', { class: 'bar', 'aria-hidden': 'true', viewBox: '0 0 100 6', preserveAspectRatio: 'none' },
    draw('rect', { class: 'most', width: 100, height: 6, rx: 3 }), used);
  const show = (part, most, level) => {
    attribute(used, 'width', most > 0 ? Math.min(100, (100 * (part ?? 0)) / most).toFixed(1) : 0);
    attribute(root, 'data-level', level);
  };
  return { root, show };
}

const LEVELS = {
  free: ['fine', 'within the budget'],
  warned: ['odd', 'past the warning'],
  capped: ['bad', 'the budget is used up'],
};

class Budget {
  #root;
  #bar = bar();
  #sign = new Mark('fine');
  #words = make('span');
  #note = make('p', { class: 'note' });

  constructor(root) {
    this.#root = root;
    root.append(make('p', { class: 'verdict' }, this.#sign.root, this.#words), this.#bar.root, this.#note);
  }

  show(budget) {
    shown(this.#root, Boolean(budget));
    if (!budget) return;
    const [level, says] = LEVELS[budget.level] ?? ['odd', budget.level];
    this.#sign.show(level);
    const least = budget.gap ? 'at least ' : '';
    text(this.#words, `${least}${words.bytes(budget.used_bytes)} of ${words.bytes(budget.cap_bytes)}: ${says}`);
    this.#bar.show(budget.used_bytes, budget.cap_bytes, level);
    const forecast = budget.forecast_bytes === null
      ? 'no forecast before a day was seen'
      : `at this pace ${words.bytes(budget.forecast_bytes)} by the end of the month`;
    const warning = `warned at ${words.bytes(budget.warn_bytes)}`;
    text(this.#note, `${forecast}; ${warning}; ${words.action(budget.action)}.`);
  }
}

/** Limits that fill up. */
export class Limits {
  #rows = new Rows(byId('limits-list'), (limit) => limit.key, limitRow);

  show({ status: { limits } }) {
    this.#rows.show(limits);
  }
}

const NEAR = 0.9;

function limitRow() {
  const key = make('code');
  const says = make('span', { class: 'value' });
  const filled = bar();
  const root = make('li', {}, key, says, filled.root);
  const show = ({ key: name, used, most, unit }) => {
    const amount = unit === 'bytes' ? words.bytes : words.count;
    text(key, name);
    text(says, `${amount(used)} of ${amount(most)}`);
    filled.show(used, most, used !== null && used >= NEAR * most ? 'odd' : 'fine');
  };
  return { root, show };
}
