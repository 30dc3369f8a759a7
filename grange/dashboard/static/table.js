// @ts-check
/** A table of facts: sort, filter, columns, CSV and JSON, keys. Its state is in the address. */

import { address } from './api.js';
import { h, put, say } from './dom.js';
import { plural, whole } from './format.js';
import { loading, state } from './resource.js';
import { ask, asked } from './url.js';

const STEP = 200;
const WAIT = 120;

/** @typedef {{id: string, label: string, unit?: string, text: (row: any) => string, node?: (row: any) => any, by?: (row: any) => any,
 *   figure?: boolean, off?: boolean, hint?: string, head?: boolean, class?: string}} Column
 * `text` is what a cell shows and the filter searches; `node` draws it otherwise; `by` is what it is sorted by. */
/** @typedef {{name: string, caption: string, columns: Column[], key: (row: any) => string, sort?: string, plain?: boolean, served?: boolean,
 *   empty?: any, files?: () => string, dim?: (row: any) => string, more?: any, tools?: any, onsort?: (sort: string) => void}} Options
 * `empty`: a node, or a function that makes it. `served`: the server sorts and filters, the table only shows. `dim`: the class of a row. `plain`: no tools. */

/** @param {Options} options */
export function table(options) {
  const view = new View(options);
  return { element: view.element, update: (/** @type {any[]} */ rows) => view.update(rows), redraw: () => view.draw() };
}

class View {
  /** @param {Options} options */
  constructor(options) {
    this.options = options;
    this.prefix = options.plain ? '' : options.name === 'main' ? '' : `${options.name}.`;
    /** @type {any[]} */
    this.rows = [];
    /** @type {Map<string, {tr: any, cells: any[], shown: string[]}>} */
    this.drawn = new Map();
    this.most = STEP;
    this.held = false;
    this.body = h('tbody', { onpointerenter: () => { this.held = true; }, onpointerleave: () => this.release() });
    this.head = h('tr');
    this.count = h('span', { class: 'quiet count' });
    this.rest = h('div', { class: 'rest' });
    this.table = h('table', { 'data-keys': true }, h('caption', { class: 'unseen' }, options.caption), h('thead', null, this.head), this.body);
    this.scroll = h('div', { class: 'scroll', tabindex: '0', role: 'region', 'aria-label': options.caption }, this.table);
    this.none = h('div', null, loading());
    this.scroll.hidden = true;
    this.element = h('div', { class: 'table' }, options.plain ? null : this.tools(), this.scroll, this.none, this.rest);
    this.drawHead();
  }

  get shown() {
    const wanted = this.options.plain ? '' : asked(`${this.prefix}cols`);
    const ids = wanted ? wanted.split(',') : null;
    return this.options.columns.filter((column) => column.head || (ids ? ids.includes(column.id) : !column.off));
  }

  get sort() {
    return (!this.options.plain && asked(`${this.prefix}sort`)) || this.options.sort || '';
  }

  /** @param {any[]} rows */
  update(rows) {
    this.rows = rows;
    this.draw();
  }

  release() {
    this.held = false;
    this.draw();
  }

  /** The rows in the order of the view, those that the filter lets through. */
  get ordered() {
    if (this.options.served) return this.rows;
    const wanted = this.options.plain ? '' : asked(`${this.prefix}q`).toLowerCase();
    const found = wanted ? this.rows.filter((row) => this.options.columns.some((column) => column.text(row).toLowerCase().includes(wanted))) : this.rows;
    const falls = this.sort.startsWith('-');
    const column = this.options.columns.find((each) => each.id === this.sort.replace('-', ''));
    if (!column) return found;
    const by = column.by ?? column.text;
    return [...found].sort((a, b) => compared(by(a), by(b), falls) || compared(this.options.key(a), this.options.key(b), false));
  }

  draw() {
    const columns = this.shown;
    const ordered = this.ordered;
    const rows = this.kept(ordered.slice(0, this.most));
    const keys = new Set();
    for (const row of rows) {
      const key = this.options.key(row);
      keys.add(key);
      this.drawRow(key, row, columns);
    }
    for (const [key, { tr }] of this.drawn) {
      if (keys.has(key)) continue;
      tr.remove();
      this.drawn.delete(key);
    }
    this.place([...keys].map((key) => this.drawn.get(key)?.tr));
    this.drawRest(ordered.length);
  }

  /** While the pointer or the focus is in the rows, they stay in their places. @param {any[]} rows */
  kept(rows) {
    if (!this.held && !this.body.contains(document.activeElement)) return rows;
    const given = new Map(rows.map((row) => [this.options.key(row), row]));
    const stay = [...this.drawn.keys()].filter((key) => given.has(key));
    if (!stay.length) return rows;
    const fresh = rows.filter((row) => !this.drawn.has(this.options.key(row)));
    return [...stay.map((key) => given.get(key)), ...fresh];
  }

  /** @param {any[]} trs */
  place(trs) {
    const focused = this.body.contains(document.activeElement) ? document.activeElement : null;
    let at = this.body.firstChild;
    for (const tr of trs) {
      if (tr === at) at = at.nextSibling;
      else this.body.insertBefore(tr, at);
    }
    if (focused && document.activeElement !== focused) /** @type {any} */ (focused).focus({ preventScroll: true });
    this.drawn = new Map(trs.map((tr) => [tr.key, /** @type {any} */ (this.drawn.get(tr.key))]));
  }

