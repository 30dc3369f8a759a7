// @ts-check
/** The log lines of all silos, as they come. */

import { ApiError, address, get } from '../api.js';
import { h, put, say, set } from '../dom.js';
import { fineClock, plural } from '../format.js';
import { readEvents } from '../live.js';
import { runbook, sheet, siloLink } from '../parts.js';
import { failed, gaps, state } from '../resource.js';
import { ask, asked } from '../url.js';

const KEPT = 1000;
const WARNING = 30; // each event of grange of this level or above has a runbook of its name
const LEVELS = [[10, 'DEBUG'], [20, 'INFO'], [30, 'WARNING'], [40, 'ERROR']];

const filters = () => ({ level: asked('level') || 20, contains: asked('contains'), type: asked('type'), trace: asked('trace'), silo: asked('silo') });

/** @param {any} row */
const level = (row) => (LEVELS.filter(([least]) => row.level >= Number(least)).pop() ?? LEVELS[0])[1];

/** @param {import('../main.js').Context} ctx */
export function page(ctx) {
  const tail = new Tail(ctx);
  return { title: 'Logs', element: sheet({ title: 'Logs', note: tail.said, tools: [tail.button] }, form(() => tail.begin()), tail.element) };
}

class Tail {
  /** @param {import('../main.js').Context} ctx */
  constructor(ctx) {
    this.ctx = ctx;
    this.paused = false;
    /** @type {any[]} */
    this.held = [];
    /** @type {AbortController | null} */
    this.reading = null;
    this.said = h('span', { class: 'quiet' });
    this.button = h('button', { type: 'button', 'aria-pressed': 'false', onclick: () => this.pause(!this.paused) }, 'Pause');
    this.list = h('ol', { class: 'log' });
    this.empty = h('div');
    this.cut = h('div');
    this.element = h('div', { class: 'tail' }, this.cut, this.empty, this.list);
    ctx.signal.addEventListener('abort', () => this.reading?.abort());
    document.addEventListener('visibilitychange', () => (document.hidden ? this.reading?.abort() : this.follow()), { signal: ctx.signal });
    this.begin();
  }

  async begin() {
    this.reading?.abort();
    put(this.list);
    this.held = [];
    put(this.empty, h('div', { class: 'state loading' }, h('p', null, 'Loading …')));
    try {
      const answer = await get('/api/logs', filters(), this.ctx.signal);
      put(this.empty);
      this.add(answer.rows ?? answer);
      const cut = gaps(answer, 0, ['No log lines are kept by', 'see the option keep_logs']);
      put(this.cut, cut);
      if (!this.list.firstChild) put(this.empty, cut ? null : state('No line matches.'), h('p', { class: 'quiet' }, 'New lines appear here as they come.'));
      this.follow();
    } catch (error) {
      if (!this.ctx.signal.aborted) put(this.empty, failed(error, () => this.begin()));
    }
  }

  async follow() {
    this.reading?.abort();
    const reading = new AbortController();
    this.reading = reading;
    try {
      const response = await fetch(address('/api/logs/follow', filters()), { headers: { Accept: 'text/event-stream' }, signal: reading.signal, cache: 'no-store' });
      if (!response.ok || !response.body) throw new ApiError(response.status, `the stream answered ${response.status}`);
      say(this.said, '');
      await readEvents(response.body, (name, data) => {
        if (!data || name === 'bye') return;
        const found = JSON.parse(data);
        this.add(Array.isArray(found) ? found : found.rows ?? [found]);
      });
    } catch (error) {
      if (!reading.signal.aborted) say(this.said, `New lines do not come: ${/** @type {Error} */ (error).message}.`);
    }
    if (reading.signal.aborted || this.ctx.signal.aborted || document.hidden) return;
    setTimeout(() => this.reading === reading && !this.ctx.signal.aborted && this.follow(), 2000);
  }

  /** @param {boolean} paused */
  pause(paused) {
    this.paused = paused;
    set(this.button, 'aria-pressed', String(paused));
    say(this.button, paused ? 'Go on' : 'Pause');
    say(this.said, '');
    if (!paused) this.add(this.held.splice(0));
  }

  /** @param {any[]} rows */
  add(rows) {
    if (!rows.length) return;
    if (this.paused) {
      this.held = [...this.held, ...rows].slice(-KEPT);
      say(this.said, `Paused; ${plural(this.held.length, 'new line')}.`);
      return;
    }
    put(this.empty);
    const known = new Set([...this.list.children].map((/** @type {any} */ each) => each.at));
    for (const row of [...rows].sort((a, b) => a.time - b.time)) {
      const at = `${row.silo} ${row.number}`;
      if (row.number && known.has(at)) continue;
      this.list.prepend(Object.assign(line(row), { at }));
    }
    while (this.list.children.length > KEPT) this.list.lastChild?.remove();
  }
}

/** @param {any} row */
function line(row) {
  const name = String(level(row));
  const [first, ...rest] = String(row.text).split('\n');
  const said = Object.entries(row.facts ?? {}).map(([key, value]) => `${key}=${value}`).join(' ');
  return h('li', { class: name.toLowerCase() }, h('time', null, fineClock(row.time)), h('span', { class: 'level' }, name), h('span', { class: 'silo' }, siloLink(row.silo)),
    h('div', { class: 'text' }, h('bdi', null, first), said ? h('span', { class: 'quiet' }, ` ${said}`) : null,
      row.event || row.trace ? h('span', { class: 'links' }, row.event ? (row.level >= WARNING && /^grange\b/.test(row.logger) ? runbook(row.event) : h('span', { class: 'id' }, row.event)) : null, row.trace ? h('a', { href: `/traces/${encodeURIComponent(row.trace)}` }, 'trace') : null) : null,
      rest.length ? h('pre', null, rest.join('\n')) : null,
      row.error ? h('details', null, h('summary', null, 'traceback'), h('pre', null, row.error)) : null));
}

/** @param {() => void} changed */
function form(changed) {
  /** @type {any} */
  let timer;
  const write = (/** @type {any} */ event) => {
    clearTimeout(timer);
    const { name, value } = event.target;
    timer = setTimeout(() => { ask({ [name]: name === 'level' && value === '20' ? '' : value.trim() }); changed(); }, event.type === 'change' ? 0 : 300);
  };
  const text = (/** @type {string} */ name, /** @type {string} */ label, more = {}) => h('label', null, h('span', null, label), h('input', { type: 'search', name, value: asked(name), autocomplete: 'off', spellcheck: 'false', oninput: write, ...more }));
  return h('form', { class: 'filters', role: 'search', 'aria-label': 'Filter log lines', onsubmit: (/** @type {any} */ event) => event.preventDefault() },
    h('label', null, h('span', null, 'level at least'), h('select', { name: 'level', onchange: write }, LEVELS.map(([least, name]) => h('option', { value: least, selected: String(filters().level) === String(least) }, String(name))))),
    text('contains', 'text contains', { 'data-search': true }), text('type', 'grain type'), text('silo', 'silo'), text('trace', 'trace id'));
}
