import { Option } from 'commander';
import type { Command } from 'commander';
import type { NodePlace } from '../../local-node/place.ts';
import type { Terminal } from '../../terminal/index.ts';
import { booleansWithValues, repeatable } from '../../terminal/program.ts';

const hidden = (flags: string): Option => new Option(flags).hideHelp();

/** Adds the commands of `tsswarm network`: Docker's words, on the networks of the cluster. */
export function addNetworkCommands(network: Command, place: () => NodePlace, terminal: Terminal): void {
  network
    .command('create')
    .description('make a network of no project, for services and for "external: true" in compose files')
    .argument('<network>')
    .option('-d, --driver <driver>', 'kind of network (default: the one of compose files)')
    .addOption(repeatable('--subnet <subnet>', 'subnet, such as 10.1.2.0/24 (default: cut from the pools)'))
    .addOption(repeatable('--gateway <address>', 'the address of the way out (default: the first of the subnet)'))
    .addOption(repeatable('--ip-range <subnet>', 'part of the subnet that containers get addresses from'))
    .addOption(
      repeatable('--aux-address <name=address>', "somebody else's address in the subnet: given to nobody; repeatable"),
    )
    .option('--ipv6', 'addresses of IPv6, too')
    .option('--internal', 'no way out, and none in')
    .option('--attachable', 'containers of no service may join')
    .addOption(repeatable('-o, --opt <key=value>', 'option of the driver; repeatable'))
    .addOption(repeatable('--label <label>', 'label: <key>=<value>; repeatable'))
    .option('--scope <scope>', 'local or swarm: what the driver gives')
    .addOption(hidden('--ipv4').default(true))
    .addOption(hidden('--no-ipv4'))
    .addOption(hidden('--ingress'))
    .addOption(hidden('--config-only'))
    .addOption(hidden('--config-from <network>'))
    .addOption(hidden('--ipam-driver <driver>'))
    .addOption(repeatable('--ipam-opt <key=value>', 'refused: addresses are given by the managers').hideHelp())
    .action(async (name, options) => (await import('./commands.ts')).createNetwork(place(), name, options, terminal));
  network
    .command('ls')
    .alias('list')
    .description('list the networks, those of projects too')
    .option('-q, --quiet', 'only ids')
    .addOption(
      repeatable('-f, --filter <filter>', 'dangling=, driver=, id=, label=, name=, scope= or type=; repeatable'),
    )
    .option('--format <format>', 'table, json, or a template: {{.ID}} {{.Name}} …')
    .option('--no-trunc', 'whole ids')
    .action(async (options) => (await import('./commands.ts')).listNetworks(place(), options, terminal));
  network
    .command('inspect')
    .description('show all that is known of networks, as JSON')
    .argument('<network...>')
    .option('-v, --verbose', 'also the nodes, and the endpoints of each service')
    .option('-f, --format <format>', 'json, or a template: {{.Driver}} …')
    .action(async (names, options) =>
      (await import('./commands.ts')).inspectNetworks(place(), names, options, terminal),
    );
  network
    .command('rm')
    .alias('remove')
    .description('remove networks that nobody uses')
    .argument('<network...>')
    .option('-f, --force', 'one that does not exist is no error')
    .action(async (names, options) =>
      (await import('./commands.ts')).removeNetworks(place(), names, options, terminal),
    );
  network
    .command('connect')
    .description('put a running service on a network; its containers go on')
    .argument('<network>')
    .argument('<service>', 'service, or its one container')
    .addOption(repeatable('--alias <name>', 'a further name of it on the network; repeatable'))
    .option('--ip <address>', 'IPv4 address, for a service of one container')
    .option('--ip6 <address>', 'IPv6 address, for a service of one container')
    .option('--gw-priority <number>', 'the default route goes through the network with the highest (0)')
    .option('-d, --detach', 'do not wait')
    .option('-q, --quiet', 'no progress')
    .option('--dry-run', 'only say what would happen to its containers')
    .addOption(repeatable('--driver-opt <key=value>', 'refused: options are of the network').hideHelp())
    .addOption(repeatable('--link <container:alias>', 'refused: use --alias').hideHelp())
    .addOption(repeatable('--link-local-ip <address>', 'refused: use --ip').hideHelp())
    .action(async (name, service, options) =>
      (await import('./attach-commands.ts')).connectNetwork(place(), name, service, options, terminal),
    );
  network
    .command('disconnect')
    .description('take a running service off a network; its containers go on')
    .argument('<network>')
    .argument('<service>', 'service, or its one container')
    .option('-f, --force', 'a service that is not on the network is no error')
    .option('-d, --detach', 'do not wait')
    .option('-q, --quiet', 'no progress')
    .option('--dry-run', 'only say what would happen to its containers')
    .action(async (name, service, options) =>
      (await import('./attach-commands.ts')).disconnectNetwork(place(), name, service, options, terminal),
    );
  network
    .command('prune')
    .description('remove all networks that nobody uses')
    .option('-f, --force', 'do not ask')
    .addOption(repeatable('--filter <filter>', 'label=, label!= or until=; repeatable'))
    .action(async (options) => (await import('./commands.ts')).pruneNetworks(place(), options, terminal));
  network
    .command('doctor')
    .description('look for faults: forwarding, firewalls, bridges, rules, tunnels, ways between nodes, DNS')
    .option('--json', 'for programs')
    .action(async (options) => (await import('./doctor.ts')).doctor(place(), options, terminal));
  network
    .command('rotate-keys')
    .description('have nodes make new keys for encrypted networks now; nothing is interrupted')
    .argument('[node...]', 'names or ids of nodes (default: all)')
    .action(async (nodes, _options) => (await import('./rotate-keys.ts')).rotateKeys(place(), nodes, terminal));
  for (const command of network.commands) booleansWithValues(command);
}
