import assert from 'node:assert/strict';
import { test } from 'node:test';
import { outcomeOf } from '../../../grange/dashboard/static/act.js';
import { ApiError, address, grainPage, pathOf } from '../../../grange/dashboard/static/api.js';
import { InputError, parsed, resolved, typeName } from '../../../grange/dashboard/static/form.js';
import { readEvents } from '../../../grange/dashboard/static/live.js';
import { verdict } from '../../../grange/dashboard/static/matrix.js';
import { matching } from '../../../grange/dashboard/static/palette.js';
import { holdings } from '../../../grange/dashboard/static/ring.js';
import { range, sentence, shade } from '../../../grange/dashboard/static/strip.js';
import { lanes } from '../../../grange/dashboard/static/timeline.js';
import { nested } from '../../../grange/dashboard/static/waterfall.js';

test('a key of any letters makes a path that names only it', () => {
  assert.equal(pathOf('g', 'cart', 'a/b?c#d'), '/g/cart/a%2Fb%3Fc%23d');
  assert.equal(grainPage('cart', '..'), '/g/cart?key=..');
  assert.equal(grainPage('cart', '.'), '/g/cart?key=.');
  assert.equal(grainPage('cart', ''), '/g/cart?key=+');
  assert.equal(pathOf('g', '\ud800'), '/g/%EF%BF%BD');
  assert.equal(new URL(grainPage('cart', '../../evil'), 'http://here').pathname, '/g/cart/..%2F..%2Fevil');
});

test('a query leaves out what is empty', () => {
  assert.equal(address('/api/x', { a: '', b: 0, c: null, d: 'ä&', e: false }), '/api/x?b=0&d=%C3%A4%26');
});

test('a stream is cut into events wherever the network cuts it', async () => {
  const text = 'retry: 1000\n\nid: e-1\nevent: hello\ndata: {"a":\ndata: 1}\n\n:\n\nid: e-2\r\nevent: tick\r\ndata: {}\r\n\r\n';
  const bytes = new TextEncoder().encode(text);
  for (const size of [1, 3, 1000]) {
    const found = [];
    const body = new ReadableStream({ start(out) { for (let i = 0; i < bytes.length; i += size) out.enqueue(bytes.slice(i, i + size)); out.close(); } });
    await readEvents(body, (name, data, id) => found.push([name, data, id]));
    assert.deepEqual(found, [['hello', '{"a":\n1}', 'e-1'], ['tick', '{}', 'e-2']]);
  }
});

test('a lane keeps a state until the next one, and a vote starts none', () => {
  const version = (n, time, status, why = '') => ({ version: n, time, silo: 'a', status, by: 'b', why });
  const [lane] = lanes([version(3, 30, 'dead'), version(1, 0, 'joining'), version(2, 10, 'active'), version(4, 20, 'active', 'vote 1')].map((each, i) => ({ ...each, version: [4, 1, 2, 3][i] })), 50);
  assert.deepEqual(lane.spans, [{ status: 'joining', from: 0, to: 10 }, { status: 'active', from: 10, to: 30 }, { status: 'dead', from: 30, to: 50 }]);
  assert.equal(lane.marks.length, 4);
});

test('shares of the ring count an arc over the end', () => {
  const [a, b] = holdings([{ silo: 'a', from: 0.75, to: 0.25 }, { silo: 'b', from: 0.25, to: 0.75 }]);
  assert.deepEqual([a.share, b.share, a.ranges], [0.5, 0.5, 1]);
});

test('spans come under their parents, also with a lost parent or a circle', () => {
  const span = (name, parent, start) => ({ span: name, parent, start });
  const rows = nested([span('c', 'b', 3), span('a', 'gone', 1), span('b', 'a', 2), span('d', 'a', 4), span('x', 'y', 5), span('y', 'x', 6)]);
  assert.deepEqual(rows.map(({ span: each, depth }) => `${each.span}${depth}`), ['a0', 'b1', 'c2', 'd1', 'x0', 'y0']);
});

test('the cells of a histogram are said in words', () => {
  const bounds = [0.001, 0.01];
  assert.deepEqual([0, 1, 2].map((i) => range(i, bounds)), ['up to 1 ms', '1 ms to 10 ms', 'over 10 ms']);
  assert.equal(sentence([1, 3, 0], bounds), '4 calls, 75 % of them 1 ms to 10 ms, the longest 1 ms to 10 ms');
  assert.equal(sentence([0, 0, 0], bounds), 'no calls');
  assert.equal(shade(0, 10), 0);
  assert.ok(shade(1, 1000) > 0.1 && shade(1000, 1000) === 1);
});

test('a vote weighs more than a missed probe, and that more than a round trip', () => {
  const doubt = { probed: true, rtt: 0.001, missed: 0, voted: false, connected: true };
  assert.equal(verdict(doubt).text, '1 ms');
  assert.equal(verdict({ ...doubt, missed: 2 }).text, '2 missed');
  assert.equal(verdict({ ...doubt, missed: 2, voted: true }).kind, 'vote');
  assert.equal(verdict(null).text, '?');
});

test('a form reads values as their types', () => {
  assert.equal(parsed('12', { type: 'integer' }, 'n'), 12);
  assert.equal(parsed('', { type: 'string' }, 's'), '');
  assert.deepEqual(parsed('["a"]', { type: 'array' }, 'l'), ['a']);
  for (const [text, schema] of [['1.5', { type: 'integer' }], ['', { type: 'number' }], ['x', { type: 'number' }], ['9007199254740993', { type: 'integer' }], ['5', { type: 'integer', maximum: 4 }], ['{', { type: 'object' }]]) {
    assert.throws(() => parsed(text, schema, 'n'), InputError);
  }
});

test('a schema is found behind references, and in a circle too', () => {
  const root = { $defs: { A: { type: 'string' }, L: { $ref: '#/$defs/L' } } };
  assert.deepEqual(resolved({ anyOf: [{ $ref: '#/$defs/A' }, { type: 'null' }] }, root), { schema: { type: 'string' }, nullable: true });
  assert.ok(resolved({ $ref: '#/$defs/L' }, root));
  assert.equal(typeName({ type: 'array', items: { $ref: '#/$defs/A' } }, root), 'list of string');
});

test('a choice that begins with the letters comes before one that has them', () => {
  const all = ['Overview', 'Silos', 'silo-1', 'Logs', 'lost-lane'].map((text) => ({ kind: '', text }));
  assert.deepEqual(matching(all, 'lo').map(({ text }) => text), ['Logs', 'lost-lane', 'Silos', 'silo-1']);
  assert.deepEqual(matching(all, 'zz'), []);
});

test('an act without an answer has an unknown outcome', () => {
  assert.equal(outcomeOf(new ApiError(0, 'no answer within 10 s')), 'unknown');
  assert.equal(outcomeOf(new ApiError(502, 'gateway')), 'unknown');
  assert.equal(outcomeOf(new TypeError('network')), 'unknown');
  assert.equal(outcomeOf(new ApiError(409, 'no longer holds')), 'refused');
});
