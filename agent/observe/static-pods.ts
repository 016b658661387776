import { type FSWatcher, watch } from "node:fs";
import { readdir, readFile, stat } from "node:fs/promises";
import path from "node:path";
import type { Pod } from "#api/generated/kubernetes.ts";
import type { Clock } from "#lib/clock.ts";
import { errorText, type Log } from "#lib/log.ts";
import { loadManifests } from "./load-manifests.ts";

/** Largest manifest that is read, in bytes. */
const maxManifestBytes = 3 * 1024 * 1024;
/** A file that is being written is read once it has been quiet for this long. */
const settleMs = 100;

/** What reading the directory needs. */
export interface StaticPodPorts {
  readonly nodeName: string;
  readonly clock: Clock;
  readonly log: Log;
  /** Given the whole set each time something may have changed. */
  readonly changed: (pods: readonly Pod[]) => void;
}

/** Follows the directory (or the file) of static Pods until the signal: on every change, and all `rescanMs`. */
export async function followStaticPods(
  place: string,
  rescanMs: number,
  ports: StaticPodPorts,
  signal: AbortSignal,
): Promise<void> {
  let wake = Promise.withResolvers<void>();
  let watcher: FSWatcher | undefined;
  const stop = (): void => wake.resolve();
  signal.addEventListener("abort", stop, { once: true });
  const known = new Map<string, Pod>();
  try {
    while (!signal.aborted) {
      watcher ??= startWatch(place, () => wake.resolve());
      const wait = wake.promise;
      ports.changed(await scan(place, known, ports));
      const cancel = ports.clock.after(rescanMs, () => wake.resolve());
      await wait;
      cancel();
      wake = Promise.withResolvers<void>();
      if (!signal.aborted) await ports.clock.sleep(settleMs, signal).catch(() => undefined);
    }
  } finally {
    signal.removeEventListener("abort", stop);
    watcher?.close();
  }
}

function startWatch(place: string, changed: () => void): FSWatcher | undefined {
  try {
    const watcher = watch(place, { persistent: false }, changed);
    watcher.on("error", () => watcher.close()); // the rescan goes on
    return watcher;
  } catch {
    return undefined; // not there yet
  }
}

async function scan(place: string, known: Map<string, Pod>, ports: StaticPodPorts): Promise<readonly Pod[]> {
  const found = new Map<string, Pod>();
  for (const file of await manifests(place)) {
    try {
      const { podOfManifest } = await loadManifests();
      const { size } = await stat(file);
      if (size > maxManifestBytes)
        throw new Error(`cannot run "${file}": it is larger than ${maxManifestBytes} bytes`);
      const pod = podOfManifest(
        await readFile(file, "utf8"),
        { kind: "file", place: file },
        ports.nodeName,
        ports.clock.now(),
      );
      const before = known.get(file);
      found.set(file, before?.metadata?.uid === pod.metadata?.uid && before !== undefined ? before : pod);
    } catch (cause) {
      const before = known.get(file);
      if (before !== undefined) found.set(file, before); // a broken edit stops nothing
      ports.log.warn("cannot read a static pod", { file, cause: errorText(cause) });
    }
  }
  known.clear();
  for (const [file, pod] of found) known.set(file, pod);
  return [...found.values()];
}

async function manifests(place: string): Promise<readonly string[]> {
  const info = await stat(place).catch(() => undefined);
  if (info === undefined) return [];
  if (!info.isDirectory()) return [place];
  const entries = await readdir(place, { withFileTypes: true });
  return entries
    .filter((entry) => !entry.name.startsWith(".") && !entry.isDirectory())
    .map((entry) => path.join(place, entry.name))
    .toSorted();
}
