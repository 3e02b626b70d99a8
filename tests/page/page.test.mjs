// The page against a running gateway: 200 simulated devices of 4 sensors, 5 rules, 2 sinks.
//
// One gateway serves all tests, in their order; each opens pages of its own.

import assert from 'node:assert/strict';
import { existsSync, readFileSync, statSync } from 'node:fs';
import { after, before, test } from 'node:test';
import { fileURLToPath } from 'node:url';

import { Browser, DESKTOP, PHONE, faults, isTooWide } from './browser.mjs';
import { DEVICES, Plant, SENSORS } from './plant.mjs';
import { numbered, shownOf, wanted } from './shown.mjs';
import { Stream } from './stream.mjs';
import { figure, until } from './waiting.mjs';

const PICTURE = fileURLToPath(new URL('../../docs/page.png', import.meta.url));
const PICTURE_BYTES_MAX = 250_000;
/** No test depends on speed: what should take a second may take this. */
const GENEROUS_MS = 10_000;
const ALL = `offset=0&limit=${DEVICES}`;
const SOME = ['pump-1', 'pump-77', 'pump-200'];
const HOSTILE = '<img src=x onerror="globalThis.wasHacked=1"><b>expired</b>';

let plant;
let browser;
let hasFailed = false;

const connection = (page) => page.locator('#connection').getAttribute('data-state');
const isLive = (page) => until('the page is live', async () => (await connection(page)) === 'live');
const words = (page, selector) => page.locator(selector).innerText();

/** A test whose failure is remembered, for what the processes wrote. */
function step(name, run) {
  test(name, async () => {
    try {
      await run();
    } catch (error) {
      hasFailed = true;
      throw error;
    }
  });
}

async function open(address = '/', options = {}) {
  const page = await browser.page(options);
  await page.goto(`${plant.origin}${address}`);
  await isLive(page);
  return page;
}

async function close(page) {
  await page.context().close();
}

before(async () => {
  plant = await Plant.start();
  browser = await Browser.start(plant.origin);
  plant.pumps(DEVICES, 5);
  await until('all devices have samples of all sensors', async () => {
    const { devices } = await plant.get(`/api/v1/devices?limit=${DEVICES}`);
    const told = devices.filter(({ sensors }) => sensors.length === SENSORS && sensors.every(({ spark }) => spark.length > 2));
    return told.length === DEVICES;
  }, 120_000);
}, { timeout: 180_000 });

after(async () => {
  await browser?.stop();
  await plant?.stop(hasFailed);
});

step('loads with 200 devices in about a second', async () => {
  const page = await browser.page();
  await page.addInitScript((wanted) => {
    const seen = new MutationObserver(() => {
      if (document.querySelectorAll('[data-device]').length < wanted) return;
      seen.disconnect();
      requestAnimationFrame(() => setTimeout(() => {
        globalThis.paintedMs = performance.now();
      }));
    });
    seen.observe(document, { subtree: true, childList: true });
  }, DEVICES);
  await page.goto(`${plant.origin}/`);
  const painted = await page.waitForFunction(() => globalThis.paintedMs);
  const loadMs = await painted.jsonValue();
  const firstMs = await page.evaluate(() => performance.getEntriesByName('first-contentful-paint')[0]?.startTime);
  figure(`${DEVICES} devices of ${SENSORS} sensors shown ${(loadMs / 1000).toFixed(2)} s after the page was asked for, with an empty cache; first paint after ${(firstMs / 1000).toFixed(2)} s`);
  assert.ok(loadMs < GENEROUS_MS, `took ${loadMs} ms`);
  await close(page);
});

step('an update costs little, and touches only what changed', async () => {
  const page = await open();
  await page.evaluate(() => {
    globalThis.firstCards = [...document.querySelectorAll('[data-device]')];
    globalThis.events = new Set();
    const main = document.getElementById('main');
    new MutationObserver(() => globalThis.events.add(main.dataset.at)).observe(main, { attributeFilter: ['data-at'] });
  });
  const session = await page.context().newCDPSession(page);
  await session.send('Performance.enable');
  const measure = async () => {
    const { metrics } = await session.send('Performance.getMetrics');
    const of = (name) => metrics.find((metric) => metric.name === name).value;
    return { scriptS: of('ScriptDuration'), layoutS: of('LayoutDuration') + of('RecalcStyleDuration'), layouts: of('LayoutCount'), events: await page.evaluate(() => globalThis.events.size) };
  };
  const began = await measure();
  const ended = await until('eight updates', async () => {
    const now = await measure();
    return now.events - began.events >= 8 && now;
  });
  const updates = ended.events - began.events;
  const perUpdateMs = (1000 * (ended.scriptS - began.scriptS)) / updates;
  const layoutMs = (1000 * (ended.layoutS - began.layoutS)) / updates;
  figure(`an update of the page takes ${perUpdateMs.toFixed(1)} ms of scripting and ${layoutMs.toFixed(1)} ms of style and layout`);
  assert.ok(perUpdateMs < 500, `took ${perUpdateMs} ms`);
  const areKept = await page.evaluate(() => globalThis.firstCards.every((card) => card.isConnected));
  assert.ok(areKept, 'cards are changed, not made anew');
  await close(page);
});

