import assert from 'node:assert/strict';
import { test } from 'node:test';
import { KEPT, Series, axis, firstOf, largest, minutes, path, spaced, spread, thinned, timeMarks } from '../../../grange/dashboard/static/series.js';

const T = 1_800_000_000_000;

test('a figure comes to its time, and times without one are gaps', () => {
  const series = new Series(T, 1, [1, 2]);
  series.push(T + 2000, 3);
  series.push(T + 5040, 6);
  assert.deepEqual(series.values, [1, 2, 3, null, null, 6]);
  assert.equal(series.at(T + 5000), 6);
  assert.equal(series.at(T + 4000), null);
  assert.equal(series.at(T - 1000), null);
});

test('a figure stands for all seconds of its span', () => {
  const series = new Series(T, 1, [1]);
  series.push(T + 5000, 6, 3);
  assert.deepEqual(series.values, [1, null, null, 6, 6, 6]);
  series.push(T + 7020, 8, 1.02);
  assert.deepEqual(series.values.slice(6), [8, 8]);
});

test('a figure that comes twice is kept once', () => {
  const series = new Series(T, 1, [1]);
  series.push(T, 5);
  series.push(T - 9000, 7);
  assert.deepEqual(series.values, [5]);
});

test('a day keeps no more than fifteen minutes', () => {
  const series = new Series(T);
  for (let i = 0; i < 3 * KEPT; i += 1) series.push(T + i * 1000, i);
  assert.equal(series.values.length, KEPT);
  assert.equal(series.last, 3 * KEPT - 1);
  assert.equal(series.at(T + (3 * KEPT - 1) * 1000), 3 * KEPT - 1);
  assert.equal(series.values[0], 2 * KEPT);
});

test('after a long sleep the series begins anew', () => {
  const series = new Series(T, 1, [1, 2, 3]);
  series.push(T + 86_400_000, 9);
  assert.deepEqual(series.values, [9]);
  assert.equal(series.at(T + 86_400_000), 9);
});

test('an axis begins at 0 and has round marks', () => {
  assert.deepEqual(axis(1400), { top: 1500, marks: [0, 500, 1000, 1500] });
  assert.deepEqual(axis(0), { top: 1, marks: [0] });
  assert.deepEqual(axis(NaN), { top: 1, marks: [0] });
  for (const max of [0.00037, 0.9, 1, 7, 99, 12345, 1e9]) {
    const { top, marks } = axis(max);
    assert.ok(top >= max * 0.9999 && top <= max * 2.01, `${max} under ${top}`);
    assert.equal(marks[0], 0);
    assert.ok(marks.length <= 5);
  }
});

test('a path breaks at a gap, and a lone figure is a dash', () => {
  const series = new Series(0, 1, [1, 2, null, 4, null, 5, 6]);
  assert.equal(path(series, (time) => time / 1000, (value) => value, 0), 'M0.0 1.0L1.0 2.0M3.0 4.0h1.5M5.0 5.0L6.0 6.0');
});

test('a path begins where the chart does', () => {
  const series = new Series(0, 1, [1, 2, 3]);
  assert.equal(path(series, (time) => time / 1000, (value) => value, 1000), 'M1.0 2.0L2.0 3.0');
});

test('a summary knows the lowest, the highest and the newest figure', () => {
  assert.deepEqual(spread(new Series(T, 1, [null, 4, 2, null])), { low: 2, high: 4, mean: 3, last: 2 });
  assert.equal(spread(new Series(T, 1, [null])), null);
  assert.equal(largest([new Series(T, 1, [1, null, 3]), new Series(T, 1, [2])]), 3);
});

test('means of minutes come newest first, and an empty minute has none', () => {
  const start = Math.floor(T / 60000) * 60000;
  const rows = minutes(new Series(start, 30, [1, 3, null, null, 7]));
  assert.deepEqual(rows.map((row) => row.mean), [7, null, 2]);
});

test('marks of time are round and few', () => {
  const marks = timeMarks(T, T + 900_000, 5);
  assert.ok(marks.length >= 2 && marks.length <= 5);
  for (const mark of marks) assert.equal(mark % 60_000, 0);
  assert.ok(timeMarks(T, T + 40 * 86_400_000, 6).length <= 7);
});

test('labels do not cover each other and stay inside', () => {
  const places = spaced([10, 11, 12, 100], 14, 0, 100);
  const order = [...places].sort((a, b) => a - b);
  order.slice(1).forEach((place, i) => assert.ok(place - order[i] >= 14));
  const low = spaced([98, 99, 100], 14, 0, 100);
  assert.ok(Math.max(...low) <= 100 && Math.min(...low) >= 0);
});

test('an axis of whole things has no halves, and a chart begins with the first figure', () => {
  assert.deepEqual(axis(1, 3, 1).marks, [0, 1]);
  assert.equal(firstOf([new Series(T, 1, [null, null, 4]), new Series(T, 1, [null])]), T + 2000);
  assert.equal(firstOf([new Series(T, 1, [null])]), null);
});

test('a small line has means, and keeps its gaps', () => {
  const thin = thinned(new Series(T, 1, [1, 3, null, null, 5, 7]), T, T + 6000, 3);
  assert.deepEqual(thin.values, [2, null, 6]);
  assert.deepEqual(thinned(new Series(T, 1, [1]), T + 9000, T + 12_000, 3).values, [null, null, null]);
});
