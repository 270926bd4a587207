import type { Command } from 'commander';
import type { NodePlace, PlaceOptions } from '../../local-node/place.ts';
import type { Terminal } from '../../terminal/index.ts';
import { booleansWithValues, repeatable } from '../../terminal/program.ts';
import { addServiceListOptions, addTaskListOptions } from '../services/program.ts';

/** Adds the commands of `tsswarm stack`. A stack is what tscompose calls a project. */
export function addStackCommands(
  stack: Command,
  place: () => NodePlace,
  options: () => PlaceOptions,
  terminal: Terminal,
): void {
  const files = (command: Command): Command =>
    command.addOption(
      repeatable('-c, --compose-file <path>', 'compose file; repeated: each over the ones before; "-": standard input'),
    );
  const commands = () => import('./commands.ts');
  files(stack.command('deploy').alias('up'))
    .description('bring a stack up as its compose files say, or change it, and wait until it runs')
    .argument('<stack>')
    .option('-d, --detach', 'return when the managers have it: do not wait until it runs')
    .option('--prune', 'remove services that the files no longer have')
    .option('-q, --quiet', 'show no progress')
    .option('--dry-run', 'only show what would change: each field, and whether containers are replaced for it')
    .option('--resolve-image <when>', 'never: tags are not resolved to digests')
    .option('--with-registry-auth', 'refused: logins at registries are not supported yet')
    .action(async (name, own) => (await commands()).deploy(options(), name, own, terminal));
  stack
    .command('ls')
    .alias('list')
    .description('list stacks')
    .option('--format <format>', 'table, json, or a template: {{.Name}} {{.Services}}')
    .action(async (own) => (await commands()).listStacks(place(), own, terminal));
  addTaskListOptions(stack.command('ps'))
    .description('list the tasks of a stack')
    .argument('<stack>')
    .action(async (name, own) => (await commands()).stackTasks(place(), name, own, terminal));
  addServiceListOptions(stack.command('services'))
    .description('list the services of a stack')
    .argument('<stack>')
    .action(async (name, own) => (await commands()).stackServices(place(), name, own, terminal));
  stack
    .command('rm')
    .alias('remove')
    .alias('down')
    .description('remove stacks, and wait until they are gone; volumes stay')
    .argument('<stack...>')
    .action(async (names) => (await commands()).removeStacks(options(), names, terminal));
  files(stack.command('config'))
    .description('print the compose files merged, checked and in full')
    .option('--skip-interpolation', 'leave variables as they are')
    .option('--format <format>', 'yaml or json', 'yaml')
    .action(async (own) => (await commands()).configStack(options(), own, terminal));
  files(stack.command('diff'))
    .description('show what a deploy would change')
    .argument('<stack>')
    .option('--prune', 'as of a deploy with --prune')
    .option('--exit-code', 'end with 1 when something would change')
    .action(async (name, own) => (await commands()).diffStack(options(), name, own, terminal));
  stack
    .command('history')
    .description('list the revisions of a stack: when, who, and what changed')
    .argument('<stack>')
    .option('-q, --quiet', 'only numbers')
    .option('--format <format>', 'table, json, or a template: {{.Revision}} {{.Changes}} …')
    .option('--no-trunc', 'all changes')
    .action(async (name, own) => (await commands()).stackHistory(options(), name, own, terminal));
  stack
    .command('rollback')
    .description('make a stack what it was at an earlier revision: the one before, or the one that is named')
    .argument('<stack>')
    .argument('[revision]')
    .option('-d, --detach', 'return when the managers have it: do not wait until it runs')
    .option('--dry-run', 'only show what would change')
    .action(async (name, revision, own) => (await commands()).rollbackStack(options(), name, revision, own, terminal));
  for (const command of stack.commands) booleansWithValues(command);
}
