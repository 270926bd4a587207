/**
 * What a question costs the resolver, in CPU time of its process: questions are answered in place, and over UDP on loopback to another
 * process that keeps 32 under way. `npm run bench:resolver`.
 */
import { fork } from 'node:child_process';
import { createSocket } from 'node:dgram';
import { once } from 'node:events';
import { encode } from 'dns-packet';
import type { NetworkId, NodeId, ServiceId, TaskId } from '../../base/ids.ts';
import { systemRandom } from '../../base/random.ts';
import { bindSocket } from '../../node-engine/native/addon.ts';
import { decide } from '../../worker/overlay/dns/answer.ts';
import { Records } from '../../worker/overlay/dns/records.ts';
import { serveDns } from '../../worker/overlay/dns/server.ts';

const SECONDS = 3;
const UNDER_WAY = 32;
const NETWORK = { id: 'network' as NetworkId, name: 'shop_default' };

if (process.argv[2] === 'client') await ask(Number(process.argv[3]), process.argv[4] ?? '');
else await measure();

async function measure(): Promise<void> {
  const records = new Records();
  const endpoint = (service: string, n: number) => ({
    taskId: `${service}-${n}` as TaskId,
    serviceId: service as ServiceId,
    nodeId: 'node' as NodeId,
    networkId: NETWORK.id,
    name: `shop-${service}-${n}`,
    aliases: [service],
    ipv4: `10.210.${n >> 8}.${n & 255}`,
  });
  records.change({
    endpoints: ['one', 'ten', 'thousand'].flatMap((service, i) =>
      Array.from({ length: [1, 10, 1000][i] ?? 0 }, (_, n) => endpoint(service, n)),
    ),
    services: [{ serviceId: 'vip' as ServiceId, networkId: NETWORK.id, names: ['vip'], ipv4: '10.210.9.9' }],
  });
  const answer = (message: Buffer): Buffer | undefined => {
    const decision = decide({ records, networks: [NETWORK], transport: 'udp', message }, systemRandom);
    return decision.kind === 'answer' ? decision.message : undefined;
  };
  for (const name of ['vip', 'one', 'ten', 'thousand']) {
    const message = encode({ type: 'query', id: 7, flags: 0x100, questions: [{ type: 'A', name }] });
    print(`decided, ${name}`, await perCpuSecond(() => inPlace(() => answer(message))));
  }
  const change = endpoint('thousand', 999);
  print(
    'changes of one of 1000 endpoints',
    await perCpuSecond(() => inPlace(() => records.change({ endpoints: [change] }))),
  );
  for (const name of ['vip', 'ten']) {
    const udp = await bindSocket('', 'udp', '127.0.0.1', 0);
    const tcp = await bindSocket('', 'tcp-listen', '127.0.0.1', 0);
    let answered = 0;
    const server = serveDns({ udp: udp.fd, tcp: tcp.fd }, (message) => {
      answered++;
      return answer(message);
    });
    const overUdp = async (): Promise<number> => {
      const client = fork(import.meta.filename, ['client', String(udp.port), name]);
      await once(client, 'exit');
      return answered;
    };
    print(`answered over UDP, ${name}`, await perCpuSecond(overUdp));
    server.close();
  }
}

function inPlace(work: () => unknown): number {
  const end = performance.now() + SECONDS * 1000;
  let count = 0;
  for (; performance.now() < end; count += 1000) for (let i = 0; i < 1000; i++) work();
  return count;
}

async function perCpuSecond(work: () => number | Promise<number>): Promise<number> {
  const before = process.cpuUsage();
  const count = await work();
  const { user, system } = process.cpuUsage(before);
  return count / ((user + system) / 1e6);
}

function print(what: string, rate: number): void {
  console.log(`${what.padEnd(36)}${Math.round(rate).toLocaleString('en').padStart(12)} per CPU second`);
}

async function ask(port: number, name: string): Promise<void> {
  const socket = createSocket('udp4');
  const question = encode({ type: 'query', id: 7, flags: 0x100, questions: [{ type: 'A', name }] });
  await new Promise<void>((resolve) => socket.connect(port, '127.0.0.1', resolve));
  const end = performance.now() + SECONDS * 1000;
  socket.on('message', () => {
    if (performance.now() < end) socket.send(question);
    else process.exit();
  });
  for (let i = 0; i < UNDER_WAY; i++) socket.send(question);
}
