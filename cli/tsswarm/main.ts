/** `tsswarm`: the node and the cluster. Each command's code is loaded when it is used. */
import { Command } from 'commander';
import { addPlaceOptions, placeOf } from '../local-node/place.ts';
import type { NodePlace } from '../local-node/place.ts';
import { addClusterSettings } from './cluster-settings.ts';
import { addFileCommands } from './files/program.ts';
import { addNetworkCommands } from './networks/program.ts';
import { addServiceCommands } from './services/program.ts';
import { addStackCommands } from './stacks/program.ts';
import { openTerminal } from '../terminal/index.ts';
import { addVersionFlag, prepareProgram, repeatable, runProgram } from '../terminal/program.ts';

const program = addPlaceOptions(
  new Command('tsswarm').description('The node of this machine and its cluster. Compose projects: see tscompose.'),
).enablePositionalOptions();

const place = (): NodePlace => placeOf(program.opts(), process.env);
const terminal = openTerminal();
addVersionFlag(program, () => terminal);

addClusterSettings(program.command('init'))
  .description('start a node on this machine, as the first manager of a new cluster')
  .option('--node-name <name>', "name of the node (default: the machine's host name)")
  .addOption(repeatable('--engine-label <key=value>', 'label of the engine, for placement constraints; repeatable'))
  .addOption(
    repeatable(
      '--generic-resource <kind=value>',
      'what the node has beside CPUs and memory: gpu=2, gpu=UUID1,UUID2; repeatable',
    ),
  )
  .option('--cgroup-parent <name>', 'cgroup that holds the containers')
  .addOption(
    repeatable(
      '--default-addr-pool <subnet>',
      'subnets of networks are cut from it, of IPv6 too (10.210.0.0/16 and 10.211.0.0/16); repeatable',
    ),
  )
  .option('--default-addr-pool-mask-length <length>', 'prefix length of the subnets cut from pools of IPv4 (24)')
  .addOption(repeatable('--address-pool <subnet>', 'the same as --default-addr-pool').hideHelp())
  .option('--advertise-addr <address>', 'what other nodes connect to: <host|interface>[:<port>]')
  .option(
    '--data-path-addr <address>',
    'where packets of overlay networks go: <address|interface> (default: the advertised address)',
  )
  .option(
    '--network-key-interval <time>',
    'how long a key of encrypted networks is used on this node; 0: until "tsswarm network rotate-keys" (24h)',
  )
  .option('--listen-addr <address>', 'where other nodes are listened to: <host|interface>[:<port>] (0.0.0.0:2377)')
  .option('--data-path-port <port>', 'UDP port of overlay networks on all nodes of the cluster, 1024 to 49151 (4789)')
  .option(
    '--store <url>',
    "keep the cluster's state in an external etcd: etcd://<host>:2379,…[/prefix]; etcds:// for TLS",
  )
  .option('--store-cacert <file>', "who signed the certificates of etcd's members (default: who this machine trusts)")
  .option('--store-cert <file>', 'certificate that etcd is shown')
  .option('--store-key <file>', 'its key')
  .option('--store-password-file <file>', "password of the URL's user (or variable TSSWARM_STORE_PASSWORD)")
  .option('--availability <availability>', 'active, pause or drain: of this node')
  .addOption(
    repeatable(
      '--external-ca <spec>',
      'who has the key of the root and signs: protocol=cfssl,url=https://…,cacert=<file>[,cert=<file>,key=<file>]; repeatable',
    ),
  )
  .option('--autolock', 'a manager that is started again needs the unlock key, which is printed')
  .option(
    '--force-new-cluster',
    'on a manager that has lost its quorum for good: go on as the only one, with all state',
  )
  .option('--log-level <level>', 'debug, info, warn or error')
  .option('--no-systemd', 'start a detached process also where systemd runs')
  .action(async (options) => (await import('./commands/init.ts')).init(place(), options, terminal));

