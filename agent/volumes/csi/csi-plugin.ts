import { unlink } from "node:fs/promises";
import type { CSIDriver } from "#api/generated/kubernetes.ts";
import { errorText } from "#lib/log.ts";
import { removeUnmounted } from "../pod-directories.ts";
import {
  type GrowthRequest,
  InfeasibleGrowth,
  type MountedVolume,
  VolumeError,
  type VolumePlace,
  type VolumePlugin,
  type VolumeRequest,
  type VolumeStats,
} from "../volume-plugin.ts";
import { mapDevice, unmapDevice } from "./csi-block.ts";
import { type CsiCall, step } from "./csi-call.ts";
import { isInfeasible } from "./csi-driver.ts";
import { mountFiles, unmountFiles } from "./csi-files.ts";
import { nodeCapability } from "./csi-messages.ts";
import type { CsiPorts } from "./csi-ports.ts";
import { KeyedLock } from "./keyed-lock.ts";
import {
  attachedVolumeName,
  blockPaths,
  csiPluginName,
  csiWords,
  globalMountPath,
} from "./plan/csi-names.ts";
import {
  type CsiVolume,
  csiVolume,
  isCsi,
  lifecycleFault,
  needsAttach,
  persistentCsiVolume,
} from "./plan/csi-volume.ts";
import { volumeCapability } from "./plan/csi-requests.ts";
import { volumeStats } from "./plan/csi-stats.ts";
import { labelOption, mountLabel } from "./plan/selinux-mount.ts";
import { StagedVolumes } from "./staged-volumes.ts";
import { dataOfPlace, volumeUsers } from "./volume-users.ts";

/** How long the API is asked, at the start, whether a volume that was found is one that is attached. */
const lookMs = 2_000;
/** How long an API that did not answer is left alone with that. */
const silenceMs = 60_000;

/**
 * Volumes of CSI drivers. A volume is staged once on this node and published for each Pod. What the agent has to
 * know to undo it is written before a driver is first called and removed after it was last called, so that any
 * agent can take it down from the disk alone.
 * @see CSI spec, "Node Service RPC"; the places and files are the kubelet's.
 */
export class CsiPlugin implements VolumePlugin {
  readonly name: string = csiPluginName;
  /** Drivers that want to be called again say when it is due. */
  readonly refreshes: boolean = false;
  readonly serves: VolumePlugin["serves"] = isCsi;
  readonly #ports: CsiPorts;
  readonly #staged = new StagedVolumes();
  readonly #lock = new KeyedLock();
  #askAgainMs = Number.NEGATIVE_INFINITY;

  constructor(ports: CsiPorts) {
    this.#ports = ports;
  }

  async attachedName(request: VolumeRequest, signal: AbortSignal): Promise<string | undefined> {
    const volume = volumeOf(request);
    const object = await this.#ports.objects.driver(volume.driver, signal);
    return needsAttach(volume, object) ? attachedVolumeName(volume.driver, volume.handle) : undefined;
  }

  async attachedNameAt(place: VolumePlace): Promise<string | undefined> {
    const data = await dataOfPlace(this.#ports.rootDir, place).catch(() => undefined);
    if (data === undefined || data.volumeLifecycleMode === "Ephemeral") return undefined;
    const isAttached = await this.#mayBeAttached(data.driverName);
    return isAttached ? attachedVolumeName(data.driverName, data.volumeHandle) : undefined;
  }

  async setUp(request: VolumeRequest, signal: AbortSignal): Promise<MountedVolume> {
    const volume = volumeOf(request);
    const object = await this.#ports.objects.driver(volume.driver, signal);
    const fault = lifecycleFault(volume, object);
    if (fault !== undefined) throw new VolumeError("MountVolume.NewMounter initialization", fault);
    return await this.#lock.run(
      `${volume.driver}^${volume.handle}`,
      async () => {
        const call = await this.#prepare(request, volume, object, signal);
        signal.throwIfAborted(); // from here on there is something to take down
        return await (request.isBlock ? mapDevice : mountFiles)(call, this.#staged, this.#ports, signal);
      },
      signal,
    );
  }

  async tearDown(place: VolumePlace, signal: AbortSignal): Promise<void> {
    const { rootDir, drivers } = this.#ports;
    const data = await dataOfPlace(rootDir, place);
    if (data === undefined) {
      // It came to nothing before a driver was called, or to its end.
      await removeUnmounted(place.directory);
      await unlink(place.deviceFile).catch(() => undefined);
      return;
    }
    const { driverName, volumeHandle } = data;
    await this.#lock.run(
      `${driverName}^${volumeHandle}`,
      async () => {
        const driver = await drivers.get(driverName, signal).catch((cause: unknown) => {
          const words = "Unmounter.TearDownAt failed to get CSI client";
          throw new Error(csiWords(`${words}: ${errorText(cause)}`), { cause });
        });
        const users = await volumeUsers(rootDir, driverName, volumeHandle);
        const isLast = users.every(({ directory }) => directory === place.directory);
        const left = { place, data, driver, isLast };
        await (data.isBlock ? unmapDevice : unmountFiles)(left, this.#staged, this.#ports, signal);
      },
      signal,
    );
  }

  /** `NodeExpandVolume`, for drivers that have a part in it on the node. */
  async grow(
    { volume: persistent, place, mounted, isBlock, bytes }: GrowthRequest,
    signal: AbortSignal,
  ): Promise<boolean> {
    const { rootDir, drivers, objects } = this.#ports;
    const volume = persistentCsiVolume(persistent, false);
    if (volume === undefined) return false;
    return await this.#lock.run(
      `${volume.driver}^${volume.handle}`,
      async () => {
        const driver = await drivers.get(volume.driver, signal);
        const capabilities = await driver.capabilities(signal);
        if (!capabilities.has(nodeCapability.expand)) return false;
        const staging = isBlock
          ? blockPaths(rootDir, place.name).staging
          : globalMountPath(rootDir, volume.driver, volume.handle);
        const secrets = await objects.secret(volume.expandSecret, "NodeExpandSecretRef", signal);
        await driver
          .expand(
            {
              volumeId: volume.handle,
              volumePath: mounted.hostPath,
              stagingTargetPath: capabilities.has(nodeCapability.stageUnstage) ? staging : "",
              capacityRange: { requiredBytes: bytes },
              volumeCapability: volumeCapability(volume, isBlock, capabilities, undefined),
              secrets,
            },
            signal,
          )
          .catch((cause: unknown) => {
            throw isInfeasible(cause) ? new InfeasibleGrowth(errorText(cause), { cause }) : cause;
          });
        return true;
      },
      signal,
    );
  }

