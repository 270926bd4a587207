import assert from 'node:assert/strict';
import { isTsswarmError } from '../../../base/errors.ts';
import type { ErrorCode } from '../../../base/errors.ts';
import type { ServiceSpec } from '../../../proto/types/index.ts';
import { service, task } from '../../../test/builders/objects.ts';
import { serviceSpec, taskSpec } from '../../../test/builders/specs.ts';
import { attachmentOf, connected, disconnected, pickAttachable } from './attach.ts';

const refuses = (work: () => unknown, code: ErrorCode, reason: RegExp): void =>
  assert.throws(work, (error) => {
    assert.ok(isTsswarmError(error, code), String(error));
    assert.match(error.message, reason);
    return true;
  });
const plain = (network: string) => ({ network, aliases: [], ipv4Address: '' });
const on = (...networks: readonly string[]): ServiceSpec =>
  serviceSpec('web', { name: 'app_web', task: taskSpec({ networks: networks.map(plain) }) });

describe('flags of network connect', () => {
  it('describe an attachment', () => {
    assert.deepEqual(attachmentOf('lan', {}), plain('lan'));
    const flags = { alias: ['a', 'b', 'a'], ip: '10.1.0.9', ip6: 'fd00::9', gwPriority: '-2' };
    assert.deepEqual(attachmentOf('lan', flags), {
      network: 'lan',
      aliases: ['a', 'b'],
      ipv4Address: '10.1.0.9',
      ipv6Address: 'fd00::9',
      gatewayPriority: -2,
    });
  });

  it('that cannot be, and those that there are not, are refused', () => {
    refuses(() => attachmentOf('lan', { ip: 'fd00::1' }), 'INVALID_INPUT', /--ip "fd00::1": expected an IPv4 address/);
    refuses(() => attachmentOf('lan', { ip6: '10.1.0.1' }), 'INVALID_INPUT', /expected an IPv6 address/);
    refuses(() => attachmentOf('lan', { gwPriority: 'high' }), 'INVALID_INPUT', /expected a whole number/);
    refuses(() => attachmentOf('lan', { link: ['db:a'] }), 'NOT_SUPPORTED', /using --link: give the other service/);
    refuses(() => attachmentOf('lan', { driverOpt: ['a=b'] }), 'NOT_SUPPORTED', /using --driver-opt/);
    refuses(() => attachmentOf('lan', { linkLocalIp: ['169.254.1.1'] }), 'NOT_SUPPORTED', /using --link-local-ip/);
  });
});

describe('a service', () => {
  it('is on one network more, the last in order', () => {
    assert.deepEqual(connected(on('a'), plain('b')).task.networks, [plain('a'), plain('b')]);
    refuses(() => connected(on('a', 'b'), plain('b')), 'ALREADY_EXISTS', /service app_web is already on network b/);
  });

  it('is on one network less, but keeps one', () => {
    assert.deepEqual(disconnected(on('a', 'b'), 'a').task.networks, [plain('b')]);
    refuses(() => disconnected(on('a'), 'b'), 'NOT_FOUND', /service app_web is not on network b/);
    refuses(() => disconnected(on('a'), 'a'), 'INVALID_INPUT', /network a is the only one of service app_web/);
  });

  it('of the network of the node is on none', () => {
    const host = serviceSpec('web', { task: taskSpec({ networkMode: 'host', networks: [] }) });
    refuses(() => connected(host, plain('b')), 'NOT_SUPPORTED', /its network mode is "host"/);
  });

  it('is meant by its name, its id, or its only container', () => {
    const web = service('web', {}, { name: 'app_web' });
    const one = task(web, 1, { containerId: 'c0ffee000000' });
    const pick = (name: string, tasks = [one]) => pickAttachable([web], tasks, name);
    for (const name of ['app_web', web.id, 'app-web-1', 'c0ffee']) assert.equal(pick(name), web);
    refuses(() => pick('app-web-9'), 'NOT_FOUND', /no such service: app-web-9/);
    refuses(() => pick('app-web-1', [one, task(web, 2)]), 'NOT_SUPPORTED', /one of 2 of service app_web/);
    const run = task(web, 0, {}, { oneOff: true, name: 'app-web-run-1' });
    refuses(() => pick('app-web-run-1', [one, run]), 'NOT_SUPPORTED', /belongs to no service: it keeps its networks/);
  });
});
