import { deepEqual } from 'node:assert/strict';
import { containerSpec } from '../../../test/builders/container-spec.ts';
import { processDifferences } from './processes.ts';

describe('processes with more than they are allowed', () => {
  const spec = containerSpec({ ulimits: [{ name: 'nofile', soft: 100, hard: 200 }], oomScoreAdj: 300 });
  const line = (soft: string, hard: string): string =>
    `Limit                     Soft Limit           Hard Limit           Units     \nMax open files            ${soft.padEnd(20)} ${hard.padEnd(20)} files     \n`;
  const look = (files: Readonly<Record<string, string>>, freedom = false) => {
    const set: unknown[] = [];
    const calls = { list: () => [7], setLimit: (...limit: readonly number[]) => void set.push(limit), supervisor: 1 };
    const found = processDifferences(calls, { spec, name: 'web' }, { limits: freedom }, (path) => files[path]);
    for (const { field, mend } of found) if (field.startsWith('ulimit')) void mend?.();
    return { fields: found.map(({ field, found: now }) => `${field}: ${now}`), set };
  };
  const files = (soft: string, hard: string, score: string) => ({
    '/proc/7/limits': line(soft, hard),
    '/proc/7/oom_score_adj': `${score}\n`,
  });

  it('are those whose hard limit was raised, and those that were put behind others with the killer', () => {
    const { fields, set } = look(files('200', '5000', '-5'));
    deepEqual(fields, ['ulimit nofile of process 7: 5000', 'oom_score_adj of process 7: -5']);
    deepEqual(set, [[7, 7, 100, 200]]);
  });
  for (const [title, soft, hard, score] of [
    ['as asked for', '100', '200', '300'],
    ['with a limit that it lowered itself', '10', '20', '300'],
    ['with a soft limit that it raised to the hard one', '200', '200', '300'],
    ['that offers itself to the killer', '100', '200', '1000'],
  ] as const) {
    it(`are not those ${title}`, () => deepEqual(look(files(soft, hard, score)).fields, []));
  }
  it('are none where a process may do what it likes with them, or has ended', () => {
    deepEqual(look(files('200', 'unlimited', '-5'), true).fields, []);
    deepEqual(look({}).fields, []);
  });
});
