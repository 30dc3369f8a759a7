// @ts-check
/** What a person must look at: alarms, and the checks of the cluster. */

import { get } from '../api.js';
import { h, put } from '../dom.js';
import { duration, when } from '../format.js';
import { runbook, section, sheet, siloLink, status } from '../parts.js';
import { gaps, resource, state } from '../resource.js';
import { table } from '../table.js';

const OUTCOMES = ['failed', 'warning', 'ok'];

/** @param {any} check */
const outcome = (check) => (check.ok ? check.warn ? 'warning' : 'ok' : 'failed');

/** @param {import('../main.js').Context} ctx */
export function page(ctx) {
  const alarms = table({
    name: 'alarms', caption: 'Alarms', plain: true, key: (row) => `${row.name} ${row.silo ?? ''}`, empty: state('No alarms.', null, 'empty good'),
    columns: [
      { id: 'name', label: 'alarm', head: true, text: (row) => row.name, node: (row) => status(row.name, 'warning') },
      { id: 'silo', label: 'silo', text: (row) => row.silo ?? '–', node: (row) => siloLink(row.silo) },
      { id: 'since', label: 'since', text: (row) => when(row.since), node: (row) => h('span', null, when(row.since), h('span', { class: 'quiet' }, `  ${duration((ctx.live.now - row.since) / 1000)}`)) },
      { id: 'text', label: 'what', class: 'wide', text: (row) => row.text },
      { id: 'runbook', label: 'what to do', text: (row) => row.runbook ?? '', node: (row) => runbook(row.runbook) },
    ],
  });
  const checks = table({
    name: 'checks', caption: 'Checks', plain: true, key: (row) => `${row.name} ${row.silo ?? ''}`, empty: state('No check ran yet.'),
    columns: [
      { id: 'name', label: 'check', head: true, text: (row) => row.name },
      { id: 'ok', label: 'outcome', text: outcome, node: (row) => status(outcome(row)) },
      { id: 'text', label: 'what was found', class: 'wide', text: (row) => row.text },
      { id: 'runbook', label: 'what to do', text: (row) => (outcome(row) === 'ok' ? '' : row.runbook ?? ''), node: (row) => (outcome(row) === 'ok' ? null : runbook(row.runbook)) },
    ],
  });
  const cut = h('div');
  const found = resource(ctx, {
    every: 10,
    get: (signal) => get('/api/health', {}, signal),
    show: (answer, body) => {
      if (!body.firstChild) put(body, cut, section('Alarms', alarms.element), section('Checks', checks.element));
      alarms.update(answer.alarms ?? []);
      checks.update([...(answer.checks ?? [])].sort((a, b) => OUTCOMES.indexOf(outcome(a)) - OUTCOMES.indexOf(outcome(b))));
      put(cut, gaps(answer));
    },
  });
  return { title: 'Health', element: sheet({ title: 'Health' }, found.element) };
}
