import { deepEqual } from 'node:assert/strict';
import type { OciDeviceRule } from '../oci.ts';
import { ruleChanges } from './devices.ts';

describe('rights to devices', () => {
  const deny: OciDeviceRule = { allow: false, access: 'rwm' };
  const allow = (major: number, minor: number, access = 'rwm'): OciDeviceRule => ({
    allow: true,
    type: 'c',
    major,
    minor,
    access,
  });
  const changes = (list: string, ...rules: readonly OciDeviceRule[]): readonly string[] =>
    ruleChanges(list, [deny, { allow: true, type: 'c', access: 'm' }, ...rules]).map(
      ({ file, text }) => `${file.slice('devices.'.length)} ${text}`,
    );

  for (const [title, list, rules, expected] of [
    ['are left where nothing differs', 'c *:* m\nc 1:3 rwm\n', [allow(1, 3)], []],
    ['are given', 'c *:* m\n', [allow(10, 237, 'rw')], ['allow c 10:237 rw']],
    ['are taken', 'c *:* m\nc 10:237 rw\n', [], ['deny c 10:237 rw']],
    ['are taken in part', 'c *:* m\nc 10:237 rwm\n', [allow(10, 237, 'r')], ['deny c 10:237 wm']],
    ['are not taken while another rule gives the same', 'c *:* m\nc 1:3 rwm\n', [allow(1, 3), allow(1, 3, 'r')], []],
  ] as const) {
    it(title, () => deepEqual(changes(list, ...rules), expected));
  }
});
