// @ts-check
/** All grain types, and how their activations are spread. */

import { address } from '../api.js';
import { h } from '../dom.js';
import { count, milliseconds, plural, share, whole } from '../format.js';
import { shares, sheet, typeLink } from '../parts.js';
import { state } from '../resource.js';
import { table } from '../table.js';
import { ask, asked } from '../url.js';

/** @param {any} row */
const failures = (row) => (row.calls ? (row.failed ?? 0) / row.calls : null);

/** @param {any} row */
const spreadOf = (row) => (row.silos ?? []).map((/** @type {[string, number]} */ [name, number]) => `${name}: ${whole(number)}`).join(', ');

/** @type {import('../table.js').Column[]} */
const COLUMNS = [
  { id: 'type', label: 'type', head: true, text: (row) => row.type, node: (row) => typeLink(row.type) },
  { id: 'placement', label: 'placement', text: (row) => row.placement || '–' },
  { id: 'activations', label: 'activations', figure: true, text: (row) => whole(row.activations), by: (row) => row.activations, node: (row) => h('a', { href: address('/activations', { type: row.type }) }, whole(row.activations)) },
  { id: 'silos', label: 'on silos', class: 'sharing', text: spreadOf, node: (row) => h('span', { title: spreadOf(row) }, shares(row.silos ?? []), h('span', { class: 'unseen' }, spreadOf(row))), by: (row) => (row.silos ?? []).length },
  { id: 'calls', label: 'calls', unit: '/s', figure: true, text: (row) => count(row.calls), by: (row) => row.calls },
  { id: 'failed', label: 'failed', unit: '%', figure: true, text: (row) => share(failures(row)), by: failures },
  { id: 'p99', label: 'p99', unit: 'ms', figure: true, text: (row) => milliseconds(row.p99), by: (row) => row.p99 },
  { id: 'wait', label: 'wait', unit: 'ms', figure: true, hint: 'mean time in the mailbox', text: (row) => milliseconds(row.wait), by: (row) => row.wait },
  { id: 'turn', label: 'turn', unit: 'ms', figure: true, hint: 'mean time of a turn', text: (row) => milliseconds(row.turn), by: (row) => row.turn },
  { id: 'writes', label: 'writes', unit: '/s', figure: true, text: (row) => count(row.writes), by: (row) => row.writes },
  { id: 'conflicts', label: 'conflicts', unit: '/s', figure: true, text: (row) => count(row.conflicts), by: (row) => row.conflicts },
];

/** @param {import('../main.js').Context} ctx */
export function page(ctx) {
  /** @type {any[]} */
  let rows = [];
  const system = h('input', { type: 'checkbox', checked: asked('system') === '1', onchange: () => { ask({ system: system.checked }, true); draw(); } });
  const list = table({ name: 'main', caption: 'Grain types', columns: COLUMNS, key: (row) => row.type, sort: '-calls', files: () => '/api/types', tools: h('label', { class: 'check' }, system, 'system types'), empty: state('No silo hosts a grain type.') });
  const note = h('span', { class: 'quiet' });
  const draw = () => {
    const shown = rows.filter((row) => system.checked || !row.system);
    note.textContent = shown.length < rows.length ? `${plural(rows.length - shown.length, 'system type')} hidden` : '';
    list.update(shown);
  };
  return { title: 'Grains', element: sheet({ title: 'Grains', note }, list.element), tick: (/** @type {any} */ tick) => { if (tick.types) { rows = tick.types; draw(); } } };
}
