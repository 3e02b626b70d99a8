// Live: the stream of events from the gateway, opened again whenever it ends, for as long as the
// page is open.
//
//   connecting ──full──▶ live ──error, or nothing for too long──▶ reconnecting ──full──▶ live
//
// A gateway that restarts, or a network that was away, needs nobody to reload the page.

/** The gateway says something every second, and at the least a comment every 15, which is not seen
 * here; so long without a word is too long. */
const QUIET_MS = 20_000;
/** Waits between attempts; the last one repeats. */
const RETRY_MS = [500, 1_000, 2_000, 4_000];
/** So long after the page was hidden nobody looks, and the gateway need not speak. */
const HIDDEN_MS = 60_000;

export class Live {
  #listener;
  #source = null;
  #query = null;
  #attempts = 0;
  #heard = 0;
  #timer = 0;
  #hidden = 0;
  #state = 'connecting';

  /** `listener` has `full(data)`, `change(data)`, `busy()` and `state(name, why)`. */
  constructor(listener) {
    this.#listener = listener;
    setInterval(() => this.#watch(), 1_000);
    document.addEventListener('visibilitychange', () => this.#look());
    window.addEventListener('online', () => this.#soon());
  }

  /** Asks for the devices of a query, from now on. Whether that is another one. */
  ask(query) {
    if (query === this.#query) return false;
    this.#query = query;
    this.#open();
    return true;
  }

  get #address() {
    // An address with a password in it, as somebody may have typed, is none that may be asked.
    return `${location.origin}/api/v1/events?${this.#query}`;
  }

  #open() {
    clearTimeout(this.#timer);
    this.#source?.close();
    this.#heard = performance.now();
    const source = new EventSource(this.#address);
    this.#source = source;
    const on = (name) =>
      source.addEventListener(name, (event) => {
        if (source === this.#source) this.#take(name, JSON.parse(event.data));
      });
    on('full');
    on('change');
    on('busy');
    source.addEventListener('error', () => {
      if (source === this.#source) this.#lost(null);
    });
  }

  #take(name, data) {
    this.#heard = performance.now();
    this.#attempts = 0;
    this.#listener[name](data);
    if (name === 'full') this.#say('live', null);
  }

  #lost(why) {
    this.#source?.close();
    this.#source = null;
    if (this.#state !== 'connecting') this.#say('reconnecting', why);
    const wait = RETRY_MS[Math.min(this.#attempts, RETRY_MS.length - 1)];
    this.#attempts += 1;
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.#open(), wait);
    // A stream does not tell why it was refused; a plain request does.
    if (this.#attempts > 1) this.#inquire();
  }

  async #inquire() {
    const control = new AbortController();
    let why = 'the gateway does not answer';
    try {
      const answer = await fetch(this.#address, { cache: 'no-store', signal: control.signal });
      why = answer.ok ? null : await refusal(answer);
    } catch {
      // Nothing was answered.
    }
    control.abort();
    if (why && this.#state !== 'live') this.#say('reconnecting', why);
  }

  #say(state, why) {
    this.#state = state;
    this.#listener.state(state, why);
  }

  #watch() {
    const quiet = this.#source && performance.now() - this.#heard > QUIET_MS;
    if (quiet) this.#lost('the gateway says nothing');
  }

  #soon() {
    if (!this.#source && this.#query !== null) this.#open();
  }

  #look() {
    clearTimeout(this.#hidden);
    if (document.hidden) this.#hidden = setTimeout(() => this.#rest(), HIDDEN_MS);
    else this.#soon();
  }

  #rest() {
    clearTimeout(this.#timer);
    this.#source?.close();
    this.#source = null;
    this.#say('reconnecting', 'paused while this page was hidden');
  }
}

/** Why a request was refused, in the gateway's words. */
async function refusal(answer) {
  if (answer.status === 401) return 'the gateway asks you to sign in: reload this page';
  const { error } = await answer.json().catch(() => ({}));
  return error ? `the gateway says: ${error}` : `the gateway answers ${answer.status}`;
}
