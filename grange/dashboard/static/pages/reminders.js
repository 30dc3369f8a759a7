// @ts-check
/** Reminders and jobs: those that are due soon, or parked because they failed too often. */

import { open } from '../act.js';
import { get, pathOf } from '../api.js';
import { h, put } from '../dom.js';
import { duration, when } from '../format.js';
import { sheet, siloLink, status } from '../parts.js';
import { gaps, resource, state } from '../resource.js';
import { table } from '../table.js';
import { ask, asked } from '../url.js';

/** @param {any} row */
const due = (row) => (row.left === null ? 'parked' : row.left > 0 ? `in ${duration(row.left)}` : 'now');

/** @param {any} row */
const grain = (row) => `${row.type}/${row.key}`;

/** @param {import('../main.js').Context} ctx */
export function page(ctx) {
  const cut = h('div');
  const parked = () => asked('parked') === 'true';
  const pick = h('select', { 'aria-label': 'Which', onchange: () => { ask({ parked: pick.value === 'parked' ? 'true' : '' }); found.again(); } },
    h('option', { value: 'due' }, 'due in 5 minutes'), h('option', { value: 'parked', selected: parked() }, 'parked'));
  const list = table({
    name: 'main', caption: 'Reminders', key: (row) => `${grain(row)} ${row.name}`, sort: 'due', files: () => `/api/reminders?parked=${parked()}`,
    empty: state('No reminder.', h('p', { class: 'quiet' }, 'Grains set reminders by self.reminders.set, and jobs by self.jobs.schedule.')),
    columns: [
      { id: 'grain', label: 'grain', head: true, class: 'id', text: grain, node: (row) => h('a', { href: pathOf('g', row.type, row.key), class: 'id' }, grain(row)) },
      { id: 'name', label: 'name', text: (row) => row.job || row.name },
      { id: 'due', label: 'due', text: due, by: (row) => row.left ?? Infinity, node: (row) => (row.left === null ? status('parked', 'failed') : h('span', { title: when(row.due * 1000) }, due(row))) },
      { id: 'schedule', label: 'schedule', text: (row) => row.schedule },
      { id: 'missed', label: 'if missed', text: (row) => row.missed, off: true },
      { id: 'failed', label: 'failed', figure: true, text: (row) => (row.failed ? `${row.failed}` : '') },
      { id: 'error', label: 'error', class: 'wide', text: (row) => row.error },
      { id: 'silo', label: 'silo', text: (row) => row.silo || '–', node: (row) => siloLink(row.silo) },
      { id: 'acts', label: 'acts', text: () => '', node: (row) => acts(ctx, row, () => found.again()) },
    ],
  });
  const found = resource(ctx, {
    get: (signal) => get('/api/reminders', { parked: parked() ? 'true' : '' }, signal),
    show: (answer, body) => {
      if (!body.firstChild) put(body, cut, list.element);
      put(cut, gaps(answer), answer.more ? h('p', { class: 'quiet' }, 'There are more than these.') : null);
      list.update(answer.rows ?? []);
    },
  });
  return { title: 'Reminders', element: sheet({ title: 'Reminders', tools: [pick] }, found.element) };
}

/** @param {import('../main.js').Context} ctx @param {any} row @param {() => void} done */
function acts(ctx, row, done) {
  /** @param {string} action @param {string} verb */
  const act = (action, verb) => h('button', { type: 'button', class: 'small', onclick: () => open({
    action, target: grain(row), silo: row.silo, verb, title: `${verb} ${row.job || row.name} of ${grain(row)}`, values: { name: row.name }, done,
  }) }, `${verb} …`);
  return h('span', { class: 'acts' }, row.failed && ctx.can('retry reminder') ? act('retry reminder', 'Retry') : null, ctx.can('cancel reminder') ? act('cancel reminder', 'Cancel') : null);
}
