import assert from 'node:assert/strict';
import { formatLocation, isTsswarmError } from '../../base/errors.ts';
import { convertProject } from '../convert/convert.ts';
import { renderConfig } from '../render/config.ts';
import type { ComposeProject } from '../types/project.ts';
import type { FileReader } from './files.ts';
import { loadProject } from './load.ts';
import type { LoadOptions } from './load.ts';

/** A reader over files in memory, by absolute path. */
function memoryReader(files: Readonly<Record<string, string>>): FileReader {
  const read = (path: string): Promise<string> => {
    const text = files[path];
    return text === undefined ? Promise.reject(new Error(`no file ${path}`)) : Promise.resolve(text);
  };
  return {
    read,
    readBytes: async (path) => Buffer.from(await read(path)),
    exists: (path) => Promise.resolve(files[path] !== undefined),
  };
}

const load = async (files: Readonly<Record<string, string>>, change: Partial<LoadOptions> = {}) =>
  loadProject({
    reader: memoryReader(files),
    currentDir: '/shop',
    files: [],
    envFiles: [],
    profiles: [],
    services: [],
    environment: {},
    ...change,
  });
const one = async (yaml: string, change: Partial<LoadOptions> = {}): Promise<ComposeProject> =>
  (await load({ '/shop/compose.yaml': yaml }, change)).project;

