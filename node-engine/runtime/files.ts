import { isIPv4, isIPv6 } from 'node:net';
import { TsswarmError } from '../../base/errors.ts';
import type { ContainerSpec } from '../../proto/types/index.ts';
import type { SandboxRequest } from '../types.ts';

/** The resolver of a container on networks listens here, inside the container's own namespace; Docker's address. */
export const RESOLVER_ADDRESS = '127.0.0.11';

/**
 * /etc/hosts: loopback, the container's own addresses under its names, then `extra_hosts`. A container that shares the
 * node's network sees the node's file instead of the first two.
 * "host-gateway" stands for the first gateway of the container's networks, or the node's loopback when it shares its network.
 * @param node the node's own /etc/hosts
 * @throws INVALID_INPUT for a malformed extra host
 */
export function hostsFile(spec: ContainerSpec, hostname: string, sandbox: SandboxRequest, node: string): string {
  const extra = spec.extraHosts.map((entry) => extraHost(entry, sandbox));
  if (sandbox.mode === 'host' && node !== '') return node.replace(/\n*$/, '\n') + lines(extra);
  const names = spec.domainname === '' ? hostname : `${hostname}.${spec.domainname} ${hostname}`;
  const own =
    sandbox.interfaces.length > 0
      ? sandbox.interfaces
          .flatMap(({ ipv4, ipv6 }) => [ipv4, ...(ipv6 ? [ipv6.address] : [])])
          .map((one) => `${one}\t${names}`)
      : [`127.0.0.1\t${names}`];
  return lines([
    '127.0.0.1\tlocalhost',
    '::1\tlocalhost ip6-localhost ip6-loopback',
    'fe00::\tip6-localnet',
    'ff00::\tip6-mcastprefix',
    'ff02::1\tip6-allnodes',
    'ff02::2\tip6-allrouters',
    ...own,
    ...extra,
  ]);
}

function extraHost(entry: string, sandbox: SandboxRequest): string {
  const end = entry.indexOf('=');
  const name = entry.slice(0, Math.max(end, 0));
  const value = entry.slice(end + 1).replace(/^\[(.*)\]$/, '$1');
  if (end < 1 || /\s/.test(name)) {
    throw new TsswarmError('INVALID_INPUT', `adding the extra host "${entry}": malformed, expected "name=address"`);
  }
  const address = value === 'host-gateway' ? hostGateway(entry, sandbox) : value;
  if (!isIPv4(address) && !isIPv6(address)) {
    throw new TsswarmError('INVALID_INPUT', `adding the extra host "${entry}": "${value}" is not an IP address`, {
      hint: 'write an address, or "host-gateway" for the node itself',
    });
  }
  return `${address}\t${name}`;
}

function hostGateway(entry: string, sandbox: SandboxRequest): string {
  if (sandbox.mode === 'host') return '127.0.0.1';
  const gateway = sandbox.interfaces.find((one) => one.gateway !== '')?.gateway;
  if (gateway !== undefined) return gateway;
  throw new TsswarmError(
    'INVALID_INPUT',
    `adding the extra host "${entry}": the container has no network with a gateway`,
  );
}

/** What a resolv.conf(5) says. */
export interface ResolverConfig {
  readonly nameservers: readonly string[];
  readonly search: readonly string[];
  readonly options: readonly string[];
}

/** Reads a resolv.conf(5); the last `search` or `domain` line wins, unknown lines are passed over. */
export function parseResolverConfig(text: string): ResolverConfig {
  const nameservers: string[] = [];
  const options: string[] = [];
  let search: readonly string[] = [];
  for (const line of text.split('\n')) {
    const [key, ...values] = line.trim().split(/\s+/);
    if (key === 'nameserver' && values[0] !== undefined) nameservers.push(values[0]);
    else if (key === 'search' || key === 'domain') search = values;
    else if (key === 'options') options.push(...values);
  }
  return { nameservers, search, options };
}

/**
 * /etc/resolv.conf. On networks the only server is {@link RESOLVER_ADDRESS} (the spec's `dns` are its upstreams, not the
 * container's business) with `ndots:0`, so that service names are asked for as they stand. Elsewhere it is the node's file
 * with what the spec sets replaced.
 * @param host the node's own /etc/resolv.conf
 */
export function resolvFile(spec: ContainerSpec, mode: SandboxRequest['mode'], host: string): string {
  const node = parseResolverConfig(host);
  const search = spec.dnsSearch.length > 0 ? spec.dnsSearch.filter((domain) => domain !== '.') : node.search;
  if (mode === 'networks' || mode === 'container') {
    const options = spec.dnsOptions.some((option) => option.startsWith('ndots:'))
      ? spec.dnsOptions
      : ['ndots:0', ...spec.dnsOptions];
    return printResolverConfig({ nameservers: [RESOLVER_ADDRESS], search, options });
  }
  if (spec.dns.length + spec.dnsSearch.length + spec.dnsOptions.length === 0) return host;
  return printResolverConfig({
    nameservers: spec.dns.length > 0 ? spec.dns : node.nameservers,
    search,
    options: spec.dnsOptions.length > 0 ? spec.dnsOptions : node.options,
  });
}

function printResolverConfig({ nameservers, search, options }: ResolverConfig): string {
  return lines([
    ...nameservers.map((server) => `nameserver ${server}`),
    ...(search.length > 0 ? [`search ${search.join(' ')}`] : []),
    ...(options.length > 0 ? [`options ${options.join(' ')}`] : []),
  ]);
}

/** /etc/hostname. */
export function hostnameFile(hostname: string): string {
  return lines([hostname]);
}

function lines(all: readonly string[]): string {
  return all.map((line) => `${line}\n`).join('');
}
