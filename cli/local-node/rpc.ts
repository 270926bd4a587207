export { connect } from '../../proto/rpc/client.ts';
export * as services from '../../proto/rpc/services.ts';
