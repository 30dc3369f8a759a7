// @ts-check
/** The runbook of an alarm. */

import { get } from '../api.js';
import { put } from '../dom.js';
import { link, sheet } from '../parts.js';
import { markdown } from '../markdown.js';
import { resource } from '../resource.js';

/** @param {import('../main.js').Context} ctx */
export function page(ctx) {
  const [name] = ctx.params;
  const found = resource(ctx, {
    every: 0,
    get: (signal) => get(`/api/runbooks/${encodeURIComponent(name)}`, {}, signal),
    show: (answer, body) => put(body, markdown(answer.text.replace(/^# .*\n/, ''))),
  });
  return { title: `Runbook ${name}`, element: sheet({ title: name, over: [link('/health', 'Health'), link('/logs', 'Logs')] }, found.element) };
}
