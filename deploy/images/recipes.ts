/** What the offline images hold. They carry the names and conventions of the well-known public images. */

/** One image, made from Debian packages. */
export interface Recipe {
  /** Names as a compose file writes them. */
  readonly names: readonly string[];
  /** Debian packages; their dependencies follow. */
  readonly packages: readonly string[];
  /** Packages that `apt` would bring and the image does not need. */
  readonly without?: readonly string[];
  /** Share the Debian base layer (libc, shell, coreutils)? */
  readonly base: boolean;
  /** Files to put on top: path in the image → content; `mode` defaults to 0o644. */
  readonly files?: Readonly<Record<string, { readonly content: string; readonly mode?: number }>>;
  /** Symbolic links: path in the image → target. */
  readonly links?: Readonly<Record<string, string>>;
  /** Directories: path → owner uid:gid and mode. */
  readonly directories?: Readonly<Record<string, { readonly owner: string; readonly mode: number }>>;
  /** Lines added to /etc/passwd and /etc/group. */
  readonly users?: readonly { readonly name: string; readonly id: number; readonly home: string }[];
  /** Copies the Node runtime that this project pins to /usr/local/bin/node. */
  readonly nodeRuntime?: boolean;
  /** The `config` object of the image (OCI image-spec, config.md). */
  readonly config: Readonly<Record<string, unknown>>;
}

const PATH = 'PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin';

/** Packages of the layer that the Debian-based images share. */
export const BASE_PACKAGES = [
  'base-files',
  'base-passwd',
  'bash',
  'coreutils',
  'dash',
  'grep',
  'hostname',
  'libc-bin',
  'sed',
];

const NGINX_CONF = `user www-data;
worker_processes auto;
pid /run/nginx.pid;
error_log /var/log/nginx/error.log notice;
events { worker_connections 1024; }
http {
  include /etc/nginx/mime.types;
  default_type application/octet-stream;
  access_log /var/log/nginx/access.log;
  sendfile on;
  keepalive_timeout 65;
  include /etc/nginx/conf.d/*.conf;
}
`;

const NGINX_DEFAULT = `server {
  listen 80;
  server_name localhost;
  location / {
    root /usr/share/nginx/html;
    index index.html index.htm;
  }
}
`;

const REDIS_ENTRYPOINT = `#!/bin/sh
# Runs redis-server as the user redis, whatever its arguments; any other command as it is.
set -e
case "$1" in
  -*|*.conf) set -- redis-server "$@" ;;
esac
if [ "$1" = redis-server ] && [ "$(id -u)" = 0 ]; then
  chown redis:redis /data
  exec setpriv --reuid=redis --regid=redis --clear-groups "$@" --protected-mode no
fi
exec "$@"
`;

const POSTGRES_ENTRYPOINT = `#!/bin/bash
# Makes the cluster at the first start (POSTGRES_USER, POSTGRES_DB, POSTGRES_PASSWORD or POSTGRES_PASSWORD_FILE,
# /docker-entrypoint-initdb.d/*.sql|*.sh), then runs postgres as the user postgres.
set -e
case "$1" in
  -*) set -- postgres "$@" ;;
esac
[ "$1" = postgres ] || exec "$@"
if [ "$(id -u)" = 0 ]; then
  mkdir -p "$PGDATA" /run/postgresql
  chown -R postgres:postgres "$PGDATA" /run/postgresql
  chmod 700 "$PGDATA"
  exec setpriv --reuid=postgres --regid=postgres --init-groups "$0" "$@"
fi
if [ ! -s "$PGDATA/PG_VERSION" ]; then
  if [ -n "$POSTGRES_PASSWORD_FILE" ]; then POSTGRES_PASSWORD=$(cat "$POSTGRES_PASSWORD_FILE"); fi
  if [ -z "$POSTGRES_PASSWORD" ] && [ "$POSTGRES_HOST_AUTH_METHOD" != trust ]; then
    echo "error: database is uninitialized and no superuser password is given: set POSTGRES_PASSWORD" >&2
    exit 1
  fi
  user=\${POSTGRES_USER:-postgres}
  database=\${POSTGRES_DB:-$user}
  initdb --username="$user" --pwfile=<(printf '%s\\n' "$POSTGRES_PASSWORD") --auth-host=scram-sha-256 --auth-local=trust >/dev/null
  printf '\\nhost all all all %s\\n' "\${POSTGRES_HOST_AUTH_METHOD:-scram-sha-256}" >>"$PGDATA/pg_hba.conf"
  pg_ctl -D "$PGDATA" -o "-c listen_addresses=''" -l /tmp/init.log -w start >/dev/null || { cat /tmp/init.log >&2; exit 1; }
  if [ "$database" != postgres ]; then psql -v ON_ERROR_STOP=1 -U "$user" -d postgres -c "CREATE DATABASE \\"$database\\"" >/dev/null; fi
  for file in /docker-entrypoint-initdb.d/*; do
    case "$file" in
      *.sh) . "$file" ;;
      *.sql) psql -v ON_ERROR_STOP=1 -U "$user" -d "$database" -f "$file" ;;
    esac
  done
  pg_ctl -D "$PGDATA" -m fast -w stop >/dev/null
  rm -f /tmp/init.log
  echo "PostgreSQL init process complete; ready for start up."
fi
exec "$@" -c listen_addresses='*'
`;

