// PostgreSQL's protocol 3.0 with SCRAM-SHA-256 (RFC 5802, RFC 7677), as far as simple queries need it.
import { createHash, createHmac, pbkdf2Sync, randomBytes } from 'node:crypto';
import { connect } from 'node:net';

const hmac = (key, text) => createHmac('sha256', key).update(text).digest();
const message = (type, body) => {
  const head = Buffer.alloc(5);
  head.write(type);
  head.writeInt32BE(body.length + 4, 1);
  return Buffer.concat([head, body]);
};
const text = (value) => Buffer.from(`${value}\0`);

export function connectPostgres({ host, user, password }) {
  let connection;
  let queue = Promise.resolve();
  const open = () =>
    new Promise((resolve, reject) => {
      const socket = connect(5432, host);
      let rest = Buffer.alloc(0);
      let scram;
      let onMessage = (type, body) => {
        if (type === 'R') authenticate(body.readInt32BE(0), body.subarray(4));
        else if (type === 'E')
          reject(
            new Error(
              body
                .toString()
                .split('\0')
                .find((field) => field[0] === 'M')
                ?.slice(1),
            ),
          );
        else if (type === 'Z') resolve({ socket, listen: (handler) => (onMessage = handler) });
      };
      const authenticate = (kind, data) => {
        if (kind === 10) {
          scram = { nonce: randomBytes(18).toString('base64') };
          const first = `n,,n=,r=${scram.nonce}`;
          const size = Buffer.alloc(4);
          size.writeInt32BE(first.length);
          socket.write(message('p', Buffer.concat([text('SCRAM-SHA-256'), size, Buffer.from(first)])));
        } else if (kind === 11) {
          const server = data.toString();
          const { r, s, i } = Object.fromEntries(server.split(',').map((part) => [part[0], part.slice(2)]));
          const salted = pbkdf2Sync(password, Buffer.from(s, 'base64'), Number(i), 32, 'sha256');
          const clientKey = hmac(salted, 'Client Key');
          const storedKey = createHash('sha256').update(clientKey).digest();
          const withoutProof = `c=biws,r=${r}`;
          const signature = hmac(storedKey, `n=,r=${scram.nonce},${server},${withoutProof}`);
          const proof = clientKey.map((byte, at) => byte ^ signature[at]);
          socket.write(message('p', Buffer.from(`${withoutProof},p=${Buffer.from(proof).toString('base64')}`)));
        }
      };
      socket.on('connect', () => {
        const body = Buffer.concat([
          Buffer.from([0, 3, 0, 0]),
          text('user'),
          text(user),
          text('database'),
          text(user),
          Buffer.from([0]),
        ]);
        const size = Buffer.alloc(4);
        size.writeInt32BE(body.length + 4);
        socket.write(Buffer.concat([size, body]));
      });
      socket.on('data', (data) => {
        rest = Buffer.concat([rest, data]);
        while (rest.length >= 5 && rest.length > rest.readInt32BE(1)) {
          const end = rest.readInt32BE(1) + 1;
          onMessage(String.fromCharCode(rest[0]), rest.subarray(5, end));
          rest = rest.subarray(end);
        }
      });
      const gone = (error) => {
        connection = undefined;
        reject(error ?? new Error('PostgreSQL closed the connection'));
        onMessage('gone', Buffer.alloc(0));
      };
      socket.on('error', gone);
      socket.on('close', () => gone());
    });
  const run = async (sql) => {
    const { socket, listen } = await (connection ??= open());
    return new Promise((resolve, reject) => {
      const rows = [];
      let failure;
      listen((type, body) => {
        if (type === 'D') rows.push(row(body));
        else if (type === 'E')
          failure = new Error(
            body
              .toString()
              .split('\0')
              .find((field) => field[0] === 'M')
              ?.slice(1),
          );
        else if (type === 'gone') reject(new Error('PostgreSQL closed the connection'));
        else if (type === 'Z') failure ? reject(failure) : resolve(rows);
      });
      socket.write(message('Q', text(sql)));
    });
  };
  return {
    // One query at a time on the connection.
    query: (sql) =>
      (queue = queue.then(
        () => run(sql),
        () => run(sql),
      )),
  };
}

function row(body) {
  const values = [];
  let at = 2;
  for (let left = body.readInt16BE(0); left > 0; left--) {
    const size = body.readInt32BE(at);
    at += 4;
    values.push(size < 0 ? null : body.toString('utf8', at, at + size));
    at += Math.max(0, size);
  }
  return values;
}