step('shows what the API says, at the same moment, and moves', async () => {
  const page = await open();
  const stream = await Stream.open(plant.origin, ALL);
  const moments = new Set();
  const values = new Set();
  await until('three moments that both know', async () => {
    const shown = numbered(await shownOf(page, SOME));
    const said = stream.moments.get(shown.at);
    if (!said || moments.has(shown.at)) return false;
    assert.deepEqual(shown, wanted(said, SOME));
    moments.add(shown.at);
    values.add(JSON.stringify(shown.devices));
    return moments.size >= 3 && values.size >= 3;
  }, 60_000);
  await stream.stop();
  await close(page);
});

step('alerts appear and clear, and are announced', async () => {
  const page = await open();
  assert.equal(await words(page, '#alerts-none'), 'No alert is open.');
  await page.evaluate(() => {
    globalThis.said = [];
    const region = document.getElementById('announcements');
    new MutationObserver((changes) => changes.forEach(({ addedNodes }) =>
      addedNodes.forEach((node) => globalThis.said.push(node.textContent.trim())))).observe(region, { childList: true });
  });
  const cold = Array(3).fill('20.5');
  plant.trace('boiler', 'temperature', '°C', [...cold, ...Array(12).fill('95.5'), ...Array(40).fill('60.5')]);
  const item = page.locator('#alerts-list li');
  await until('the alert is shown', async () => (await item.count()) === 1);
  assert.match(await item.innerText(), /boiler-hot\s+boiler temperature\s+95\.5 °C\s+condition, since/);
  assert.equal(await words(page, '#alerts-tally'), '1');
  await until('the alert is gone', async () => (await item.count()) === 0, 60_000);
  assert.equal(await words(page, '#alerts-none'), 'No alert is open.');
  assert.match(await words(page, '#alerts-cleared-list'), /boiler-hot/);
  const said = await page.evaluate(() => globalThis.said);
  assert.deepEqual(said, ['Alert opened: boiler-hot, boiler temperature.', 'Alert cleared: boiler-hot, boiler temperature.']);
  await close(page);
});

step('the picture of the page', async () => {
  plant.trace('boiler-2', 'temperature', '°C', [...Array(10).fill('61.5'), ...Array(20).fill('93.5'), ...Array(30).fill('62.5')]);
  const page = await open('/', { viewport: { width: 1360, height: 880 }, colorScheme: 'light' });
  await until('an alert is open', () => page.locator('#alerts-list li').count());
  if (process.env.UPDATE_GOLDEN) {
    await page.evaluate(() => document.fonts.ready);
    await page.mouse.move(0, 0);
    await page.screenshot({ path: PICTURE });
  }
  assert.ok(existsSync(PICTURE), 'docs/page.png is missing: UPDATE_GOLDEN=1 tests/page/run makes it');
  assert.ok(statSync(PICTURE).size < PICTURE_BYTES_MAX, `docs/page.png has ${statSync(PICTURE).size} bytes`);
  const size = readFileSync(PICTURE).subarray(16, 24);
  assert.deepEqual([size.readUInt32BE(0), size.readUInt32BE(4)], [1360, 880]);
  await until('the alert is gone', async () => (await page.locator('#alerts-list li').count()) === 0, 60_000);
  await close(page);
});

