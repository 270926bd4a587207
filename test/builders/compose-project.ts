import { loadProject } from '../../compose/read/load.ts';

/** The project of a compose file that nobody has to write to a disk: "/shop/compose.yaml". @throws what `loadProject` throws */
export const loadYaml = async (yaml: string, environment: Readonly<Record<string, string>> = {}) =>
  (
    await loadProject({
      reader: {
        read: () => Promise.resolve(yaml),
        readBytes: () => Promise.resolve(Buffer.from(yaml)),
        exists: (path) => Promise.resolve(path === '/shop/compose.yaml'),
      },
      currentDir: '/shop',
      files: [],
      envFiles: [],
      profiles: [],
      services: [],
      environment,
    })
  ).project;
