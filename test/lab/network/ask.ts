/** What a program in a container asks: names of the resolver, and the server of endpoint.c. Runs in a container's network namespace. */
import { createSocket } from 'node:dgram';
import { connect } from 'node:net';
import { decode, encode } from 'dns-packet';
import { lookForLead, withLead } from './lead.ts';
import type { Lead } from './lead.ts';

const RESOLVER = '127.0.0.11';
const PORT = 80;
/** An answer that is not there by then is late: where the request was led is looked for while the flow is known for certain. */
const LATE_MS = 500;
let lastId = 0;

/** What was answered to a question for the addresses of a name. */
export interface NameAnswer {
  readonly rcode: string;
  readonly addresses: readonly string[];
}

/** One datagram to the resolver. @throws when nothing comes back in time */
export async function lookUp(name: string, timeoutMs: number): Promise<NameAnswer> {
  const id = (lastId = (lastId + 1) % 0x10000);
  const question = encode({
    type: 'query',
    id,
    flags: 0x100,
    questions: [{ type: 'A', name }],
    additionals: [
      {
        type: 'OPT',
        name: '.',
        udpPayloadSize: 4096,
        flags: 0,
        options: [],
        extendedRcode: 0,
        ednsVersion: 0,
        flag_do: false,
      },
    ],
  });
  const packet = decode(await datagram(RESOLVER, 53, question, timeoutMs)) as ReturnType<typeof decode> & {
    rcode: string;
  };
  if (packet.id !== id) throw new Error(`the answer to another question, ${packet.id}`);
  const addresses = (packet.answers ?? []).flatMap((answer) => (answer.type === 'A' ? [answer.data] : []));
  return { rcode: packet.rcode, addresses };
}

/** Words of the server behind an address, asked with one datagram from a port of its own. @throws when nothing comes back in time */
export async function askUdp(address: string, timeoutMs: number): Promise<string> {
  return String(await datagram(address, PORT, Buffer.from('who'), timeoutMs)).trim();
}

/** The same by a connection of its own. */
export function askTcp(address: string, timeoutMs: number): Promise<string> {
  return new Promise((resolve, reject) => {
    const socket = connect({ host: address, port: PORT });
    let text = '';
    const timer = setTimeout(() => {
      const trouble = new Error(`timed out ${socket.connecting ? 'connecting' : 'reading'}`);
      socket.destroy(withLead(trouble, 'tcp', address, socket.localPort));
    }, timeoutMs);
    socket.setEncoding('utf8');
    socket.on('connect', () => socket.write('GET / HTTP/1.0\r\n\r\n'));
    socket.on('data', (part: string) => (text += part));
    socket.on('error', (error) => reject(withLead(error, 'tcp', address, socket.localPort)));
    socket.on('close', () => {
      clearTimeout(timer);
      const body = text.split('\r\n\r\n')[1];
      if (body === undefined) reject(new Error(`closed after "${text}"`));
      else resolve(body.trim());
    });
  });
}

function datagram(address: string, port: number, message: Buffer, timeoutMs: number): Promise<Buffer> {
  return new Promise((resolve, reject) => {
    const socket = createSocket('udp4');
    const here = (): number => socket.address().port;
    let lead: Lead | undefined;
    const end = (error: Error | undefined, answer?: Buffer): void => {
      clearTimeout(timer);
      clearTimeout(late);
      socket.close();
      if (answer === undefined) reject(error ?? new Error('no answer'));
      else resolve(answer);
    };
    const timer = setTimeout(() => end(withLead(new Error('timed out'), 'udp', address, here(), lead)), timeoutMs);
    const late = setTimeout(() => (lead = lookForLead('udp', address, here())), LATE_MS);
    socket.once('error', (error) => end(withLead(error, 'udp', address, here())));
    socket.once('message', (answer) => end(undefined, answer));
    // Connected: what says that nobody is there is heard, and nobody else's answer.
    socket.connect(port, address, () => socket.send(message));
  });
}
