import { mkdir, readFile } from "node:fs/promises";
import path from "node:path";
import { readIfThere } from "#lib/read-if-there.ts";
import { writeFileAtomically } from "#lib/write-file.ts";
import { freeIds, type IdRange, idsPerPod, userNamespaceRange } from "../plan/user-namespace-range.ts";
import { podDirectories, podDirectory } from "../volumes/pod-directories.ts";

/** As the kubelet writes it, so that either finds what the other has given. */
interface Recorded {
  readonly uidMappings: readonly RecordedMapping[];
  readonly gidMappings: readonly RecordedMapping[];
}

interface RecordedMapping {
  readonly hostId: number;
  readonly containerId: number;
  readonly length: number;
}

/**
 * Which ids of the host each Pod with a user namespace has. It is written in the Pod's own directory, `userns`, and
 * ends with it: what runs goes on with its ids whatever becomes of the agent.
 */
export class UserNamespaces {
  readonly #rootDir: string;
  readonly #range: IdRange | Error;
  /** By Pod's uid, the first id. */
  readonly #given: Map<string, number>;

  private constructor(rootDir: string, range: IdRange | Error, given: Map<string, number>) {
    this.#rootDir = rootDir;
    this.#range = range;
    this.#given = given;
  }

  /** @param range why there is none, where there is none: it is told to Pods that want ids. */
  static async open(rootDir: string, range: IdRange | Error): Promise<UserNamespaces> {
    const given = new Map<string, number>();
    for (const uid of await podDirectories(rootDir)) {
      const first = await recorded(fileOf(rootDir, uid));
      if (first !== undefined) given.set(uid, first);
    }
    return new UserNamespaces(rootDir, range, given);
  }

  /** The Pod's ids, the same every time. @throws Error when there are none left. */
  async of(podUid: string): Promise<IdRange> {
    const known = this.#given.get(podUid);
    if (known !== undefined) return { first: known, length: idsPerPod };
    if (this.#range instanceof Error) throw this.#range;
    const first = freeIds(this.#range, new Set(this.#given.values()));
    if (first === undefined)
      throw new Error(
        `could not find an empty slot to allocate a user namespace: ${this.#given.size} Pods have one`,
      );
    this.#given.set(podUid, first);
    try {
      await mkdir(podDirectory(this.#rootDir, podUid), { recursive: true, mode: 0o750 });
      const mapping = [{ hostId: first, containerId: 0, length: idsPerPod }];
      const text: Recorded = { uidMappings: mapping, gidMappings: mapping };
      await writeFileAtomically(fileOf(this.#rootDir, podUid), JSON.stringify(text), 0o644);
    } catch (cause) {
      this.#given.delete(podUid);
      throw cause;
    }
    return { first, length: idsPerPod };
  }

  /** Once the Pod's directory is gone. */
  release(podUid: string): void {
    this.#given.delete(podUid);
  }
}

/** What the administrator has set aside for Pods in /etc/subuid and /etc/subgid, or why it cannot be used. */
export async function podIds(): Promise<IdRange | Error> {
  const text = (file: string): Promise<string> => readFile(file, "utf8").catch(() => "");
  try {
    return userNamespaceRange(await text("/etc/subuid"), await text("/etc/subgid"));
  } catch (cause) {
    return cause instanceof Error ? cause : new Error(String(cause));
  }
}

function fileOf(rootDir: string, podUid: string): string {
  return path.join(podDirectory(rootDir, podUid), "userns");
}

/** @throws Error for a file that is not ours: ids that run must not be given twice. */
async function recorded(file: string): Promise<number | undefined> {
  const text = await readIfThere(file);
  if (text === undefined) return undefined;
  const first = /"hostId":\s*(\d+)/.exec(text)?.[1];
  if (first === undefined) throw new Error(`cannot read the ids in "${file}": it names none; remove the Pod`);
  return Number(first);
}
