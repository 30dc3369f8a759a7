// @ts-check
/** Which silo doubts which: a row for the one that looks, a column for the one it looks at. */

import { h } from './dom.js';
import { plural, seconds } from './format.js';

/** @typedef {{probed: boolean, rtt: number, missed: number, voted: boolean, connected: boolean}} Doubt */

/** The word of a cell and what it means. @param {Doubt | null} doubt @returns {{text: string, kind: string, title: string}} */
export function verdict(doubt) {
  if (!doubt) return { text: '?', kind: 'none', title: 'this silo gave no answer' };
  if (doubt.voted) return { text: 'vote', kind: 'vote', title: `voted dead${doubt.connected ? ', though connected' : ''}` };
  if (doubt.missed) return { text: `${doubt.missed} missed`, kind: 'missed', title: `${plural(doubt.missed, 'probe')} in a row without an answer` };
  const rtt = doubt.rtt >= 0 ? seconds(doubt.rtt) : '';
  if (doubt.probed) return { text: rtt || 'probed', kind: 'well', title: `probed${rtt ? `, round trip ${rtt}` : ''}` };
  return { text: doubt.connected ? '·' : '', kind: 'none', title: doubt.connected ? 'connected, not probed' : 'not connected, not probed' };
}

/** @param {string[]} silos @param {(Doubt | null)[][]} doubts a row for each silo in this order */
export function matrix(silos, doubts) {
  return h('div', { class: 'scroll', tabindex: '0', role: 'region', 'aria-label': 'Which silo doubts which' }, h('table', { class: 'matrix' },
    h('caption', { class: 'unseen' }, 'Rows look at columns: round trip, probes missed in a row, vote'),
    h('thead', null, h('tr', null, h('th', { scope: 'col' }, 'looks at'), silos.map((silo) => h('th', { scope: 'col' }, silo)))),
    h('tbody', null, silos.map((silo, i) => h('tr', null, h('th', { scope: 'row' }, silo), silos.map((_, j) => {
      if (i === j) return h('td', { class: 'self' });
      const { text, kind, title } = verdict(doubts[i]?.[j] ?? null);
      return h('td', { class: kind, title }, text);
    })))),
  ));
}
