import type { Server } from 'node:net';
import { createLocalServer } from '../../proto/rpc/local/server.ts';
import { createRpcServer } from '../../proto/rpc/server.ts';
import type { ServiceHandlers } from '../../proto/rpc/server.ts';
import type { SocketServers } from './socket.ts';
import { listenOnSocket } from './socket.ts';

type Serve = <S extends Readonly<Record<string, object>>>(definition: S, handlers: ServiceHandlers<S>) => void;

/** The socket of a node. Who answers there changes when a locked node is unlocked; nobody finds it closed meanwhile. */
export interface Door {
  /**
   * From now on these answer; what others still serve is cut off.
   * @throws as listenOnSocket
   */
  open(add: (serve: Serve) => void): Promise<void>;
  close(): void;
}

/**
 * Nothing listens before `open`.
 * @param onCaller called when a command connects
 */
export function doorAt(path: string, onCaller: () => void): Door {
  let current: SocketServers | undefined;
  let listening: Server | undefined;
  const demand = (): SocketServers => {
    if (current === undefined) throw new Error('nobody answers yet');
    return current;
  };
  const end = (servers: SocketServers | undefined): void => {
    servers?.local.close();
    servers?.rpc.close();
  };
  return {
    async open(add) {
      const next = { rpc: createRpcServer(), local: createLocalServer() };
      add((definition, handlers) => {
        next.rpc.add(definition, handlers);
        next.local.add(definition, handlers);
      });
      const before = current;
      current = next;
      listening ??= await listenOnSocket(
        {
          get rpc() {
            return demand().rpc;
          },
          get local() {
            return demand().local;
          },
        },
        path,
        onCaller,
      );
      end(before);
    },
    close() {
      listening?.close();
      end(current);
    },
  };
}
