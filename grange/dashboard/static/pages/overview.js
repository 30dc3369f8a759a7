// @ts-check
/** What the cluster does now, and what changed in it. */

import { pathOf } from '../api.js';
import { chart } from '../chart.js';
import { h } from '../dom.js';
import { count, milliseconds, seconds, share } from '../format.js';
import { section, sheet } from '../parts.js';
import { EventList } from '../events.js';
import { table } from '../table.js';

/** @type {import('../table.js').Column} */
const METHOD = { id: 'method', label: 'method', head: true, text: (row) => `${row.type}/${row.method}`, node: (row) => h('a', { href: pathOf('grains', row.type), class: 'id' }, `${row.type}/${row.method}`) };
/** @type {Record<string, import('../table.js').Column>} */
const FIGURES = {
  share: { id: 'share', label: 'time', unit: '%', figure: true, text: (row) => share(row.share) },
  calls: { id: 'calls', label: 'calls', unit: '/s', figure: true, text: (row) => count(row.calls) },
  failed: { id: 'failed', label: 'failed', unit: '/s', figure: true, text: (row) => count(row.failed) },
  p99: { id: 'p99', label: 'p99', unit: 'ms', figure: true, text: (row) => milliseconds(row.p99) },
};

/** @param {string} name @param {string} caption @param {string[]} figures @param {string} empty */
const top = (name, caption, figures, empty) => table({ name, caption, plain: true, columns: [METHOD, ...figures.map((each) => FIGURES[each])], key: METHOD.text, empty: h('p', { class: 'state empty' }, empty) });

/** @param {import('../main.js').Context} ctx */
export function page(ctx) {
  const { signal } = ctx;
  const charts = [
    chart({ title: 'Calls', unit: 'per second', format: count, signal, lines: [{ name: 'calls_ok', label: 'ok', tone: 1 }, { name: 'calls_failed', label: 'failed', tone: 2 }, { name: 'calls_refused', label: 'refused', tone: 4 }] }),
    chart({ title: 'Time of a call', unit: 'wait and run', format: seconds, signal, lines: [{ name: 'p50', label: 'p50', tone: 3 }, { name: 'p95', label: 'p95', tone: 1 }, { name: 'p99', label: 'p99', tone: 2 }] }),
    chart({ title: 'Activations', unit: 'in memory', format: count, whole: true, signal, lines: [{ name: 'activations', label: 'all', tone: 1 }] }),
    chart({ title: 'Waiting', unit: 'requests in mailboxes', format: count, whole: true, signal, lines: [{ name: 'waiting', label: 'all', tone: 1 }] }),
  ];
  const tables = {
    share: top('top-share', 'Methods that take the most time', ['share', 'calls', 'p99'], 'No calls yet.'),
    errors: top('top-errors', 'Methods that fail the most', ['failed', 'calls'], 'No call failed.'),
    p99: top('top-p99', 'Slowest methods', ['p99', 'calls'], 'No calls yet.'),
  };
  const events = new EventList(ctx);
  const draw = () => charts.forEach((each) => each.draw(ctx.live, events.marks));
  const element = sheet({ title: 'Overview' },
    h('div', { class: 'charts' }, charts.map((each) => each.element)),
    h('div', { class: 'thirds' }, section('Most time', tables.share.element), section('Most failures', tables.errors.element), section('Slowest', tables.p99.element)),
    section('What changed', events.element));
  return {
    title: 'Overview', element,
    hello: draw,
    tick: (/** @type {any} */ tick) => {
      draw();
      const found = tick.top;
      if (found) for (const [name, each] of Object.entries(tables)) each.update(found[name] ?? []);
    },
    event: (/** @type {any} */ event) => events.add(event),
  };
}
