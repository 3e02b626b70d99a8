// Browser: headless Chromium, and what pages asked for and complained of meanwhile.

import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';

const require = createRequire(`${process.env.TIDEGATE_PAGE_MODULES}/`);
const { chromium } = require('playwright-core');
const AXE = readFileSync(require.resolve('axe-core/axe.min.js'), 'utf8');

const EXECUTABLE = process.env.CHROMIUM ?? '/usr/bin/chromium';
// A browser that speaks to nobody by itself. Its sandbox wants rights that test machines and
// containers seldom give, and it loads nothing but the page under test.
const QUIET = ['--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run',
  '--disable-background-networking', '--disable-component-update', '--disable-sync'];

export const DESKTOP = { width: 1440, height: 900 };
export const PHONE = { width: 360, height: 740 };

export class Browser {
  /** Addresses that pages asked for, beside the gateway's own. */
  foreign = [];
  /** Errors that pages told of. */
  errors = [];
  /** While the gateway is away a browser tells that it cannot reach it. */
  isAwayExpected = false;

  /** Origins of gateways under test. */
  origins = [];

  static async start(origin) {
    const browser = new Browser();
    browser.origins.push(origin);
    browser.chromium = await chromium.launch({ executablePath: EXECUTABLE, args: QUIET });
    return browser;
  }

  /** A page of its own, with nothing in its cache. */
  async page(options = {}) {
    const context = await this.chromium.newContext({ viewport: DESKTOP, ...options });
    const page = await context.newPage();
    page.setDefaultTimeout(30_000);
    page.on('request', (request) => {
      if (!this.origins.some((origin) => request.url().startsWith(`${origin}/`))) this.foreign.push(request.url());
    });
    page.on('console', (message) => {
      if (['error', 'warning'].includes(message.type())) this.#complain(message.text());
    });
    page.on('pageerror', (error) => this.#complain(error.message));
    return page;
  }

  #complain(text) {
    const isAway = /ERR_CONNECTION_REFUSED|ERR_INCOMPLETE_CHUNKED|ERR_EMPTY_RESPONSE|ERR_CONNECTION_RESET/.test(text);
    if (!(isAway && this.isAwayExpected)) this.errors.push(text);
  }

  async stop() {
    await this.chromium.close();
  }
}

/** Serious and critical faults that axe-core finds, one line each. The page's own policy would not
 * let its script in: the context has to be made with `bypassCSP`. */
export async function faults(page) {
  await page.evaluate(AXE);
  const { violations } = await page.evaluate(() =>
    globalThis.axe.run(document, { resultTypes: ['violations'] }));
  return violations
    .filter(({ impact }) => impact === 'serious' || impact === 'critical')
    .map(({ id, help, nodes }) => `${id}: ${help}: ${nodes.slice(0, 3).map(({ html }) => html).join(' ')}`);
}

/** Whether something is wider than the screen. */
export const isTooWide = (page) =>
  page.evaluate(() => document.documentElement.scrollWidth > document.documentElement.clientWidth);
