import assert from 'node:assert/strict';
import { planCopy, splitPlace } from './plan.ts';
import type { CopyTarget } from './plan.ts';

describe('copying, as docker cp', () => {
  const rows: readonly [
    title: string,
    source: string,
    isFolder: boolean,
    target: string,
    there: CopyTarget['there'],
    expected: string | RegExp,
  ][] = [
    ['a file into a folder', 'a/f', false, '/to', 'folder', '/to f'],
    ['a file over a file', 'a/f', false, '/to/g', 'file', '/to g'],
    ['a file under a new name', 'a/f', false, '/to/g', 'nothing', '/to g'],
    ['a file to a folder that is not there', 'a/f', false, '/to/', 'nothing', /no such folder/],
    ['a file to a file that shall be a folder', 'a/f', false, '/to/', 'file', /not a folder/],
    ['a folder into a folder', 'a/d', true, '/to', 'folder', '/to d'],
    ['a folder with a slash into a folder', 'a/d/', true, '/to/', 'folder', '/to/ d'],
    ['the content of a folder', 'a/d/.', true, '/to', 'folder', '/to .'],
    ['the content of this folder', '.', true, '/to', 'folder', '/to .'],
    ['a folder under a new name', 'a/d', true, '/to/', 'nothing', '/ to'],
    ['the content of a folder as a new one', 'a/d/.', true, '/x/to', 'nothing', '/x to'],
    ['a folder over a file', 'a/d', true, '/to', 'file', /a folder cannot take its place/],
    ['the root', '/', true, '/to', 'folder', '/to .'],
  ];
  for (const [title, path, isFolder, target, there, expected] of rows) {
    it(title, () => {
      const plan = (): string => Object.values(planCopy({ path, isFolder }, { path: target, there })).join(' ');
      if (typeof expected === 'string') assert.equal(plan(), expected);
      else assert.throws(plan, expected);
    });
  }

  it('tells paths in containers from those of the machine', () => {
    assert.deepEqual(splitPlace('web:/etc'), { service: 'web', path: '/etc' });
    assert.deepEqual(splitPlace('web:etc'), { service: 'web', path: '/etc' });
    for (const path of ['./web:etc', '/web:etc', 'plain', '-', ':x']) assert.equal(splitPlace(path), undefined, path);
  });
});
