import assert from 'node:assert/strict';
import { encode } from 'dns-packet';
import { systemClock } from '../../../base/clock.ts';
import { askUpstream } from './upstream.ts';

describe('askUpstream()', () => {
  it('gives no answer when no server can be reached, by either transport', async () => {
    const question = encode({ type: 'query', id: 7, questions: [{ type: 'A', name: 'name.invalid' }] });
    // The kernel refuses to connect to the broadcast address: the same road as an unreachable network, without traffic.
    for (const transport of ['udp', 'tcp'] as const) {
      assert.equal(await askUpstream(systemClock, ['255.255.255.255'], transport, question), undefined);
    }
  });
});
