// @ts-check
/** Search among all activations: each silo looks for itself, within a budget. */

import { get } from '../api.js';
import { address } from '../api.js';
import { h, put, set } from '../dom.js';
import { duration, plural, seconds, whole } from '../format.js';
import { keyLink, sheet, siloLink, typeLink } from '../parts.js';
import { gaps, resource, state } from '../resource.js';
import { table } from '../table.js';
import { ask, asked } from '../url.js';

const FILTERS = ['type', 'prefix', 'contains', 'silo', 'phase', 'min_age', 'min_idle', 'min_waiting', 'min_turn'];
/** @type {[string, Record<string, string>, string][]} */
const PRESETS = [
  ['All', {}, 'by key'],
  ['Stuck', { min_turn: '1', sort: 'turn' }, 'a turn runs for more than 1 s'],
  ['Deepest queue', { min_waiting: '1', sort: 'waiting' }, 'most requests waiting'],
  ['Oldest', { sort: 'age' }, 'longest in memory'],
  ['Idle longest', { sort: 'idle' }, 'longest without a call'],
];
const PHASES = ['activating', 'active', 'deactivating'];

/** @type {import('../table.js').Column[]} */
const COLUMNS = [
  { id: 'key', label: 'key', head: true, text: (row) => row.key, node: (row) => keyLink(row.type, row.key), by: (row) => row.key },
  { id: 'type', label: 'type', text: (row) => row.type, node: (row) => typeLink(row.type) },
  { id: 'silo', label: 'silo', text: (row) => row.silo, node: (row) => siloLink(row.silo) },
  { id: 'phase', label: 'phase', text: (row) => row.phase },
  { id: 'age', label: 'age', figure: true, text: (row) => duration(row.age), by: (row) => row.age },
  { id: 'idle', label: 'idle', figure: true, text: (row) => duration(row.idle), by: (row) => row.idle },
  { id: 'waiting', label: 'waiting', figure: true, text: (row) => whole(row.waiting), by: (row) => row.waiting },
  { id: 'running', label: 'running', figure: true, text: (row) => whole(row.running) },
  { id: 'turn', label: 'turn', figure: true, hint: 'the longest running turn', text: (row) => (row.turn ? seconds(row.turn) : '–'), by: (row) => row.turn },
];

const filters = () => Object.fromEntries(FILTERS.map((name) => [name, asked(name)]));
const sorted = () => (asked('sort') || 'key').replace('-', '');

/** @param {import('../main.js').Context} ctx */
export function page(ctx) {
  /** @type {string[]} */
  const cursors = [''];
  let complete = true;
  const note = h('p', { class: 'quiet found', role: 'status' });
  const cut = h('div');
  const pager = h('div', { class: 'buttons pager' });
  const list = table({ name: 'main', caption: 'Activations', served: true, columns: COLUMNS, key: (row) => `${row.type}/${row.key}@${row.silo}`, sort: 'key', files: () => address('/api/activations', { ...filters(), sort: sorted(), limit: 200 }), onsort: () => restart(), empty: () => (complete ? state('No activation matches.', h('p', { class: 'quiet' }, 'A grain is in memory from its first call until it is idle for a while.')) : state('No activation matches among those that were looked at.')) });
  const found = resource(ctx, {
    get: (signal) => get('/api/activations', { ...filters(), sort: sorted(), limit: 100, cursor: cursors[cursors.length - 1] }, signal),
    show: (answer, body) => {
      if (!body.firstChild) put(body, note, cut, list.element, pager);
      put(note, told(answer));
      put(cut, gaps(answer));
      complete = !answer.cut?.length && !answer.silent?.length;
      list.update(answer.rows);
      put(pager, cursors.length > 1 ? h('button', { type: 'button', onclick: () => turn('') }, 'Page before') : null, answer.cursor ? h('button', { type: 'button', onclick: () => turn(answer.cursor) }, 'Next page') : null);
    },
  });

  /** @param {string} cursor "": the page before */
  function turn(cursor) {
    if (cursor) cursors.push(cursor);
    else cursors.pop();
    found.again();
  }

  function restart() {
    cursors.length = 1;
    mark();
    found.again();
  }

  const presets = h('div', { class: 'segments', role: 'group', 'aria-label': 'Presets' }, PRESETS.map(([label, values, what]) => h('button', { type: 'button', title: what, onclick: () => {
    ask({ min_turn: '', min_waiting: '', min_idle: '', min_age: '', sort: '', ...values }, true);
    for (const input of search.querySelectorAll('[name]')) /** @type {any} */ (input).value = asked(input.getAttribute('name') ?? '');
    restart();
    list.redraw();
  } }, label)));
  const mark = () => PRESETS.forEach(([, values], i) => {
    const own = ['min_turn', 'min_waiting', 'min_idle', 'min_age', 'sort'];
    set(presets.children[i], 'aria-pressed', String(own.every((name) => (asked(name).replace('-', '') || '') === (values[name] ?? '') || (name === 'sort' && sorted() === (values.sort ?? 'key')))));
  });
  const search = form(restart);
  mark();
  return { title: 'Activations', element: sheet({ title: 'Activations' }, search, presets, found.element) };
}

/** @param {any} answer */
function told(answer) {
  const rows = answer.rows.length;
  const all = answer.looked_at === answer.total ? `all ${plural(answer.total, 'activation')}` : `${whole(answer.looked_at)} of ${plural(answer.total, 'activation')}`;
  return `${whole(rows)} of ${plural(answer.matches, 'match', 'matches')}; looked at ${all} in ${seconds(answer.seconds)}.`;
}

/** @param {() => void} changed */
function form(changed) {
  /** @type {any} */
  let timer;
  const write = (/** @type {any} */ event) => {
    clearTimeout(timer);
    const { name, value } = event.target;
    timer = setTimeout(() => { ask({ [name]: value.trim() }); changed(); }, event.type === 'change' ? 0 : 250);
  };
  const text = (/** @type {string} */ name, /** @type {string} */ label, more = {}) => h('label', null, h('span', null, label), h('input', { type: 'search', name, value: asked(name), autocomplete: 'off', spellcheck: 'false', oninput: write, ...more }));
  const number = (/** @type {string} */ name, /** @type {string} */ label) => text(name, label, { type: 'text', inputmode: 'decimal', class: 'short' });
  return h('form', { class: 'filters', role: 'search', 'aria-label': 'Filter activations', onsubmit: (/** @type {any} */ event) => event.preventDefault() },
    text('prefix', 'key begins with', { 'data-search': true }), text('contains', 'key contains'), text('type', 'type'), text('silo', 'silo'),
    h('label', null, h('span', null, 'phase'), h('select', { name: 'phase', onchange: write }, h('option', { value: '' }, 'any'), PHASES.map((each) => h('option', { value: each, selected: asked('phase') === each }, each)))),
    number('min_waiting', 'waiting ≥'), number('min_turn', 'turn ≥ s'), number('min_age', 'age ≥ s'), number('min_idle', 'idle ≥ s'));
}
