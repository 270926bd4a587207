/** `tscompose`: projects. Each command's code is loaded when it is used. */
import { Command, Option } from 'commander';
import { addPlaceOptions } from '../local-node/place.ts';
import { openTerminal } from '../terminal/index.ts';
import type { Terminal } from '../terminal/index.ts';
import { addVersionFlag, prepareProgram, repeatable, runProgram } from '../terminal/program.ts';
import { ansiMode, createContext } from './context.ts';
import type { Context, GlobalOptions } from './context.ts';

/** An option that only happens to begin with "no": it is not the opposite of another. */
function plainNo(option: Option): Option {
  option.negate = false;
  return option;
}
const yes = ['-y, --yes', 'start a node where none runs, without asking'] as const;
const progress = ['--progress <mode>', 'how progress is shown: auto, tty, plain, json or quiet'] as const;

const program = new Command('tscompose')
  .description('Compose projects: containers of several services that belong together.')
  .enablePositionalOptions()
  .addOption(repeatable('-f, --file <path>', 'compose file; repeated: each over the ones before; "-": standard input'))
  .option('-p, --project-name <name>', 'name of the project')
  .option('--project-directory <path>', "where relative paths start (default: the first file's directory)")
  .addOption(repeatable('--profile <name>', 'activate a profile; "*": all'))
  .addOption(repeatable('--env-file <path>', 'instead of .env'))
  .option('--ansi <mode>', 'colours and redrawn lines: auto, always or never')
  .option(...progress)
  .option(...yes);
addPlaceOptions(program);

let terminal: Terminal | undefined;
const theTerminal = (): Terminal => (terminal ??= openTerminal());
addVersionFlag(program, theTerminal);
/** The context of a command; some of the global options may also stand behind it. */
function contextOf(own: { readonly progress?: string } = {}): Context {
  const options: GlobalOptions = {
    ...program.opts<GlobalOptions>(),
    ...(own.progress ? { progress: own.progress } : {}),
  };
  terminal = openTerminal(ansiMode(options.ansi));
  return createContext(options, terminal);
}

program
  .command('up')
  .description('create and start a project; attached unless -d')
  .argument('[service...]')
  .option('-d, --detach', 'return when all is started')
  .option('--build', 'build images before, also when they are there')
  .option('--no-build', 'never build')
  .option('--pull <policy>', 'always, missing or never')
  .option('--quiet-pull', 'show no progress of pulls')
  .option('--force-recreate', 'replace containers although nothing changed')
  .option('--no-recreate', 'leave existing containers as they are')
  .option('--no-deps', 'leave out what the services depend on')
  .option('--no-start', 'make everything, start nothing')
  .addOption(repeatable('--scale <service=n>', 'number of containers of a service'))
  .option('--remove-orphans', 'remove services that the file no longer has')
  .option('-t, --timeout <seconds>', 'grace when stopping attached containers')
  .option('--wait', 'return when all is running and healthy; implies -d')
  .option('--wait-timeout <seconds>', 'give up waiting')
  .option('--abort-on-container-exit', 'stop all when one ends')
  .option('--abort-on-container-failure', 'stop all when one fails')
  .option('--exit-code-from <service>', "end with that service's exit code; implies --abort-on-container-exit")
  .addOption(repeatable('--attach <service>', 'show only the output of these'))
  .addOption(plainNo(repeatable('--no-attach <service>', 'do not show the output of these')))
  .option('--attach-dependencies', 'show the output of dependencies, too')
  .option('--no-color', 'no colours')
  .option('--no-log-prefix', 'no prefix before lines')
  .option('--timestamps', 'show when a line was written')
  .option('--dry-run', 'show what would be done')
  .option(...progress)
  .option(...yes)
  .action(async (services, options) => (await import('./commands/up.ts')).up(contextOf(options), services, options));

