// @ts-check
/** One trace: its spans under their parents, with the wait in a mailbox hatched apart from the run. */

import { h, set } from './dom.js';
import { milliseconds, seconds } from './format.js';

/** @typedef {{span: string, parent: string, kind: string, name: string, start: number, seconds: number, wait: number, error: string, silo: string, facts: Record<string, any>}} Span */

/** Spans with their depth, parents before children, by start. A span whose parent is not known is a root.
 * @param {Span[]} spans @returns {{span: Span, depth: number}[]} */
export function nested(spans) {
  const known = new Set(spans.map((each) => each.span));
  /** @type {Map<string, Span[]>} */
  const children = new Map();
  for (const each of [...spans].sort((a, b) => a.start - b.start)) {
    const parent = known.has(each.parent) && each.parent !== each.span ? each.parent : '';
    children.set(parent, [...(children.get(parent) ?? []), each]);
  }
  /** @type {{span: Span, depth: number}[]} */
  const rows = [];
  const seen = new Set();
  /** @param {string} parent @param {number} depth */
  const walk = (parent, depth) => {
    for (const each of children.get(parent) ?? []) {
      if (seen.has(each)) continue;
      seen.add(each);
      rows.push({ span: each, depth });
      walk(each.span, depth + 1);
    }
  };
  walk('', 0);
  for (const each of spans) if (!seen.has(each)) rows.push({ span: each, depth: 0 });
  return rows;
}

/** @param {Span[]} spans `start` in ms, times in seconds */
export function waterfall(spans) {
  const from = Math.min(...spans.map((each) => each.start));
  const to = Math.max(...spans.map((each) => each.start + each.seconds * 1000), from + 0.001);
  const part = (/** @type {number} */ ms) => ((ms / (to - from)) * 100).toFixed(3);
  const rows = nested(spans).map(({ span, depth }) => {
    const bar = h('span', { class: 'bar' }, span.wait ? h('i', { class: 'wait', '--at': part(span.start - from), '--long': part(span.wait * 1000) }) : null,
      h('i', { class: `run ${span.error ? 'failed' : span.kind}`, '--at': part(span.start - from + span.wait * 1000), '--long': part(Math.max(span.seconds - span.wait, 0) * 1000) }));
    const name = h('th', { scope: 'row', class: 'name' }, h('bdi', null, span.name), span.error ? h('span', { class: 'error' }, ` ${span.error}`) : null);
    set(name, '--depth', Math.min(depth, 12));
    const said = Object.entries(span.facts ?? {}).map(([key, value]) => `${key}=${value}`).join('  ');
    return h('tr', { title: said || null }, name, h('td', { class: 'quiet' }, span.kind), h('td', null, span.silo ?? ''), h('td', { class: 'figure' }, milliseconds((span.start - from) / 1000)), h('td', { class: 'figure' }, span.wait ? milliseconds(span.wait) : ''), h('td', { class: 'figure' }, milliseconds(Math.max(span.seconds - span.wait, 0))), h('td', { class: 'bars' }, bar));
  });
  const heads = [['span', ''], ['kind', ''], ['silo', ''], ['start', 'ms'], ['wait', 'ms'], ['run', 'ms'], [`0 to ${seconds((to - from) / 1000)}`, '']];
  return h('div', { class: 'scroll', tabindex: '0', role: 'region', 'aria-label': 'Spans of the trace' }, h('table', { class: 'waterfall' },
    h('caption', { class: 'unseen' }, 'Spans of the trace'),
    h('thead', null, h('tr', null, heads.map(([label, unit]) => h('th', { scope: 'col', class: unit ? 'figure' : null }, h('span', { class: 'label' }, label, unit ? h('span', { class: 'unit' }, unit) : null))))),
    h('tbody', null, rows)));
}
