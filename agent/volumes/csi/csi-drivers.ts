import type { Clock } from "#lib/clock.ts";
import type { PluginHandler } from "../../plugin-registry/follow-plugins.ts";
import type { PluginInfo } from "../../plugin-registry/registration.ts";
import { CsiDriver, type CsiNodeInfo } from "./csi-driver.ts";
import { csiWords } from "./plan/csi-names.ts";
import { highestVersion, isLowerVersion } from "./plan/driver-version.ts";

/** Where the API learns which drivers this node has. */
export interface DriverNotes {
  install(driver: string, info: CsiNodeInfo, signal: AbortSignal): Promise<void>;
  uninstall(driver: string, signal: AbortSignal): Promise<void>;
}

/** What the table of drivers needs. */
export interface CsiDriversPorts {
  readonly clock: Clock;
  readonly notes: DriverNotes;
}

/** How long a call waits for the drivers that were there before the agent began. */
const settleMs = 10_000;
/** A name becomes a part of paths. @see CSI spec, GetPluginInfo */
const namePattern = /^[A-Za-z0-9]([-A-Za-z0-9.]{0,61}[A-Za-z0-9])?$/;

/** The CSI drivers that are registered on this node. */
export class CsiDrivers implements PluginHandler {
  readonly #ports: CsiDriversPorts;
  readonly #drivers = new Map<string, CsiDriver>();
  readonly #settled = Promise.withResolvers<void>();
  #isSettled = false;

  constructor(ports: CsiDriversPorts) {
    this.#ports = ports;
  }

  /** Every driver that was there at the start has been tried: one that is not known now is not there. */
  settle(): void {
    this.#isSettled = true;
    this.#settled.resolve();
  }

  /** @throws Error in the kubelet's words when there is no such driver. */
  async get(name: string, signal: AbortSignal): Promise<CsiDriver> {
    if (!this.#drivers.has(name) && !this.#isSettled) await this.#waitToSettle(signal);
    const driver = this.#drivers.get(name);
    if (driver === undefined)
      throw new Error(`driver name ${name} not found in the list of registered CSI drivers`);
    return driver;
  }

  validate(info: PluginInfo): void {
    try {
      this.#version("ValidatePlugin", info);
    } catch (cause) {
      const why = cause instanceof Error ? cause.message : String(cause);
      throw new Error(`validation failed for CSI Driver ${info.name} at endpoint ${info.endpoint}: ${why}`);
    }
  }

  async register(info: PluginInfo, signal: AbortSignal): Promise<void> {
    const { name, endpoint } = info;
    const driver = new CsiDriver(name, endpoint, this.#version("RegisterPlugin", info));
    this.#drivers.get(name)?.close();
    this.#drivers.set(name, driver);
    try {
      await this.#ports.notes.install(name, await driver.info(signal), signal);
    } catch (cause) {
      this.#forget(driver);
      throw cause;
    }
  }

  async deregister({ name, endpoint }: PluginInfo, signal: AbortSignal): Promise<void> {
    const driver = this.#drivers.get(name);
    // One of the same name with a higher version has taken its place.
    if (driver === undefined || driver.endpoint !== endpoint) return;
    this.#forget(driver);
    await this.#ports.notes.uninstall(name, signal);
  }

  close(): void {
    for (const driver of this.#drivers.values()) driver.close();
    this.#drivers.clear();
  }

  #forget(driver: CsiDriver): void {
    driver.close();
    if (this.#drivers.get(driver.name) === driver) this.#drivers.delete(driver.name);
  }

  async #waitToSettle(signal: AbortSignal): Promise<void> {
    const over = new AbortController();
    const late = this.#ports.clock
      .sleep(settleMs, AbortSignal.any([signal, over.signal]))
      .catch(() => undefined);
    await Promise.race([this.#settled.promise, late]);
    over.abort();
    signal.throwIfAborted();
  }

  #version(step: string, { name, endpoint, supportedVersions }: PluginInfo): string {
    const failed = `${step} for CSI driver "${name}" failed.`;
    if (!namePattern.test(name)) throw new Error(csiWords(`${failed} The name is not one of a CSI driver`));
    if (!/^(unix:\/\/)?\//.test(endpoint))
      throw new Error(csiWords(`${failed} The endpoint "${endpoint}" is not the absolute path of a socket`));
    if (supportedVersions.length === 0)
      throw new Error(csiWords(`${failed} Plugin returned an empty list for supported versions`));
    const version = highestVersion(supportedVersions);
    if (version === undefined)
      throw new Error(
        csiWords(
          `${failed} None of the versions specified ${JSON.stringify(supportedVersions)} are supported. ` +
            "err=the highest supported version reported by driver must be v1.x",
        ),
      );
    const known = this.#drivers.get(name);
    if (known !== undefined && !isLowerVersion(known.version, version))
      throw new Error(
        csiWords(
          `${failed} Another driver with the same name is already registered with a higher supported version: "${known.version}"`,
        ),
      );
    return version;
  }
}
