import { access, mkdir, writeFile } from "node:fs/promises";
import path from "node:path";
import { terminationFileName } from "../plan/container-config.ts";
import type { ContainerStatus } from "../runtime/runtime.ts";
import { podDirectory } from "../volumes/pod-directories.ts";

/**
 * Marks a container that the agent ends so that it runs anew: its exit code may be 0, and an agent that dies in between
 * is followed by one that would take the work for done. The mark goes with the Pod's directory.
 */
export async function markReplaced(rootDir: string, container: ContainerStatus): Promise<void> {
  const file = markOf(rootDir, container);
  await mkdir(path.dirname(file), { recursive: true, mode: 0o750 });
  await writeFile(file, "");
}

/** Whether the container that has ended carries the mark. */
export async function isReplaced(rootDir: string, container: ContainerStatus): Promise<boolean> {
  return await access(markOf(rootDir, container)).then(
    () => true,
    () => false,
  );
}

function markOf(rootDir: string, { podUid, name, attempt }: ContainerStatus): string {
  const file = `${terminationFileName(podUid, name, attempt)}.replaced`;
  return path.join(podDirectory(rootDir, podUid), "containers", name, file);
}