  /** What the driver says, if it counts at all: it alone knows what a volume of its own holds. */
  async stats(
    place: VolumePlace,
    { hostPath }: MountedVolume,
    signal: AbortSignal,
  ): Promise<VolumeStats | undefined> {
    const { rootDir, drivers } = this.#ports;
    const data = await dataOfPlace(rootDir, place);
    if (data === undefined) return undefined;
    const driver = await drivers.get(data.driverName, signal);
    const capabilities = await driver.capabilities(signal);
    if (!capabilities.has(nodeCapability.volumeStats)) return undefined;
    const isStaged =
      capabilities.has(nodeCapability.stageUnstage) && data.volumeLifecycleMode !== "Ephemeral";
    const staging = data.isBlock
      ? blockPaths(rootDir, place.name).staging
      : globalMountPath(rootDir, data.driverName, data.volumeHandle);
    const answer = await driver.stats(data.volumeHandle, hostPath, isStaged ? staging : "", signal);
    const stats = volumeStats(answer, capabilities.has(nodeCapability.volumeCondition));
    return { ...stats, source: data.driverName };
  }

  /** One name too many does less harm than a volume that is taken away in use. */
  async #mayBeAttached(driver: string): Promise<boolean> {
    const { clock, objects } = this.#ports;
    // An API that does not answer is not waited for again at every volume.
    if (clock.monotonicMs() < this.#askAgainMs) return true;
    try {
      const object = await objects.driver(driver, AbortSignal.timeout(lookMs));
      return object?.spec.attachRequired !== false;
    } catch {
      this.#askAgainMs = clock.monotonicMs() + silenceMs;
      return true;
    }
  }

  /** Asks the driver and the API for what the calls need. */
  async #prepare(
    request: VolumeRequest,
    volume: CsiVolume,
    object: CSIDriver | undefined,
    signal: AbortSignal,
  ): Promise<CsiCall> {
    const { drivers, objects } = this.#ports;
    const [operation, words] = request.isBlock
      ? ["MapVolume.SetUpDevice", "blockMapper.SetUpDevice failed to get CSI client: "]
      : volume.lifecycle === "Persistent"
        ? ["MountVolume.MountDevice", "attacher.MountDevice failed to create newCsiDriverClient: "]
        : ["MountVolume.SetUp", "mounter.SetUpAt failed to get CSI client: "];
    const publishContext = needsAttach(volume, object) ? await objects.publishContext(volume, signal) : {};
    const driver = await step(operation, csiWords(words), () => drivers.get(volume.driver, signal));
    const capabilities = await step(operation, "", () => driver.capabilities(signal));
    const stages = volume.lifecycle === "Persistent" && capabilities.has(nodeCapability.stageUnstage);
    const { fileLabel } = this.#ports;
    const label = request.isBlock
      ? undefined
      : await step(operation, "", async () =>
          mountLabel(request.pod, request.name, volume, object, fileLabel),
        );
    const labelled =
      label === undefined
        ? volume
        : { ...volume, mountOptions: [...volume.mountOptions, labelOption(label)] };
    return { request, volume: labelled, object, driver, capabilities, publishContext, stages, label };
  }
}

function volumeOf({ pod, source, readOnly, name }: VolumeRequest): CsiVolume {
  const { uid = "", namespace = "" } = pod.metadata ?? {};
  const volume = csiVolume(source, { uid, namespace }, readOnly);
  if (volume === undefined) throw new Error(`volume "${name}" is not of a CSI driver`);
  return volume;
}
