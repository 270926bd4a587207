import { TsswarmError } from '../../base/errors.ts';

/**
 * The parts of "host:port", "[host]:port" and ":port"; without a host all addresses of the machine.
 * @param action what the address is for, as the error says it
 * @throws INVALID_INPUT
 */
export function splitAddress(
  address: string,
  action = `talking to "${address}"`,
): { readonly host: string; readonly port: number } {
  const [, bracketed, plain, port] = /^(?:\[([^\]]+)\]|([^:]*)):(\d{1,5})$/.exec(address) ?? [];
  const host = bracketed ?? plain;
  if (host !== undefined && Number(port) <= 65535) return { host: host === '' ? '::' : host, port: Number(port) };
  throw new TsswarmError('INVALID_INPUT', `${action}: expected <host>:<port>, as 0.0.0.0:2377`);
}
