// Redis' protocol (RESP2), as far as simple commands need it. Commands of one connection are answered in order.
import { connect } from 'node:net';

export function connectRedis(host) {
  let socket;
  let waiting = [];
  let rest = '';
  const open = () => {
    socket = connect(6379, host);
    socket.setEncoding('utf8');
    socket.on('data', (data) => {
      rest += data;
      for (let end = rest.indexOf('\r\n'); end >= 0; end = rest.indexOf('\r\n')) {
        const line = rest.slice(0, end);
        rest = rest.slice(end + 2);
        const { resolve, reject } = waiting.shift();
        if (line[0] === '-') reject(new Error(line.slice(1)));
        else resolve(line.slice(1));
      }
    });
    const fail = (error) => {
      const failed = waiting;
      waiting = [];
      rest = '';
      socket = undefined;
      for (const { reject } of failed) reject(error ?? new Error('Redis closed the connection'));
    };
    socket.on('error', fail);
    socket.on('close', () => fail());
  };
  return {
    command: (...words) =>
      new Promise((resolve, reject) => {
        if (!socket) open();
        waiting.push({ resolve, reject });
        socket.write(
          `*${words.length}\r\n${words.map((word) => `$${Buffer.byteLength(word)}\r\n${word}\r\n`).join('')}`,
        );
      }),
  };
}
