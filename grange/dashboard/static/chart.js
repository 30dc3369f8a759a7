// @ts-check
/** A time series: from 0, straight, with its gaps; one cursor for all charts of the page; a sentence and a table for its readers. */

import { h, put, s, set } from './dom.js';
import { clock, duration, plural } from './format.js';
import { KEPT, Series, axis, largest, minutes, path, spaced, spread, thinned, timeMarks } from './series.js';

const HEIGHT = 148;
const LEAST = 120_000; // ms shown, when the figures began less than 15 minutes ago
const MARGIN = { left: 52, top: 8, bottom: 20 };
const cursor = new EventTarget();

/** @typedef {{name: string, label: string, tone: number}} Line `name` in the stream; `tone` 1 to 8 of the palette */
/** @typedef {{title: string, unit: string, lines: Line[], format: (value: any) => string, signal: AbortSignal, whole?: boolean}} Options `signal` ends with the page; `whole`: halves mean nothing */

/** @param {Options} options */
export function chart(options) {
  const view = new Chart(options);
  return { element: view.element, draw: (/** @type {import('./live.js').Live} */ live, /** @type {any[]} */ events = []) => view.draw(live, events) };
}

class Chart {
  /** @param {Options} options */
  constructor(options) {
    this.options = options;
    this.right = Math.min(140, Math.max(76, 20 + 7 * Math.max(...options.lines.map((line) => line.label.length))));
    this.width = 0;
    /** @type {any} */
    this.live = null;
    /** @type {any[]} */
    this.events = [];
    this.tabled = false;
    this.drawn = '';
    this.grid = s('g', { class: 'grid' });
    this.marks = s('g', { class: 'marks' });
    this.paths = options.lines.map((line) => s('path', { class: `line tone-${line.tone}` }));
    this.labels = options.lines.map((line) => s('text', { class: 'direct' }, line.label));
    this.tips = options.lines.map((line) => s('circle', { class: `tip tone-${line.tone}`, r: 3, visibility: 'hidden' }));
    this.rule = s('line', { class: 'rule', visibility: 'hidden' });
    this.svg = s('svg', { class: 'plot', height: HEIGHT, role: 'img', tabindex: '0', onpointermove: (/** @type {any} */ e) => this.point(e), onpointerleave: () => move(null), onkeydown: (/** @type {any} */ e) => this.key(e), onblur: () => move(null) }, this.grid, this.paths, this.marks, this.rule, this.tips, this.labels);
    this.readout = h('span', { class: 'readout' }, 'waiting for figures');
    this.button = h('button', { type: 'button', class: 'small', 'aria-pressed': 'false', 'aria-label': `${options.title} as a table`, onclick: () => this.toggle() }, 'table');
    this.plot = h('div', { class: 'canvas' }, this.svg);
    this.element = h('figure', { class: options.lines.length > 1 ? 'chart many' : 'chart' }, h('figcaption', null, h('b', null, options.title), ' ', h('span', { class: 'unit' }, options.unit), this.readout, this.button), this.plot);
    new ResizeObserver(([entry]) => this.resize(entry.contentRect.width)).observe(this.plot);
    cursor.addEventListener('move', (event) => this.follow(/** @type {CustomEvent} */ (event).detail), { signal: options.signal });
  }

  /** @param {number} width */
  resize(width) {
    this.width = Math.floor(width);
    set(this.svg, 'width', this.width);
    this.redraw();
  }

  /** @param {import('./live.js').Live} live @param {any[]} events */
  draw(live, events) {
    this.live = live;
    this.events = events;
    this.redraw();
  }

  /** @returns {Series[]} */
  get series() {
    return this.options.lines.map((line) => this.live?.series.get(line.name) ?? new Series(this.to));
  }

  get to() {
    return this.live?.now ?? Date.now();
  }

  get from() {
    return this.live ? begin(this.live) : this.to - LEAST;
  }

  /** @param {number} time */
  x(time) {
    return MARGIN.left + ((time - this.from) / (this.to - this.from)) * (this.width - MARGIN.left - this.right);
  }

  redraw() {
    if (!this.live) return;
    const series = this.series;
    const sentence = this.sentence(series);
    set(this.svg, 'aria-label', sentence);
    if (this.tabled) return this.drawTable(series, sentence);
    if (this.width < 60) return;
    const { top, marks } = axis(largest(series), 3, this.options.whole ? 1 : 0);
    const floor = HEIGHT - MARGIN.bottom;
    const y = (/** @type {number} */ value) => floor - (value / top) * (floor - MARGIN.top);
    this.drawGrid(marks, y, floor);
    const x = (/** @type {number} */ time) => this.x(time);
    series.forEach((each, i) => set(this.paths[i], 'd', path(each, x, y, this.from)));
    const known = series.map((each, i) => ({ last: each.last, i })).filter((each) => each.last !== null);
    const places = spaced(known.map(({ last }) => y(/** @type {number} */ (last))), 14, MARGIN.top + 4, floor);
    this.labels.forEach((label) => set(label, 'visibility', 'hidden'));
    known.forEach(({ i }, n) => {
      for (const [name, value] of [['x', this.width - this.right + 8], ['y', places[n] + 4], ['visibility', null]]) set(this.labels[i], String(name), value);
    });
    this.y = y;
    this.follow(this.time ?? null);
  }

