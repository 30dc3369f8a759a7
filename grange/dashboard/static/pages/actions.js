// @ts-check
/** What people and programs did to the cluster, and drains under way. */

import { get } from '../api.js';
import { h, put } from '../dom.js';
import { progress } from '../drain.js';
import { when } from '../format.js';
import { section, sheet, siloLink, status } from '../parts.js';
import { gaps, resource, state } from '../resource.js';
import { table } from '../table.js';

const DRAWN = { done: 'ok', refused: 'warning', failed: 'failed', unknown: 'unknown', previewed: 'silent' };

/** @param {import('../main.js').Context} ctx */
export function page(ctx) {
  const drains = h('div');
  const cut = h('div');
  const list = table({
    name: 'main', caption: 'Acts', key: (row) => `${row.silo ?? ''} ${row.number} ${row.time}`, sort: '-time', files: () => '/api/audit',
    empty: state('No act yet.', h('p', { class: 'quiet' }, 'Acts from this dashboard and from the command line appear here, with their reason.')),
    columns: [
      { id: 'time', label: 'time', head: true, text: (row) => when(row.time), by: (row) => row.time },
      { id: 'actor', label: 'actor', text: (row) => row.actor || '–' },
      { id: 'action', label: 'act', text: (row) => row.action },
      { id: 'target', label: 'target', class: 'id', text: (row) => row.target },
      { id: 'silo', label: 'silo', text: (row) => row.silo ?? '–', node: (row) => siloLink(row.silo) },
      { id: 'outcome', label: 'outcome', text: (row) => row.outcome || 'asked', node: (row) => status(row.outcome || 'asked', DRAWN[/** @type {keyof typeof DRAWN} */ (row.outcome)] ?? 'silent') },
      { id: 'reason', label: 'reason', class: 'wide', text: (row) => row.reason },
      { id: 'text', label: 'answer', class: 'wide', text: (row) => row.text },
    ],
  });
  const found = resource(ctx, {
    get: (signal) => get('/api/audit', {}, signal),
    show: (answer, body) => {
      if (!body.firstChild) put(body, drains, cut, list.element);
      const under = answer.drains ?? [];
      put(drains, under.length ? section('Drains under way', h('ul', { class: 'drains' }, under.map((/** @type {any} */ each) => progress(each, siloLink(each.silo))))) : null);
      put(cut, gaps(answer));
      list.update(answer.rows ?? answer);
    },
  });
  return { title: 'Actions', element: sheet({ title: 'Actions' }, found.element) };
}
