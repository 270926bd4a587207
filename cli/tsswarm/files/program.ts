import type { Command } from 'commander';
import type { FileKind } from '../../../proto/types/index.ts';
import type { NodePlace } from '../../local-node/place.ts';
import type { Terminal } from '../../terminal/index.ts';
import { repeatable } from '../../terminal/program.ts';

/** Adds the commands of `tsswarm secret` or `tsswarm config`: files of the cluster that services get. */
export function addFileCommands(command: Command, kind: FileKind, place: () => NodePlace, terminal: Terminal): void {
  const commands = () => import('./commands.ts');
  command
    .command('create')
    .description(`store a ${kind}; without a file, or with "-": from standard input`)
    .argument('<name>')
    .argument('[file]')
    .addOption(repeatable('-l, --label <label>', 'label: <key>=<value>; repeatable'))
    .option('--template-driver <driver>', 'golang: the content is a template, expanded for each container')
    .action(async (name, file, options) => (await commands()).createFile(place(), kind, name, file, options, terminal));
  command
    .command('ls')
    .alias('list')
    .description(`list the ${kind}s, those of stacks too`)
    .option('-q, --quiet', 'only ids')
    .addOption(repeatable('-f, --filter <filter>', 'id=, label= or name=; repeatable'))
    .option('--format <format>', 'table, json, or a template: {{.ID}} {{.Name}} …')
    .action(async (options) => (await commands()).listFiles(place(), kind, options, terminal));
  command
    .command('inspect')
    .description(kind === 'secret' ? 'show what is known of secrets, but not what is in them' : 'show configs, as JSON')
    .argument(`<${kind}...>`)
    .option('-f, --format <format>', 'json, or a template: {{.Spec.Name}} …')
    .action(async (names, options) => (await commands()).inspectFiles(place(), kind, names, options, terminal));
  command
    .command('rm')
    .alias('remove')
    .description(`remove ${kind}s that no service has`)
    .argument(`<${kind}...>`)
    .action(async (names) => (await commands()).removeFiles(place(), kind, names, terminal));
}
