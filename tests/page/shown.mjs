// Shown: what stands on the page, read in one go, so that all of it is of one moment.

/** Runs in the page. Texts as they are shown; what is hidden is left out. */
function read(names) {
  const words = (element) => element?.textContent.trim() ?? null;
  const sensor = (row) => ({
    name: words(row.querySelector('th')),
    value: words(row.querySelector('.reading b')),
    unit: words(row.querySelector('.unit')),
    trend: row.querySelector('.reading .mark')?.getAttribute('aria-label') ?? null,
    health: row.querySelector('.sign .mark')?.getAttribute('aria-label') ?? null,
  });
  const device = (name) => {
    const card = document.querySelector(`[data-device="${name}"]`);
    return card && {
      health: words(card.querySelector('h3 .health')),
      heard: card.querySelector('time').getAttribute('datetime'),
      sensors: [...card.querySelectorAll('.sensors tbody tr')].map(sensor),
    };
  };
  const rows = (id) => Object.fromEntries([...document.querySelectorAll(`#${id} tbody tr`)].map((row) =>
    [words(row.querySelector('th b')), [...row.querySelectorAll('td .value')].map(words)]));
  const pairs = (selector) => Object.fromEntries([...document.querySelectorAll(selector)].map((pair) =>
    [words(pair.querySelector('dt')), words(pair.querySelector('dd'))]));
  return {
    at: document.getElementById('main').dataset.at,
    devices: Object.fromEntries(names.map((name) => [name, device(name)])),
    figures: pairs('#figures > div'),
    healths: [...document.querySelectorAll('.healths li:not([hidden])')].map(words),
    rules: rows('rules-table'),
    sinks: rows('sinks-table'),
    bill: rows('bill-table'),
    ledger: pairs('#ledger-facts > div'),
    alerts: words(document.getElementById('alerts-tally')),
    limits: [...document.querySelectorAll('#limits-list li')].map((item) =>
      [words(item.querySelector('code')), words(item.querySelector('.value'))]),
  };
}

export const shownOf = (page, names) => page.evaluate(read, names);

const grouped = (number) => (number === null ? 'unknown' : new Intl.NumberFormat('en').format(number));

/** Bytes in words, worked out in another way than the page does. */
function binary(bytes) {
  if (bytes === null) return 'unknown';
  if (bytes < 1024) return `${bytes} B`;
  const power = Math.floor(Math.log2(bytes) / 10);
  return `${(bytes / 2 ** (10 * power)).toFixed(2)} ${['KiB', 'MiB', 'GiB', 'TiB'][power - 1]}`;
}

const percent = (value) =>
  value === null ? '–' : `${value > 99.9 && value < 100 ? '99.9' : value.toFixed(1)} %`;

/** What the page has to show of what the API said. */
export function wanted({ overview, devices }, names) {
  const total = Object.values(overview.devices).reduce((sum, count) => sum + count, 0);
  const { flow, ledger, status } = overview;
  const wire = (cost) => binary(cost.bytes_after + cost.framing_bytes);
  return {
    at: overview.at,
    devices: Object.fromEntries(names.map((name) => [name, {
      health: devices[name].health,
      heard: devices[name].heard,
      sensors: devices[name].sensors.map(({ name, value, unit, trend, health }) => ({ name, value, unit, trend, health })),
    }])),
    figures: {
      Devices: grouped(total),
      'Samples in': grouped(flow.samples),
      'Records out': grouped(flow.records),
      'Sent upstream': binary(flow.sent_bytes),
    },
    healths: ['live', 'late', 'silent', 'suppressed', 'ended', 'unknown']
      .filter((health) => overview.devices[health] > 0)
      .map((health) => `${grouped(overview.devices[health])} ${health}`),
    rules: Object.fromEntries(overview.rules.map((rule) => [rule.name,
      [grouped(rule.samples), grouped(rule.records), binary(rule.sent_bytes), percent(rule.savings_percent)]])),
    sinks: Object.fromEntries(Object.entries(status.sinks).map(([name, sink]) => [name,
      [grouped(sink.records_waiting), binary(sink.spool_bytes), grouped(sink.counters.records), grouped(sink.dead_letters)]])),
    bill: Object.fromEntries(Object.entries(overview.bill?.sinks ?? {}).map(([name, cost]) => [name,
      [grouped(cost.records), binary(cost.bytes_after), binary(cost.framing_bytes), wire(cost)]])),
    ledger: {
      'Samples logged': grouped(ledger.logged),
      'of them matched by no rule': grouped(ledger.unmatched),
      'Samples in records that sinks confirmed': grouped(ledger.delivered),
      'Samples in records that wait for a sink': grouped(ledger.waiting),
    },
    alerts: grouped(overview.alerts_open),
    limits: status.limits.map(({ key, used, most, unit }) => {
      const amount = unit === 'bytes' ? binary : grouped;
      return [key, `${amount(used)} of ${amount(most)}`];
    }),
  };
}

/** The same with values as numbers: they are shown with the decimals that the sensor has. */
export function numbered(shown) {
  for (const device of Object.values(shown.devices)) {
    for (const sensor of device.sensors) {
      sensor.value = sensor.value === '–' ? null : Number(sensor.value.replaceAll(',', ''));
    }
  }
  return shown;
}