  /** @param {number[]} marks @param {(value: number) => number} y @param {number} floor */
  drawGrid(marks, y, floor) {
    const right = this.width - this.right;
    const times = timeMarks(this.from, this.to, this.width < 420 ? 2 : 5);
    const fine = times.some((time) => time % 60_000);
    put(this.grid,
      marks.map((mark) => [s('line', { x1: MARGIN.left, x2: right, y1: y(mark), y2: y(mark), class: mark ? null : 'zero' }), s('text', { x: MARGIN.left - 8, y: y(mark) + 4, 'text-anchor': 'end' }, this.options.format(mark))]),
      times.map((time) => s('text', { x: this.x(time), y: HEIGHT - 4, 'text-anchor': 'middle' }, clock(time).slice(0, fine ? 8 : 5))));
    let before = Infinity;
    const seen = this.events.filter((event) => event.time >= this.from && event.time <= this.to && Math.abs(before - this.x(event.time)) > 6 && ((before = this.x(event.time)) || true));
    put(this.marks, seen.map((event) => s('path', { class: 'event', d: `M${this.x(event.time).toFixed(1)} ${floor}v-8m-3 8h6l-3 -5z` }, s('title', null, `${clock(event.time)} ${event.text}`))));
  }

  /** @param {Series[]} series */
  sentence(series) {
    const { format, lines, title, unit } = this.options;
    const said = series.map((each, i) => {
      const found = spread(each);
      return found ? `${lines[i].label} now ${each.last === null ? 'without a figure' : format(each.last)}, between ${format(found.low)} and ${format(found.high)}` : `${lines[i].label} without figures`;
    });
    const seen = this.events.filter((event) => event.time >= this.from).length;
    return `${title}, ${unit}, last ${duration((this.to - this.from) / 1000)}: ${said.join('; ')}${seen ? `; ${plural(seen, 'event')}` : ''}.`;
  }

  /** @param {any} event */
  point(event) {
    const left = event.clientX - this.svg.getBoundingClientRect().left - MARGIN.left;
    const width = this.width - MARGIN.left - this.right;
    const time = this.from + (Math.min(Math.max(left, 0), width) / width) * (this.to - this.from);
    move(Math.round(time / 1000) * 1000);
  }

  /** @param {any} event */
  key(event) {
    const steps = { ArrowLeft: -10, ArrowRight: 10, PageUp: -60, PageDown: 60, Home: -KEPT, End: KEPT };
    const step = steps[/** @type {keyof typeof steps} */ (event.key)];
    if (event.key === 'Escape') return move(null);
    if (!step) return;
    event.preventDefault();
    move(Math.min(Math.max((this.time ?? this.to) + step * 1000, this.from), this.to));
  }

  /** @param {number | null} time */
  follow(time) {
    this.time = time;
    if (!this.y) return;
    set(this.rule, 'visibility', time === null ? 'hidden' : null);
    const series = this.series;
    this.tips.forEach((tip, i) => {
      const value = time === null ? null : series[i].at(time);
      set(tip, 'visibility', value === null ? 'hidden' : null);
      if (value === null || time === null || !this.y) return;
      set(tip, 'cx', this.x(time));
      set(tip, 'cy', this.y(value));
    });
    if (time !== null) for (const [name, value] of [['x1', this.x(time)], ['x2', this.x(time)], ['y1', MARGIN.top], ['y2', HEIGHT - MARGIN.bottom]]) set(this.rule, String(name), value);
    put(this.readout, time === null && this.options.lines.length === 1 ? null : h('time', null, clock(time ?? this.to)), this.options.lines.map((line, i) => h('span', { class: 'key' }, h('i', { class: `swatch tone-${line.tone}` }), line.label, ' ', h('b', null, this.options.format(time === null ? series[i].last : series[i].at(time))))));
  }

  toggle() {
    this.tabled = !this.tabled;
    set(this.button, 'aria-pressed', String(this.tabled));
    put(this.plot, this.tabled ? null : this.svg);
    this.drawn = '';
    this.redraw();
  }

  /** @param {Series[]} series @param {string} sentence */
  drawTable(series, sentence) {
    const means = series.map(minutes);
    const now = `${means[0]?.[0]?.time}`;
    if (this.drawn === now) return;
    this.drawn = now;
    const times = [...new Set(means.flat().map((row) => row.time))].sort((a, b) => b - a);
    const at = means.map((rows) => new Map(rows.map((row) => [row.time, row.mean])));
    const { lines, format, title } = this.options;
    put(this.plot, h('p', { class: 'quiet' }, sentence), h('div', { class: 'scroll tall', tabindex: '0', role: 'region', 'aria-label': `${title}, means of minutes` }, h('table', null,
      h('caption', { class: 'unseen' }, `${title}, means of minutes`),
      h('thead', null, h('tr', null, h('th', { scope: 'col' }, 'minute'), lines.map((line) => h('th', { scope: 'col', class: 'figure' }, line.label)))),
      h('tbody', null, times.map((time) => h('tr', null, h('th', { scope: 'row' }, clock(time).slice(0, 5)), at.map((means) => h('td', { class: 'figure' }, format(means.get(time)))))))))); 
  }
}

/** The time at which charts begin. @param {import('./live.js').Live} live */
const begin = (live) => Math.min(live.now - LEAST, Math.max(live.now - (KEPT - 1) * 1000, live.first ?? live.now));

/** @param {number | null} time */
const move = (time) => cursor.dispatchEvent(new CustomEvent('move', { detail: time }));

/** A small line without axes, for a cell. @param {import('./live.js').Live} live @param {string} name @param {number} [width] @param {number} [height] */
export function spark(live, name, width = 96, height = 18) {
  const svg = s('svg', { class: 'spark', width, height, 'aria-hidden': 'true' });
  const to = live.now;
  const from = begin(live);
  const series = thinned(live.series.get(name) ?? new Series(to), from, to, width / 3);
  const top = largest([series]) || 1;
  const d = path(series, (time) => ((time - from) / (to - from)) * (width - 2), (value) => height - 2 - (value / top) * (height - 4), from);
  svg.append(s('path', { class: 'line tone-1', d }));
  return svg;
}

