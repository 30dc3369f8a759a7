// @ts-check
/** Traces that the silos kept: those that failed, the slow ones, and a sample. */

import { address, get } from '../api.js';
import { h, put, set } from '../dom.js';
import { milliseconds, percent, when } from '../format.js';
import { sheet, siloLink } from '../parts.js';
import { gaps, resource, state } from '../resource.js';
import { table } from '../table.js';
import { ask, asked } from '../url.js';

const KEPT = [['', 'all'], ['error', 'failed'], ['slow', 'slow'], ['sample', 'sample']];

/** @type {import('../table.js').Column[]} */
const COLUMNS = [
  { id: 'start', label: 'time', head: true, text: (row) => when(row.start), by: (row) => row.start, node: (row) => h('a', { href: `/traces/${encodeURIComponent(row.trace)}` }, when(row.start)) },
  { id: 'name', label: 'root', class: 'id', text: (row) => row.name },
  { id: 'silo', label: 'silo', text: (row) => row.silo ?? '–', node: (row) => siloLink(row.silo) },
  { id: 'seconds', label: 'took', unit: 'ms', figure: true, text: (row) => milliseconds(row.seconds), by: (row) => row.seconds },
  { id: 'wait', label: 'wait', unit: 'ms', figure: true, text: (row) => milliseconds(row.wait), by: (row) => row.wait },
  { id: 'kept', label: 'kept as', text: (row) => row.kept },
  { id: 'error', label: 'error', text: (row) => row.error || '', node: (row) => h('span', { class: 'error' }, row.error || '') },
  { id: 'trace', label: 'trace', class: 'id', text: (row) => row.trace },
];

/** @param {import('../main.js').Context} ctx */
export function page(ctx) {
  const note = h('span', { class: 'quiet' });
  const cut = h('div');
  const list = table({ name: 'main', caption: 'Traces', columns: COLUMNS, key: (row) => `${row.trace} ${row.span ?? ''}`, sort: '-start', files: () => address('/api/traces', { kept: asked('kept'), silo: asked('silo') }),
    empty: state('No trace is kept.', h('p', { class: 'quiet' }, 'Silos trace when they start with OTEL_TRACES_SAMPLER_ARG=0.01, or with telemetry= in their code.')) });
  const found = resource(ctx, {
    get: (signal) => get('/api/traces', { kept: asked('kept'), silo: asked('silo') }, signal),
    show: (answer, body) => {
      if (!body.firstChild) put(body, cut, list.element);
      const roots = answer.roots ?? answer.rows ?? answer;
      put(cut, gaps(answer, 0, ['No traces are kept by', 'see the option telemetry']));
      put(note, answer.sampling === undefined ? null : `${percent(answer.sampling)} of calls are sampled`);
      list.update(roots.map((/** @type {any} */ each) => ({ ...(each.span && typeof each.span === 'object' ? each.span : each), kept: each.kept, silo: each.silo })));
    },
  });
  const kept = h('div', { class: 'segments', role: 'group', 'aria-label': 'Kept as' }, KEPT.map(([value, label]) => h('button', { type: 'button', onclick: () => { ask({ kept: value }, true); mark(); found.again(); } }, label)));
  const mark = () => KEPT.forEach(([value], i) => set(kept.children[i], 'aria-pressed', String(asked('kept') === value)));
  mark();
  return { title: 'Traces', element: sheet({ title: 'Traces', note }, kept, found.element) };
}
