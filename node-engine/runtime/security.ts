import { TsswarmError } from '../../base/errors.ts';

export interface SecurityOptions {
  readonly noNewPrivileges: boolean;
  /** "default", "unconfined", or the absolute path of a profile in Docker's JSON format. */
  readonly seccomp: string;
  /** Show /proc and /sys whole. */
  readonly unmaskedPaths: boolean;
}

/**
 * `security_opt` entries, "name=value" or "name:value". AppArmor and SELinux options that switch confinement off are met by
 * doing nothing; those that ask for a profile are refused, for nothing would enforce it.
 * @throws NOT_SUPPORTED, INVALID_INPUT
 */
export function parseSecurityOptions(options: readonly string[], privileged: boolean): SecurityOptions {
  let noNewPrivileges = false;
  let seccomp = privileged ? 'unconfined' : 'default';
  let unmaskedPaths = privileged;
  for (const option of options) {
    const [, name = '', value = ''] = /^([^=:]*)[=:]?(.*)$/s.exec(option) ?? [];
    if (name === 'no-new-privileges') noNewPrivileges = parseBoolean(option, value);
    else if (name === 'seccomp') seccomp = parseSeccomp(option, value);
    else if (option === 'systempaths=unconfined') unmaskedPaths = true;
    else if (isUnconfined(name, value)) continue;
    else if (name === 'apparmor' || name === 'label') {
      throw new TsswarmError(
        'NOT_SUPPORTED',
        `applying security option "${option}": this engine loads no such profile`,
        {
          hint: `remove it, or write "${name === 'apparmor' ? 'apparmor=unconfined' : 'label=disable'}"`,
        },
      );
    } else {
      throw new TsswarmError('INVALID_INPUT', `applying security option "${option}": unknown option`, {
        hint: 'known are no-new-privileges, seccomp, systempaths, apparmor and label',
      });
    }
  }
  return { noNewPrivileges, seccomp, unmaskedPaths };
}

function isUnconfined(name: string, value: string): boolean {
  return (name === 'apparmor' && value === 'unconfined') || (name === 'label' && value === 'disable');
}

function parseBoolean(option: string, value: string): boolean {
  if (value === '' || value === 'true') return true;
  if (value === 'false') return false;
  throw new TsswarmError('INVALID_INPUT', `applying security option "${option}": expected true or false`);
}

function parseSeccomp(option: string, value: string): string {
  if (value === 'unconfined' || value.startsWith('/')) return value;
  if (value === 'builtin' || value === 'default') return 'default';
  throw new TsswarmError(
    'INVALID_INPUT',
    `applying security option "${option}": expected "unconfined" or the absolute path of a profile`,
  );
}
