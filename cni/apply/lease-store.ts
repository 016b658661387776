import fs from "node:fs";
import path from "node:path";
import { closeFd, lockFile } from "#linux/libc.ts";
import { type Allocation, type AttachmentKey, CniError, cniErrorCode, type IpRange } from "../model.ts";
import { chooseAddress, resolveRange } from "../plan/choose-address.ts";
import { contains, parseAddress, parseCidr } from "#lib/ip.ts";

/**
 * Addresses that were given out, one file each, named after the address and holding the container id and the
 * interface, as CNI's host-local plugin keeps them. A lock file makes one plugin process at a time work on it.
 */
export class LeaseStore implements Disposable {
  readonly #directory: string;
  readonly #lock: number;

  /**
   * Opens and locks a network's leases; waits for another process that has them.
   * @param bootId leases of another boot are forgotten: no container has outlived it.
   */
  constructor(dataDir: string, network: string, bootId: string) {
    this.#directory = path.join(dataDir, network);
    fs.mkdirSync(this.#directory, { recursive: true, mode: 0o755 });
    this.#lock = fs.openSync(path.join(this.#directory, "lock"), "a", 0o600);
    try {
      lockFile(this.#lock);
      this.#forgetOtherBoot(bootId);
    } catch (cause) {
      fs.closeSync(this.#lock);
      throw cause;
    }
  }

  /**
   * One address from each set; the same ones when the attachment has them already.
   * @throws {CniError} 102 when a set is used up: nothing is kept then.
   */
  allocate(key: AttachmentKey, rangeSets: readonly (readonly IpRange[])[]): Allocation[] {
    const held = this.#addressesOf(key);
    const given: Allocation[] = [];
    try {
      for (const [index, ranges] of rangeSets.entries()) {
        given.push(this.#heldIn(ranges, held) ?? this.#take(key, ranges, index));
      }
      return given;
    } catch (cause) {
      for (const { address } of given) {
        const ip = address.slice(0, address.indexOf("/"));
        if (!held.includes(ip)) this.#remove(ip);
      }
      throw cause;
    }
  }

  /** The addresses of an attachment, without prefix. */
  find(key: AttachmentKey): readonly string[] {
    return this.#addressesOf(key);
  }

  /** Gives back what an attachment has; nothing is no error. */
  release(key: AttachmentKey): void {
    for (const address of this.#addressesOf(key)) this.#remove(address);
    fs.rmSync(this.#portMapFile(key.containerId), { force: true });
  }

  /** Every attachment that has an address. */
  attachments(): AttachmentKey[] {
    const all = new Map<string, AttachmentKey>();
    for (const address of this.#addresses()) {
      const key = this.#read(address);
      if (key !== undefined) all.set(`${key.containerId}/${key.ifName}`, key);
    }
    return [...all.values()];
  }

  /** Remembers that a container has port mappings, so that DEL knows without reading the kernel's rules. */
  markPortMap(containerId: string): void {
    fs.writeFileSync(this.#portMapFile(containerId), "");
  }

  hasPortMap(containerId: string): boolean {
    return fs.existsSync(this.#portMapFile(containerId));
  }

  /** Unlocks. */
  [Symbol.dispose](): void {
    closeFd(this.#lock);
  }

  #take(key: AttachmentKey, ranges: readonly IpRange[], index: number): Allocation {
    const last = this.#readText(`last_reserved_ip.${index}`);
    const chosen = chooseAddress(ranges, isAddress(last) ? last : undefined, (address) =>
      fs.existsSync(this.#file(address)),
    );
    if (chosen === undefined) {
      const text = ranges.map((range) => range.subnet).join(", ");
      throw new CniError(
        cniErrorCode.exhausted,
        `cannot give "${key.containerId}" an address: all of ${text} are taken; see "${this.#directory}"`,
      );
    }
    const ip = chosen.address.slice(0, chosen.address.indexOf("/"));
    this.#write(this.#file(ip), `${key.containerId}\r\n${key.ifName}`);
    this.#write(path.join(this.#directory, `last_reserved_ip.${index}`), ip);
    return chosen;
  }

  /** An address held already, if it lies in one of these ranges. */
  #heldIn(ranges: readonly IpRange[], held: readonly string[]): Allocation | undefined {
    for (const range of ranges) {
      const ip = held.find((address) => contains(parseCidr(range.subnet), parseAddress(address)));
      if (ip === undefined) continue;
      const { prefix } = resolveRange(range);
      const first = chooseAddress([{ ...range, rangeStart: ip, rangeEnd: ip }], undefined, () => false);
      if (first !== undefined) return { address: `${ip}/${prefix}`, gateway: first.gateway };
    }
    return undefined;
  }

  #addressesOf(key: AttachmentKey): string[] {
    return this.#addresses().filter((address) => {
      const owner = this.#read(address);
      // Files without an interface were written before 0.3.1 of CNI, by host-local.
      return owner?.containerId === key.containerId && (owner.ifName === key.ifName || owner.ifName === "");
    });
  }

  #addresses(): string[] {
    return fs
      .readdirSync(this.#directory)
      .map((name) => name.replaceAll("_", ":"))
      .filter(isAddress);
  }

  #read(address: string): AttachmentKey | undefined {
    const text = this.#readText(path.basename(this.#file(address)));
    if (text === undefined) return undefined;
    const [containerId = "", ifName = ""] = text.split("\r\n").map((line) => line.trim());
    return { containerId, ifName };
  }

  #readText(name: string): string | undefined {
    try {
      return fs.readFileSync(path.join(this.#directory, name), "utf8").trim();
    } catch {
      return undefined;
    }
  }

  /** Whole or not at all, also when the machine stops in between. */
  #write(file: string, text: string): void {
    const temporary = `${file}.tmp`;
    fs.writeFileSync(temporary, text, { mode: 0o600 });
    fs.renameSync(temporary, file);
  }

  #remove(address: string): void {
    fs.rmSync(this.#file(address), { force: true });
  }

  #file(address: string): string {
    return path.join(this.#directory, address.replaceAll(":", "_"));
  }

  #portMapFile(containerId: string): string {
    return path.join(this.#directory, `portmap.${containerId}`);
  }

  #forgetOtherBoot(bootId: string): void {
    const known = this.#readText("boot-id");
    if (known === bootId) return;
    if (known !== undefined) {
      for (const address of this.#addresses()) this.#remove(address);
      for (const name of fs.readdirSync(this.#directory)) {
        if (name.startsWith("portmap.")) fs.rmSync(path.join(this.#directory, name), { force: true });
      }
    }
    this.#write(path.join(this.#directory, "boot-id"), bootId);
  }
}

function isAddress(text: string | undefined): text is string {
  if (text === undefined) return false;
  try {
    parseAddress(text);
    return true;
  } catch {
    return false;
  }
}
