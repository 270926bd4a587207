/** Calls of managers at a node that listens on no port; see proto/relay.proto. */
export interface RelayListenRequest {
  readonly nodeId: string;
}
export interface RelayCall {
  /** Empty in the first of a stream: the node is heard. */
  readonly callId: string;
  readonly method: string;
  readonly request: Uint8Array;
}
/** The first of a stream only names the call; then one message of the answer each. */
export interface RelayOutput {
  readonly nodeId: string;
  readonly callId: string;
  readonly message?: Uint8Array;
  /** Ends the call: the error as JSON. */
  readonly failure?: Uint8Array;
  /** The answer's end: a stream that ends without is cut off. */
  readonly done?: boolean;
}
export interface RelayInput {
  readonly message?: Uint8Array;
  /** No more messages. */
  readonly end: boolean;
}
export interface RelayNodes {
  readonly nodeIds: readonly string[];
}
