// @ts-check
/** One grain type: its methods, their times, the options in force, and the way to one activation. */

import { actSection } from '../act.js';
import { address, get, grainPage, pathOf } from '../api.js';
import { chart } from '../chart.js';
import { h, put } from '../dom.js';
import { count, isFigure, middle, milliseconds, seconds, share } from '../format.js';
import { typeName } from '../form.js';
import { facts, link, section, sheet } from '../parts.js';
import { gaps, resource, state } from '../resource.js';
import { strip, stripScale, BOUNDS } from '../strip.js';
import { table } from '../table.js';
import { go } from '../url.js';

const LINES = 5;

/** @param {import('../main.js').Context} ctx */
export function page(ctx) {
  const [type] = ctx.params;
  let bounds = BOUNDS;
  /** @type {any[]} */
  let charts = [];
  let drawnFor = '';
  const plots = h('div', { class: 'charts' });
  const scale = h('div', { class: 'scalebox' });
  /** @type {import('../table.js').Column[]} */
  const columns = [
    { id: 'method', label: 'method', head: true, class: 'id', text: (row) => row.method },
    { id: 'calls', label: 'calls', unit: '/s', figure: true, text: (row) => count(row.calls), by: (row) => row.calls },
    { id: 'failed', label: 'failed', unit: '%', figure: true, text: (row) => share(row.calls ? row.failed / row.calls : null), by: (row) => (row.calls ? row.failed / row.calls : null) },
    { id: 'refused', label: 'refused', unit: '/s', figure: true, text: (row) => count(row.refused), by: (row) => row.refused },
    { id: 'p50', label: 'p50', unit: 'ms', figure: true, text: (row) => milliseconds(row.p50), by: (row) => row.p50 },
    { id: 'p95', label: 'p95', unit: 'ms', figure: true, text: (row) => milliseconds(row.p95), by: (row) => row.p95 },
    { id: 'p99', label: 'p99', unit: 'ms', figure: true, text: (row) => milliseconds(row.p99), by: (row) => row.p99 },
    { id: 'cells', label: 'time of a call, 50 µs to 30 s', class: 'strips', text: (row) => (row.cells ?? []).join(), node: (row) => (row.cells ? strip(row.cells, bounds) : null), by: (row) => row.p50 },
  ];
  const methods = table({ name: 'main', caption: `Methods of ${type}`, columns, key: (row) => row.method, sort: '-calls', files: () => `/api/types/${encodeURIComponent(type)}`, empty: state('No method was called yet.') });

  /** @param {any[]} rows */
  function plot(rows) {
    const busiest = rows.filter((row) => row.cells?.some(Boolean)).sort((a, b) => (b.calls ?? 0) - (a.calls ?? 0)).slice(0, LINES).map((row) => row.method).sort();
    if (drawnFor === busiest.join()) return;
    if (drawnFor && performance.now() < until) return;
    drawnFor = busiest.join();
    until = performance.now() + 60_000;
    const lines = (/** @type {string} */ what) => busiest.map((method, i) => ({ name: `${what}/${method}`, label: middle(method, 16), tone: i + 1 }));
    charts = [chart({ title: 'Calls', unit: 'per second', format: count, lines: lines('calls'), signal: ctx.signal }), chart({ title: 'p99', unit: 'time of a call', format: seconds, lines: lines('p99'), signal: ctx.signal })];
    put(plots, charts.map((each) => each.element));
  }
  let until = 0;

  const note = h('span', { class: 'quiet' });
  const detail = resource(ctx, { every: 30, get: (signal) => get(`/api/types/${encodeURIComponent(type)}`, {}, signal), show: (answer, body) => { put(note, answer.help || null); put(body, gaps(answer), section('Options in force', options(answer.options)), section('Methods', signatures(answer.methods ?? []))); } });
  const element = sheet({ title: h('bdi', { class: 'id' }, type), note, over: [link('/grains', 'Grains')], tools: [link(address('/activations', { type }), 'Activations'), link(pathOf('stored', type), 'Stored'), link(address('/logs', { type }), 'Logs')] },
    find(type), plots, section('Methods now', methods.element, scale),
    actSection(ctx, [{ action: 'deactivate', target: type, verb: 'Deactivate all', title: `Deactivate all activations of ${type}`, named: type }]), detail.element);
  return {
    title: type, element,
    hello: (/** @type {any} */ hello) => { bounds = hello.bounds?.filter(isFigure) ?? bounds; put(scale, h('span', { class: 'quiet' }, 'stronger: more calls'), stripScale(bounds.length + 1, bounds)); },
    tick: (/** @type {any} */ tick) => {
      if (!tick.methods) return;
      plot(tick.methods);
      charts.forEach((each) => each.draw(ctx.live));
      methods.update(tick.methods);
    },
  };
}

/** @param {string} type */
function find(type) {
  const input = h('input', { type: 'search', 'aria-label': `Key of a grain of ${type}`, placeholder: 'Key', 'data-search': true, autocomplete: 'off', spellcheck: 'false' });
  return h('form', { class: 'tools', role: 'search', onsubmit: (/** @type {any} */ event) => { event.preventDefault(); if (input.value) go(grainPage(type, input.value)); } }, h('label', { class: 'quiet' }, 'Find an activation'), input, h('button', null, 'Open'));
}

/** @param {any} options */
function options(options) {
  const pairs = Array.isArray(options) ? options.map((each) => [each.name, each.value]) : Object.entries(options ?? {});
  return pairs.length ? facts(pairs.map(([name, value]) => [name, String(value)])) : state('This type has no options of its own.');
}

/** @param {any[]} methods */
function signatures(methods) {
  const list = table({
    name: 'signatures', caption: 'Methods and their types', plain: true, key: (row) => row.name, empty: state('This type has no methods.'),
    columns: [
      { id: 'name', label: 'method', head: true, class: 'id', text: (row) => row.name },
      { id: 'parameters', label: 'parameters', class: 'id wrap', text: (row) => parameters(row.parameters) },
      { id: 'kind', label: 'kind', text: (row) => [row.read_only ? 'read-only' : '', row.one_way ? 'one-way' : ''].filter(Boolean).join(', ') },
      { id: 'help', label: 'what it does', class: 'wide', text: (row) => row.help ?? '' },
    ],
  });
  list.update(methods);
  return list.element;
}

/** @param {any} schema a JSON Schema, or its text */
function parameters(schema) {
  const found = typeof schema === 'string' ? JSON.parse(schema || '{}') : schema ?? {};
  return Object.entries(found.properties ?? {}).map(([name, each]) => `${name}: ${typeName(each, found)}`).join(', ') || 'none';
}
