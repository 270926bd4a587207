/** `tsswarm`: the node and the cluster. Each command's code is loaded when it is used. */
import { Command } from 'commander';
import { addPlaceOptions, placeOf } from '../local-node/place.ts';
import type { NodePlace } from '../local-node/place.ts';
import { openTerminal } from '../terminal/index.ts';
import { prepareProgram, runProgram } from '../terminal/program.ts';

const program = addPlaceOptions(
  new Command('tsswarm').description('The node of this machine and its cluster. Compose projects: see tscompose.'),
).enablePositionalOptions();

const place = (): NodePlace => placeOf(program.opts(), process.env);
const terminal = openTerminal();

program
  .command('init')
  .description('start a node on this machine, as the first manager of a new cluster')
  .option('--node-name <name>', "name of the node (default: the machine's host name)")
  .option('--cgroup-parent <name>', 'cgroup that holds the containers')
  .option('--address-pool <subnet...>', 'pools that subnets of networks are cut from (default: 10.128.0.0/12)')
  .option('--log-level <level>', 'debug, info, warn or error')
  .option('--no-systemd', 'start a detached process also where systemd runs')
  .action(async (options) => (await import('./commands/init.ts')).init(place(), options, terminal));

program
  .command('join')
  .description('join the cluster of another machine (not in this version)')
  .argument('[address]')
  .option('--token <token>')
  .action(async () => (await import('./commands/join.ts')).join());

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

const listNodes = async (options: { quiet?: boolean }): Promise<void> =>
  (await import('./commands/nodes.ts')).nodes(place(), options, terminal);
program
  .command('nodes')
  .description('list the nodes of the cluster')
  .option('-q, --quiet', 'only node ids')
  .action(listNodes);
program
  .command('node')
  .description('commands for nodes')
  .command('ls')
  .description('list the nodes of the cluster')
  .option('-q, --quiet', 'only node ids')
  .action(listNodes);

program
  .command('join-token')
  .description('print the token to join with')
  .argument('<role>', 'worker or manager')
  .action(async (role) => (await import('./commands/join-token.ts')).joinToken(place(), role, terminal));

program
  .command('leave')
  .description(
    'leave the cluster and stop the node: containers, networks and rules are removed, volumes and images kept',
  )
  .option('-f, --force', 'also when projects are running')
  .action(async (options) => (await import('./commands/leave.ts')).leave(place(), options, terminal));

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
