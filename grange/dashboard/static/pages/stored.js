// @ts-check
/** The stored grains of one type: by key, or by indexed fields of their state; and the state of one of them. */

import { get } from '../api.js';
import { h, put } from '../dom.js';
import { plural } from '../format.js';
import { keyLink, link, section, sheet, siloLink, typeLink } from '../parts.js';
import { resource, state } from '../resource.js';
import { table } from '../table.js';
import { ask, asked } from '../url.js';
import { stored } from './activation.js';

/** @param {import('../main.js').Context} ctx */
export function page(ctx) {
  const [type] = ctx.params;
  /** @type {string[]} */
  const cursors = [''];
  const shown = h('div', { class: 'states' });
  const note = h('p', { class: 'quiet found', role: 'status' });
  const pager = h('div', { class: 'buttons pager' });
  const query = () => ({ type, prefix: asked('prefix'), where: asked('where'), order_by: asked('order_by'), descending: asked('order_by') ? asked('descending') : '', limit: 100, cursor: cursors[cursors.length - 1] });
  const list = table({
    name: 'main', caption: `Stored grains of ${type}`, plain: true, key: (row) => row.key, empty: state('No stored grain matches.', h('p', { class: 'quiet' }, 'A grain is stored from its first write until its state is cleared.')),
    columns: [
      { id: 'key', label: 'key', head: true, text: (row) => row.key, node: (row) => (row.silo ? keyLink(type, row.key) : h('bdi', { class: 'id' }, row.key)) },
      { id: 'states', label: 'states', class: 'id', text: (row) => (row.states ?? []).join(', ') },
      { id: 'silo', label: 'active on', text: (row) => row.silo, node: (row) => (row.silo ? siloLink(row.silo) : null) },
      { id: 'state', label: 'state', text: () => 'Show', node: (row) => h('button', { type: 'button', class: 'small', 'aria-label': `Show the state of ${row.key}`, onclick: () => show(row.key) }, 'Show') },
    ],
  });
  const found = resource(ctx, {
    every: 0,
    get: (signal) => get('/api/stored', query(), signal),
    show: (answer, body) => {
      if (!body.firstChild) put(body, note, list.element, pager);
      put(note, `${plural(answer.rows.length, 'grain')} on this page.`);
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

  /** @param {string} key */
  async function show(key) {
    put(shown, h('p', { class: 'quiet' }, `Reading the state of ${key} …`));
    try {
      const { rows } = await get('/api/state', { type, key }, ctx.signal);
      put(shown, h('h3', null, h('bdi', { class: 'id' }, key)), rows.map((/** @type {any} */ row) => stored(ctx, type, key, row.name)));
      shown.scrollIntoView({ block: 'nearest' });
    } catch (error) {
      if (!ctx.signal.aborted) put(shown, state(/** @type {Error} */ (error).message));
    }
  }

  const again = () => { cursors.length = 1; found.again(); };
  const element = sheet({ title: 'Stored grains', over: [link('/grains', 'Grains'), typeLink(type)] }, filters(again), found.element, section('State', shown));
  put(shown, h('p', { class: 'quiet' }, 'Show the state of a grain by its button.'));
  return { title: `Stored: ${type}`, element };
}

/** @param {() => void} changed */
function filters(changed) {
  /** @type {any} */
  let timer;
  const write = (/** @type {any} */ event) => {
    clearTimeout(timer);
    const { name, value } = event.target;
    timer = setTimeout(() => { ask({ [name]: value.trim() }); changed(); }, event.type === 'change' ? 0 : 400);
  };
  const text = (/** @type {string} */ name, /** @type {string} */ label, more = {}) => h('label', null, h('span', null, label), h('input', { type: 'search', name, value: asked(name), autocomplete: 'off', spellcheck: 'false', oninput: write, ...more }));
  return h('form', { class: 'filters', role: 'search', 'aria-label': 'Filter stored grains', onsubmit: (/** @type {any} */ event) => event.preventDefault() },
    text('prefix', 'key begins with', { 'data-search': true }), text('where', 'indexed field = value', { placeholder: 'owner=ann' }), text('order_by', 'order by field'),
    h('label', null, h('span', null, 'order'), h('select', { name: 'descending', onchange: write }, h('option', { value: '' }, 'rising'), h('option', { value: 'true', selected: asked('descending') === 'true' }, 'falling'))));
}
