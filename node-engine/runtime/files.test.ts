import { equal, match, throws } from 'node:assert/strict';
import type { NetworkId } from '../../base/ids.ts';
import { containerSpec } from '../../test/builders/container-spec.ts';
import type { SandboxRequest } from '../types.ts';
import { hostsFile, resolvFile } from './files.ts';

const onNetwork: SandboxRequest = {
  mode: 'networks',
  interfaces: [{ networkId: 'n' as NetworkId, ipv4: '10.1.0.5', prefix: 24, gateway: '10.1.0.1' }],
};
const host: SandboxRequest = { mode: 'host', interfaces: [] };
const none: SandboxRequest = { mode: 'none', interfaces: [] };

describe('/etc/hosts', () => {
  it('names the container by its address on each network', () => {
    match(
      hostsFile(containerSpec({ domainname: 'shop.test' }), 'web', onNetwork, ''),
      /^10\.1\.0\.5\tweb\.shop\.test web$/m,
    );
    match(hostsFile(containerSpec(), 'web', none, ''), /^127\.0\.0\.1\tweb$/m);
  });
  it('adds extra hosts', () => {
    const extraHosts = ['db=10.9.9.9', 'six=[::1]', 'up=host-gateway'];
    const text = hostsFile(containerSpec({ extraHosts }), 'web', onNetwork, '');
    match(text, /^10\.9\.9\.9\tdb\n::1\tsix\n10\.1\.0\.1\tup\n$/m);
    match(hostsFile(containerSpec({ extraHosts: ['up=host-gateway'] }), 'web', host, ''), /^127\.0\.0\.1\tup$/m);
  });
  it("is the node's own where the network is", () => {
    const node = '127.0.0.1\tlocalhost\n10.0.0.7\tnode\n\n';
    equal(
      hostsFile(containerSpec({ extraHosts: ['db=10.9.9.9'] }), 'web', host, node),
      '127.0.0.1\tlocalhost\n10.0.0.7\tnode\n10.9.9.9\tdb\n',
    );
  });
  it('refuses what is no address', () => {
    throws(
      () => hostsFile(containerSpec({ extraHosts: ['db=nowhere'] }), 'web', none, ''),
      /"nowhere" is not an IP address/,
    );
    throws(
      () => hostsFile(containerSpec({ extraHosts: ['up=host-gateway'] }), 'web', none, ''),
      /no network with a gateway/,
    );
  });
});

describe('/etc/resolv.conf', () => {
  const node = '# made by hand\nnameserver 9.9.9.9\nsearch corp.test\noptions timeout:1\n';
  it('points at our resolver on networks', () => {
    const spec = containerSpec({ dns: ['1.1.1.1'], dnsOptions: ['use-vc'] });
    equal(resolvFile(spec, 'networks', node), 'nameserver 127.0.0.11\nsearch corp.test\noptions ndots:0 use-vc\n');
    equal(
      resolvFile(containerSpec({ dnsSearch: ['.'], dnsOptions: ['ndots:2'] }), 'networks', node),
      'nameserver 127.0.0.11\noptions ndots:2\n',
    );
  });
  it("is the node's own elsewhere, but for what the spec sets", () => {
    equal(resolvFile(containerSpec(), 'host', node), node);
    equal(
      resolvFile(containerSpec({ dns: ['1.1.1.1'] }), 'none', node),
      'nameserver 1.1.1.1\nsearch corp.test\noptions timeout:1\n',
    );
  });
});
