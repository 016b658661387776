import { readFile } from "node:fs/promises";
import { errorText, type Log } from "#lib/log.ts";
import { writeFileAtomically } from "#lib/write-file.ts";

/** What probes have found of one container. */
export interface ProbeResult {
  readonly started: boolean;
  readonly ready: boolean;
}

/** Containers kept at most; a node runs far fewer. */
const maxResults = 8_192;

/**
 * The last results of probes, in one small file: the next agent goes on from them, with an API or without, so that
 * nothing that was ready stops being so because the agent was restarted.
 */
export class ProbeResults {
  readonly #file: string;
  readonly #log: Log;
  /** What an earlier agent left and nobody probes yet. */
  readonly #left: Map<string, ProbeResult>;
  #current: () => Iterable<readonly [string, ProbeResult]> = () => [];
  #written = "";
  #wanted = false;
  #writing: Promise<void> = Promise.resolve();
  #isWriting = false;

  private constructor(file: string, log: Log, left: Map<string, ProbeResult>) {
    this.#file = file;
    this.#log = log;
    this.#left = left;
  }

  /** Reads the file; one that is missing or spoilt counts as empty. */
  static async open(file: string, log: Log): Promise<ProbeResults> {
    const text = await readFile(file, "utf8").catch(() => "");
    return new ProbeResults(file, log, parse(text));
  }

  /** What was known of this container when the last agent ended: told once, to the one who probes it from now on. */
  take(containerId: string): ProbeResult | undefined {
    const found = this.#left.get(containerId);
    this.#left.delete(containerId);
    return found;
  }

  /** Containers that no longer exist are not kept. */
  forgetOthers(containerIds: ReadonlySet<string>): void {
    for (const id of this.#left.keys()) if (!containerIds.has(id)) this.#left.delete(id);
  }

  /** Writes them soon, once for many changes. @param current gives every container that is probed. */
  save(current: () => Iterable<readonly [string, ProbeResult]>): void {
    this.#current = current;
    this.#wanted = true;
    if (!this.#isWriting) this.#writing = this.#write();
  }

  /** Resolves when what was saved is on the disk. */
  async flushed(): Promise<void> {
    await this.#writing;
  }

  async #write(): Promise<void> {
    this.#isWriting = true;
    try {
      while (this.#wanted) {
        this.#wanted = false;
        const all = new Map([...this.#left, ...this.#current()]);
        const text = JSON.stringify(Object.fromEntries([...all].slice(-maxResults)));
        if (text === this.#written) continue;
        await writeFileAtomically(this.#file, text, 0o600);
        this.#written = text;
      }
    } catch (cause) {
      this.#log.warn("cannot keep the results of probes", { file: this.#file, cause: errorText(cause) });
    } finally {
      this.#isWriting = false;
    }
  }
}

function parse(text: string): Map<string, ProbeResult> {
  try {
    const all: unknown = JSON.parse(text);
    if (typeof all !== "object" || all === null) return new Map();
    return new Map(
      Object.entries(all)
        .slice(-maxResults)
        .flatMap(([id, value]: [string, unknown]): [string, ProbeResult][] =>
          typeof value === "object" && value !== null && "started" in value && "ready" in value
            ? [[id, { started: value.started === true, ready: value.ready === true }]]
            : [],
        ),
    );
  } catch {
    return new Map();
  }
}
