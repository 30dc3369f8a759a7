// @ts-check
/** What people and programs did to the cluster, whom it refused, calls of audited methods, and drains under way. */

import { address, get } from '../api.js';
import { h, put, set } from '../dom.js';
import { progress } from '../drain.js';
import { when } from '../format.js';
import { section, sheet, siloLink, status } from '../parts.js';
import { gaps, resource, state } from '../resource.js';
import { table } from '../table.js';
import { ask, asked } from '../url.js';

const DRAWN = { done: 'ok', refused: 'warning', failed: 'failed', unknown: 'unknown', previewed: 'silent', begun: 'silent', 'would refuse': 'warning' };
const KINDS = [['', 'all'], ['act', 'acts'], ['call', 'audited calls'], ['denial', 'refused callers']];

const filters = () => ({ kind: asked('kind'), who: asked('who'), what: asked('what') });

/** @param {import('../main.js').Context} ctx */
export function page(ctx) {
  const drains = h('div');
  const cut = h('div');
  const list = table({
    name: 'main', caption: 'Audit', key: (row) => `${row.silo ?? ''} ${row.number} ${row.time}`, sort: '-time', files: () => address('/api/audit', filters()),
    empty: state('No such row yet.', h('p', { class: 'quiet' }, 'Acts from this dashboard and from the command line appear here, with their reason; also refused callers, and calls of methods that are @audited.')),
    columns: [
      { id: 'time', label: 'time', head: true, text: (row) => when(row.time), by: (row) => row.time },
      { id: 'actor', label: 'actor', text: (row) => row.actor || '–' },
      { id: 'via', label: 'by', class: 'id', text: (row) => row.via ?? '' },
      { id: 'kind', label: 'kind', text: (row) => row.kind ?? 'act' },
      { id: 'action', label: 'act or call', text: (row) => row.action },
      { id: 'target', label: 'target', class: 'id', text: (row) => row.target },
      { id: 'silo', label: 'silo', text: (row) => row.silo ?? '–', node: (row) => siloLink(row.silo) },
      { id: 'outcome', label: 'outcome', text: (row) => row.outcome || 'asked', node: (row) => status(row.outcome || 'asked', DRAWN[/** @type {keyof typeof DRAWN} */ (row.outcome)] ?? 'silent') },
      { id: 'reason', label: 'reason', class: 'wide', text: (row) => row.reason },
      { id: 'text', label: 'answer', class: 'wide', text: (row) => row.text },
      { id: 'trace', label: 'trace', text: (row) => row.trace ?? '', node: (row) => (row.trace ? h('a', { href: `/traces/${encodeURIComponent(row.trace)}`, class: 'id' }, row.trace.slice(0, 8)) : null) },
    ],
  });
  const found = resource(ctx, {
    get: (signal) => get('/api/audit', filters(), signal),
    show: (answer, body) => {
      if (!body.firstChild) put(body, drains, cut, list.element);
      const under = answer.drains ?? [];
      put(drains, under.length ? section('Drains under way', h('ul', { class: 'drains' }, under.map((/** @type {any} */ each) => progress(each, siloLink(each.silo))))) : null);
      put(cut, gaps(answer));
      list.update(answer.rows ?? answer);
    },
  });
  const kinds = h('div', { class: 'segments', role: 'group', 'aria-label': 'Kind' }, KINDS.map(([value, label]) => h('button', { type: 'button', onclick: () => { ask({ kind: value }, true); mark(); found.again(); } }, label)));
  const mark = () => KINDS.forEach(([value], i) => set(kinds.children[i], 'aria-pressed', String(asked('kind') === value)));
  mark();
  return { title: 'Actions', element: sheet({ title: 'Actions' }, kinds, form(() => found.again()), found.element) };
}

/** @param {() => void} changed */
function form(changed) {
  /** @type {any} */
  let timer;
  const write = (/** @type {any} */ event) => {
    clearTimeout(timer);
    const { name, value } = event.target;
    timer = setTimeout(() => { ask({ [name]: value.trim() }); changed(); }, 300);
  };
  const text = (/** @type {string} */ name, /** @type {string} */ label) => h('label', null, h('span', null, label), h('input', { type: 'search', name, value: asked(name), autocomplete: 'off', spellcheck: 'false', oninput: write }));
  return h('form', { class: 'filters', role: 'search', 'aria-label': 'Filter rows', onsubmit: (/** @type {any} */ event) => event.preventDefault() },
    text('who', 'who'), text('what', 'act, call or target'));
}
