// @ts-check
/** One silo: its figures, what it runs, how it differs, with whom it talks. */

import { actSection } from '../act.js';
import { address, get } from '../api.js';
import { chart } from '../chart.js';
import { h, put } from '../dom.js';
import { progress } from '../drain.js';
import { EventList } from '../events.js';
import { bytes, count, duration, percent, plural, seconds, whole } from '../format.js';
import { form } from '../form.js';
import { LiveFacts, copyable, facts, keyLink, link, section, sheet, status } from '../parts.js';
import { resource, state } from '../resource.js';
import { table } from '../table.js';
import { drawn } from './silos.js';

/** @param {string} name @param {string} caption @param {import('../table.js').Column[]} columns @param {any[]} rows @param {string} none */
function plain(name, caption, columns, rows, none) {
  const list = table({ name, caption, columns, plain: true, key: (row) => JSON.stringify(row), empty: state(none) });
  list.update(rows);
  return list.element;
}

/** A section of what the silo tells; without anything told it claims nothing. @param {any[] | undefined} rows @param {string} title @param {(rows: any[]) => any} draw */
const told = (rows, title, draw) => (rows?.length ? section(title, draw(rows)) : null);

/** @param {any[]} detail */
const options = (detail) => plain('options', 'Options that differ', [
  { id: 'name', label: 'option', head: true, class: 'id', text: (row) => row.name },
  { id: 'value', label: 'here', class: 'id', text: (row) => String(row.value) },
  { id: 'others', label: 'usual', class: 'id', text: (row) => row.usual },
], detail, '');

/** @param {any[]} detail */
const connections = (detail) => plain('connections', 'Connections', [
  { id: 'peer', label: 'peer', head: true, class: 'id', text: (row) => row.peer },
  { id: 'kind', label: 'kind', text: (row) => row.kind },
  { id: 'identity', label: 'identity', class: 'id', text: (row) => row.identity || 'none' },
  { id: 'pending', label: 'in flight', figure: true, text: (row) => whole(row.pending) },
  { id: 'called', label: 'calls to its observers', figure: true, text: (row) => (row.kind === 'client' ? whole(row.called) : '–') },
  { id: 'queue', label: 'unwritten', figure: true, text: (row) => bytes(row.queue) },
  { id: 'rtt', label: 'last probe', figure: true, text: (row) => (row.rtt >= 0 ? seconds(row.rtt) : '–') },
  { id: 'quiet', label: 'last heard', figure: true, text: (row) => (row.quiet < 1 ? 'now' : `${duration(row.quiet)} ago`) },
], detail, '');

/** @param {any[]} detail */
const steps = (detail) => facts(detail.map((step) => [step.name, seconds(step.seconds)]));

/** @param {any[]} stuck */
const turns = (stuck) => (stuck.length ? h('ul', { class: 'stuck' }, stuck.map((turn) => h('li', null, h('p', null, keyLink(turn.type, turn.key), ` ${turn.method} runs since ${duration(turn.seconds)}`), turn.stack?.length ? h('pre', null, turn.stack.join('\n')) : null))) : state('No turn is stuck.'));

/** @param {import('../main.js').Context} ctx @param {string} name */
function acts(ctx, name) {
  const level = form({ properties: { logger: { type: 'string', default: 'grange' }, level: { enum: ['DEBUG', 'INFO', 'WARNING', 'ERROR'] }, seconds: { type: 'number', default: 600, minimum: 1, description: 'seconds; then it is as before' } }, required: ['logger', 'level', 'seconds'] });
  const idle = form({ properties: { idle: { type: 'number', default: 60, minimum: 0, description: 'seconds without a call' } }, required: ['idle'] });
  const pause = form({ properties: { seconds: { type: 'number', default: 600, minimum: 1, description: 'seconds in which no activation moves by itself' } }, required: ['seconds'] });
  return actSection(ctx, [
    { action: 'cordon', target: name, silo: name, verb: 'Cordon', title: `Cordon ${name}` },
    { action: 'uncordon', target: name, silo: name, verb: 'Uncordon', title: `Uncordon ${name}` },
    { action: 'drain', target: name, silo: name, verb: 'Drain', title: `Drain ${name}`, named: name },
    { action: 'collect', target: name, silo: name, verb: 'Collect idle', title: `Deactivate idle grains of ${name}`, form: idle },
    { action: 'log level', target: 'grange', silo: name, verb: 'Log level', title: `Set a log level in ${name}`, form: level, aim: ({ logger, ...rest }) => [logger, rest] },
    { action: 'suspend rebalancing', target: '', verb: 'Suspend rebalancing', title: 'Suspend rebalancing on all silos', form: pause },
    { action: 'resume rebalancing', target: '', verb: 'Resume rebalancing', title: 'Resume rebalancing on all silos' },
    { action: 'dump tasks', target: name, silo: name, verb: 'Dump tasks', title: `Tasks of ${name}` },
    { action: 'declare dead', target: name, verb: 'Declare dead', title: `Declare ${name} dead`, named: name },
  ]);
}

