// @ts-check
/** What happened in the cluster: the newest first, told as it comes. */

import { get } from './api.js';
import { h, put } from './dom.js';
import { when } from './format.js';
import { siloLink } from './parts.js';
import { failed, gaps, loading, state } from './resource.js';

const KEPT = 200;
const SHOWN = 20;
const TOGETHER = 10_000; // ms

export class EventList {
  /** @param {import('./main.js').Context} ctx @param {(event: any) => boolean} [wanted] */
  constructor(ctx, wanted = () => true) {
    this.wanted = wanted;
    /** @type {any[]} */
    this.rows = [];
    /** @type {string[]} */
    this.silent = [];
    this.most = SHOWN;
    this.element = h('div', { class: 'events' }, loading());
    this.begin(ctx);
  }

  /** Ticks for charts. */
  get marks() {
    return this.rows;
  }

  /** @param {import('./main.js').Context} ctx */
  async begin(ctx) {
    try {
      const answer = await get('/api/events', { after: 0 }, ctx.signal);
      for (const event of answer.rows) this.keep(event);
      this.silent = answer.silent ?? [];
      this.draw();
    } catch (error) {
      if (!ctx.signal.aborted) put(this.element, failed(error, () => this.begin(ctx)));
    }
  }

  /** @param {any} event */
  add(event) {
    this.keep(event);
    this.draw();
  }

  /** @param {any} event */
  keep(event) {
    if (!this.wanted(event)) return;
    const same = this.rows.find((each) => each.name === event.name && each.text === event.text && Math.abs(each.time - event.time) < TOGETHER);
    if (same) { // several silos tell of one change
      if (!same.silos.includes(event.silo)) same.silos = [...same.silos, event.silo].sort();
      return;
    }
    const at = this.rows.findIndex((each) => each.time <= event.time);
    this.rows.splice(at < 0 ? this.rows.length : at, 0, { ...event, silos: [event.silo] });
    this.rows.length = Math.min(this.rows.length, KEPT);
  }

  draw() {
    const more = this.rows.length - this.most;
    put(this.element, gaps({ silent: this.silent }), this.rows.length ? h('ol', null, this.rows.slice(0, this.most).map((event) => h('li', null, h('time', null, when(event.time)), h('span', { class: 'id' }, event.name), h('span', { class: 'silo', title: event.silos.join(', ') }, event.silos.length > 1 ? `${event.silos.length} silos` : siloLink(event.silo)), h('span', { class: 'text' }, event.text)))) : this.silent.length ? null : state('Nothing changed since the silos started.'),
      more > 0 ? h('div', { class: 'rest' }, h('button', { type: 'button', onclick: () => { this.most = KEPT; this.draw(); } }, `Show ${more} more`)) : null);
  }
}
