// @ts-check
/** The membership table over time, and which silo doubts which. */

import { get } from '../api.js';
import { h, put, set } from '../dom.js';
import { when, whole } from '../format.js';
import { facts, section, sheet, siloLink, status } from '../parts.js';
import { matrix } from '../matrix.js';
import { gaps, resource, state } from '../resource.js';
import { table } from '../table.js';
import { legend, timeline } from '../timeline.js';
import { ask, asked } from '../url.js';

const SPANS = [['15m', '15 min', 900], ['1h', '1 h', 3600], ['6h', '6 h', 21600], ['24h', '24 h', 86400], ['', 'all', 0]];

/** @param {import('../main.js').Context} ctx */
export function page(ctx) {
  /** @type {any} */
  let last = null;
  const head = h('div');
  const lanes = h('div');
  const doubts = h('div');
  const list = table({
    name: 'main', caption: 'Versions of the membership table', key: (row) => `${row.version} ${row.silo} ${row.time}`, sort: '-version', files: () => '/api/membership', empty: state('No change of the table is known yet.'),
    columns: [
      { id: 'version', label: 'version', head: true, text: (row) => (row.first < row.version ? `${whole(row.first)} – ${whole(row.version)}` : whole(row.version)), by: (row) => row.version },
      { id: 'time', label: 'time', text: (row) => when(row.time), by: (row) => row.time },
      { id: 'silo', label: 'silo', text: (row) => row.silo || 'table', node: (row) => (row.silo ? siloLink(row.silo) : null) },
      { id: 'status', label: 'became', text: (row) => row.status || '–', node: (row) => status(row.status || '–') },
      { id: 'by', label: 'by', text: (row) => row.by || '–', node: (row) => (row.by ? siloLink(row.by) : null) },
      { id: 'why', label: 'why', class: 'wide', text: (row) => row.why ?? '' },
    ],
  });
  const spans = h('div', { class: 'segments', role: 'group', 'aria-label': 'Time shown' }, SPANS.map(([key, label]) => h('button', { type: 'button', 'data-key': key, onclick: () => { ask({ span: key }, true); draw(); } }, label)));

  function draw() {
    if (!last) return;
    const span = Number(SPANS.find(([key]) => key === asked('span'))?.[2] ?? 0);
    for (const each of spans.children) set(each, 'aria-pressed', String((each.getAttribute('data-key') ?? '') === asked('span')));
    const versions = last.versions ?? [];
    put(lanes, versions.length ? timeline({ versions, fences: fences(last.fences), now: ctx.live.now, span }) : state('No change of the table is known yet.'), legend());
  }

  const answer = resource(ctx, {
    get: (signal) => get('/api/membership', {}, signal),
    show: (found, body) => {
      last = found;
      if (!body.firstChild) put(body, head, section('Every version of the table', spans, lanes), section('Which silo doubts which', h('p', { class: 'quiet' }, 'A row looks at the silos in its columns: round trip of the last probe, probes missed in a row, or its vote.'), doubts), section('Versions', list.element));
      put(head, gaps(found), facts([['version', whole(found.version ?? Math.max(0, ...(found.versions ?? []).map((/** @type {any} */ each) => each.version)))], ['incarnation', found.incarnation], ['silos', whole((found.silos ?? []).length)]]));
      draw();
      const names = (found.silos ?? []).map((/** @type {any} */ each) => each.name ?? each);
      put(doubts, names.length > 1 ? matrix(names, found.doubts ?? []) : state('One silo alone probes no other.'));
      list.update(found.versions ?? []);
    },
  });
  return { title: 'Membership', element: sheet({ title: 'Membership' }, answer.element) };
}

/** @param {any} found @returns {import('../timeline.js').Fence[]} */
const fences = (found) => (Array.isArray(found) ? found.map((each) => ({ silo: each.silo, from: each.from ?? each.time, to: each.to ?? null, why: each.why ?? each.reason ?? '' })) : []);