  /** @param {string} key @param {any} row @param {Column[]} columns */
  drawRow(key, row, columns) {
    let entry = this.drawn.get(key);
    if (!entry || entry.cells.length !== columns.length) {
      const cells = columns.map((column) => h(column.head ? 'th' : 'td', { scope: column.head ? 'row' : null, class: classOf(column) }));
      const tr = h('tr', null, cells);
      tr.key = key;
      entry?.tr.replaceWith(tr);
      entry = { tr, cells, shown: [] };
      this.drawn.set(key, entry);
    }
    const dim = this.options.dim?.(row) ?? '';
    if (entry.tr.className !== dim) entry.tr.className = dim;
    columns.forEach((column, i) => {
      const text = column.text(row);
      if (entry.shown[i] === text) return;
      entry.shown[i] = text;
      const node = column.node?.(row);
      if (node) put(entry.cells[i], node);
      else say(entry.cells[i], text);
    });
  }

  drawHead() {
    const { sort } = this;
    put(this.head, this.shown.map((column) => {
      const rises = sort === column.id && !(this.options.served && column.figure);
      const order = rises ? 'ascending' : sort.replace('-', '') === column.id ? 'descending' : null;
      const words = [column.label, column.unit ? h('span', { class: 'unit' }, column.unit) : null];
      const fixed = this.options.plain || (this.options.served && !column.by);
      const button = fixed ? h('span', { class: 'label' }, words) : h('button', { type: 'button', onclick: () => this.sortBy(column) }, words, h('span', { class: 'order', 'aria-hidden': 'true' }, order === 'ascending' ? '▲' : order ? '▼' : ''));
      return h('th', { scope: 'col', class: headClass(column), 'aria-sort': order, title: column.hint }, button);
    }));
  }

  /** @param {Column} column */
  sortBy(column) {
    const first = column.figure ? `-${column.id}` : column.id;
    const other = column.figure ? column.id : `-${column.id}`;
    const sort = this.sort === first && !this.options.served ? other : first;
    ask({ [`${this.prefix}sort`]: sort === this.options.sort ? '' : sort }, true);
    this.options.onsort?.(sort);
    this.again();
    this.head.querySelector('[aria-sort] button')?.focus();
  }

  again() {
    this.drawHead();
    for (const { tr } of this.drawn.values()) tr.remove();
    this.drawn.clear();
    this.draw();
  }

  /** @param {number} total */
  drawRest(total) {
    const empty = !total;
    this.scroll.hidden = empty;
    this.none.hidden = !empty;
    if (empty) put(this.none, this.rows.length ? state('No row matches the filter.') : (typeof this.options.empty === 'function' ? this.options.empty() : this.options.empty) ?? state('There is nothing here.'));
    say(this.count, this.options.served || total === this.rows.length ? plural(total, 'row') : `${whole(total)} of ${plural(this.rows.length, 'row')}`);
    const hidden = total - this.most;
    put(this.rest, hidden > 0 ? h('button', { type: 'button', onclick: () => { this.most += STEP; this.draw(); } }, `Show ${whole(Math.min(STEP, hidden))} more of ${whole(hidden)}`) : null);
  }

  tools() {
    const { options } = this;
    /** @type {any} */
    let timer;
    const filter = options.served ? null : h('input', {
      type: 'search', placeholder: 'Filter', 'aria-label': `Filter ${options.caption}`, value: asked(`${this.prefix}q`), 'data-search': true, autocomplete: 'off',
      oninput: (/** @type {any} */ event) => {
        clearTimeout(timer);
        timer = setTimeout(() => { ask({ [`${this.prefix}q`]: event.target.value }); this.draw(); }, WAIT);
      },
    });
    const files = options.files ? h('span', { class: 'files' }, [['CSV', { format: 'csv' }], ['JSON', {}]].map(([name, query]) => h('a', {
      href: '#', class: 'file', 'data-plain': true, download: `${options.name}.${String(name).toLowerCase()}`,
      onclick: (/** @type {any} */ event) => { event.currentTarget.setAttribute('href', address(options.files?.() ?? '', /** @type {any} */ (query))); },
    }, /** @type {string} */ (name)))) : null;
    return h('div', { class: 'tools' }, filter, options.tools, this.count, h('span', { class: 'space' }), this.picker(), files);
  }

  picker() {
    if (this.options.columns.length < 4) return null;
    const boxes = this.options.columns.filter((column) => !column.head).map((column) => h('label', null, h('input', {
      type: 'checkbox', value: column.id, checked: this.shown.includes(column),
      onchange: () => {
        const picked = [...list.querySelectorAll('input')].filter((box) => box.checked).map((box) => box.value);
        const usual = this.options.columns.filter((each) => !each.off && !each.head).map((each) => each.id);
        ask({ [`${this.prefix}cols`]: picked.join() === usual.join() ? '' : picked.join() || '-' });
        this.again();
      },
    }), column.label, column.unit ? h('span', { class: 'unit' }, column.unit) : null));
    const list = h('div', { class: 'menu' }, boxes);
    return h('details', { class: 'picker' }, h('summary', null, 'Columns'), list);
  }
}

/** @param {Column} column */
const classOf = (column) => [column.figure ? 'figure' : '', column.class ?? ''].join(' ').trim() || null;

/** @param {Column} column */
const headClass = (column) => (column.figure ? 'figure' : null);

/** Absent values come last in both orders. @param {any} a @param {any} b @param {boolean} falls */
function compared(a, b, falls) {
  const [noA, noB] = [a === null || a === undefined || a === '', b === null || b === undefined || b === ''];
  if (noA || noB) return Number(noA) - Number(noB);
  const order = typeof a === 'number' && typeof b === 'number' ? a - b : String(a).localeCompare(String(b), 'en', { numeric: true });
  return falls ? -order : order;
}
