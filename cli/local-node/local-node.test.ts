import assert from 'node:assert/strict';
import { daemonFlags } from '../tsswarm/commands/init.ts';
import { splitReference } from '../images/reference.ts';
import { instanceName, placeOf } from './place.ts';
import { lastError, quoteForUnit } from './start.ts';

describe('where a node is', () => {
  it("is the machine's own place when nothing else is said", () => {
    const place = placeOf({}, {});
    assert.deepEqual(place, {
      stateDir: '/var/lib/tsswarm',
      runDir: '/run/tsswarm',
      socket: '/run/tsswarm/tsswarm.sock',
      isDefault: true,
    });
    assert.equal(instanceName(place), 'tsswarm');
  });
  it('flags are over the environment, and the socket lies in the run directory', () => {
    const place = placeOf({ runDir: '/r1' }, { TSSWARM_RUN_DIR: '/r2', TSSWARM_STATE_DIR: '/s2' });
    assert.deepEqual([place.runDir, place.stateDir, place.socket], ['/r1', '/s2', '/r1/tsswarm.sock']);
    assert.equal(place.isDefault, false);
  });
  it('a socket may be named alone, also as an address', () => {
    assert.equal(placeOf({}, { TSSWARM_SOCKET: 'unix:///tmp/x.sock' }).socket, '/tmp/x.sock');
    assert.equal(placeOf({ socket: '/tmp/y.sock' }, { TSSWARM_SOCKET: '/tmp/x.sock' }).socket, '/tmp/y.sock');
  });
  it('nodes at two places have two parent cgroups', () => {
    const names = ['/a', '/b'].map((stateDir) => instanceName({ stateDir, isDefault: false }));
    assert.notEqual(names[0], names[1]);
    assert.match(names[0] ?? '', /^tsswarm-[0-9a-f]{8}$/);
  });
});

describe('starting a node', () => {
  it('hands the flags of init on to the daemon', () => {
    const flags = daemonFlags({
      systemd: true,
      cgroupParent: 'p',
      nodeName: 'n',
      engineLabel: ['gpu=yes'],
      genericResource: ['gpu=a,b'],
      addressPool: ['10.1.0.0/16', '10.2.0.0/16'],
    });
    assert.equal(
      flags.join(' '),
      '--cgroup-parent p --node-name n --engine-label gpu=yes --generic-resource gpu=a,b --address-pool 10.1.0.0/16 --address-pool 10.2.0.0/16',
    );
  });
  it('quotes words for a unit file', () => {
    assert.equal(quoteForUnit('/usr/bin/tsswarmd'), '/usr/bin/tsswarmd');
    assert.equal(quoteForUnit('/my dir/50%$x"'), '"/my dir/50%%$$x\\""');
  });
  it('finds the reason in a log: the last line of level error, else a crash of the runtime', () => {
    const info = JSON.stringify({ level: 'info', message: 'ready' });
    const error = JSON.stringify({ level: 'error', message: 'cannot listen', hint: 'do this' });
    assert.deepEqual(lastError([info, error, info]), { message: 'cannot listen', hint: 'do this' });
    assert.deepEqual(lastError([info, 'error: state is locked', 'hint: wait']), {
      message: 'state is locked',
      hint: 'wait',
    });
    assert.equal(lastError([info]), undefined);
  });
});

describe('names of images, for people', () => {
  for (const [name, repository, tag] of [
    ['docker.io/library/nginx:1.27', 'nginx', '1.27'],
    ['docker.io/grafana/grafana:latest', 'grafana/grafana', 'latest'],
    ['registry.local:5000/app:dev', 'registry.local:5000/app', 'dev'],
    ['registry.local:5000/app', 'registry.local:5000/app', 'latest'],
    ['docker.io/library/nginx@sha256:abc', 'nginx', '<none>'],
  ] as const) {
    it(name, () => assert.deepEqual(splitReference(name), [repository, tag]));
  }
});
