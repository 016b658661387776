import path from "node:path";
import type { Pod } from "#api/generated/kubernetes.ts";
import { matchesSelector } from "#api/node-affinity.ts";
import type { Clock } from "#lib/clock.ts";
import { errorText, type Log } from "#lib/log.ts";
import { unmountBelow } from "#linux/mount.ts";
import type { ObjectReader } from "../last-known/object-reader.ts";
import type { DownwardFacts } from "../plan/downward.ts";
import { type UsedVolume, usedVolumes } from "../plan/used-volumes.ts";
import type { VolumeFault } from "../plan/volume-faults.ts";
import { Attachments } from "./attachments.ts";
import { placesOf, podDirectories, podDirectory, removeUnmounted, volumePlace } from "./pod-directories.ts";
import { resolveVolume } from "./resolve-volume.ts";
import { tearDownDirectory } from "./tear-down-directory.ts";
import { volumeModeFault } from "./volume-mode.ts";
import {
  type MountedVolume,
  VolumeError,
  type VolumePlace,
  type VolumePlugin,
  type VolumeRequest,
  type VolumeSource,
} from "./volume-plugin.ts";

/** What setting up volumes stands on. */
export interface VolumesPorts {
  readonly rootDir: string;
  readonly plugins: readonly VolumePlugin[];
  /** undefined without an API: then there are no claims. */
  readonly client: ObjectReader | undefined;
  readonly nodeName: string;
  /** The Node's labels, by which PersistentVolumes say where they can be used. */
  readonly nodeLabels: () => Readonly<Record<string, string>>;
  readonly clock: Clock;
  readonly log: Log;
  /** {@link Volumes.inUse} is another one. */
  readonly inUseChanged: () => void;
  /** A warning about a Pod. */
  readonly warn: (podUid: string, reason: string, message: string) => void;
  /** A set-up that nobody waited for has ended. */
  readonly changed: (podUid: string) => void;
}

/** How setting up a Pod's volumes went. */
export interface VolumesOutcome {
  readonly faults: readonly VolumeFault[];
  /** Wall time at which content has to be renewed. */
  readonly refreshAtMs: number | undefined;
}

/** A volume of a Pod that has been set up. */
export interface KnownVolume {
  readonly plugin: VolumePlugin;
  readonly source: VolumeSource;
  readonly place: VolumePlace;
  readonly mounted: MountedVolume;
  /** It is a device, not files. */
  readonly isBlock: boolean;
  readonly readOnly: boolean;
}

interface Job {
  readonly stop: AbortController;
  /** A step went on without its outcome. */
  isLeft: boolean;
  readonly done: Promise<VolumesOutcome>;
}

/** How long a step waits for a set-up before it goes on with other Pods. */
const patienceMs = 500;

class Fault extends Error {
  override readonly name = "Fault";
  readonly fault: Omit<VolumeFault, "volume">;

  constructor(fault: Omit<VolumeFault, "volume">, cause?: unknown) {
    super(fault.message, { cause });
    this.fault = fault;
  }
}

/**
 * The volumes of this node's Pods. What it remembers can be found again: a set-up is idempotent, and taking down
 * goes by the directories, so that it needs neither memory nor the Pod's spec.
 */
export class Volumes {
  readonly #ports: VolumesPorts;
  readonly #attachments: Attachments;
  readonly #known = new Map<string, Map<string, KnownVolume>>();
  readonly #jobs = new Map<string, Job>();
  /** Attached name -> the places that use it. */
  readonly #uses = new Map<string, Set<string>>();

  constructor(ports: VolumesPorts) {
    this.#ports = ports;
    this.#attachments = new Attachments(ports.client, ports.nodeName, ports.clock);
  }

