/**
 * A container that asks for nothing beyond its image, in the fields of `ContainerSpec` (proto/types/container.ts), which says what each
 * of them means: empty is the image's, or nothing. Whoever makes a spec writes what it wants on top; a field that is missing here
 * does not compile there. The grace is Docker's.
 */
export const CONTAINER_DEFAULTS = {
  env: [],
  workingDir: '',
  user: '',
  groups: [],
  hostname: '',
  domainname: '',
  labels: {},
  mounts: [],
  secrets: [],
  configs: [],
  stopSignal: '',
  stopGraceMs: 10_000,
  tty: false,
  openStdin: false,
  readOnly: false,
  privileged: false,
  init: false,
  capAdd: [],
  capDrop: [],
  securityOpt: [],
  sysctls: {},
  ulimits: [],
  devices: [],
  extraHosts: [],
  dns: [],
  dnsSearch: [],
  dnsOptions: [],
  shmBytes: 0,
  oomScoreAdj: 0,
  pullPolicy: 'missing',
  pidMode: '',
  ipcMode: '',
} as const;
