// @ts-check
/** The membership table over time: a lane for each silo, a mark for each version. */

import { h, s } from './dom.js';
import { clock, plural, when } from './format.js';
import { timeMarks } from './series.js';

const LANE = 28;
const HEAD = 22;

/** @typedef {{version: number, time: number, silo: string, status: string, by: string, why: string}} Version */
/** @typedef {{silo: string, from: number, to: number | null, why: string}} Fence a time in which a silo started no turns */

/** The lanes: for each silo its states from time to time, in the order of their first. @param {Version[]} versions @param {number} now
 * @returns {{silo: string, spans: {status: string, from: number, to: number}[], marks: Version[]}[]} */
export function lanes(versions, now) {
  /** @type {Map<string, {silo: string, spans: {status: string, from: number, to: number}[], marks: Version[]}>} */
  const found = new Map();
  for (const each of [...versions].sort((a, b) => a.version - b.version)) {
    if (!each.silo) continue;
    let lane = found.get(each.silo);
    if (!lane) found.set(each.silo, (lane = { silo: each.silo, spans: [], marks: [] }));
    const last = lane.spans[lane.spans.length - 1];
    lane.marks.push(each);
    if (last && last.status === each.status) continue;
    if (last) last.to = each.time;
    lane.spans.push({ status: each.status, from: each.time, to: now });
  }
  return [...found.values()];
}

/** A shape for what happened, around 0,0. @param {string} status @param {string} why */
function shape(status, why) {
  if (status === 'dead') return 'M-4 -4L4 4M4 -4L-4 4';
  if (/vote|suspect/i.test(why)) return 'M0 -5L5 0L0 5L-5 0Z';
  if (status === 'joining') return 'M-3 -4L4 0L-3 4Z';
  if (status === 'leaving') return 'M3 -4L-4 0L3 4Z';
  return 'M-4 -4h8v8h-8Z';
}

/** @param {{versions: Version[], fences?: Fence[], now: number, span: number}} options `span` in seconds; 0: all */
export function timeline({ versions, fences = [], now, span }) {
  const first = Math.min(...versions.map((each) => each.time), now - 60_000);
  const from = span ? now - span * 1000 : first - (now - first) * 0.02;
  const rows = lanes(versions, now).filter((lane) => lane.spans.some((each) => each.to >= from && (each.status !== 'dead' || each.from >= from)));
  const at = (/** @type {number} */ time) => `${(((Math.max(time, from) - from) / (now - from)) * 100).toFixed(2)}%`;
  const height = HEAD + rows.length * LANE;
  const marks = timeMarks(from, now, 6);
  const bars = rows.map((lane, i) => {
    const y = HEAD + i * LANE;
    const spans = lane.spans.filter((each) => each.to >= from).map((each) => s('rect', { class: `span ${each.status}`, x: at(each.from), y: each.status === 'dead' ? y + 13 : y + 9, height: each.status === 'dead' ? 2 : 10, width: `${(((each.to - Math.max(each.from, from)) / (now - from)) * 100).toFixed(2)}%` }, s('title', null, `${lane.silo} ${each.status}, from ${when(each.from)}`)));
    const stops = fences.filter((fence) => fence.silo === lane.silo && (fence.to ?? now) >= from).map((fence) => s('rect', { class: 'fence', x: at(fence.from), y: y + 7, height: 14, width: `${((((fence.to ?? now) - Math.max(fence.from, from)) / (now - from)) * 100).toFixed(2)}%` }, s('title', null, `${lane.silo} started no turns from ${when(fence.from)}: ${fence.why}`)));
    const points = lane.marks.filter((each) => each.time >= from).map((each) => s('svg', { x: at(each.time), y: y + 14, overflow: 'visible' }, s('path', { class: `mark ${each.status}`, d: shape(each.status, each.why) }, s('title', null, `version ${each.version}, ${when(each.time)}: ${lane.silo} ${each.status}, by ${each.by}: ${each.why}`))));
    return s('g', null, s('line', { class: 'lane', x1: '0', x2: '100%', y1: y + LANE, y2: y + LANE }), spans, stops, points);
  });
  const svg = s('svg', { width: '100%', height, role: 'img', 'aria-label': `${plural(rows.length, 'silo')} and ${plural(versions.length, 'version')} of the membership table; the table below has them all.` },
    marks.map((time) => s('g', { class: 'grid' }, s('line', { x1: at(time), x2: at(time), y1: HEAD - 4, y2: height }), s('text', { x: at(time), y: 12, 'text-anchor': now - time < (now - from) * 0.04 ? 'end' : 'middle' }, now - from > 36e5 * 36 ? when(time, 0).slice(5, 16) : clock(time).slice(0, now - from < 3e5 ? 8 : 5)))), bars);
  return h('div', { class: 'timeline' }, h('div', { class: 'names', 'aria-hidden': 'true' }, rows.map((lane) => h('div', { title: lane.silo }, lane.silo))), h('div', { class: 'lanes' }, svg));
}

/** What the marks mean. */
export const legend = () => h('ul', { class: 'legend' }, [['joining', ''], ['active', ''], ['leaving', ''], ['dead', ''], ['active', 'vote']].map(([status, why]) => h('li', null,
  s('svg', { width: 12, height: 12, viewBox: '-6 -6 12 12', 'aria-hidden': 'true' }, s('path', { class: `mark ${status}`, d: shape(status, why) })), why || status)), h('li', null, s('svg', { width: 16, height: 12, 'aria-hidden': 'true' }, s('rect', { class: 'fence', width: 16, height: 12 })), 'fenced'));
