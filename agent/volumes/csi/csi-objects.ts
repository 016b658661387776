import type { CSIDriver, SecretReference } from "#api/generated/kubernetes.ts";
import { csiDrivers, secrets, volumeAttachments } from "#api/resources.ts";
import { isReason } from "#api/status-error.ts";
import type { Clock } from "#lib/clock.ts";
import { errorText } from "#lib/log.ts";
import type { ObjectReader } from "../../last-known/object-reader.ts";
import { VolumeError } from "../volume-plugin.ts";
import { attachmentName, csiWords } from "./plan/csi-names.ts";
import type { CsiVolume } from "./plan/csi-volume.ts";

const freshMs = 1_000;

interface Read {
  readonly atMs: number;
  readonly object: CSIDriver | undefined;
}

/** The API's objects that say how a CSI volume is set up. */
export class CsiObjects {
  readonly #reader: ObjectReader | undefined;
  readonly #nodeName: string;
  readonly #clock: Clock;
  readonly #drivers = new Map<string, Read>();

  /** @param reader undefined without an API. It remembers Secrets only where that is allowed. */
  constructor(reader: ObjectReader | undefined, nodeName: string, clock: Clock) {
    this.#reader = reader;
    this.#nodeName = nodeName;
    this.#clock = clock;
  }

  /** The driver's CSIDriver, read at most once a second. @returns undefined when there is none, or no API. */
  async driver(name: string, signal: AbortSignal): Promise<CSIDriver | undefined> {
    if (this.#reader === undefined) return undefined;
    const now = this.#clock.now();
    const before = this.#drivers.get(name);
    if (before !== undefined && now - before.atMs < freshMs) return before.object;
    const object = await this.#reader
      .get(csiDrivers, { namespace: "", name }, signal)
      .catch((cause: unknown) => {
        if (isReason(cause, "NotFound")) return undefined;
        throw cause;
      });
    this.#drivers.set(name, { atMs: now, object });
    return object;
  }

  /** What attaching the volume to this node told for the calls that follow. @throws {VolumeError} while it has not. */
  async publishContext(
    { driver, handle }: CsiVolume,
    signal: AbortSignal,
  ): Promise<Readonly<Record<string, string>>> {
    const name = attachmentName(handle, driver, this.#nodeName);
    const wait = (message: string, cause?: unknown): VolumeError =>
      new VolumeError("MountVolume.WaitForAttach", message, { cause });
    if (this.#reader === undefined) throw wait("an attached volume needs an API server");
    try {
      const { metadata, status } = await this.#reader.get(volumeAttachments, { namespace: "", name }, signal);
      if (metadata?.deletionTimestamp !== undefined) throw wait("volume attachment is being deleted");
      if (status?.attached === true) return status.attachmentMetadata ?? {};
      throw wait(
        status?.attachError?.message ??
          `timed out waiting for external-attacher of ${driver} CSI driver to attach volume ${handle}`,
      );
    } catch (cause) {
      signal.throwIfAborted();
      if (cause instanceof VolumeError) throw cause;
      throw wait(`volume ${handle} has GET error for volume attachment ${name}: ${errorText(cause)}`, cause);
    }
  }

  /** @param field how the reference is called, for the error. */
  async secret(
    reference: SecretReference | undefined,
    field: string,
    signal: AbortSignal,
  ): Promise<Readonly<Record<string, string>>> {
    if (reference === undefined) return {};
    const { name = "", namespace = "" } = reference;
    try {
      if (this.#reader === undefined) throw new Error("a secret needs an API server");
      const { data = {} } = await this.#reader.get(secrets, { namespace, name }, signal);
      return Object.fromEntries(
        Object.entries(data).map(([key, value]) => [key, Buffer.from(value, "base64").toString("utf8")]),
      );
    } catch (cause) {
      signal.throwIfAborted();
      const why = csiWords(
        `failed to find the secret ${name} in the namespace ${namespace} with error: ${errorText(cause)}`,
      );
      throw new Error(`fetching ${field} ${namespace}/${name} failed: ${why}`, { cause });
    }
  }
}