program
  .command('down')
  .description('stop and remove containers and networks; volumes stay unless -v')
  .argument('[service...]')
  .option('-v, --volumes', 'remove the volumes of the project, too')
  .option('--remove-orphans', 'remove services that the file no longer has')
  .option('-t, --timeout <seconds>', 'grace before containers are killed')
  .option('--rmi <which>', 'remove images: all, or local (those without a name of their own)')
  .option(...progress)
  .action(async (services, options) => {
    await (await import('./commands/down.ts')).down(contextOf(options), services, options);
  });

program
  .command('ps')
  .description('list containers')
  .argument('[service...]')
  .option('-a, --all', 'also those that have ended')
  .option('-q, --quiet', 'only container ids')
  .option('--services', 'only names of services')
  .addOption(repeatable('--status <state>', 'only those: created, running, restarting, exited or dead'))
  .option('--format <format>', 'table or json', 'table')
  .option('--no-trunc', 'whole commands')
  .option('--drift', 'what somebody has changed by hand on the containers: the nodes look now')
  .action(async (services, options) => (await import('./commands/ps.ts')).ps(contextOf(), services, options));

program
  .command('logs')
  .description('show the output of containers')
  .argument('[service...]')
  .option('-f, --follow', 'go on as more comes')
  .option('-n, --tail <lines>', 'only the last lines of each container', 'all')
  .option('--since <time>', 'only from a time or a span ("10m") before now on')
  .option('--until <time>', 'only up to then')
  .option('-t, --timestamps', 'show when a line was written')
  .option('--index <n>', "only the service's container of that number")
  .option('--no-color', 'no colours')
  .option('--no-log-prefix', 'no prefix before lines')
  .action(async (services, options) => (await import('./commands/logs.ts')).logs(contextOf(), services, options));

program
  .command('exec')
  .description('execute a command in a running container')
  .passThroughOptions()
  .argument('<service>')
  .argument('<command...>')
  .option('-d, --detach', 'return as soon as it runs')
  .addOption(repeatable('-e, --env <name=value>', 'set a variable'))
  .addOption(new Option('-t, --tty').hideHelp())
  .option('-T, --no-tty', 'without a terminal')
  .addOption(new Option('-i, --interactive').hideHelp())
  .option('--no-interactive', 'without standard input')
  .option('-u, --user <user>', 'as this user')
  .option('-w, --workdir <path>', 'in this directory')
  .option('--index <n>', "in the service's container of that number")
  .option('--privileged', 'with all capabilities')
  .action(async (service, command, options) =>
    (await import('./commands/exec.ts')).exec(contextOf(), service, command, options),
  );

program
  .command('attach')
  .description("connect this terminal to the main process of a service's container")
  .argument('<service>')
  .option('--detach-keys <keys>', 'keys that leave the container alone (default: ctrl-p,ctrl-q)')
  .option('--index <n>', "the service's container of that number")
  .option('--no-stdin', 'without standard input')
  .option('--sig-proxy [yes]', 'hand signals on to the process; false: they end the command')
  .action(async (service, options) => (await import('./commands/attach.ts')).attach(contextOf(), service, options));

program
  .command('cp')
  .description('copy files between a container and this machine: SERVICE:PATH and a path, or "-" for a tar archive')
  .argument('<from>')
  .argument('<to>')
  .option('-a, --archive', 'keep owners')
  .option('-L, --follow-link', 'copy what a link leads to')
  .option('--index <n>', "only the service's container of that number")
  .option('--all', 'to containers of run, too')
  .action(async (from, to, options) => (await import('./commands/cp.ts')).cp(contextOf(), from, to, options));

program
  .command('top')
  .description('show the processes of containers')
  .argument('[service...]')
  .action(async (services) => (await import('./commands/top.ts')).top(contextOf(), services));