program
  .command('join')
  .description('join the cluster of another machine, as a worker or manager: the token decides')
  .argument('<address>', "a manager's <host>[:<port>]")
  .requiredOption('--token <token>', 'as "tsswarm join-token" prints it')
  .option('--advertise-addr <address>', 'what other nodes connect to: <host|interface>[:<port>]')
  .option(
    '--data-path-addr <address>',
    'where packets of overlay networks go: <address|interface> (default: the advertised address)',
  )
  .option(
    '--network-key-interval <time>',
    'how long a key of encrypted networks is used on this node; 0: until "tsswarm network rotate-keys" (24h)',
  )
  .option('--listen-addr <address>', 'where other nodes are listened to: <host|interface>[:<port>] (0.0.0.0:2377)')
  .option('--availability <availability>', 'active, pause or drain', 'active')
  .option('--node-name <name>', "name of the node (default: the machine's host name)")
  .addOption(repeatable('--engine-label <key=value>', 'label of the engine, for placement constraints; repeatable'))
  .addOption(
    repeatable(
      '--generic-resource <kind=value>',
      'what the node has beside CPUs and memory: gpu=2, gpu=UUID1,UUID2; repeatable',
    ),
  )
  .option('--cgroup-parent <name>', 'cgroup that holds the containers')
  .option('--log-level <level>', 'debug, info, warn or error')
  .option('--no-systemd', 'start a detached process also where systemd runs')
  .action(async (address, options) => (await import('./commands/join.ts')).join(place(), address, options, terminal));

program
  .command('status')
  .description('show how the node is')
  .option('--format <format>', 'table or json', 'table')
  .action(async (options) => (await import('./commands/status.ts')).status(place(), options, terminal));

program
  .command('ps')
  .description('list the tasks of the cluster')
  .argument('[project]', 'only of this project')
  .option('-a, --all', 'also tasks that have ended')
  .option('-q, --quiet', 'only task ids')
  .option('--no-trunc', 'whole ids and errors')
  .action(async (project, options) => (await import('./commands/ps.ts')).ps(place(), project, options, terminal));

const addListNodes = (command: Command): Command =>
  command
    .description('list the nodes of the cluster')
    .option('-q, --quiet', 'only node ids')
    .addOption(repeatable('-f, --filter <filter>', 'id=, label=, membership=, name= or role=; repeatable'))
    .option('--format <format>', 'table, json, or a template: {{.ID}} {{.Hostname}} …')
    .action(async (options) => (await import('./commands/nodes.ts')).nodes(place(), options, terminal));
addListNodes(program.command('nodes'));
const node = program.command('node').description('nodes of the cluster');
addListNodes(node.command('ls'));
node
  .command('ps')
  .description('list the tasks on nodes; "self", or none: this one')
  .argument('[node...]')
  .option('-q, --quiet', 'only task ids')
  .addOption(repeatable('-f, --filter <filter>', 'id=, name= or desired-state=; repeatable'))
  .option('--format <format>', 'table, json, or a template: {{.ID}} {{.Name}} …')
  .option('--no-trunc', 'whole ids and errors')
  .option('--no-resolve', "nodes' ids instead of their names")
  .action(async (names, options) =>
    (await import('./commands/node-ps.ts')).nodeTasks(place(), names, options, terminal),
  );
node
  .command('inspect')
  .description('show all that is known of nodes, as JSON; "self" is this one')
  .argument('<node...>')
  .option('--pretty', 'for people')
  .option('-f, --format <format>', 'json, or a template: {{.Status.Addr}} …')
  .action(async (names, options) =>
    (await import('./commands/node-inspect.ts')).inspectNodes(place(), names, options, terminal),
  );
node
  .command('promote')
  .description('make workers managers')
  .argument('<node...>')
  .action(async (names) => (await import('./commands/node.ts')).setRole(place(), names, 'manager', terminal));
node
  .command('demote')
  .description('make managers workers')
  .argument('<node...>')
  .action(async (names) => (await import('./commands/node.ts')).setRole(place(), names, 'worker', terminal));
node
  .command('update')
  .description('change a node')
  .argument('<node>')
  .option('--availability <availability>', 'active, pause or drain')
  .option('--role <role>', 'worker or manager')
  .addOption(repeatable('--label-add <label>', 'add or change a label: <key>=<value>; repeatable'))
  .addOption(repeatable('--label-rm <key>', 'remove a label; repeatable'))
  .action(async (name, options) => (await import('./commands/node.ts')).updateNode(place(), name, options, terminal));
node
  .command('rm')
  .description('remove nodes that are down or have left')
  .argument('<node...>')
  .option('-f, --force', 'also when they are not down')
  .action(async (names, options) =>
    (await import('./commands/node.ts')).removeNodes(place(), names, options, terminal),
  );

program
  .command('join-token')
  .description('print the token to join with')
  .argument('<role>', 'worker or manager')
  .option('-q, --quiet', 'only the token')
  .option('--rotate', 'replace the token: the old one no longer lets anybody in')
  .action(async (role, options) =>
    (await import('./commands/join-token.ts')).joinToken(place(), role, options, terminal),
  );

