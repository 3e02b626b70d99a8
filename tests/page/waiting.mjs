// Waiting on conditions with a deadline, and saying what was measured.

import { appendFileSync } from 'node:fs';
import { setTimeout as pause } from 'node:timers/promises';

const POLL_MS = 50;

/** Waits until `ask` gives something true, and returns it; fails with `what` behind the deadline. */
export async function until(what, ask, limitMs = 30_000) {
  const end = Date.now() + limitMs;
  for (;;) {
    const found = await ask();
    if (found) return found;
    if (Date.now() > end) throw new Error(`not within ${limitMs / 1000} s: ${what}`);
    await pause(POLL_MS);
  }
}

/** Says a figure, and keeps it where TIDEGATE_FIGURES says. */
export function figure(text) {
  console.log(`figure: page: ${text}`);
  const file = process.env.TIDEGATE_FIGURES;
  if (file) appendFileSync(file, `page\t${text}\n`);
}