step('a chart follows its sensor, with its samples and records as a table', async () => {
  const page = await open('/#/devices/pump-1/pressure');
  assert.equal(await words(page, '#detail h1'), 'pump-1 pressure');
  const newest = () => page.locator('.listings section').first().locator('tbody tr').first().innerText();
  await until('samples are listed', () => page.locator('.listings section').first().locator('tbody tr').count());
  await until('records are listed', () => page.locator('.listings section').nth(1).locator('tbody tr').count(), 60_000);
  const before = await newest();
  const drawing = () => page.locator('.chart').evaluate((chart) => chart.outerHTML);
  const drawn = await until('the chart is drawn', () => drawing().catch(() => null));
  await until('newer samples are listed', async () => (await newest()) !== before);
  await until('the chart is drawn anew', async () => (await drawing()) !== drawn);
  const rows = await page.locator('.listings section').first().locator('tbody tr').evaluateAll((rows) =>
    rows.map((row) => [row.querySelector('time').getAttribute('datetime'), row.querySelector('.number').textContent]));
  const { samples } = await plant.get('/api/v1/devices/pump-1/sensors/pressure');
  const known = new Map(samples.map(([us, value]) => [new Date(us / 1000).toISOString(), value]));
  for (const [time, shown] of rows) {
    assert.ok(known.has(time), `${time} is among the samples of the API`);
    assert.equal(Number.parseFloat(shown), known.get(time));
  }
  await close(page);
});

step('the filter and the pages ask for other devices, and are part of the address', async () => {
  const page = await open();
  const names = () => page.locator('[data-device]').evaluateAll((cards) => cards.map((card) => card.dataset.device));
  await page.getByLabel('Name').fill('pump-10?');
  await until('ten devices', async () => (await names()).length === 10);
  assert.match(page.url(), /match=pump-10/);
  await page.reload();
  await until('ten devices again', async () => (await names()).length === 10);
  await page.getByLabel('Name').fill('no-such');
  await until('none', async () => (await names()).length === 0);
  assert.equal(await words(page, '#devices-none'), 'No device is like that.');
  await close(page);
  const phone = await open('/', { viewport: PHONE });
  const namesThere = () => phone.locator('[data-device]').evaluateAll((cards) => cards.map((card) => card.dataset.device));
  const first = await until('a page of devices', async () => {
    const told = await namesThere();
    return told.length === 40 && told;
  });
  await phone.getByRole('button', { name: 'Next' }).click();
  await until('other devices', async () => {
    const told = await namesThere();
    return told.length === 40 && !told.includes(first[0]);
  });
  await close(phone);
});

step('a gateway that stands still is seen', async () => {
  const page = await open();
  plant.gateway.signal('SIGSTOP');
  try {
    await until('the page says so', async () => (await connection(page)) !== 'live');
    assert.match(await words(page, '#stale'), /Not live: .* What is shown is .* old, of \d/);
    assert.match(await words(page, '#connection'), /shown is of \d\d:\d\d:\d\d/);
  } finally {
    plant.gateway.signal('SIGCONT');
  }
  await isLive(page);
  assert.equal(await page.locator('#stale').isVisible(), false);
  await close(page);
});

step('survives the gateway’s restart without a reload', async () => {
  const page = await open();
  await page.evaluate(() => {
    globalThis.isSamePage = true;
  });
  browser.isAwayExpected = true;
  await plant.gateway.kill();
  await until('the page says so', async () => (await connection(page)) === 'reconnecting');
  assert.match(await words(page, '#connection'), /^reconnecting, shown is of \d\d:\d\d:\d\d$/);
  assert.ok(await page.locator('main[data-stale]').count());
  assert.equal(await page.locator('[data-device]').count() >= DEVICES - 1, true, 'what was known is still shown');
  await plant.startGateway();
  await isLive(page);
  browser.isAwayExpected = false;
  assert.equal(await page.locator('main[data-stale]').count(), 0);
  const value = () => words(page, '[data-device="pump-1"] .sensors tr:nth-child(1) .reading b');
  const first = await value();
  await until('values move again', async () => (await value()) !== first, 60_000);
  assert.match(await words(page, '#about'), /start 2/);
  assert.ok(await page.evaluate(() => globalThis.isSamePage));
  await close(page);
});

for (const colorScheme of ['light', 'dark']) {
  for (const [name, viewport] of Object.entries({ desktop: DESKTOP, phone: PHONE })) {
    step(`has no serious accessibility fault: ${colorScheme}, ${name}`, async () => {
      const views = ['/#/?match=pump-1?', '/#/devices/pump-1', '/#/devices/pump-1/pressure', '/#/devices/no-such'];
      for (const view of views) {
        const page = await open(view, { colorScheme, viewport, bypassCSP: true, reducedMotion: 'reduce' });
        if (view.endsWith('pressure')) await page.locator('.chart').waitFor();
        assert.deepEqual(await faults(page), [], view);
        assert.equal(await isTooWide(page), false, `${view} is wider than the screen`);
        const behaviour = await page.evaluate(() => getComputedStyle(document.documentElement).scrollBehavior);
        assert.equal(behaviour, 'auto', 'reduced motion is respected');
        await close(page);
      }
    });
  }
}

