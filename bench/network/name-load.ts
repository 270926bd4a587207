/** Keeps questions for a name under way at the resolver of a container for three seconds, and prints how many were answered. */
import { createSocket } from 'node:dgram';
import { encode } from 'dns-packet';

const SECONDS = 3;
const UNDER_WAY = 32;
const question = encode({
  type: 'query',
  id: 7,
  flags: 0x100,
  questions: [{ type: 'A', name: process.argv[2] ?? '' }],
});
const socket = createSocket('udp4');
await new Promise<void>((resolve) => socket.connect(53, '127.0.0.11', resolve));
const end = performance.now() + SECONDS * 1000;
let answered = 0;
socket.on('message', () => {
  answered++;
  if (performance.now() < end) socket.send(question);
});
for (let i = 0; i < UNDER_WAY; i++) socket.send(question);
setTimeout(
  () => {
    console.log(answered);
    process.exit();
  },
  SECONDS * 1000 + 100,
);
