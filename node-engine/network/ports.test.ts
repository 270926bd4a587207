import { deepEqual } from 'node:assert/strict';
import { createServer } from 'node:net';
import type { AddressInfo, Server } from 'node:net';
import type { PortForward } from '../types.ts';
import { PortReservations } from './ports.ts';

describe('the ports that are held', () => {
  it('are answered for in the order that was asked, whichever takes longer', async () => {
    const [first, second] = (await freePorts()).map(forward) as [PortForward, PortForward];
    const reservations = new PortReservations();
    try {
      await reservations.hold([second]);
      deepEqual(await reservations.hold([first, second]), { held: [first, second], refused: [] });
    } finally {
      reservations.close();
    }
  });
});

function forward(port: number): PortForward {
  return { protocol: 'tcp', hostIp: '127.0.0.1', port, backends: [{ ipv4: '10.128.1.2', port: 80 }] };
}

async function freePorts(): Promise<readonly [number, number]> {
  // Both at once, or the second might be the first again.
  const servers = [createServer(), createServer()] as const;
  const listen = async (server: Server): Promise<number> => {
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    return (server.address() as AddressInfo).port;
  };
  const ports = [await listen(servers[0]), await listen(servers[1])] as const;
  await Promise.all(servers.map((server) => new Promise((resolve) => server.close(resolve))));
  return ports;
}
