import assert from 'node:assert/strict';
import { formatLocation, isTsswarmError } from '../../base/errors.ts';
import { convertProject } from '../convert/convert.ts';
import { loadYaml as load } from '../../test/builders/compose-project.ts';

const convert = async (yaml: string, files: ReadonlyMap<string, Uint8Array> = new Map()) =>
  convertProject(await load(yaml), { files, scale: {} }).desired;
const web = (lines: string): string => `services:\n  web:\n    image: x\n${lines}\n`;

const refusals = (rows: readonly (readonly [string, string, RegExp])[]): void => {
  for (const [yaml, place, message] of rows) {
    it(`${message.source} is said at ${place}`, async () => {
      await assert.rejects(load(yaml), (error) => {
        assert.ok(isTsswarmError(error));
        assert.match(error.message, message);
        assert.equal(error.where && formatLocation(error.where), `/shop/compose.yaml:${place}`);
        return true;
      });
    });
  }
};

describe('templates in a compose file', () => {
  it('pass as they are to the cluster; a dollar is still a variable', async () => {
    const desired = await convert(
      web('    hostname: "{{.Task.Slot}}"\n    environment: {A: "${X:-{{.Node.ID}}}", B: "$${{.Task.ID}}"}'),
    );
    const container = desired.services[0]?.task.container;
    assert.equal(container?.hostname, '{{.Task.Slot}}');
    assert.deepEqual(container.env, ['A={{.Node.ID}}', 'B=${{.Task.ID}}']);
  });

  it('may ask for the labels of the service', async () => {
    const labels = '    deploy: {labels: {tier: front}}';
    await convert(web(`    hostname: "{{.Service.Labels.tier}}"\n${labels}`));
    await convert(`${web(`    volumes: [d:/d]\n${labels}`)}volumes: {d: {name: "{{.Service.Labels.tier}}"}}\n`);
    await assert.rejects(convert(web('    hostname: "{{.Service.Labels.tier}}"')), /there is no "tier"/);
  });

  it('name volumes that are made later, one for each name', async () => {
    const desired = await convert(`${web('    volumes: [d:/d, e:/e]')}volumes: {d: {name: "d-{{.Task.Slot}}"}, e: }\n`);
    assert.deepEqual(
      desired.volumes.map(({ name }) => name),
      ['shop_e'],
    );
    const sources = desired.services[0]?.task.container.mounts.map((mount) => 'source' in mount && mount.source);
    assert.deepEqual(sources, ['d-{{.Task.Slot}}', 'shop_e']);
  });

  it('are contents of configs and secrets that say so', async () => {
    const yaml = `${web('    configs: [c]')}configs: {c: {content: "{{env \\"A\\"}}", template_driver: golang}}\n`;
    const content = (text: string) => new Map([['configs/c', Buffer.from(text)]]);
    assert.equal((await convert(yaml, content('{{secret "s"}}'))).configs[0]?.templateDriver, 'golang');
    await assert.rejects(convert(yaml, content('a\n b {{frob}}')), (error) => {
      assert.ok(isTsswarmError(error, 'INVALID_COMPOSE'));
      assert.match(error.message, /"configs\.c" \(line 2, column 4 of its content\): the function "frob" is not known/);
      return true;
    });
  });

  refusals([
    [web('    hostname: "a{{.Foo}}"'), '4:15', /"services\.web\.hostname" is "a\{\{\.Foo\}\}", a template that cannot/],
    [web('    environment:\n      A: "{{.Task.Slot"'), '5:10', /"\{\{" has no "\}\}"/],
    [web('    environment:\n      - B=1\n      - A={{.Task.Nope}}'), '6:9', /there is no field "Nope"/],
    [web('    volumes:\n      - /data/{{.X}}:/data'), '5:9', /there is no field "X"/],
    [web('    tmpfs: "/{{.X}}"'), '4:12', /there is no field "X"/],
    [web('    networks:\n      default:\n        aliases: ["{{.X}}"]'), '6:19', /there is no field "X"/],
    [`${web('    volumes: [d:/d]')}volumes:\n  d:\n    name: "{{.X}}"\n`, '7:11', /"volumes\.d\.name" is "\{\{\.X\}\}"/],
    [`${web('    configs: [c]')}configs: {c: {content: a, template_driver: jinja}}\n`, '5:44', /is "jinja", expected golang/],
  ]); // prettier-ignore
});