  /** Finds what earlier runs of the agent have attached, before the node tells what it uses. */
  async start(): Promise<void> {
    const { rootDir } = this.#ports;
    for (const uid of await podDirectories(rootDir)) {
      for (const { plugin, place } of await placesOf(rootDir, uid)) {
        const name = await this.#plugin(plugin)?.attachedNameAt?.(place);
        if (name !== undefined) this.#use(name, place);
      }
    }
  }

  /** The names of attached volumes that this node uses, for the Node's `status.volumesInUse`. */
  inUse(): readonly string[] {
    return [...this.#uses.keys()].toSorted();
  }

  /** The volumes of a Pod that are set up, by their names in the Pod. */
  of(podUid: string): ReadonlyMap<string, KnownVolume> {
    return this.#known.get(podUid) ?? new Map<string, KnownVolume>();
  }

  /** The same of every Pod. */
  all(): Iterable<readonly [string, ReadonlyMap<string, KnownVolume>]> {
    return this.#known;
  }

  /**
   * Sets up every volume that containers of the Pod use, and brings written ones up to date. A second call with
   * nothing new writes nothing.
   * @returns undefined when it takes longer: it goes on, `changed` is told at its end, and the next call joins it.
   */
  async setUp(pod: Pod, facts: DownwardFacts, signal: AbortSignal): Promise<VolumesOutcome | undefined> {
    const uid = pod.metadata?.uid ?? "";
    const earlier = this.#jobs.get(uid);
    if (earlier !== undefined) {
      const outcome = await this.#await(uid, earlier, signal);
      // What changed since it began may not be in it; a fault is told, or slow ones would never be.
      if (outcome === undefined || outcome.faults.length > 0) return outcome;
    }
    return this.#await(uid, this.#begin(uid, pod, facts), signal);
  }

  /** The volumes that a set-up that goes on has not brought yet. */
  unfinished(pod: Pod): readonly VolumeFault[] {
    const known = this.of(pod.metadata?.uid ?? "");
    return usedVolumes(pod)
      .map(({ volume: { name } }) => name)
      .filter((name) => !known.has(name))
      .map((name) => ({ volume: name, name, stage: "wait", message: "it is still being set up" }));
  }

  /** Unmounts and removes the Pod's volumes. @throws the first fault, after everything else has been taken down. */
  async tearDown(uid: string, signal: AbortSignal): Promise<void> {
    const { rootDir } = this.#ports;
    const job = this.#jobs.get(uid);
    job?.stop.abort();
    await job?.done;
    this.#jobs.delete(uid);
    const directory = podDirectory(rootDir, uid);
    const faults: unknown[] = [];
    const subPaths = path.join(directory, "volume-subpaths");
    try {
      await unmountBelow(subPaths);
      await removeUnmounted(subPaths);
    } catch (cause) {
      faults.push(cause);
    }
    for (const { plugin, place } of await placesOf(rootDir, uid)) {
      try {
        const found = this.#plugin(plugin);
        await (found === undefined ? tearDownDirectory(place) : found.tearDown(place, signal));
        this.#release(place);
      } catch (cause) {
        faults.push(cause);
      }
    }
    this.#known.delete(uid);
    if (faults.length > 0) throw faults[0];
    for (const kind of ["volumes", "volumeDevices"]) await removeUnmounted(path.join(directory, kind));
  }

  /** Takes down what is left of the Pod and removes its directory. */
  async remove(uid: string, signal: AbortSignal): Promise<void> {
    await this.tearDown(uid, signal);
    const directory = podDirectory(this.#ports.rootDir, uid);
    await unmountBelow(directory);
    await removeUnmounted(directory);
  }

  /** Ends what is going on. */
  async close(): Promise<void> {
    for (const { stop } of this.#jobs.values()) stop.abort();
    await Promise.all([...this.#jobs.values()].map(({ done }) => done));
  }

  async #await(uid: string, job: Job, signal: AbortSignal): Promise<VolumesOutcome | undefined> {
    const early = Promise.withResolvers<undefined>();
    const giveUp = (): void => early.resolve(undefined);
    const cancel = this.#ports.clock.after(patienceMs, giveUp);
    signal.addEventListener("abort", giveUp, { once: true });
    const outcome = await Promise.race([job.done, early.promise]);
    cancel();
    signal.removeEventListener("abort", giveUp);
    signal.throwIfAborted();
    if (outcome === undefined) {
      job.isLeft = true;
      return undefined;
    }
    if (this.#jobs.get(uid) === job) this.#jobs.delete(uid);
    return outcome;
  }

  #begin(uid: string, pod: Pod, facts: DownwardFacts): Job {
    const stop = new AbortController();
    const done = this.#setUpAll(uid, pod, facts, stop.signal);
    const job: Job = { stop, done, isLeft: false };
    this.#jobs.set(uid, job);
    void done.then(() => {
      if (job.isLeft && !stop.signal.aborted) this.#ports.changed(uid);
    });
    return job;
  }

  /** Never throws: every fault is a part of the outcome. */
  async #setUpAll(uid: string, pod: Pod, facts: DownwardFacts, signal: AbortSignal): Promise<VolumesOutcome> {
    const known = this.#known.get(uid) ?? new Map<string, KnownVolume>();
    this.#known.set(uid, known);
    const faults: VolumeFault[] = [];
    const one = async (used: UsedVolume): Promise<void> => {
      const { name } = used.volume;
      const before = known.get(name);
      if (before !== undefined && !before.plugin.refreshes && !this.#isDue(before)) return;
      try {
        known.set(name, await this.#setUpOne(pod, used, facts, before, signal));
      } catch (cause) {
        faults.push(
          cause instanceof Fault
            ? { volume: name, ...cause.fault }
            : { volume: name, name, stage: "mount", message: errorText(cause) },
        );
      }
    };
    await Promise.all(usedVolumes(pod).map(one));
    const times = [...known.values()].flatMap(({ mounted }) => mounted.refreshAtMs ?? []);
    return { faults, refreshAtMs: times.length === 0 ? undefined : Math.min(...times) };
  }

  async #setUpOne(
    pod: Pod,
    used: UsedVolume,
    facts: DownwardFacts,
    before: KnownVolume | undefined,
    signal: AbortSignal,
  ): Promise<KnownVolume> {
    const { rootDir, client } = this.#ports;
    const { volume } = used;
    const process = (message: string, cause?: unknown): Fault =>
      new Fault({ name: volume.name, stage: "process", message }, cause);
    const source =
      before?.source.from === "claim"
        ? before.source
        : await resolveVolume(pod, volume, client, signal).catch((cause: unknown) => {
            throw process(errorText(cause), cause);
          });
    const plugin = this.#ports.plugins.find((one) => one.serves(source));
    if (plugin === undefined)
      throw process(`no volume plugin matched: volume type ${kindOf(source)} is not supported by this node`);
    const modeFault = volumeModeFault(used, source);
    if (modeFault !== undefined) throw process(modeFault);
    const { uid = "" } = pod.metadata ?? {};
    const name = source.from === "claim" ? (source.volume.metadata?.name ?? "") : volume.name;
    const place = volumePlace(rootDir, uid, plugin.name, name);
    const { securityContext } = pod.spec ?? {};
    const request: VolumeRequest = {
      pod,
      name: volume.name,
      source,
      place,
      isBlock: used.isBlock,
      readOnly: volume.persistentVolumeClaim?.readOnly === true,
      mountOptions: source.from === "claim" ? (source.volume.spec?.mountOptions ?? []) : [],
      fsGroup: securityContext?.fsGroup,
      fsGroupPolicy: securityContext?.fsGroupChangePolicy === "OnRootMismatch" ? "OnRootMismatch" : "Always",
      slowGroup: {
        clock: this.#ports.clock,
        volume: path.relative(path.join(rootDir, "pods"), place.directory),
        say: (message) => this.#ports.warn(uid, "VolumePermissionChangeInProgress", message),
      },
      warn: (reason, message) => this.#ports.warn(uid, reason, message),
      devicePath: "",
      facts,
    };
    const verb = used.isBlock ? "MapVolume" : "MountVolume";
    const refused = this.#refusal(plugin, source);
    if (refused !== undefined)
      throw new Fault({
        name,
        stage: "mount",
        message: refused.message,
        operation: `${verb}.${refused.check} check`,
      });
    const devicePath = await this.#attached(plugin, request, signal);
    try {
      const mounted = await plugin.setUp({ ...request, devicePath }, signal);
      const { isBlock, readOnly } = request;
      return { plugin, source, place, mounted, isBlock, readOnly };
    } catch (cause) {
      const usual = used.isBlock ? "MapVolume.SetUpDevice" : "MountVolume.SetUp";
      const operation = cause instanceof VolumeError ? cause.operation : usual;
      throw new Fault({ name, stage: "mount", message: errorText(cause), operation }, cause);
    }
  }

  /** Why a PersistentVolume is not to be used here, whatever its kind. Before anything of it is touched. */
  #refusal(
    plugin: VolumePlugin,
    source: VolumeSource,
  ): { readonly check: "NodeAffinity" | "MountOptionSupport"; readonly message: string } | undefined {
    if (source.from !== "claim") return undefined;
    const { nodeAffinity, mountOptions = [] } = source.volume.spec ?? {};
    const { nodeName, nodeLabels } = this.#ports;
    const required = nodeAffinity?.required;
    const node = { metadata: { name: nodeName, labels: nodeLabels() } };
    if (required !== undefined && !matchesSelector(required, node))
      return { check: "NodeAffinity", message: "no matching NodeSelectorTerms" };
    if (mountOptions.length > 0 && plugin.takesNoMountOptions === true)
      return {
        check: "MountOptionSupport",
        message: "Mount options are not supported",
      };
    return undefined;
  }

  async #attached(plugin: VolumePlugin, request: VolumeRequest, signal: AbortSignal): Promise<string> {
    const attachedName = await plugin.attachedName?.(request, signal);
    if (attachedName === undefined) return "";
    this.#use(attachedName, request.place);
    const attachment = await this.#attachments.of(attachedName, signal);
    if (attachment.state === "attached") return attachment.devicePath;
    throw new Fault({
      name: request.place.name,
      stage: "attach",
      message: `volume "${attachedName}" is not yet attached to this node`,
    });
  }

  #isDue({ mounted: { refreshAtMs } }: KnownVolume): boolean {
    return refreshAtMs !== undefined && refreshAtMs <= this.#ports.clock.now();
  }

  #plugin(name: string): VolumePlugin | undefined {
    return this.#ports.plugins.find((plugin) => plugin.name === name);
  }

  #use(attachedName: string, place: VolumePlace): void {
    const users = this.#uses.get(attachedName) ?? new Set<string>();
    const isNew = users.size === 0;
    users.add(place.directory);
    this.#uses.set(attachedName, users);
    if (isNew) this.#ports.inUseChanged();
  }

  #release(place: VolumePlace): void {
    let isLess = false;
    for (const [name, users] of this.#uses) {
      if (!users.delete(place.directory) || users.size > 0) continue;
      this.#uses.delete(name);
      isLess = true;
    }
    if (isLess) this.#ports.inUseChanged();
  }
}

function kindOf(source: VolumeSource): string {
  if (source.from === "pod") return Object.keys(source.volume).find((key) => key !== "name") ?? "";
  const spec = source.volume.spec ?? {};
  return (
    Object.entries(spec).find(([key, value]) => typeof value === "object" && !notSources.has(key))?.[0] ?? ""
  );
}

const notSources = new Set(["accessModes", "capacity", "claimRef", "mountOptions", "nodeAffinity"]);
