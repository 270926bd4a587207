import type { Command } from 'commander';
import type { NodePlace } from '../../local-node/place.ts';
import type { Terminal } from '../../terminal/index.ts';
import { booleansWithValues, repeatable } from '../../terminal/program.ts';
import { addCreateOptions, addUpdateOptions } from './flags/options.ts';

/** Options of lists of tasks, as Docker has them. */
export function addTaskListOptions(command: Command): Command {
  return command
    .option('-q, --quiet', 'only task ids')
    .addOption(repeatable('-f, --filter <filter>', 'id=, name=, node= or desired-state=; repeatable'))
    .option('--format <format>', 'table, json, or a template: {{.ID}} {{.Name}} …')
    .option('--no-trunc', 'whole ids and errors')
    .option('--no-resolve', "nodes' ids instead of their names");
}

/** Options of lists of services, as Docker has them. */
export function addServiceListOptions(command: Command): Command {
  return command
    .option('-q, --quiet', 'only service ids')
    .addOption(repeatable('-f, --filter <filter>', 'id=, label=, mode= or name=; repeatable'))
    .option('--format <format>', 'table, json, or a template: {{.ID}} {{.Name}} …');
}

/** Adds the commands of `tsswarm service`. */
export function addServiceCommands(service: Command, place: () => NodePlace, terminal: Terminal): void {
  addCreateOptions(service.command('create'))
    .description('make a service of no stack, and wait until it runs')
    .argument('<image>')
    .argument('[command...]', "instead of the image's command")
    .passThroughOptions()
    .action(async (image, command, options) =>
      (await import('./commands/create.ts')).createService(place(), image, command, options, terminal),
    );
  addUpdateOptions(service.command('update'))
    .description('change a service, and wait until it is what was asked for')
    .argument('<service>')
    .action(async (name, options) =>
      (await import('./commands/update.ts')).updateService(place(), name, options, terminal),
    );
  const follows = (command: Command): Command =>
    command
      .option('-d, --detach', 'return at once: do not wait until it runs as it shall')
      .option('-q, --quiet', 'show no progress');
  follows(service.command('scale'))
    .description('set how many tasks services have')
    .argument('<service=replicas...>')
    .action(async (scales, options) =>
      (await import('./commands/update.ts')).scaleServices(place(), scales, options, terminal),
    );
  follows(service.command('rollback'))
    .description('give a service the specification that it had before')
    .argument('<service>')
    .action(async (name, options) =>
      (await import('./commands/update.ts')).rollbackService(place(), name, options, terminal),
    );
  addServiceListOptions(service.command('ls').alias('list'))
    .description('list the services, those of stacks too')
    .action(async (options) => (await import('./commands/list.ts')).listServices(place(), options, terminal));
  addTaskListOptions(service.command('ps'))
    .description('list the tasks of services')
    .argument('<service...>')
    .option('--drift', 'what somebody has changed by hand on their containers: the nodes look now')
    .action(async (names, options) => {
      if (options.drift === true)
        await (await import('./commands/drift.ts')).serviceDrifts(place(), names, options, terminal);
      else await (await import('./commands/ps.ts')).serviceTasks(place(), names, options, terminal);
    });
  service
    .command('inspect')
    .description('show all that is known of services, as JSON')
    .argument('<service...>')
    .option('--pretty', 'for people')
    .option('-f, --format <format>', 'json, pretty, or a template: {{.Spec.Name}} …')
    .action(async (names, options) =>
      (await import('./commands/inspect.ts')).inspectServices(place(), names, options, terminal),
    );
  service
    .command('logs')
    .description('show the output of the tasks of a service, or of one task, on whichever nodes they are')
    .argument('<service or task>')
    .option('--details', 'refused: log lines carry no details yet')
    .option('-f, --follow', 'go on as more comes')
    .option('-n, --tail <lines>', 'only the last lines of each task', 'all')
    .option('--since <time>', 'only from a time or a span ("10m") before now on')
    .option('-t, --timestamps', 'show when a line was written')
    .option('--raw', 'no prefix before lines')
    .option('--no-resolve', "nodes' ids instead of their names")
    .option('--no-task-ids', 'prefixes without ids of tasks')
    .option('--no-trunc', 'whole ids')
    .action(async (name, options) =>
      (await import('./commands/logs.ts')).serviceLogs(place(), name, options, terminal),
    );
  service
    .command('rm')
    .alias('remove')
    .description('remove services: their tasks are stopped, and gone soon')
    .argument('<service...>')
    .action(async (names) => (await import('./commands/rm.ts')).removeServices(place(), names, terminal));
  for (const command of service.commands) booleansWithValues(command);
}