/** @param {import('../main.js').Context} ctx */
export function page(ctx) {
  const [name] = ctx.params;
  const { signal } = ctx;
  const charts = [
    chart({ title: 'Calls', unit: 'per second', format: count, signal, lines: [{ name: `calls/${name}`, label: 'calls', tone: 1 }] }),
    chart({ title: 'CPU', unit: 'of one core', format: percent, signal, lines: [{ name: `cpu/${name}`, label: 'CPU', tone: 1 }] }),
    chart({ title: 'Loop lag', unit: 'p99', format: seconds, signal, lines: [{ name: `lag/${name}`, label: 'p99', tone: 1 }] }),
    chart({ title: 'Activations', unit: 'in memory', format: count, whole: true, signal, lines: [{ name: `activations/${name}`, label: 'all', tone: 1 }] }),
  ];
  const now = new LiveFacts();
  put(now.element, h('p', { class: 'quiet' }, 'Waiting for the first figures …'));
  const events = new EventList(ctx, (event) => event.silo === name);
  const detail = resource(ctx, {
    get: (wanted) => get(`/api/silos/${encodeURIComponent(name)}`, {}, wanted),
    show: (answer, body) => put(body, answer.drain ? section('It drains', h('ul', { class: 'drains' }, progress(answer.drain))) : null,
      section('Stuck turns', turns(answer.stuck ?? [])),
      told(answer.options, 'Options that differ from the other silos', options),
      told(answer.start, 'How it started', steps),
      told(answer.connections, 'Connections', connections), answer.more_connections ? h('p', { class: 'quiet' }, `${plural(answer.more_connections, 'more connection of clients is', 'more connections of clients are')} not listed.`) : null,
      answer.observers ? h('p', { class: 'quiet' }, `${plural(answer.observers, 'observer')} of code in its own process.`) : null),
  });
  const element = sheet({ title: name, over: [link('/silos', 'Silos')], tools: [link(address('/activations', { silo: name }), 'Activations'), link(address('/logs', { silo: name }), 'Logs'), link(address('/traces', { silo: name }), 'Traces')] },
    now.element, h('div', { class: 'charts' }, charts.map((each) => each.element)), acts(ctx, name), detail.element, section('What happened here', events.element));
  const draw = () => charts.forEach((each) => each.draw(ctx.live, events.marks));
  return {
    title: name, element, hello: draw,
    event: (/** @type {any} */ event) => events.add(event),
    tick: (/** @type {any} */ tick) => {
      draw();
      const row = (tick.silos ?? [tick.silo]).find((/** @type {any} */ each) => each?.name === name);
      if (row) now.update(summary(row));
    },
  };
}

/** @param {any} row */
const summary = (row) => /** @type {[string, any][]} */ ([
  ['status', drawn(row)], ['address', row.address ? copyable(row.address) : null], ['version', row.version], ['uptime', duration(row.uptime)],
  ['memory', bytes(row.rss)], ['in flight', whole(row.in_flight)], ['waiting', whole(row.waiting)], ['activations', whole(row.activations)],
  ['health score', row.score === undefined ? null : `${row.score} of 8`], ['load', row.load === undefined || row.load === null ? null : `${row.load.toFixed(2)}${row.load_cause ? `, by ${row.load_cause}` : ''}`],
  ['table', row.table ? status(row.table) : null], ['fenced', row.fenced || null],
]);
