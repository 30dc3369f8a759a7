// @ts-check
/** One trace. */

import { address, get } from '../api.js';
import { h, put } from '../dom.js';
import { plural, seconds, when } from '../format.js';
import { copyable, facts, link, sheet } from '../parts.js';
import { gaps, resource, state } from '../resource.js';
import { waterfall } from '../waterfall.js';

/** @param {import('../main.js').Context} ctx */
export function page(ctx) {
  const [trace] = ctx.params;
  const found = resource(ctx, {
    every: 0,
    get: (signal) => get(`/api/traces/${encodeURIComponent(trace)}`, {}, signal),
    show: (answer, body) => {
      const spans = answer.spans ?? [];
      if (!spans.length) return put(body, state('The silos no longer keep this trace.'));
      const start = Math.min(...spans.map((/** @type {any} */ each) => each.start));
      const end = Math.max(...spans.map((/** @type {any} */ each) => each.start + each.seconds * 1000));
      const errors = spans.filter((/** @type {any} */ each) => each.error).length;
      const silos = new Set(spans.map((/** @type {any} */ each) => each.silo).filter(Boolean));
      return put(body, facts([['began', when(start)], ['took', seconds((end - start) / 1000)], ['spans', String(spans.length)], ['silos', plural(silos.size, 'silo')], ['failed', errors ? h('span', { class: 'error' }, plural(errors, 'span')) : 'none']]), gaps(answer), waterfall(spans),
        h('ul', { class: 'legend' }, h('li', null, h('i', { class: 'block wait' }), 'waits in a mailbox'), h('li', null, h('i', { class: 'block run server' }), 'turn'), h('li', null, h('i', { class: 'block run client' }), 'call, as its caller sees it'), h('li', null, h('i', { class: 'block run activation' }), 'activation'), h('li', null, h('i', { class: 'block run storage' }), 'storage and directory'), h('li', null, h('i', { class: 'block run failed' }), 'failed')));
    },
  });
  return { title: `Trace ${trace.slice(0, 8)}`, element: sheet({ title: copyable(trace, 40), over: [link('/traces', 'Traces')], tools: [link(address('/logs', { trace }), 'Logs')] }, found.element) };
}
