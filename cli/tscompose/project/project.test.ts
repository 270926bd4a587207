import assert from 'node:assert/strict';
import type { ComposeProject, ComposeService, ImageBuild } from '../../../compose/index.ts';
import { readTime } from '../logs/show.ts';
import { seconds } from '../commands/up.ts';
import { countStates } from '../commands/ls.ts';
import { parseScale, selectServices } from './desired.ts';
import { planImages } from './images.ts';
import type { ImageOptions } from './images.ts';

const service = (change: Partial<ComposeService> = {}): ComposeService => ({
  command: null,
  entrypoint: null,
  environment: {},
  labels: {},
  ports: [],
  volumes: [],
  networks: {},
  depends_on: {},
  secrets: [],
  configs: [],
  ...change,
});
const project = (services: ComposeProject['services']): ComposeProject => ({
  name: 'shop',
  workingDir: '/shop',
  files: [],
  services,
  disabled: [],
  profiles: [],
  networks: {},
  volumes: {},
  secrets: {},
  configs: {},
});
const on = (name: string) => ({ [name]: { condition: 'service_started', required: true } as const });

describe('which services a command is about', () => {
  const shop = project({
    web: service({ depends_on: on('app') }),
    app: service({ depends_on: on('db') }),
    db: service(),
    x: service(),
  });
  it('all, dependencies first', () =>
    assert.deepEqual([...selectServices(shop, []).keys()], ['db', 'app', 'web', 'x']));
  it('the named ones with what they depend on', () => {
    assert.deepEqual([...selectServices(shop, ['app']).keys()], ['db', 'app']);
  });
  it('only the named ones with --no-deps', () =>
    assert.deepEqual([...selectServices(shop, ['app'], false).keys()], ['app']));
  it('none that does not exist', () => assert.throws(() => selectServices(shop, ['wep']), /"wep": no such service/));
});

describe('which images are pulled and built', () => {
  const build: ImageBuild = {
    service: 'app',
    context: '/shop',
    dockerfile: 'Dockerfile',
    dockerfileInline: '',
    args: {},
    target: '',
    labels: {},
    names: ['shop-app'],
    noCache: false,
    pull: false,
  };
  const plan = (services: ComposeProject['services'], present: readonly string[], options: ImageOptions = {}) => {
    const shop = project(services);
    const { pulls, builds } = planImages(
      shop,
      new Map(Object.entries(shop.services)),
      [build],
      new Set(present),
      options,
    );
    return { pulls, builds: builds.map((one) => one.service) };
  };
  const image = { web: service({ image: 'nginx' }) };
  const built = { app: service({ build: { context: '/shop', dockerfile: 'Dockerfile' } }) };

  it('an image that is missing is pulled, one that is here is not', () => {
    assert.deepEqual(plan(image, []), { pulls: ['nginx'], builds: [] });
    assert.deepEqual(plan(image, ['nginx']), { pulls: [], builds: [] });
  });
  it('--pull is over pull_policy', () => {
    assert.deepEqual(plan(image, ['nginx'], { pull: 'always' }).pulls, ['nginx']);
    const always = { web: service({ image: 'nginx', pull_policy: 'always' }) };
    assert.deepEqual(plan(always, ['nginx']).pulls, ['nginx']);
    assert.deepEqual(plan(always, ['nginx'], { pull: 'missing' }).pulls, []);
    assert.throws(() => plan(image, [], { pull: 'never' }), /"nginx" is not on this node/);
    assert.throws(() => plan(image, [], { pull: 'sometimes' }), /expected always, missing or never/);
  });
  it('what can be built is built when it is missing or asked for', () => {
    assert.deepEqual(plan(built, []).builds, ['app']);
    assert.deepEqual(plan(built, ['shop-app']), { pulls: [], builds: [] });
    assert.deepEqual(plan(built, ['shop-app'], { build: true }).builds, ['app']);
    assert.deepEqual(plan(built, ['shop-app'], { build: false }).builds, []);
    assert.throws(() => plan(built, [], { build: false }), /--no-build/);
  });
});

describe('arguments', () => {
  it('--scale', () => {
    assert.deepEqual(parseScale(['web=3', 'db=0']), { web: 3, db: 0 });
    for (const bad of ['web', 'web=', 'web=x', '=3', 'web=-1'])
      assert.throws(() => parseScale([bad]), /SERVICE=NUMBER/);
  });
  it('--since takes a span, seconds or a time', () => {
    const now = Date.UTC(2026, 0, 31, 12);
    assert.equal(readTime(undefined, '--since', now), 0);
    assert.equal(readTime('10m', '--since', now), now - 600_000);
    assert.equal(readTime('1700000000', '--since', now), 1_700_000_000_000);
    assert.equal(readTime('2026-01-31T11:00:00Z', '--since', now), now - 3_600_000);
    assert.throws(() => readTime('yesterday', '--since', now), /--since "yesterday"/);
  });
  it('--timeout', () => {
    assert.equal(seconds('1.5', '--timeout'), 1.5);
    for (const bad of ['', 'x', '-1']) assert.throws(() => seconds(bad, '--timeout'), /expected a number of seconds/);
  });
  it('states are counted as docker compose ls does', () => {
    assert.equal(countStates(['running', 'exited', 'running']), 'running(2), exited(1)');
    assert.equal(countStates([]), 'empty');
  });
});
