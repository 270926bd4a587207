import { TsswarmError } from '../../base/errors.ts';

/**
 * Refuses `--external-ca`: certificates are signed by the managers.
 * @throws NOT_SUPPORTED
 */
export function refuseExternalCa(text: string | undefined): void {
  if (text === undefined) return;
  throw new TsswarmError(
    'NOT_SUPPORTED',
    `using --external-ca "${text}": certificates are signed by the managers, not by a service outside of the cluster`,
    { hint: 'bring a root of your own instead: tsswarm ca --rotate --ca-cert <file> --ca-key <file>' },
  );
}