describe('loadProject()', () => {
  it('finds the file above and names the project after its directory', async () => {
    const { project } = await load(
      { '/shop/compose.yml': 'services: {a: {image: x}}' },
      { currentDir: '/shop/deep/down' },
    );
    assert.equal(project.name, 'shop');
    assert.equal(project.workingDir, '/shop');
  });

  it('takes the name from -p, then COMPOSE_PROJECT_NAME, then the file', async () => {
    const yaml = 'name: fromfile\nservices: {a: {image: x}}';
    assert.equal((await one(yaml)).name, 'fromfile');
    assert.equal((await one(yaml, { environment: { COMPOSE_PROJECT_NAME: 'env' } })).name, 'env');
    assert.equal(
      (await one(yaml, { projectName: 'given', environment: { COMPOSE_PROJECT_NAME: 'env' } })).name,
      'given',
    );
  });

  it('interpolates from the environment over .env, and warns of what is unset', async () => {
    const { project, warnings } = await load(
      {
        '/shop/compose.yaml': 'services: {a: {image: "x:${TAG}", hostname: "h${NONE}", user: "${U}"}}',
        '/shop/.env': 'TAG=file\nU=${TAG}1',
      },
      { environment: { TAG: 'env' } },
    );
    assert.equal(project.services['a']?.image, 'x:env');
    assert.equal(project.services['a'].user, 'env1');
    assert.deepEqual(warnings, ['the "NONE" variable is not set, defaulting to a blank string']);
  });

  it('merges files by what their keys mean', async () => {
    const { project } = await load(
      {
        '/shop/a.yml':
          'services: {web: {image: x, command: [a], ports: ["80:80", "81:81"], environment: [A=1, B=1], volumes: ["./a:/data"], depends_on: [db]}, db: {image: d}}',
        '/shop/b.yml':
          'services: {web: {command: b, ports: ["80:80", "90:90"], environment: {B: 2, C: }, volumes: ["./b:/data"], labels: {l: 1}}}',
      },
      { files: ['a.yml', 'b.yml'], environment: { C: 'c' } },
    );
    const web = project.services['web'];
    assert.deepEqual(web?.command, ['b']);
    assert.deepEqual(
      web.ports.map(({ published }) => published),
      ['80', '81', '90'],
    );
    assert.deepEqual(web.environment, { A: '1', B: '2', C: 'c' });
    assert.deepEqual(
      web.volumes.map(({ source }) => source),
      ['/shop/b'],
    );
    assert.deepEqual(web.depends_on, { db: { condition: 'service_started', required: true } });
  });

  it('resets and overrides', async () => {
    const { project } = await load(
      {
        '/shop/a.yml':
          'services: {web: {image: x, ports: ["80:80"], environment: {A: 1, B: 2}, dns: [1.1.1.1]}, old: {image: o}}',
        '/shop/b.yml':
          'services:\n  web:\n    ports: !override ["9:9"]\n    environment: {A: !reset null}\n    dns: !reset []\n  old: !reset null\n',
      },
      { files: ['a.yml', 'b.yml'] },
    );
    assert.deepEqual(Object.keys(project.services), ['web']);
    assert.deepEqual(
      project.services['web']?.ports.map(({ target }) => target),
      [9],
    );
    assert.deepEqual(project.services['web'].environment, { B: '2' });
    assert.equal(project.services['web'].dns, undefined);
  });

  it('extends a service of another file, whose paths start there', async () => {
    const { project } = await load({
      '/shop/compose.yaml': 'services: {web: {extends: {file: base/b.yml, service: common}, environment: {B: 2}}}',
      '/shop/base/b.yml': 'services: {common: {image: x, environment: {A: 1, B: 1}, volumes: ["./d:/d"], build: .}}',
    });
    const web = project.services['web'];
    assert.deepEqual(web?.environment, { A: '1', B: '2' });
    assert.equal(web.volumes[0]?.source, '/shop/base/d');
    assert.equal(web.build?.context, '/shop/base');
  });

  it('unfolds anchors, aliases and merge keys', async () => {
    const project = await one(
      'x-e: &e {restart: always, environment: {A: 1}}\nservices:\n  a: {<<: *e, image: x}\n  b: {<<: *e, image: y, restart: "no"}\n',
    );
    assert.equal(project.services['a']?.restart, 'always');
    assert.equal(project.services['b']?.restart, 'no');
    assert.deepEqual(project.services['b'].environment, { A: '1' });
  });

  it('activates services by profile and by name', async () => {
    const yaml = 'services: {a: {image: x}, b: {image: x, profiles: [debug]}, c: {image: x, profiles: [other]}}';
    assert.deepEqual(Object.keys((await one(yaml)).services), ['a']);
    assert.deepEqual(Object.keys((await one(yaml, { profiles: ['debug'] })).services), ['a', 'b']);
    assert.deepEqual(Object.keys((await one(yaml, { services: ['c'] })).services), ['a', 'c']);
    assert.deepEqual(Object.keys((await one(yaml, { environment: { COMPOSE_PROFILES: 'debug,other' } })).services), [
      'a',
      'b',
      'c',
    ]);
  });

  it('reads env files, later over earlier, environment over both', async () => {
    const { project } = await load({
      '/shop/compose.yaml':
        'services: {a: {image: x, env_file: [one.env, {path: gone.env, required: false}, two.env], environment: {C: 3}}}',
      '/shop/one.env': 'A=1\nB=1\nC=1',
      '/shop/two.env': 'B=2\nC=2',
    });
    assert.deepEqual(project.services['a']?.environment, { A: '1', B: '2', C: '3' });
  });

  it('reads every form of a port', async () => {
    const project = await one(
      'services: {a: {image: x, ports: ["80", "8080:80", "127.0.0.1:53:53/udp", "127.0.0.1::80", "[::1]:81:81", 443, "7000-7001:7000-7001", {target: 9, published: 10, mode: host}]}}',
    );
    assert.deepEqual(
      project.services['a']?.ports.map(
        ({ host_ip, published, target, protocol, mode }) =>
          `${host_ip ?? ''}|${published ?? ''}|${target}/${protocol}/${mode}`,
      ),
      [
        '||80/tcp/ingress',
        '|8080|80/tcp/ingress',
        '127.0.0.1|53|53/udp/ingress',
        '127.0.0.1||80/tcp/ingress',
        '::1|81|81/tcp/ingress',
        '||443/tcp/ingress',
        '|7000|7000/tcp/ingress',
        '|7001|7001/tcp/ingress',
        '|10|9/tcp/host',
      ],
    );
  });

  it('reads every form of a mount', async () => {
    const project = await one(
      'services: {a: {image: x, volumes: ["./b:/b:ro", "v:/v:nocopy", "/anon", "~/h:/h", {type: tmpfs, target: /t, tmpfs: {size: 1m, mode: 0700}}], tmpfs: "/u:size=2k,mode=755"}}\nvolumes: {v: }',
      { environment: { HOME: '/home/me' } },
    );
    assert.deepEqual(project.services['a']?.volumes, [
      { type: 'bind', source: '/shop/b', target: '/b', read_only: true, bind: { create_host_path: true } },
      { type: 'volume', source: 'v', target: '/v', volume: { nocopy: true } },
      { type: 'volume', target: '/anon', volume: {} },
      { type: 'bind', source: '/home/me/h', target: '/h', bind: { create_host_path: true } },
      { type: 'tmpfs', target: '/t', tmpfs: { size: 1048576, mode: 0o700 } },
      { type: 'tmpfs', target: '/u', tmpfs: { size: 2048, mode: 0o755 } },
    ]);
  });

  it('prints a project that loads again to the same', async () => {
    const yaml = `services:
  web:
    image: "x:\${T:-1}"
    command: echo $$HOME "a b"
    ports: ["80-81:80-81"]
    healthcheck: {test: curl -f x, interval: 1m30s, start_interval: 200ms}
    deploy:
      replicas: 2
      x-fencing: always
      x-rebalance: auto
      endpoint_mode: vip
      x-affinity: client
      resources: {limits: {memory: 1.5g, cpus: 0.25}}
      update_config: {parallelism: 0, delay: 10s, order: start-first, monitor: 1m, max_failure_ratio: 0.3, failure_action: rollback}
      rollback_config: {parallelism: 2, monitor: 0s, failure_action: continue}
    secrets: [{source: s, mode: 0440, x-signal: SIGHUP}, given]
    configs: [old]
    stop_grace_period: 1h
    networks: {back: {aliases: [w]}}
networks: {back: {ipam: {config: [{subnet: 172.30.0.0/24}]}}}
secrets: {s: {file: ./s.txt}, given: {external: true, name: vault}}
configs: {old: {external: {name: settings-2}}}
`;
    const first = await one(yaml);
    assert.deepEqual(first.secrets['given'], { name: 'vault', external: true });
    assert.deepEqual(first.configs['old'], { name: 'settings-2', external: true });
    const { desired } = convertProject(first, { files: new Map(), scale: {} });
    assert.deepEqual([desired.externalSecrets, desired.externalConfigs], [['vault'], ['settings-2']]);
    assert.deepEqual([desired.secrets.map(({ name }) => name), desired.configs], [['shop_s'], []]);
    assert.equal(desired.services[0]?.task.container.secrets[0]?.signal, 'SIGHUP');
    assert.equal(desired.services[0]?.task.container.secrets[1]?.name, 'vault');
    const again = await one(renderConfig(first, 'yaml'), { projectName: 'shop' });
    assert.deepEqual(again.services, first.services);
    assert.equal(renderConfig(again, 'json'), renderConfig(first, 'json'));
  });

  const refused: readonly (readonly [string, string, string])[] = [
    ['services: {a: {image: x}', 'compose.yaml:1:25', 'reading YAML: '],
    ['services:\n  a:\n    image: x\n    imagee: y\n', 'compose.yaml:4:5', 'unknown key "imagee" in "services.a"'],
    [
      'services:\n  a:\n    image: x\n    image: y\n',
      'compose.yaml:4:5',
      'reading YAML: key "image" stands twice in the same map',
    ],
    ['servces:\n  a: {image: x}\n', 'compose.yaml:1:1', 'unknown key "servces" at the top level'],
    ['services:\n  a:\n    image: [x]\n', 'compose.yaml:3:5', '"services.a.image" is a list, expected text'],
    [
      'services:\n  a:\n    image: x\n    ports: [{target: 80, mode: both}]\n',
      'compose.yaml:4:32',
      '"services.a.ports[0].mode" is "both", expected one of: ingress, host',
    ],
    [
      'services:\n  a:\n    image: ${IMG:?give one}\n',
      'compose.yaml:3:12',
      'required variable "IMG" is missing a value: give one',
    ],
    [
      'services:\n  a:\n    image: x\n    privileged: maybe\n',
      'compose.yaml:4:17',
      '"services.a.privileged" is "maybe", expected true or false',
    ],
    [
      'services:\n  a:\n    image: x\n    ports: ["80:99999"]\n',
      'compose.yaml:4:13',
      '"services.a.ports[0]" is "80:99999": "99999" is not a port',
    ],
    [
      'services:\n  a:\n    image: x\n    depends_on: [b]\n',
      'compose.yaml:4:5',
      '"services.a.depends_on" names "b", which is not a service of this project',
    ],
    [
      'services:\n  a: {image: x, depends_on: [b]}\n  b: {image: x, depends_on: [a]}\n',
      'compose.yaml:2:17',
      '"services.a.depends_on" makes a circle: a -> b -> a',
    ],
    [
      'services:\n  a:\n    image: x\n    volumes: ["data:/d"]\n',
      'compose.yaml:4:15',
      '"services.a.volumes[0]" names the volume "data", which is not defined under the top-level "volumes"',
    ],
    ['services:\n  a:\n    command: x\n', 'compose.yaml:2:3', '"services.a" has neither "image" nor "build"'],
    [
      'services:\n  a:\n    image: x\n    mem_limit: lots\n',
      'compose.yaml:4:16',
      '"services.a.mem_limit" is "lots", expected a size such as "512m"',
    ],
    [
      'services:\n  a:\n    image: x\n    stop_grace_period: 10\n',
      'compose.yaml:4:24',
      '"services.a.stop_grace_period" is "10", expected a duration such as "1m30s"',
    ],
    [
      'services:\n  a:\n    image: x\n    container_name: c\n    deploy: {replicas: 2}\n',
      'compose.yaml:4:21',
      '"services.a.container_name" allows one replica, not 2',
    ],
    [
      'services:\n  a:\n    image: x\n    secrets: [{source: s, x-signal: SIGFOO}]\nsecrets: {s: {file: ./s}}\n',
      'compose.yaml:4:37',
      '"services.a.secrets[0].x-signal" is "SIGFOO", expected a signal',
    ],
    [
      'services:\n  a: {image: x}\nsecrets:\n  s: {}\n',
      'compose.yaml:4:3',
      '"secrets.s" has none of file, environment, expected exactly one',
    ],
    [
      'services:\n  a: {image: x}\nsecrets:\n  s: {external: true, file: ./a}\n',
      'compose.yaml:4:17',
      '"secrets.s.external" and "file" exclude each other',
    ],
    [
      'services:\n  a:\n    image: x\n    deploy: {mode: global, replicas: 2}\n',
      'compose.yaml:4:38',
      '"services.a.deploy.replicas" is for replicated services; this one is global',
    ],
    [
      'services:\n  a:\n    image: x\n    deploy: {mode: global-job, update_config: {delay: 1s}}\n',
      'compose.yaml:4:32',
      '"services.a.deploy.update_config" is for services that keep running',
    ],
    [
      'services:\n  a:\n    image: x\n    deploy: {rollback_config: {failure_action: rollback}}\n',
      'compose.yaml:4:48',
      '"services.a.deploy.rollback_config.failure_action" is "rollback", expected pause or continue',
    ],
    [
      'services:\n  a:\n    image: x\n    deploy: {update_config: {max_failure_ratio: 20}}\n',
      'compose.yaml:4:49',
      '"services.a.deploy.update_config.max_failure_ratio" is 20, expected 0 to 1',
    ],
    [
      'services:\n  a:\n    image: x\n    deploy: {x-fencing: alwys}\n',
      'compose.yaml:4:25',
      '"services.a.deploy.x-fencing" is "alwys", expected one of: auto, always, never',
    ],
    [
      'services:\n  a:\n    image: x\n    deploy: {endpoint_mode: dnsrr, x-affinity: client}\n',
      'compose.yaml:4:48',
      '"services.a.deploy.x-affinity" needs a virtual address',
    ],
    [
      'services:\n  a:\n    image: x\n    deploy: {mode: global, x-rebalance: auto}\n',
      'compose.yaml:4:41',
      '"services.a.deploy.x-rebalance" is for containers that can run on another node',
    ],
    [
      'services:\n  a:\n    image: x\n    deploy: {mode: replicated-job, x-rebalance: auto}\n',
      'compose.yaml:4:49',
      '"services.a.deploy.x-rebalance" is for services that keep running',
    ],
    ['services:\n  a: *nope\n', 'compose.yaml:2:7', 'reading YAML: '],
    [
      'services:\n  a:\n    image: x\n    deploy: {placement: {constraints: [node.role=manager]}}\n',
      'compose.yaml:4:40',
      '"services.a.deploy.placement.constraints[0]" ("node.role=manager") has no operator, expected == or !=',
    ],
    [
      'services:\n  a:\n    image: x\n    deploy:\n      placement: {constraints: [node.id==1, node.labels==x]}\n',
      'compose.yaml:5:45',
      '"services.a.deploy.placement.constraints[1]" ("node.labels==x") has the key "node.labels", expected node.id',
    ],
    [
      'services:\n  a:\n    image: x\n    deploy: {placement: {preferences: [{spread: zone}]}}\n',
      'compose.yaml:4:49',
      '"services.a.deploy.placement.preferences[0].spread" spreads over "zone", expected node.labels.<name>',
    ],
    [
      'services:\n  a:\n    image: x\n    deploy: {placement: {preferences: [{}]}}\n',
      'compose.yaml:4:40',
      '"services.a.deploy.placement.preferences[0]" has no "spread"',
    ],
    [
      'services:\n  a:\n    image: x\n    deploy: {placement: {max_replicas_per_node: -1}}\n',
      'compose.yaml:4:49',
      '"services.a.deploy.placement.max_replicas_per_node" is -1, expected 0 or more',
    ],
  ];
  for (const [yaml, place, message] of refused) {
    it(`refuses ${JSON.stringify(yaml.slice(0, 60))} at ${place}`, async () => {
      await assert.rejects(one(yaml), (error) => {
        assert.ok(isTsswarmError(error, 'INVALID_COMPOSE'), String(error));
        assert.ok(error.message.startsWith(message), error.message);
        assert.equal(error.where === undefined ? '' : formatLocation(error.where), `/shop/${place}`);
        return true;
      });
    });
  }

  it('reads where tasks may go, prints it and hands it on', async () => {
    const yaml = `services:
  a:
    image: x
    deploy:
      placement:
        constraints: [node.labels.disk == ssd]
        preferences:
          - spread: node.labels.zone
          - spread: engine.labels.rack
        max_replicas_per_node: 2
`;
    const project = await one(yaml);
    assert.deepEqual(project.services['a']?.deploy?.placement, {
      constraints: ['node.labels.disk == ssd'],
      preferences: [{ spread: 'node.labels.zone' }, { spread: 'engine.labels.rack' }],
      max_replicas_per_node: 2,
    });
    const printed = renderConfig(project, 'yaml');
    assert.match(printed, /max_replicas_per_node: 2/);
    assert.deepEqual((await one(printed)).services, project.services);
    const [service] = convertProject(project, { files: new Map(), scale: {} }).desired.services;
    assert.deepEqual(service?.task.placement, {
      spread: ['node.labels.zone', 'engine.labels.rack'],
      maxReplicasPerNode: 2,
    });
    const over =
      'services: {a: {deploy: {placement: {preferences: [{spread: node.labels.row}], max_replicas_per_node: 3}}}}';
    const merged = await load(
      { '/shop/compose.yaml': yaml, '/shop/over.yaml': over },
      { files: ['compose.yaml', 'over.yaml'] },
    );
    const { preferences, max_replicas_per_node } = merged.project.services['a']?.deploy?.placement ?? {};
    assert.deepEqual(
      preferences?.map(({ spread }) => spread),
      ['node.labels.zone', 'engine.labels.rack', 'node.labels.row'],
    );
    assert.equal(max_replicas_per_node, 3);
  });

  it('suggests the key that was meant', async () => {
    await assert.rejects(
      one('services: {a: {image: x, enviroment: {}}}'),
      (error) => isTsswarmError(error) && error.hint === 'did you mean "environment"?',
    );
  });

  it('tells a key that is not honoured yet from one that does not exist', async () => {
    await assert.rejects(one('services:\n  a:\n    image: x\n    gpus: all\n'), (error) => {
      assert.ok(isTsswarmError(error, 'NOT_SUPPORTED'));
      assert.equal(error.message, '"services.a.gpus" is not supported yet by this version');
      assert.deepEqual(error.where, { file: '/shop/compose.yaml', line: 4, column: 5 });
      return true;
    });
  });

  it('says that there is no compose file', async () => {
    await assert.rejects(
      load({}),
      (error) => isTsswarmError(error, 'NOT_FOUND') && error.message.startsWith('finding a compose file'),
    );
  });

  it('knows services that share the network of another, and depend on it therefore', async () => {
    const project = await one(
      'services: {db: {image: x}, a: {image: y, network_mode: "service:db"}, b: {image: z, network_mode: "container:shop-db-1", depends_on: {db: {condition: service_healthy}}}}',
    );
    const { desired } = convertProject(project, { files: new Map(), scale: {} });
    assert.deepEqual(
      desired.services.map(({ task, dependsOn }) => [task.networkMode, task.networks.length, dependsOn]),
      [
        ['networks', 1, []],
        ['service:db', 0, [{ service: 'db', condition: 'started', required: true, restart: true }]],
        ['service:db', 0, [{ service: 'db', condition: 'healthy', required: true, restart: true }]],
      ],
    );
    const refused = async (services: string, reason: RegExp): Promise<void> =>
      assert.rejects(one(`services: ${services}`), reason);
    await refused(
      '{a: {image: y, network_mode: "service:nix"}}',
      /"services.a.network_mode" names "nix", which is not a service/,
    );
    await refused('{a: {image: y, network_mode: "service:a"}}', /names the service itself/);
    await refused('{a: {image: y, network_mode: "vlan"}}', /is "vlan", expected bridge, host, none/);
    await refused('{a: {image: y, network_mode: "container:other-db-1"}}', /a container of no service of this project/);
    const more = (key: string): string => `{db: {image: x}, a: {image: y, network_mode: "service:db", ${key}}}`;
    for (const key of ['ports: ["80"]', 'hostname: h', 'dns: [192.0.2.1]', 'extra_hosts: ["a:192.0.2.1"]'])
      await refused(more(key), /and "network_mode: service:db" exclude each other/);
    await refused(more('networks: [default]'), /and "networks" exclude each other/);
    await refused(
      '{h: {image: x, network_mode: host}, a: {image: y, network_mode: "service:h"}}',
      /names "h", which has no network of its own/,
    );
  });
});
