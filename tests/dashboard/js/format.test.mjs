import assert from 'node:assert/strict';
import { test } from 'node:test';
import { bytes, count, duration, listed, middle, milliseconds, percent, printable, printableLines, seconds, when, whole } from '../../../grange/dashboard/static/format.js';

test('numbers have three digits at most', () => {
  const shown = [0, 7, 812, 999, 999.6, 1000, 1234, 34112, 99960, 2.1e6, 0.5, 0.034, 7.25, 12.04, -1234];
  assert.deepEqual(shown.map(count), ['0', '7', '812', '999', '1 k', '1 k', '1.2 k', '34.1 k', '100 k', '2.1 M', '0.5', '0.034', '7.3', '12', '-1.2 k']);
});

test('times have the unit that fits', () => {
  assert.deepEqual([0, 0.00035, 0.0012, 0.035, 0.9999, 1.24, 59.6, 185].map(seconds), ['0', '350 µs', '1.2 ms', '35 ms', '1 s', '1.2 s', '59.6 s', '3m05s']);
});

test('long times have two units', () => {
  assert.deepEqual([42, 185, 7380, 457200, -3].map(duration), ['42s', '3m05s', '2h03m', '5d07h', '0s']);
});

test('a column of milliseconds keeps its points in one line', () => {
  const digit = /[\d\u2007]/g;
  const after = [0.00042, 0.0351, 1.25].map((value) => milliseconds(value).split(/[.\u2008]/)[1].match(digit)?.length);
  assert.deepEqual(after, [2, 2, 2]);
});

test('sizes and shares', () => {
  assert.deepEqual([812, 64000, 412e6, 1.2e9].map(bytes), ['812 B', '64 KB', '412 MB', '1.2 GB']);
  assert.deepEqual([0, 0.004, 0.123, 1].map(percent), ['0 %', '0.4 %', '12.3 %', '100 %']);
  assert.equal(whole(34112), '34,112');
});

test('what is not known is a dash', () => {
  for (const show of [count, seconds, duration, bytes, percent, whole, milliseconds, when]) {
    for (const value of [null, undefined, NaN, Infinity, 'x']) assert.equal(show(value), '–');
  }
});

test('a control character, a mark of direction and a lone surrogate become escapes', () => {
  assert.equal(printable('a\u001b[31mb\nc\u202ed\u2066e\ud800f\u0085'), 'a\\x1b[31mb\\x0ac\\u202ed\\u2066e\\ud800f\\x85');
  assert.equal(printable('💥 مرحبا <b>'), '💥 مرحبا <b>');
  assert.equal(printableLines('a\n\tb\u202e'), 'a\n\tb\\u202e');
});

test('a long id loses its middle and no half of a letter', () => {
  assert.equal(middle('abcdef', 6), 'abcdef');
  assert.equal(middle('abcdefg', 5), 'ab…fg');
  assert.equal(middle('💥'.repeat(9), 3), '💥…💥');
});

test('lists are read aloud', () => {
  assert.deepEqual([[], ['a'], ['a', 'b'], ['a', 'b', 'c']].map(listed), ['', 'a', 'a and b', 'a, b and c']);
});