program
  .command('stats')
  .description('show what containers use, every second')
  .argument('[service]')
  .option('-a, --all', 'also containers that do not run')
  .option('--format <format>', 'table, json or a template')
  .option('--no-stream', 'only once')
  .option('--no-trunc', 'whole ids')
  .action(async (service, options) => (await import('./commands/stats.ts')).stats(contextOf(), service, options));

program
  .command('events')
  .description('tell what happens to containers')
  .argument('[service...]')
  .option('--json', 'an object a line')
  .option(
    '--since <time>',
    'also what is known of containers that are there, from a time or a span ("10m") before now on',
  )
  .option('--until <time>', 'only up to then')
  .action(async (services, options) => (await import('./commands/events.ts')).events(contextOf(), services, options));

program
  .command('port')
  .description("print where a port of a service's container is published")
  .argument('<service>')
  .argument('<port>')
  .option('--index <n>', "of the service's container of that number")
  .option('--protocol <protocol>', 'tcp, udp or sctp', 'tcp')
  .action(async (service, port, options) =>
    (await import('./commands/port.ts')).port(contextOf(), service, port, options),
  );

program
  .command('wait')
  .description('wait until the containers of services have ended')
  .argument('<service...>')
  .option('--down-project', 'take the project down when the first has ended')
  .action(async (services, options) => (await import('./commands/wait.ts')).wait(contextOf(), services, options));

program
  .command('scale')
  .description('change how many containers services have')
  .argument('<service=n...>')
  .option('--no-deps', 'leave out what the services depend on')
  .option(...progress)
  .action(async (words, options) => (await import('./commands/scale.ts')).scale(contextOf(options), words, options));

program
  .command('run')
  .description('run a one-off container of a service')
  .passThroughOptions()
  .argument('<service>')
  .argument('[command...]')
  .option('--rm', 'remove it when it has ended')
  .option('-d, --detach', 'return when it is started, and print its name')
  .addOption(repeatable('-e, --env <name=value>', 'set a variable'))
  .addOption(repeatable('-l, --label <name=value>', 'add a label'))
  .option('--entrypoint <command>', 'instead of the entrypoint')
  .addOption(new Option('-t, --tty').hideHelp())
  .option('-T, --no-tty', 'without a terminal')
  .addOption(new Option('-i, --interactive').hideHelp())
  .option('--no-interactive', 'without standard input')
  .option('--name <name>', 'name of the container')
  .option('--no-deps', 'do not start what the service depends on')
  .addOption(repeatable('-p, --publish <port>', 'publish a port'))
  .option('-P, --service-ports', "publish the service's ports")
  .option('-u, --user <user>', 'as this user')
  .addOption(repeatable('-v, --volume <source:target>', 'mount a path or volume'))
  .option('-w, --workdir <path>', 'in this directory')
  .option('--build', 'build the image before')
  .option('--pull <policy>', 'always, missing or never')
  .option('--quiet-pull', 'show no progress of pulls')
  .option('--remove-orphans', 'remove services that the file no longer has')
  .option(...progress)
  .option(...yes)
  .action(async (service, command, options) =>
    (await import('./commands/run.ts')).run(contextOf(options), service, command, options),
  );

program
  .command('start')
  .description('start stopped services')
  .argument('[service...]')
  .option(...progress)
  .action(async (services, options) => (await import('./commands/services.ts')).start(contextOf(options), services));

for (const [name, description] of [
  ['stop', 'stop services; their containers stay'],
  ['restart', 'stop and start services again'],
] as const) {
  program
    .command(name)
    .description(description)
    .argument('[service...]')
    .option('-t, --timeout <seconds>', 'grace before containers are killed')
    .option(...progress)
    .action(async (services, options) =>
      (await import('./commands/services.ts'))[name](contextOf(options), services, options),
    );
}

program
  .command('kill')
  .description('stop services at once (SIGKILL)')
  .argument('[service...]')
  .option(...progress)
  .action(async (services, options) => (await import('./commands/services.ts')).kill(contextOf(options), services));

