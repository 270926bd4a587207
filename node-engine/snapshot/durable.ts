import { mkdir, open, rename, rm } from 'node:fs/promises';
import { dirname } from 'node:path';

/** Makes a directory (and its parents) that only root may look into; tells whether it was there. */
export async function makePrivateDir(path: string): Promise<void> {
  // 0710: no other user reaches set-user-id programs or secrets of images by their path (CVE-2021-41091); a group can be
  // let through later, for user namespaces.
  await mkdir(path, { recursive: true, mode: 0o710 });
}

/** Brings a directory's entries to the disk: a rename is lasting only after that. */
export async function syncDir(path: string): Promise<void> {
  const handle = await open(path, 'r');
  try {
    await handle.sync();
  } finally {
    await handle.close();
  }
}

/** Replaces a file so that after a crash it is the old or the new one, whole. */
export async function writeFileDurably(path: string, content: string | Uint8Array): Promise<void> {
  const temporary = `${path}.new`;
  try {
    const handle = await open(temporary, 'w', 0o600);
    try {
      await handle.writeFile(content);
      await handle.sync();
    } finally {
      await handle.close();
    }
    await rename(temporary, path);
  } catch (error) {
    await rm(temporary, { force: true });
    throw error;
  }
  await syncDir(dirname(path));
}
