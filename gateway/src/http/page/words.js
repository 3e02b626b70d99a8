// Words: numbers, bytes, times and states as a person reads them. What is unknown is never 0.

export const UNKNOWN = 'unknown';
export const NONE = '–';

const COUNT = new Intl.NumberFormat('en');
const BYTE_UNITS = ['KiB', 'MiB', 'GiB', 'TiB', 'PiB'];
// Values are decimals made from integers: what comes behind seven digits is rounding.
const VALUE_DIGITS = 7;
const DECIMALS_MAX = 6;

const isKnown = (value) => value !== null && value !== undefined;

/** A count, grouped by thousands. */
export function count(value) {
  return isKnown(value) ? COUNT.format(value) : UNKNOWN;
}

/** A count with its noun: `1 device`, `2 devices`. */
export function counted(value, noun, nouns = `${noun}s`) {
  return `${count(value)} ${value === 1 ? noun : nouns}`;
}

/** Bytes in binary units, spelled as the command line spells them. */
export function bytes(value) {
  if (!isKnown(value)) return UNKNOWN;
  if (value < 1024) return `${value} B`;
  let scaled = value;
  let unit = '';
  for (const next of BYTE_UNITS) {
    if (scaled < 1024) break;
    scaled /= 1024;
    unit = next;
  }
  return `${scaled.toFixed(2)} ${unit}`;
}

/** A share in percent; what is not the whole is not rounded up to it. */
export function percent(value) {
  if (!isKnown(value)) return NONE;
  return `${(value > 99.9 && value < 100 ? 99.9 : value).toFixed(1)} %`;
}

/** How much less was sent than JSON would be: `97.3 % less`, `4.0 % more`. */
export function savings(value) {
  if (!isKnown(value)) return NONE;
  return value < 0 ? `${percent(-value)} more` : `${percent(value)} less`;
}

/** Whole bytes of a cost: bodies as sent and what is around them. */
export const wireBytes = (cost) => cost.bytes_after + cost.framing_bytes;

function decimalsOf(value) {
  const text = String(Number(value.toPrecision(VALUE_DIGITS)));
  if (text.includes('e')) return 0;
  const point = text.indexOf('.');
  return point < 0 ? 0 : Math.min(text.length - point - 1, DECIMALS_MAX);
}

/** How many decimals a sensor's values have, so that they do not jump sideways. */
export function decimals(values) {
  return values.reduce((most, value) => Math.max(most, decimalsOf(value)), 0);
}

const byDecimals = [];

function format(digits) {
  byDecimals[digits] ??= new Intl.NumberFormat('en', { minimumFractionDigits: digits, maximumFractionDigits: digits });
  return byDecimals[digits];
}

/** A value with so many decimals; large and tiny ones by their exponent. */
export function value(number, digits = decimalsOf(number ?? 0)) {
  if (!isKnown(number)) return NONE;
  const size = Math.abs(number);
  if (size >= 1e9 || (size > 0 && size < 1e-6)) return number.toExponential(3);
  return format(digits).format(number);
}

const two = (number) => String(number).padStart(2, '0');
const MONTHS = ['Jan', 'Feb', 'Mar', 'Apr', 'May', 'Jun', 'Jul', 'Aug', 'Sep', 'Oct', 'Nov', 'Dec'];
const MONTHS_LONG = ['January', 'February', 'March', 'April', 'May', 'June', 'July', 'August',
  'September', 'October', 'November', 'December'];

/** A time of the viewer's zone: of today its clock time, else with its date. */
export function time(date, now = new Date()) {
  const clock = `${two(date.getHours())}:${two(date.getMinutes())}:${two(date.getSeconds())}`;
  if (date.toDateString() === now.toDateString()) return clock;
  const year = date.getFullYear() === now.getFullYear() ? '' : ` ${date.getFullYear()}`;
  return `${date.getDate()} ${MONTHS[date.getMonth()]}${year} ${clock}`;
}

/** The same time in UTC, for those who point at it. */
export function utc(date) {
  return `${date.toISOString().replace('T', ' ').replace(/(\.000)?Z$/, '')} UTC`;
}

/** A stretch of time in its two largest words. */
export function stretch(ms) {
  const seconds = Math.max(0, Math.round(ms / 1000));
  if (seconds < 120) return `${seconds} s`;
  if (seconds < 7200) return `${Math.round(seconds / 60)} min`;
  if (seconds < 172800) return `${Math.round(seconds / 3600)} h`;
  return `${Math.round(seconds / 86400)} days`;
}

