import type { EventRecorder } from "#api/event-recorder.ts";
import type { PodStatus } from "#api/generated/kubernetes.ts";
import type { Clock } from "#lib/clock.ts";
import type { PodStep, StepName } from "../plan/explain/pod-step.ts";
import type { PodEntry } from "../pod-entry.ts";
import type { Runtime } from "../runtime/runtime.ts";
import { watchedRuntime } from "../runtime/watched-runtime.ts";
import { type EndStep, PodJournal } from "./pod-journal.ts";

/** What the journals stand on. */
export interface PodJournalsPorts {
  readonly clock: Clock;
  /** Only Pods of the table have a journal. */
  readonly isKnown: (podUid: string) => boolean;
  /** The name of a container that the runtime was seen to have. */
  readonly nameOf: (podUid: string, containerId: string) => string | undefined;
  /** Whether statuses go to an API: without one a start ends with the Pod's being ready. */
  readonly hasApi: boolean;
  /** Wall time at which the network of a sandbox was up; undefined where that cannot be told. */
  readonly networkUpMs?: (sandboxId: string) => Promise<number | undefined>;
}

/** Calls to the runtime that are steps a user knows. */
const calls: Readonly<Record<string, { readonly what: StepName; readonly isStart: boolean }>> = {
  runSandbox: { what: "sandbox", isStart: true },
  createContainer: { what: "create", isStart: true },
  startContainer: { what: "start", isStart: true },
  stopContainer: { what: "stop container", isStart: false },
  removeContainer: { what: "remove container", isStart: false },
  stopSandbox: { what: "stop sandbox", isStart: false },
  removeSandbox: { what: "remove sandbox", isStart: false },
  listSandboxes: { what: "list sandboxes", isStart: false },
  listContainers: { what: "list containers", isStart: false },
  containerStatus: { what: "ask for a container", isStart: false },
};

/** A journal for each Pod of the node, written by what the agent does anyhow: its calls and its events. */
export class PodJournals {
  readonly #ports: PodJournalsPorts;
  readonly #journals = new Map<string, PodJournal>();
  readonly #nowMs: () => number;

  constructor(ports: PodJournalsPorts) {
    this.#ports = ports;
    const { clock } = ports;
    // Wall time that never goes back: two of its values can be subtracted.
    const offsetMs = clock.now() - clock.monotonicMs();
    this.#nowMs = () => offsetMs + clock.monotonicMs();
  }

  /** The Pod's journal; one that nobody keeps for a Pod that is not known. */
  of(podUid: string): PodJournal {
    const found = this.#journals.get(podUid);
    if (found !== undefined) return found;
    const journal = new PodJournal(this.#nowMs);
    if (this.#ports.isKnown(podUid)) this.#journals.set(podUid, journal);
    return journal;
  }

  forget(podUid: string): void {
    this.#journals.delete(podUid);
  }

  /** A status was computed: a Pod that is admitted, or ready, is so from now on. */
  statusComputed(entry: PodEntry): void {
    const journal = this.of(entry.uid);
    if (journal.isClosed) return;
    if (journal.steps.length === 0 && entry.runtime.sandboxes.length > 0) journal.moment("found running");
    if (entry.admitted && entry.verdict === undefined) journal.moment("admitted");
    if (!isReady(entry.status)) return;
    journal.moment("Ready");
    if (!this.#ports.hasApi) journal.close();
  }

  /** The API has the Pod's newest status. */
  statusWritten(entry: PodEntry): void {
    const journal = this.of(entry.uid);
    journal.unwritten = undefined;
    if (journal.isClosed || entry.reportedVersion === 0n) return;
    journal.moment("first status write");
    if (!isReady(entry.reported)) return;
    journal.moment("Ready in the API");
    journal.close();
  }

  statusNotWritten(podUid: string, message: string): void {
    const journal = this.of(podUid);
    journal.unwritten = { sinceMs: journal.unwritten?.sinceMs ?? this.#nowMs(), message };
  }

  /** A step that goes on while `work` does. It throws what that throws. */
  async during<T>(
    podUid: string,
    what: StepName,
    container: string | undefined,
    work: () => Promise<T>,
  ): Promise<T> {
    return await closing(this.of(podUid).begin(what, container, false), work);
  }

  /** The same runtime, whose calls are noted. @param podOfCall the Pod that the call now made is for. */
  watch(runtime: Runtime, podOfCall: () => string | undefined): Runtime {
    return watchedRuntime(runtime, async (call, args, proceed) => {
      const known = calls[call];
      const podUid = known && podOfCall();
      if (known === undefined || podUid === undefined) return await proceed();
      const journal = this.of(podUid);
      const name = call === "createContainer" ? nameIn(args[1]) : this.#nameOf(podUid, String(args[0]));
      const end = journal.begin(known.what, name, known.isStart);
      const answer = await closing(end, proceed);
      if (call === "createContainer" && name !== undefined)
        journal.lastCreated = { id: String(answer), name };
      if (call === "runSandbox") void this.#noteNetwork(journal, String(answer));
      return answer;
    });
  }

  /** The same recorder; warnings are kept as the Pod's errors, and what the events of images say as steps. */
  recorder(recorder: EventRecorder): EventRecorder {
    return {
      event: (target, type, reason, message) => {
        recorder.event(target, type, reason, message);
        if (target.kind !== "Pod") return;
        const journal = this.of(target.metadata?.uid ?? "");
        if (type === "Warning") journal.error(reason, message);
        const container = /\{(.*)\}$/.exec(target.fieldPath ?? "")?.[1];
        if (reason === "Pulled" && container !== undefined && message.endsWith("already present on machine"))
          journal.moment("image present", container);
      },
    };
  }

  /** A container that was just made is not in any list yet. */
  #nameOf(podUid: string, id: string): string | undefined {
    const last = this.of(podUid).lastCreated;
    return last?.id === id ? last.name : this.#ports.nameOf(podUid, id);
  }

  async #noteNetwork(journal: PodJournal, sandboxId: string): Promise<void> {
    const sandbox = journal.steps.findLast(({ what }) => what === "sandbox");
    const atMs = await this.#ports.networkUpMs?.(sandboxId).catch(() => undefined);
    if (atMs === undefined || sandbox === undefined) return;
    journal.moment("network up", undefined, within(sandbox, atMs));
  }
}

function isReady(status: PodStatus | undefined): boolean {
  return status?.conditions?.some(({ type, status }) => type === "Ready" && status === "True") === true;
}

/** A file's time and ours may differ by a tick. */
function within({ startMs, endMs }: PodStep, atMs: number): number {
  return Math.min(endMs ?? atMs, Math.max(startMs, atMs));
}

async function closing<T>(end: EndStep, work: () => Promise<T>): Promise<T> {
  let failed = true;
  try {
    const answer = await work();
    failed = false;
    return answer;
  } finally {
    end(failed);
  }
}

function nameIn(config: unknown): string | undefined {
  return typeof config === "object" && config !== null && "name" in config && typeof config.name === "string"
    ? config.name
    : undefined;
}