program
  .command('ca')
  .description('print the root certificate of the cluster, or go to another one')
  .option('--rotate', 'replace the root: all nodes get certificates of the new one, nothing stops meanwhile')
  .option('--ca-cert <file>', 'the root to go to, PEM (default: a new one is made)')
  .option('--ca-key <file>', 'its private key, PEM')
  .option('--cert-expiry <duration>', 'lifetime of the new certificates')
  .addOption(
    repeatable('--external-ca <spec>', 'who signs in place of the managers: protocol=cfssl,url=https://…; repeatable'),
  )
  .option('-d, --detach', 'do not wait until all nodes have a new certificate')
  .option('-q, --quiet', 'show neither progress nor the new root')
  .action(async (options) => (await import('./commands/ca.ts')).ca(place(), options, terminal));

addClusterSettings(program.command('update'))
  .description('change settings of the cluster')
  .addOption(
    repeatable('--external-ca <spec>', 'who signs in place of the managers: protocol=cfssl,url=https://…; repeatable'),
  )
  .option('--autolock <boolean>', 'true: a manager that is started again needs the unlock key')
  .action(async (options) => (await import('./commands/update.ts')).update(place(), options, terminal));

program
  .command('unlock')
  .description('unlock the manager of this node: asks for the key, or reads it from standard input')
  .action(async () => (await import('./commands/unlock.ts')).unlock(place(), terminal));

program
  .command('unlock-key')
  .description('print the key that managers which are started again need')
  .option('-q, --quiet', 'only the key')
  .option('--rotate', 'replace the key: managers that run take the new one at once')
  .action(async (options) => (await import('./commands/unlock-key.ts')).unlockKey(place(), options, terminal));

program
  .command('leave')
  .description(
    'leave the cluster and stop the node: containers, networks and rules are removed, volumes and images kept',
  )
  .option('-f, --force', 'also the last manager: the cluster is gone then')
  .action(async (options) => (await import('./commands/leave.ts')).leave(place(), options, terminal));

// Their options are many: they are made for those who use them.
const service = program.command('service').description('services, of stacks and of none');
const network = program.command('network').description('networks, of projects and of none');
const stack = program.command('stack').description('stacks: what a compose file describes, as tscompose shows it too');
if (process.argv.includes('service')) addServiceCommands(service, place, terminal);
if (process.argv.includes('network')) addNetworkCommands(network, place, terminal);
if (process.argv.includes('stack')) addStackCommands(stack, place, () => program.opts(), terminal);

program
  .command('rebalance')
  .description('move containers to nodes that have fewer of their service, by the rules of its updates')
  .argument('[service...]', 'only these services; without: all')
  .option('--dry-run', 'only say what would be moved')
  .option('--format <format>', 'table or json', 'table')
  .action(async (names, options) =>
    (await import('./commands/rebalance.ts')).rebalance(place(), names, options, terminal),
  );

addFileCommands(program.command('secret').description('secrets for services'), 'secret', place, terminal);
addFileCommands(program.command('config').description('configs for services'), 'config', place, terminal);

const image = program.command('image').description('images of this node');
image
  .command('ls')
  .description('list images')
  .argument('[name]', 'only this one')
  .option('-q, --quiet', 'only image ids')
  .option('--digests', 'show digests')
  .action(async (name, options) => (await import('./commands/image.ts')).listImages(place(), name, options, terminal));
image
  .command('load')
  .description('load images from archives: docker save or OCI, also compressed; "-" or nothing: standard input')
  .argument('[archive...]')
  .option('-i, --input <archive>', 'an archive, as docker load takes it')
  .option('-q, --quiet', 'show no progress')
  .action(async (archives, options) =>
    (await import('./commands/image.ts')).loadImages(place(), archives, options, terminal),
  );
image
  .command('pull')
  .description('pull images from their registries')
  .argument('<image...>')
  .option('-q, --quiet', 'show no progress')
  .action(async (references, options) =>
    (await import('./commands/image.ts')).pullImages(place(), references, options, terminal),
  );
image
  .command('rm')
  .description('remove images')
  .argument('<image...>')
  .action(async (references) => (await import('./commands/image.ts')).removeImages(place(), references, terminal));

program
  .command('version')
  .description('print the version')
  .action(async () => terminal.out(`tsswarm ${(await import('../local-node/version.ts')).packageVersion()}\n`));

// Not awaited here: the bundle is CommonJS, which has no top-level await.
void runProgram(prepareProgram(program), () => terminal);