/** The images, by the name of their archive. */
export const RECIPES: Readonly<Record<string, Recipe>> = {
  busybox: {
    names: ['busybox:latest', 'busybox:stable'],
    packages: ['busybox-static'],
    base: false,
    directories: {
      '/tmp': { owner: '0:0', mode: 0o1777 },
      '/root': { owner: '0:0', mode: 0o700 },
      '/var/tmp': { owner: '0:0', mode: 0o1777 },
      '/home': { owner: '0:0', mode: 0o755 },
    },
    files: {
      '/etc/passwd': {
        content:
          'root:x:0:0:root:/root:/bin/sh\ndaemon:x:1:1:daemon:/usr/sbin:/bin/false\nwww-data:x:33:33:www-data:/var/www:/bin/false\nnobody:x:65534:65534:nobody:/home:/bin/false\n',
      },
      '/etc/group': { content: 'root:x:0:\ndaemon:x:1:\nwww-data:x:33:\naudio:x:29:www-data\nnogroup:x:65534:\n' },
    },
    config: { Env: [PATH], Cmd: ['sh'] },
  },
  nginx: {
    names: ['nginx:stable', 'nginx:latest'],
    packages: ['nginx', 'curl'],
    base: true,
    files: {
      '/etc/nginx/nginx.conf': { content: NGINX_CONF },
      '/etc/nginx/conf.d/default.conf': { content: NGINX_DEFAULT },
      '/usr/share/nginx/html/index.html': {
        content: '<!doctype html>\n<title>Welcome to nginx!</title>\n<h1>Welcome to nginx!</h1>\n',
      },
    },
    links: { '/var/log/nginx/access.log': '/dev/stdout', '/var/log/nginx/error.log': '/dev/stderr' },
    directories: { '/var/lib/nginx': { owner: '33:33', mode: 0o755 }, '/tmp': { owner: '0:0', mode: 0o1777 } },
    config: {
      Env: [PATH],
      Cmd: ['nginx', '-g', 'daemon off;'],
      ExposedPorts: { '80/tcp': {} },
      StopSignal: 'SIGQUIT',
    },
  },
  redis: {
    names: ['redis:7', 'redis:latest'],
    packages: ['redis-server', 'redis-tools', 'util-linux'],
    base: true,
    users: [{ name: 'redis', id: 999, home: '/data' }],
    files: { '/usr/local/bin/docker-entrypoint.sh': { content: REDIS_ENTRYPOINT, mode: 0o755 } },
    directories: { '/data': { owner: '999:999', mode: 0o755 }, '/tmp': { owner: '0:0', mode: 0o1777 } },
    config: {
      Env: [PATH],
      Entrypoint: ['docker-entrypoint.sh'],
      Cmd: ['redis-server'],
      ExposedPorts: { '6379/tcp': {} },
      Volumes: { '/data': {} },
      WorkingDir: '/data',
    },
  },
  postgres: {
    names: ['postgres:15', 'postgres:latest'],
    packages: ['postgresql-15', 'util-linux', 'tzdata'],
    base: true,
    users: [{ name: 'postgres', id: 999, home: '/var/lib/postgresql' }],
    files: { '/usr/local/bin/docker-entrypoint.sh': { content: POSTGRES_ENTRYPOINT, mode: 0o755 } },
    directories: {
      '/var/lib/postgresql': { owner: '999:999', mode: 0o755 },
      '/var/lib/postgresql/data': { owner: '999:999', mode: 0o700 },
      '/run/postgresql': { owner: '999:999', mode: 0o2775 },
      '/docker-entrypoint-initdb.d': { owner: '0:0', mode: 0o755 },
      '/tmp': { owner: '0:0', mode: 0o1777 },
    },
    config: {
      Env: [
        'PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin:/usr/lib/postgresql/15/bin',
        'LANG=C.UTF-8',
        'PG_MAJOR=15',
        'PGDATA=/var/lib/postgresql/data',
      ],
      Entrypoint: ['docker-entrypoint.sh'],
      Cmd: ['postgres'],
      ExposedPorts: { '5432/tcp': {} },
      Volumes: { '/var/lib/postgresql/data': {} },
      StopSignal: 'SIGINT',
    },
  },
  node: {
    names: ['node:24-slim', 'node:24'],
    packages: ['libstdc++6', 'libgcc-s1'],
    base: true,
    users: [{ name: 'node', id: 1000, home: '/home/node' }],
    nodeRuntime: true,
    directories: { '/home/node': { owner: '1000:1000', mode: 0o755 }, '/tmp': { owner: '0:0', mode: 0o1777 } },
    config: { Env: [PATH], Cmd: ['node'] },
  },
};