step('forced colours leave every mark and word', async () => {
  const page = await open('/#/?match=pump-1?', { forcedColors: 'active', bypassCSP: true });
  assert.deepEqual(await faults(page), []);
  const unlike = await page.locator('.card .mark').evaluateAll((marks) => {
    const ink = getComputedStyle(document.body).color;
    return marks.filter((mark) => getComputedStyle(mark).color !== ink).length;
  });
  assert.equal(unlike, 0, 'marks have the colour of text');
  await close(page);
});

/** Tabs through the page once round; what had the focus, and whether one saw it. */
async function walk(page) {
  const seen = [];
  for (;;) {
    await page.keyboard.press('Tab');
    const here = await page.evaluate(() => {
      const element = document.activeElement;
      if (element === document.body || element.dataset.walked) return null;
      element.dataset.walked = 'yes';
      const { outlineStyle, outlineWidth } = getComputedStyle(element);
      return { what: `${element.tagName} ${element.textContent.trim().slice(0, 40)}`, isSeen: outlineStyle !== 'none' && outlineWidth !== '0px' };
    });
    if (!here) return seen;
    seen.push(here);
  }
}

step('the keyboard alone reaches everything', async () => {
  const page = await open('/#/?match=pump-1?');
  const seen = await walk(page);
  assert.equal(seen[0].what, 'A Skip to the content');
  assert.deepEqual(seen.filter(({ isSeen }) => !isSeen), [], 'the focus is seen everywhere');
  const missed = await page.locator('a[href], button:enabled, input, select, [tabindex="0"]').evaluateAll((elements) =>
    elements.filter((element) => element.checkVisibility() && !element.dataset.walked).map((element) => element.outerHTML));
  assert.deepEqual(missed, []);
  await page.locator('[data-device="pump-10"] .sensors a').first().focus();
  await page.keyboard.press('Enter');
  await until('the chart’s view is open', async () => (await words(page, '#detail h1')) === 'pump-10 temperature');
  assert.equal(await page.evaluate(() => document.activeElement.textContent), 'pump-10 temperature');
  await page.keyboard.press('Tab');
  await close(page);
});

step('names, units and errors are text, whatever they hold', async () => {
  plant.trace('markup', 'level', '<i>bar</i>', Array(60).fill('1.5'));
  plant.receiver.refusal = HOSTILE;
  const page = await open('/#/?match=markup');
  await until('the unit is shown', async () => (await page.locator('.sensors .unit').allInnerTexts()).includes('<i>bar</i>'));
  await until('the sink’s error is shown', async () => (await words(page, '#sinks-table')).includes(HOSTILE), 60_000);
  assert.match(await words(page, '#states'), /The sink “cloud” does not take records/);
  assert.ok((await words(page, '#states')).includes(HOSTILE));
  assert.equal(await connection(page), 'live');
  await page.goto(`${plant.origin}/#/devices/markup/level`);
  await until('the unit is in the table', async () => (await words(page, '.listings')).includes('1.5 <i>bar</i>'));
  await until('the unit is drawn', () => page.locator('.chart').count());
  const made = await page.evaluate(() => [globalThis.wasHacked, document.querySelectorAll('main i, img[src="x"]').length]);
  assert.deepEqual(made, [undefined, 0]);
  plant.receiver.refusal = null;
  await close(page);
});

step('works behind a password, and says what an empty plant has', async () => {
  const other = await Plant.start('password = { file = "password" }', { password: 'a long pass phrase' });
  browser.origins.push(other.origin);
  try {
    const page = await browser.page({ httpCredentials: { username: 'anybody', password: 'a long pass phrase' } });
    await page.goto(other.origin);
    await isLive(page);
    await until('the empty plant is told', async () => (await words(page, '#devices-none')) === 'No device was seen yet.');
    assert.equal(await words(page, '#site'), 'pump-house');
    await close(page);
  } finally {
    await other.stop(false);
  }
});

step('asked nobody but the gateway, and complained of nothing', async () => {
  assert.deepEqual(browser.foreign, []);
  assert.deepEqual(browser.errors, []);
});
