// @ts-check
/** All silos side by side, and the ring that they share. */

import { get } from '../api.js';
import { spark } from '../chart.js';
import { h } from '../dom.js';
import { bytes, count, duration, milliseconds, whole } from '../format.js';
import { section, sheet, siloLink, status } from '../parts.js';
import { resource, state } from '../resource.js';
import { ring } from '../ring.js';
import { table } from '../table.js';

const SPARKS = 5;

/** The state of a silo as its word: what stops it comes before what it is. @param {any} row */
export const word = (row) => (row.problem ? (row.age === null || row.age === undefined ? 'no answer yet' : `no answer since ${duration(row.age)}`) : row.fenced ? 'fenced' : row.cordoned ? 'cordoned' : row.status);

/** @param {any} row */
export const drawn = (row) => status(word(row), row.problem ? 'silent' : word(row));

/** @param {import('../main.js').Context} ctx @returns {import('../table.js').Column[]} */
const columns = (ctx) => {
  const line = (/** @type {string} */ what) => (/** @type {any} */ row) => spark(ctx.live, `${what}/${row.name}`, 64);
  const stamp = (/** @type {any} */ row) => `${row.name} ${Math.floor(ctx.live.now / (SPARKS * 1000))}`;
  return [
    { id: 'name', label: 'silo', head: true, text: (row) => row.name, node: (row) => siloLink(row.name) },
    { id: 'status', label: 'status', text: word, node: drawn },
    { id: 'version', label: 'version', text: (row) => row.version ?? '–' },
    { id: 'uptime', label: 'uptime', figure: true, text: (row) => duration(row.uptime), by: (row) => row.uptime },
    { id: 'calls', label: 'calls', unit: '/s', figure: true, text: (row) => count(row.calls), by: (row) => row.calls },
    { id: 'callsline', label: '15 min', class: 'sparks', text: stamp, node: line('calls'), by: (row) => row.calls },
    { id: 'cpu', label: 'CPU', unit: '%', figure: true, text: (row) => (row.cpu === null || row.cpu === undefined ? '–' : (row.cpu * 100).toFixed(0)), by: (row) => row.cpu },
    { id: 'cpuline', label: '15 min', class: 'sparks', text: stamp, node: line('cpu'), by: (row) => row.cpu },
    { id: 'lag', label: 'lag', unit: 'ms', figure: true, hint: 'of the event loop, p99', text: (row) => milliseconds(row.lag), by: (row) => row.lag },
    { id: 'rss', label: 'memory', figure: true, text: (row) => bytes(row.rss), by: (row) => row.rss },
    { id: 'in_flight', label: 'in flight', figure: true, text: (row) => whole(row.in_flight), by: (row) => row.in_flight },
    { id: 'waiting', label: 'waiting', figure: true, text: (row) => whole(row.waiting), by: (row) => row.waiting },
    { id: 'activations', label: 'activations', figure: true, text: (row) => whole(row.activations), by: (row) => row.activations },
    { id: 'score', label: 'score', figure: true, hint: 'local health: 0 healthy, 8 worst', text: (row) => whole(row.score), by: (row) => row.score },
    { id: 'load', label: 'load', figure: true, hint: '1.0: full', off: true, text: (row) => (row.load === undefined || row.load === null ? '–' : `${row.load.toFixed(2)} ${row.load_cause ?? ''}`), by: (row) => row.load },
    { id: 'table', label: 'table', off: true, text: (row) => row.table ?? '–', node: (row) => status(row.table ?? '–') },
    { id: 'address', label: 'address', off: true, class: 'id', text: (row) => row.address ?? '–' },
  ];
};

/** @param {import('../main.js').Context} ctx */
export function page(ctx) {
  const list = table({ name: 'main', caption: 'Silos', columns: columns(ctx), key: (row) => row.name, sort: 'name', files: () => '/api/silos', dim: (row) => (row.problem || row.status === 'dead' ? 'old' : ''), empty: state('No silo is in the membership table.') });
  const circle = resource(ctx, {
    get: (signal) => get('/api/ring', {}, signal),
    every: 10,
    show: (answer, body) => body.replaceChildren((answer.arcs ?? answer).length ? ring(answer.arcs ?? answer) : state('The directory has no ranges yet.')),
  });
  const element = sheet({ title: 'Silos' }, list.element, section('Ring of the grain directory', h('p', { class: 'quiet' }, 'Each silo keeps the addresses of the grains whose hash falls into its ranges.'), circle.element));
  return { title: 'Silos', element, tick: (/** @type {any} */ tick) => tick.silos && list.update(tick.silos) };
}
