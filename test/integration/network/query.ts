/**
 * Asks 127.0.0.11:53 as a program in a container would, and prints "RCODE answer answer …".
 * Arguments: udp or tcp, type, name, and "taken" to hold port 53 on all addresses meanwhile.
 */
import { createSocket } from 'node:dgram';
import { once } from 'node:events';
import { connect, createServer } from 'node:net';
import type { Packet, RecordType } from 'dns-packet';
import { TRUNCATED_RESPONSE, decode, encode, streamDecode, streamEncode } from 'dns-packet';

const [, , transport, type, name = '', taken] = process.argv;
const SERVER = '127.0.0.11';
// Longer than the resolver's own patience.
setTimeout(() => process.exit(1), 8000);
if (taken) {
  const udp = createSocket('udp4').bind(53, '0.0.0.0');
  const tcp = createServer().listen(53, '0.0.0.0');
  await Promise.all([once(udp, 'listening'), once(tcp, 'listening')]);
}
const question: Packet = { type: 'query', id: 4711, flags: 0x100, questions: [{ type: type as RecordType, name }] };
const reply = transport === 'tcp' ? await overTcp() : await overUdp();
const { id, flags = 0, rcode, answers = [] } = reply as ReturnType<typeof decode> & { rcode: string };
if (id !== question.id) throw new Error(`answer to another question: ${id}`);
const found = answers.map((answer) => ('data' in answer ? String(answer.data) : '')).sort();
console.log([rcode, ...(flags & TRUNCATED_RESPONSE ? ['truncated'] : []), ...found].join(' '));
process.exit();

async function overUdp(): Promise<ReturnType<typeof decode>> {
  const socket = createSocket('udp4');
  // Connected: an answer from any other address or port would not arrive.
  socket.connect(53, SERVER, () => socket.send(encode(question)));
  const [message] = (await once(socket, 'message')) as [Buffer];
  return decode(message);
}

async function overTcp(): Promise<ReturnType<typeof decode>> {
  const socket = connect(53, SERVER, () => socket.write(streamEncode(question)));
  let received = Buffer.alloc(0);
  for await (const part of socket) {
    received = Buffer.concat([received, part as Buffer]);
    if (received.length >= 2 && received.length >= 2 + received.readUInt16BE(0)) break;
  }
  return streamDecode(received) as ReturnType<typeof decode>;
}
