import { spawnSync } from 'node:child_process';

/** Tells systemd about the daemon's state, when it was started with Type=notify (sd_notify(3)). */
export function notifySystemd(state: 'READY=1' | 'STOPPING=1'): void {
  if (process.env['NOTIFY_SOCKET'] === undefined) return;
  // Node has no datagram unix sockets; systemd brings the tool for it.
  spawnSync('systemd-notify', [`--pid=${process.pid}`, state], { stdio: 'ignore' });
}
