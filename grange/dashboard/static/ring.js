// @ts-check
/** The directory's ring as a circle: each arc is a range, its colour the silo that holds it. */

import { h, s, set } from './dom.js';
import { percent, plural } from './format.js';

const SIZE = 220;
const OUT = 104;
const IN = 82;

/** @typedef {{silo: string, from: number, to: number}} Arc from 0 to 1 */

/** The share of the ring and the number of ranges of each silo. @param {Arc[]} arcs @returns {{silo: string, share: number, ranges: number}[]} */
export function holdings(arcs) {
  /** @type {Map<string, {silo: string, share: number, ranges: number}>} */
  const found = new Map();
  for (const { silo, from, to } of arcs) {
    const each = found.get(silo) ?? { silo, share: 0, ranges: 0 };
    each.share += to >= from ? to - from : 1 - from + to;
    each.ranges += 1;
    found.set(silo, each);
  }
  return [...found.values()].sort((a, b) => a.silo.localeCompare(b.silo, 'en', { numeric: true }));
}

/** @param {number} turn 0 to 1, from the top @param {number} radius */
const at = (turn, radius) => `${(Math.sin(turn * 2 * Math.PI) * radius).toFixed(2)} ${(-Math.cos(turn * 2 * Math.PI) * radius).toFixed(2)}`;

/** @param {Arc} arc */
function sector({ from, to }) {
  const end = to > from ? to : to + 1;
  const stop = Math.min(end, from + 0.99999);
  const wide = stop - from > 0.5 ? 1 : 0;
  return `M${at(from, OUT)}A${OUT} ${OUT} 0 ${wide} 1 ${at(stop, OUT)}L${at(stop, IN)}A${IN} ${IN} 0 ${wide} 0 ${at(from, IN)}Z`;
}

/** @param {Arc[]} arcs */
export function ring(arcs) {
  const held = holdings(arcs);
  const tone = new Map(held.map(({ silo }, i) => [silo, i < 8 ? `tone-${i + 1}` : 'tone-other']));
  const light = (/** @type {string} */ silo) => { set(circle, 'data-lit', silo || null); for (const each of circle.querySelectorAll('path')) each.classList.toggle('faint', Boolean(silo) && each.silo !== silo); };
  const circle = s('svg', { class: 'ring', width: SIZE, height: SIZE, viewBox: `${-SIZE / 2} ${-SIZE / 2} ${SIZE} ${SIZE}`, role: 'img', 'aria-label': `The ring has ${plural(arcs.length, 'range')} on ${plural(held.length, 'silo')}; the table beside it has their shares.` },
    arcs.map((arc) => Object.assign(s('path', { class: `arc ${tone.get(arc.silo)}`, d: sector(arc), onpointerenter: () => light(arc.silo), onpointerleave: () => light('') }, s('title', null, `${arc.silo}: ${percent(arc.to - arc.from)}`)), { silo: arc.silo })));
  const rows = held.map(({ silo, share, ranges }) => h('tr', { onpointerenter: () => light(silo), onpointerleave: () => light('') }, h('th', { scope: 'row' }, h('i', { class: `swatch ${tone.get(silo)}` }), silo), h('td', { class: 'figure' }, (share * 100).toFixed(1)), h('td', { class: 'figure' }, ranges)));
  return h('div', { class: 'ringed' }, circle, h('table', null, h('caption', { class: 'unseen' }, 'Shares of the ring'), h('thead', null, h('tr', null, h('th', { scope: 'col' }, 'silo'), h('th', { scope: 'col', class: 'figure' }, 'share', h('span', { class: 'unit' }, '%')), h('th', { scope: 'col', class: 'figure' }, 'ranges'))), h('tbody', null, rows)));
}