program
  .command('pull')
  .description('pull the images of services')
  .argument('[service...]')
  .option('--ignore-buildable', 'leave out services that can be built')
  .option('--ignore-pull-failures', 'warn of images that cannot be pulled, and go on')
  .option('--include-deps', 'also of what the services depend on')
  .option('--policy <policy>', 'always or missing')
  .option('-q, --quiet', 'show no progress')
  .option(...progress)
  .option(...yes)
  .action(async (services, options) =>
    (await import('./commands/pull.ts')).pull(contextOf(options), services, options),
  );

program
  .command('build')
  .description('build the images of services')
  .argument('[service...]')
  .addOption(repeatable('--build-arg <name=value>', 'set a build argument'))
  .option('--no-cache', 'do every step again')
  .option('--pull', 'pull base images anew')
  .option('--with-dependencies', 'also of what the services depend on')
  .option('-q, --quiet', 'show no progress')
  .option(...progress)
  .option(...yes)
  .action(async (services, options) =>
    (await import('./commands/build.ts')).build(contextOf(options), services, options),
  );

program
  .command('config')
  .alias('convert')
  .description('print the project in its canonical form')
  .argument('[service...]')
  .option('--format <format>', 'yaml or json', 'yaml')
  .option('-q, --quiet', 'only check')
  .option('-o, --output <file>', 'write it there')
  .option('--services', 'only names of services')
  .option('--volumes', 'only names of volumes')
  .option('--networks', 'only names of networks')
  .option('--images', 'only names of images')
  .option('--profiles', 'only names of profiles')
  .option('--hash <services>', 'a hash of each service: names with commas, or "*"')
  .option('--no-interpolate', 'leave variables as they are')
  .action(async (services, options) => (await import('./commands/config.ts')).config(contextOf(), services, options));

program
  .command('diff')
  .description('show what "up" would change of what runs')
  .option('--remove-orphans', 'as of an up with --remove-orphans')
  .option('--exit-code', 'end with 1 when something would change')
  .action(async ({ removeOrphans, exitCode }) =>
    (await import('./commands/diff.ts')).diff(contextOf(), { prune: removeOrphans, exitCode }),
  );

program
  .command('history')
  .description('list the revisions of the project: when, who, and what changed')
  .option('-q, --quiet', 'only numbers')
  .option('--format <format>', 'table, json, or a template: {{.Revision}} {{.Changes}} …')
  .option('--no-trunc', 'all changes')
  .action(async (options) => (await import('./commands/history.ts')).history(contextOf(), options));

program
  .command('rollback')
  .description('make the project what it was at an earlier revision: the one before, or the one that is named')
  .argument('[revision]')
  .option('-d, --detach', 'return when the managers have it: do not wait until it runs')
  .option('--dry-run', 'only show what would change')
  .option(...progress)
  .action(async (revision, options) =>
    (await import('./commands/rollback.ts')).rollback(contextOf(options), revision, options),
  );

program
  .command('images')
  .description('list the images that containers were made from')
  .argument('[service...]')
  .option('-q, --quiet', 'only image ids')
  .option('--format <format>', 'table or json', 'table')
  .action(async (services, options) => (await import('./commands/images.ts')).images(contextOf(), services, options));

program
  .command('ls')
  .description('list running projects')
  .option('-a, --all', 'also those without running containers')
  .option('-q, --quiet', 'only names')
  .option('--format <format>', 'table or json', 'table')
  .action(async (options) => (await import('./commands/ls.ts')).ls(contextOf(), options));

program
  .command('version')
  .description('print the version')
  .option('--short', 'only the number')
  .action(async ({ short }) => {
    const version = (await import('../local-node/version.ts')).packageVersion();
    contextOf().terminal.out(short === true ? `${version}\n` : `tscompose ${version}\n`);
  });

// Not awaited here: the bundle is CommonJS, which has no top-level await.
void runProgram(prepareProgram(program), theTerminal);
