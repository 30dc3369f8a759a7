// @ts-check
/** The stream of a view: one for each visible tab. It resumes after a break, and rests while the tab is hidden. */

import { ApiError, address } from './api.js';
import { Series, firstOf } from './series.js';

const STALE = 5_000;
const RETRIES = [500, 1000, 2000, 4000, 8000];

/** @typedef {{hello?: (hello: any) => void, tick?: (tick: any) => void, event?: (event: any) => void}} Listener */

/** Reads a stream of server-sent events. The header that resumes it needs fetch. @param {ReadableStream<Uint8Array>} body
 * @param {(name: string, data: string, id: string) => void} take */
export async function readEvents(body, take) {
  const reader = body.pipeThrough(/** @type {any} */ (new TextDecoderStream())).getReader();
  let rest = '';
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return;
    rest += value;
    const blocks = rest.split(/\r?\n\r?\n/);
    rest = blocks.pop() ?? '';
    for (const block of blocks) takeBlock(block, take);
  }
}

/** @param {string} block @param {(name: string, data: string, id: string) => void} take */
function takeBlock(block, take) {
  let [name, id] = ['message', ''];
  const data = [];
  for (const line of block.split(/\r?\n/)) {
    const at = line.indexOf(':');
    const field = at < 0 ? line : line.slice(0, at);
    const value = at < 0 ? '' : line.slice(at + 1).replace(/^ /, '');
    if (field === 'event') name = value;
    else if (field === 'data') data.push(value);
    else if (field === 'id') id = value;
  }
  if (data.length || name !== 'message') take(name, data.join('\n'), id);
}

export class Live {
  /** @param {string} view @param {Listener} listener @param {(live: Live) => void} changed called at each change and second */
  constructor(view, listener, changed) {
    this.view = view;
    this.listener = listener;
    this.changed = changed;
    /** @type {Map<string, Series>} */
    this.series = new Map();
    this.now = Date.now();
    /** @type {number | null} the time of the first figure */
    this.first = null;
    this.heard = performance.now();
    this.state = 'connecting';
    /** @type {any} */
    this.head = null;
    this.last = '';
    this.tries = 0;
    this.stop = new AbortController();
    /** @type {AbortController | null} */
    this.reading = null;
    document.addEventListener('visibilitychange', () => this.visible(), { signal: this.stop.signal });
    this.watch = setInterval(() => this.changed(this), 1000);
    this.open();
  }

  /** Milliseconds since the last message. */
  get age() {
    return performance.now() - this.heard;
  }

  get stale() {
    return this.age > STALE;
  }

  close() {
    clearInterval(this.watch);
    clearTimeout(this.again);
    this.stop.abort();
    this.reading?.abort();
  }

  visible() {
    if (document.hidden) this.reading?.abort();
    else if (this.state !== 'live') this.open();
  }

  async open() {
    clearTimeout(this.again);
    if (this.stop.signal.aborted || document.hidden || this.reading) return;
    this.reading = new AbortController();
    try {
      await this.read(this.reading.signal);
    } catch (error) {
      if (error instanceof ApiError && error.status === 401) return this.close();
      if (!(error instanceof Error) || (error.name !== 'AbortError' && !this.stop.signal.aborted && error.name !== 'TypeError' && !(error instanceof ApiError))) throw error;
    } finally {
      this.reading = null;
      if (this.state === 'live') this.state = 'broken';
    }
    if (this.stop.signal.aborted) return undefined;
    this.changed(this);
    this.again = setTimeout(() => this.open(), RETRIES[Math.min(this.tries, RETRIES.length - 1)] * (0.75 + Math.random() / 2));
    this.tries += 1;
    return undefined;
  }

  /** @param {AbortSignal} signal */
  async read(signal) {
    const headers = { Accept: 'text/event-stream', ...(this.last ? { 'Last-Event-ID': this.last } : {}) };
    const response = await fetch(address('/api/live', { view: this.view }), { headers, signal, cache: 'no-store' });
    if (response.status === 401) dispatchEvent(new Event('grange:login'));
    if (!response.ok || !response.body) throw new ApiError(response.status, `the stream answered ${response.status}`);
    await readEvents(response.body, (name, data, id) => this.take(name, data, id));
  }

  /** @param {string} name @param {string} data @param {string} id */
  take(name, data, id) {
    this.heard = performance.now();
    this.state = 'live';
    this.tries = 0;
    if (id) this.last = id;
    const message = data ? JSON.parse(data) : {};
    if (name === 'hello') this.hello(message);
    else if (name === 'tick') this.tick(message);
    else if (name === 'event') this.listener.event?.(message);
    else if (name === 'bye') this.state = 'bye';
    this.changed(this);
  }

  /** @param {any} hello */
  hello(hello) {
    this.now = hello.now;
    this.series = new Map(Object.entries(hello.series ?? {}).map(([name, [start, step, values]]) => [name, new Series(start, step, values)]));
    this.first = firstOf(this.series.values());
    this.listener.hello?.(hello);
    if (hello.tick) this.tick(hello.tick, false);
  }

  /** @param {any} tick @param {boolean} [fresh] false: its figures are in the series of the hello */
  tick(tick, fresh = true) {
    this.now = tick.now ?? this.now;
    this.head = tick.head ?? this.head;
    const points = tick.points ?? {};
    for (const name of Object.keys(points)) if (!this.series.has(name)) this.series.set(name, new Series(this.now));
    if (fresh) for (const [name, series] of this.series) series.push(this.now, points[name], tick.span);
    this.first ??= firstOf(this.series.values());
    this.listener.tick?.(tick);
  }
}
