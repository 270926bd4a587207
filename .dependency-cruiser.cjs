// The import rule between the rooms (architecture, "The rooms"): who may import whom, checked by a tool, not by memory.
// A type-only import is allowed more widely than a value import: `dependencyTypesNot: ['type-only']` marks the latter.
const ROOMS = [
  'base',
  'proto',
  'manager',
  'worker',
  'compose',
  'node-engine',
  'docker-api',
  'cli',
  'deploy',
  'test',
  'bench',
];
const others = (...allowed) => `^(${ROOMS.filter((r) => !allowed.includes(r)).join('|')})/`;
const room = (name, allowed) => ({
  name: `${name}-imports-only-its-neighbours`,
  severity: 'error',
  from: { path: `^${name}/`, pathNot: '\\.test\\.ts$' },
  to: { path: others(name, 'base', ...allowed) },
});
const typesOnly = (name, target) => ({
  name: `${name}-imports-only-types-of-${target}`,
  severity: 'error',
  from: { path: `^${name}/`, pathNot: '\\.test\\.ts$' },
  to: { path: `^${target}/`, dependencyTypesNot: ['type-only'] },
});
const ACTORS = ['orchestrator', 'allocator', 'scheduler', 'dispatcher', 'control'];
module.exports = {
  forbidden: [
    {
      name: 'no-cycles',
      severity: 'error',
      from: {},
      to: { circular: true, viaOnly: { dependencyTypesNot: ['type-only'] } },
    },
    {
      name: 'base-imports-nothing',
      severity: 'error',
      from: { path: '^base/', pathNot: '\\.test\\.ts$' },
      to: { path: others('base') },
    },
    room('proto', []),
    room('manager', ['proto']),
    room('worker', ['proto', 'node-engine']),
    room('compose', ['proto']),
    typesOnly('compose', 'proto'),
    room('node-engine', ['proto']),
    typesOnly('node-engine', 'proto'),
    room('docker-api', ['proto', 'node-engine', 'manager']),
    {
      name: 'docker-api-sees-only-the-control-interface',
      severity: 'error',
      from: { path: '^docker-api/' },
      to: { path: '^manager/(?!control/)' },
    },
    {
      name: 'nobody-imports-the-top',
      severity: 'error',
      from: { pathNot: '^(cli|docker-api|test|bench)/' },
      to: { path: '^(cli|docker-api)/' },
    },
    ...ACTORS.map((actor) => ({
      name: `manager-${actor}-stands-alone`,
      severity: 'error',
      from: { path: `^manager/${actor}/`, pathNot: '\\.test\\.ts$' },
      to: { path: `^manager/(${ACTORS.filter((a) => a !== actor).join('|')})/` },
    })),
    {
      name: 'model-store-raft-know-nothing-above',
      severity: 'error',
      from: { path: '^manager/(model|store|raft|ca)/', pathNot: '\\.test\\.ts$' },
      to: { path: `^manager/(${ACTORS.join('|')})/` },
    },
    {
      name: 'pure-files-touch-no-world',
      comment:
        'Only files named loop, server, client, disk, socket or process touch sockets, clocks and disks (habit 1).',
      severity: 'error',
      from: {
        path: '^(manager|worker/agent|compose)/',
        pathNot: '(\\.test\\.ts$|/(loop|server|client|disk|socket|process)\\.ts$|^compose/read/)',
      },
      to: {
        dependencyTypes: ['core'],
        // zlib for its checksum.
        pathNot: '^(node:)?(crypto|path(/posix)?|util|buffer|zlib)$',
        dependencyTypesNot: ['type-only'],
      },
    },
  ],
  options: {
    doNotFollow: { path: 'node_modules' },
    exclude: { path: '(^dist/|^proto/gen/)' },
    tsPreCompilationDeps: true,
    tsConfig: { fileName: 'tsconfig.json' },
    enhancedResolveOptions: { extensions: ['.ts', '.js', '.json'] },
  },
};
