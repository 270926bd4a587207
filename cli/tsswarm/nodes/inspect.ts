import { rootDigest } from '../../../base/join-token.ts';
import type { GetCaResponse, ManagerMember, Node } from '../../../proto/types/index.ts';
import { formatMemory } from '../../render/index.ts';
import { capital, keysShown } from './words.ts';

/** A node in the shape of `docker node inspect`, and with its certificate. */
export function inspected(node: Node, manager: ManagerMember | undefined) {
  const { description, certificate } = node;
  return {
    ID: node.id,
    Version: { Index: node.meta.version },
    CreatedAt: new Date(node.meta.createdAt).toISOString(),
    UpdatedAt: new Date(node.meta.updatedAt).toISOString(),
    Spec: {
      Labels: new Map(Object.entries(node.spec.labels)),
      Role: node.spec.role,
      Availability: node.spec.availability,
    },
    Description: {
      Hostname: description.hostname,
      Platform: { Architecture: description.platform.architecture, OS: description.platform.os },
      Resources: {
        NanoCPUs: description.resources.nanoCpus,
        MemoryBytes: description.resources.memoryBytes,
        GenericResources: resourcesOf(node),
      },
      Engine: {
        EngineVersion: description.engine.version,
        Labels: new Map(Object.entries(description.engine.labels)),
      },
    },
    Status: { State: node.status.state, Message: node.status.message, Addr: addressOf(node, manager) },
    Certificate:
      certificate === undefined
        ? null
        : {
            Role: certificate.role,
            IssuedAt: new Date(certificate.issuedAt).toISOString(),
            ExpiresAt: new Date(certificate.expiresAt).toISOString(),
            Issuer: certificate.usedIssuer,
            TrustedRoots: certificate.trustedRoots,
          },
    NetworkKeys: keysShown(node),
    ManagerStatus:
      manager === undefined
        ? null
        : {
            Leader: manager.leader,
            Reachability: manager.reachable ? 'reachable' : 'unreachable',
            Addr: manager.address,
          },
  };
}

/** One of the two, as Docker has it. */
type InspectedResource =
  | { readonly NamedResourceSpec: { readonly Kind: string; readonly Value: string } }
  | { readonly DiscreteResourceSpec: { readonly Kind: string; readonly Value: number } };

const resourcesOf = ({ description }: Node): readonly InspectedResource[] =>
  (description.resources.generic ?? []).flatMap(({ kind, count, names }): readonly InspectedResource[] =>
    names.length === 0
      ? [{ DiscreteResourceSpec: { Kind: kind, Value: count } }]
      : names.map((name) => ({ NamedResourceSpec: { Kind: kind, Value: name } })),
  );

export type InspectedNode = ReturnType<typeof inspected>;

/** As `docker node inspect --pretty`, and with the certificate in place of its engine plugins. */
export function prettyNode({
  ID,
  CreatedAt,
  Spec,
  Description,
  Status,
  Certificate,
  ManagerStatus,
}: InspectedNode): string {
  const lines: (string | readonly [string, string])[] = [
    ['ID', ID],
    ['Labels', ''],
    ...[...Spec.Labels].sort().map(([key, value]) => ` - ${key}=${value}`),
    ['Hostname', Description.Hostname],
    ['Joined at', CreatedAt],
    'Status:',
    [' State', capital(Status.State)],
    ...(Status.Message === '' ? [] : [[' Message', Status.Message] as const]),
    [' Availability', capital(Spec.Availability)],
    [' Address', Status.Addr],
    ...(ManagerStatus === null
      ? []
      : [
          'Manager Status:',
          [' Address', ManagerStatus.Addr] as const,
          [' Raft Status', capital(ManagerStatus.Reachability)] as const,
          [' Leader', ManagerStatus.Leader ? 'Yes' : 'No'] as const,
        ]),
    'Platform:',
    [' Operating System', Description.Platform.OS],
    [' Architecture', Description.Platform.Architecture],
    'Resources:',
    [' CPUs', String(Description.Resources.NanoCPUs / 1e9)],
    [' Memory', formatMemory(Description.Resources.MemoryBytes)],
    ...Description.Resources.GenericResources.map((resource) => {
      const { Kind, Value } =
        'NamedResourceSpec' in resource ? resource.NamedResourceSpec : resource.DiscreteResourceSpec;
      return [` ${Kind}`, String(Value)] as const;
    }),
    ['Engine Version', Description.Engine.EngineVersion],
    ...(Certificate === null
      ? []
      : [
          'Certificate:',
          [' Role', Certificate.Role] as const,
          [' Valid from', Certificate.IssuedAt] as const,
          [' Expires', Certificate.ExpiresAt] as const,
          [' Issuer', Certificate.Issuer] as const,
        ]),
  ];
  return lines
    .map((line) => (typeof line === 'string' ? `${line}\n` : `${`${line[0]}:`.padEnd(24)}${line[1]}`.trimEnd() + '\n'))
    .join('');
}

/** Where the node is: its own word, or where it serves as a manager; without the port. */
function addressOf({ status }: Node, manager: ManagerMember | undefined): string {
  const address = status.address === '' ? (manager?.address ?? '') : status.address;
  return address.replace(/:\d+$/, '').replace(/^\[|\]$/g, '');
}

/** Whether the certificate that a node uses is of the root that it should be of, in Docker's words. */
export function tlsStatus({ id, certificate }: Node, { rootCertificate, rotation }: GetCaResponse): string {
  if (certificate === undefined || certificate.usedIssuer === '') return 'Unknown';
  const ready =
    rotation === undefined
      ? certificate.usedIssuer === rootDigest(rootCertificate)
      : rotation.nodes.some(({ nodeId, done }) => nodeId === id && done);
  return ready ? 'Ready' : 'Needs Rotation';
}
