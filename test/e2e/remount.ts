/** Makes mounts of a container writable, of another size, or unmounts them: as somebody on the node would, by hand. */
import { changeContainer } from '../../node-engine/native/addon.ts';

const [pid = '', writable = '', resized = '', gone = ''] = process.argv.slice(2);
await changeContainer(Number(pid), [
  { kind: 'attributes', target: writable, value: '', clear: 1 },
  { kind: 'resize', target: resized, value: String(8 << 20) },
  { kind: 'detach', target: gone, value: '' },
]);