/** `2026-11` as `November 2026`; a month that is not known as such. */
export function month(text) {
  const [year, number] = text.split('-');
  const name = MONTHS_LONG[Number(number) - 1];
  return name ? `${name} ${year}` : 'a month that is not known';
}

export const HEALTHS = ['live', 'late', 'silent', 'suppressed', 'ended', 'unknown'];

/** What each health means, for those who did not build the plant. */
export const HEALTH_MEANS = {
  live: 'Its samples come in time.',
  late: 'What comes is of a time that is over: a backlog is being sent, or frames wait.',
  silent: 'Nothing came for longer than it should take, or its link is down.',
  suppressed: 'Its device lives and holds samples back on purpose, as they say nothing new.',
  ended: 'It ended as planned.',
  unknown: 'Nothing of it was seen yet.',
};

/** Clock qualities: a few words, and what they mean. */
export const CLOCKS = {
  device: ['own clock', 'Times are of the device’s own clock.'],
  learnt: ['clock learnt', 'The device has no clock: its times were learnt from live exchanges with this gateway.'],
  bounded: ['clock bounded', 'The device was never seen live: its times are only known to lie between their neighbours.'],
  untrusted: ['clock not trusted', 'The gateway’s clock was not to be trusted when these times were made.'],
};

/** A clock quality in words. */
export const clock = (quality) => CLOCKS[quality] ?? ['clock unknown', 'No samples came yet that would tell.'];

/** What a sink is doing: words, and whether it is fine, odd, or needs a person. */
export const PHASES = {
  idle: ['idle, nothing waits', 'fine'],
  reading: ['reading its queues', 'fine'],
  filling: ['gathering a batch', 'fine'],
  sending: ['sending', 'fine'],
  'backing-off': ['cannot be reached, will be tried again', 'odd'],
  'circuit-open': ['does not take records, a person is needed', 'bad'],
  committing: ['recording what was confirmed', 'fine'],
  'spool-failing': ['its queues cannot be read or written', 'bad'],
  draining: ['sending a backlog at its pace', 'fine'],
};

const FAULT_ADVICE = {
  'disk-full': 'Free room on the gateway’s disk. It goes on by itself within a second.',
  'read-only': 'Look into the kernel’s log, then mount the file system for writing again. If the disk is failing, copy the store first.',
  'disk-failing': 'Copy the store to another disk. “tidegate log check” says what of it can be read.',
};

const STATES = {
  'log-failing': ['The log cannot be written', FAULT_ADVICE['disk-failing']],
  'spool-failing': ['Records cannot be put into the spool', FAULT_ADVICE['disk-failing']],
  standby: ['Standing by: another gateway owns this site', 'Nothing, if two are meant to run. Otherwise stop the one that is not wanted.'],
  unsubscribed: ['The broker is away', 'See that the broker runs, and that mqtt.url and its rights are right.'],
  'clock-untrusted': ['The gateway’s clock is not trusted', 'Let a time service set the gateway’s clock.'],
  'sink-circuit-open': ['A sink does not take records', 'Correct what the error says: address, credentials or receiver.'],
  'sink-spool-failing': ['A sink’s queues cannot be read or written', 'Check the gateway’s disk.'],
  'devices-held': ['Devices are in quarantine for what they did', 'Find out who speaks with their keys. “tidegate device revoke” ends a stolen one, “tidegate device release” frees a device.'],
  'witness-refuses': ['A witness refuses to cosign the audit log', 'If it tells of two histories, the log was rewritten: keep a copy of the data directory. Otherwise see that it watches this log and that its key is right.'],
  'sink-dead-letters': ['A sink refused records; they are kept', 'Look at them with “tidegate sink dead-letter list”, then resend or drop them.'],
};

/** A state that holds: its title, and what to do. */
export function state({ name, fault, sink }) {
  const [title, advice] = STATES[name] ?? [name, 'See what “tidegate status” says.'];
  const titled = sink ? title.replace('A sink’s', `The ${sink} sink’s`).replace('A sink', `The sink “${sink}”`) : title;
  return { title: titled, advice: FAULT_ADVICE[fault] ?? advice };
}

/** What happens at a budget's cap. */
export function action(action) {
  if (action === 'drop-low') return 'at the cap, records of low priority are dropped and counted';
  if (action?.coarsen) return `at the cap, shorter windows become ${stretch(action.coarsen.to_us / 1000)} long`;
  return 'at the cap, nothing but a record that says so';
}

/** What an alert watches. */
export const CAUSES = { condition: 'condition', silence: 'no samples come', budget: 'bytes of the month' };

/** Where a device, or one of its sensors, is on this page. */
export const place = (...names) => `#/devices/${names.map(encodeURIComponent).join('/')}`;
