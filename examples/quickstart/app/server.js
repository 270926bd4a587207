// A guest book without any package: visits are counted in Redis, greetings kept in PostgreSQL.
import { readFileSync } from 'node:fs';
import { createServer } from 'node:http';
import { hostname } from 'node:os';
import { connectPostgres } from './postgres.js';
import { connectRedis } from './redis.js';

const database = connectPostgres({
  host: process.env.DATABASE_HOST,
  user: process.env.DATABASE_USER,
  password: readFileSync('/run/secrets/db_password', 'utf8'),
});
const redis = connectRedis(process.env.REDIS_HOST);

const escape = (text) => text.replace(/[&<>"]/g, (c) => `&#${c.charCodeAt(0)};`);

async function page() {
  const visits = await redis.command('INCR', 'visits');
  const rows = await database.query('SELECT name FROM greetings ORDER BY id DESC LIMIT 10');
  return `<!doctype html>
<title>Guest book</title>
<h1>Guest book</h1>
<p>Visit number ${visits}, answered by <b>${hostname()}</b>.</p>
<form method="post"><input name="name" placeholder="your name" required> <button>say hello</button></form>
<ul>${rows.map(([name]) => `<li>${escape(name)}</li>`).join('')}</ul>
`;
}

const server = createServer(async (request, response) => {
  try {
    if (request.url === '/healthz') {
      await Promise.all([redis.command('PING'), database.query('SELECT 1')]);
      response.end('ok\n');
      return;
    }
    if (request.method === 'POST') {
      let body = '';
      for await (const chunk of request) body += chunk;
      const name = (new URLSearchParams(body).get('name') ?? '').slice(0, 80);
      if (name) await database.query(`INSERT INTO greetings (name) VALUES ('${name.replaceAll("'", "''")}')`);
      response.writeHead(303, { location: '/' }).end();
      return;
    }
    response.setHeader('content-type', 'text/html; charset=utf-8');
    response.end(await page());
  } catch (error) {
    console.error(error.message);
    response.writeHead(503).end(`${error.message}\n`);
  }
});
server.listen(Number(process.env.PORT), () => console.log(`listening on ${process.env.PORT}`));
process.on('SIGTERM', () => server.close(() => process.exit(0)));