describe('hooks in a compose file', () => {
  it('are taken with all that they say', async () => {
    const desired = await convert(
      web(`    post_start:
      - command: sh -c "echo hi"
      - {command: [a, b], user: 7, privileged: true, working_dir: /w, environment: [K=v, UNSET]}
    pre_stop: [{command: bye}]`),
    );
    const container = desired.services[0]?.task.container;
    assert.deepEqual(container?.postStart, [
      { command: ['sh', '-c', 'echo hi'], user: '', privileged: false, workingDir: '', env: [] },
      { command: ['a', 'b'], user: '7', privileged: true, workingDir: '/w', env: ['K=v'] },
    ]);
    assert.deepEqual(container.preStop?.[0]?.command, ['bye']);
  });

  refusals([
    [web('    post_start: [{user: root}]'), '4:18', /"services\.web\.post_start\[0\]" has no "command"/],
    [web('    pre_stop: [{command: []}]'), '4:16', /has no "command"/],
    [web('    pre_stop: [{command: a, when: now}]'), '4:29', /unknown key "when"/],
  ]);
});

describe('the platform of a service', () => {
  for (const [platform, expected] of [
    ['linux', ['node.platform.os==linux']],
    ['linux/amd64', ['node.platform.os==linux', 'node.platform.arch==amd64']],
    ['Linux/aarch64/v8', ['node.platform.os==linux', 'node.platform.arch==arm64']],
  ] as const) {
    it(`${platform} leaves the nodes that have it`, async () => {
      const desired = await convert(
        web(`    platform: ${platform}\n    deploy: {placement: {constraints: [node.role==worker]}}`),
      );
      assert.deepEqual(desired.services[0]?.task.constraints, ['node.role==worker', ...expected]);
    });
  }
  refusals([
    [web('    platform: linux/'), '4:15', /is "linux\/", expected <os>\[\/<architecture>/],
    [web('    platform: windows/amd64'), '4:15', /"windows\/amd64" \(nodes are linux\) is not supported/],
    [web('    platform: linux/arm/v7'), '4:15', /nodes do not tell their variant/],
  ]);
});

describe('reserved resources in a compose file', () => {
  const reserving = (lines: string): string => web(`    deploy:\n      resources:\n        reservations:\n${lines}`);

  it('are generic ones by number, and devices by number or name', async () => {
    const desired = await convert(
      reserving(`          generic_resources:
            - discrete_resource_spec: {kind: ssd, value: 2}
          devices:
            - {capabilities: [gpu], count: 1}
            - {capabilities: [tpu], device_ids: [a, b]}`),
    );
    assert.deepEqual(desired.services[0]?.task.reservations.generic, [
      { kind: 'ssd', count: 2, names: [] },
      { kind: 'gpu', count: 1, names: [] },
      { kind: 'tpu', count: 2, names: ['a', 'b'] },
    ]);
  });

  const generic = (spec: string): string =>
    reserving(`          generic_resources: [{discrete_resource_spec: ${spec}}]`);
  const device = (spec: string): string => reserving(`          devices: [${spec}]`);
  refusals([
    [generic('{value: 1}'), '7:32', /has no "kind"/],
    [generic('{kind: gpu}'), '7:32', /has no "value"/],
    [generic('{kind: gpu, value: 0}'), '7:75', /is 0, expected 1 or more/],
    [generic('{kind: a/b, value: 1}'), '7:63', /is "a\/b", expected letters/],
    [device('{count: 1}'), '7:21', /has no "capabilities"/],
    [device('{capabilities: [gpu]}'), '7:22', /for all devices of a node \(give a "count"\) is not supported/],
    [device('{capabilities: [gpu], count: all}'), '7:50', /for all devices of a node/],
    [device('{capabilities: [gpu, compute], count: 1}'), '7:22', /with more than one word \(gpu, compute\)/],
    [device('{capabilities: [gpu], count: 1, driver: nvidia}'), '7:61', /driver" of a reserved device is not supported/],
    [device('{capabilities: [gpu], count: 1, device_ids: [a]}'), '7:53', /and "count" exclude each other/],
    [device('{capabilities: [gpu], count: 1}, {capabilities: [gpu], count: 1}'), '7:54', /asks for "gpu", which is asked for already/],
  ]); // prettier-ignore
});
