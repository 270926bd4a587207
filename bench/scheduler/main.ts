/**
 * The scheduler alone: how long 30,000 tasks take onto 1,000 nodes, what one more task costs then, and the memory of it. Every
 * run is checked: nothing overcommitted, spread as even as asked.
 *
 * Usage: npm run bench:scheduler                 30,000 tasks onto 1,000 nodes
 *        npm run bench:scheduler -- TASKS NODES
 */
import { cases } from './cases.ts';
import { measure } from './measure.ts';

const [tasks = '30000', nodes = '1000'] = process.argv.slice(2);
const sizes = { tasks: positive(tasks, 'tasks'), nodes: positive(nodes, 'nodes') };
const columns = ['', 'all placed', 'per task', 'one more: median', 'p99', 'heap', 'even within'];
const rows: string[][] = [];
for (const load of cases(sizes)) {
  const result = await measure(load);
  rows.push([
    load.name,
    `${result.totalMs.toFixed(0)} ms`,
    `${((result.totalMs * 1000) / sizes.tasks).toFixed(1)} µs`,
    `${result.oneMore.median.toFixed(0)} µs`,
    `${result.oneMore.p99.toFixed(0)} µs`,
    `${(result.heapBytes / 2 ** 20).toFixed(0)} MB`,
    String(result.unevenness),
  ]);
}
console.log(
  `${sizes.tasks} tasks onto ${sizes.nodes} nodes; "heap" is what the scheduler adds to the store's own objects\n`,
);
const widths = columns.map((title, i) => Math.max(title.length, ...rows.map((row) => row[i]?.length ?? 0)));
for (const row of [columns, ...rows])
  console.log(
    row
      .map((cell, i) => cell.padEnd(widths[i] ?? 0))
      .join('  ')
      .trimEnd(),
  );

function positive(text: string, what: string): number {
  const value = Number(text);
  if (!Number.isInteger(value) || value <= 0)
    throw new Error(`reading the number of ${what} "${text}": above 0 was expected`);
  return value;
}
