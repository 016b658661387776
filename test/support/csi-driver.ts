import { mkdir, rm, rmdir, stat, truncate, unlink, writeFile } from "node:fs/promises";
import path from "node:path";
import * as grpc from "@grpc/grpc-js";
import { bindMount, mountPoints, mountTmpfs } from "#linux/mount.ts";
import { MS, mount, unmount } from "#linux/libc.ts";
import { messageCodec } from "../../agent/grpc/message-codec.ts";
import { registrationMessages } from "../../agent/plugin-registry/registration.ts";
import {
  csiMessages,
  nodeCapability,
  type PublishRequest,
  type StageRequest,
} from "../../agent/volumes/csi/csi-messages.ts";
import { run } from "./run-command.ts";

/** How a driver of a test behaves. */
export interface CsiDriverOptions {
  /** Sockets and files of its own. */
  readonly folder: string;
  /** `<root-dir>/plugins_registry`. */
  readonly registry: string;
  readonly name?: string;
  readonly versions?: readonly string[];
  readonly nodeId?: string;
  readonly maxVolumes?: number;
  readonly topology?: Readonly<Record<string, string>>;
  /** Staging alone unless given. */
  readonly capabilities?: readonly number[];
  /** `state`: it mounts nothing and only makes directories, so that it needs no rights. */
  readonly backing?: "state" | "mounts";
}

/** One call as it came. */
export interface CsiCallSeen {
  readonly method: string;
  readonly request: Record<string, unknown>;
}

/** A failure as a driver answers it. */
class Refusal extends Error {
  override readonly name = "Refusal";
  readonly code: grpc.status;

  constructor(code: grpc.status, message: string) {
    super(message);
    this.code = code;
  }
}

interface Published {
  readonly handle: string;
  readonly isBlock: boolean;
}

/**
 * The node side of a CSI driver, on two sockets as real ones have it. It keeps state, refuses what real drivers
 * refuse, and fails where a test wants it to.
 */
export class TestCsiDriver {
  /** What it was asked, in order, without questions that change nothing. */
  readonly calls: CsiCallSeen[] = [];
  /** Handle -> where it is staged. */
  readonly staged: Map<string, string> = new Map();
  /** Target -> what is there. */
  readonly published: Map<string, Published> = new Map();
  /** Handle -> bytes that an expansion asked for. */
  readonly sizes: Map<string, number> = new Map();
  /** What it was told of its registration; "" when it was taken. */
  readonly registrations: string[] = [];
  /** A method that is answered with this failure instead. */
  readonly faults: Map<string, { readonly code: grpc.status; readonly message: string }> = new Map();
  /** A method that is answered with these bytes instead. */
  readonly raw: Map<string, Buffer> = new Map();
  /** Waited for before a method is done. */
  before: (method: string) => Promise<void> = async () => {};
  condition: { readonly abnormal: boolean; readonly message: string } | undefined;
  readonly options: Required<CsiDriverOptions> & { nodeId: string };
  readonly #loops = new Map<string, string>();
  /** Volumes that a call works on. */
  readonly #busy = new Set<string>();
  #service: grpc.Server | undefined;
  #registrar: grpc.Server | undefined;

  constructor(options: CsiDriverOptions) {
    this.options = {
      name: "csi.example.com",
      versions: ["1.0.0"],
      nodeId: "node-id-1",
      maxVolumes: 0,
      topology: {},
      capabilities: [nodeCapability.stageUnstage],
      backing: "state",
      ...options,
    };
  }

  /** The methods that were called, without questions that change nothing. */
  get methods(): readonly string[] {
    return this.calls.map(({ method }) => method);
  }

  get registrationSocket(): string {
    return path.join(this.options.registry, `${this.options.name}-reg.sock`);
  }

  get socket(): string {
    return path.join(this.options.folder, `${this.options.name}.sock`);
  }

  /** The last request of a method. @throws when there was none. */
  last(method: string): Record<string, unknown> {
    const found = this.calls.findLast((call) => call.method === method);
    if (found === undefined) throw new Error(`${method} was not called, only ${this.methods.join(" ")}`);
    return found.request;
  }

  /** Opens its sockets; one that runs is ended without a word first. */
  async start(): Promise<void> {
    await Promise.all([close(this.#registrar), close(this.#service)]);
    await mkdir(this.options.registry, { recursive: true });
    this.#service = await serve(
      this.socket,
      "/csi.v1.Node/",
      csiMessages,
      {
        NodeGetInfo: async () => ({
          nodeId: this.options.nodeId,
          maxVolumesPerNode: this.options.maxVolumes,
          accessibleTopology: { segments: this.options.topology },
        }),
        NodeGetCapabilities: async () => ({
          capabilities: this.options.capabilities.map((type) => ({ rpc: { type } })),
        }),
        NodeStageVolume: async (request) => await this.#stage(request as unknown as StageRequest),
        NodeUnstageVolume: async (request) => await this.#unstage(request),
        NodePublishVolume: async (request) => await this.#publish(request as unknown as PublishRequest),
        NodeUnpublishVolume: async (request) => await this.#unpublish(request),
        NodeGetVolumeStats: async (request) => await this.#stats(request),
        NodeExpandVolume: async (request) => await this.#expand(request),
      },
      this,
    );
    this.#registrar = await serve(
      this.registrationSocket,
      "/pluginregistration.Registration/",
      registrationMessages,
      {
        GetInfo: async () => ({
          type: "CSIPlugin",
          name: this.options.name,
          endpoint: this.socket,
          supportedVersions: this.options.versions,
        }),
        NotifyRegistrationStatus: async (request) => {
          this.registrations.push(request["pluginRegistered"] === true ? "" : String(request["error"]));
          return {};
        },
      },
      this,
    );
  }

  /** Its sockets go, as when its Pod ends; what it has mounted stays. */
  async stop(): Promise<void> {
    await Promise.all([close(this.#registrar), close(this.#service)]);
    await rm(this.registrationSocket, { force: true });
    await rm(this.socket, { force: true });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop();
    for (const device of this.#loops.values()) await run("losetup", "-d", device).catch(() => "");
  }

  /** One change of a volume at a time, as the CSI spec has it; who comes meanwhile is sent away. */
  async alone<T>(request: Record<string, unknown>, work: () => Promise<T>): Promise<T> {
    const { volumeId } = strings(request, "volumeId");
    if (this.#busy.has(volumeId))
      throw new Refusal(grpc.status.ABORTED, `an operation on volume ${volumeId} is under way`);
    this.#busy.add(volumeId);
    try {
      return await work();
    } finally {
      this.#busy.delete(volumeId);
    }
  }

  get #mounts(): boolean {
    return this.options.backing === "mounts";
  }

  get #stages(): boolean {
    return this.options.capabilities.includes(nodeCapability.stageUnstage);
  }

  async #stage({ volumeId, stagingTargetPath, volumeCapability }: StageRequest): Promise<object> {
    need({ volumeId, stagingTargetPath, volumeCapability });
    if (!this.#stages) throw new Refusal(grpc.status.UNIMPLEMENTED, "NodeStageVolume is not implemented");
    const before = this.staged.get(volumeId);
    if (before !== undefined && before !== stagingTargetPath)
      throw new Refusal(grpc.status.ALREADY_EXISTS, `volume ${volumeId} is staged at ${before}`);
    if ((await stat(stagingTargetPath).catch(() => undefined))?.isDirectory() !== true)
      throw new Refusal(grpc.status.INTERNAL, `staging path ${stagingTargetPath} is no directory`);
    if (volumeCapability.block !== undefined && volumeCapability.block !== null) await this.#loop(volumeId);
    else if (this.#mounts && !(await mountPoints()).includes(stagingTargetPath))
      mountTmpfs(stagingTargetPath, "size=4m,mode=0755");
    this.staged.set(volumeId, stagingTargetPath);
    return {};
  }

  async #unstage(request: Record<string, unknown>): Promise<object> {
    const { volumeId, stagingTargetPath } = strings(request, "volumeId", "stagingTargetPath");
    if ([...this.published.values()].some(({ handle }) => handle === volumeId))
      throw new Refusal(grpc.status.FAILED_PRECONDITION, `volume ${volumeId} is still published`);
    if ((await mountPoints()).includes(stagingTargetPath)) unmount(stagingTargetPath);
    const device = this.#loops.get(volumeId);
    if (device !== undefined) await run("losetup", "-d", device);
    this.#loops.delete(volumeId);
    this.staged.delete(volumeId);
    return {};
  }

  async #publish(request: PublishRequest): Promise<object> {
    const { volumeId, targetPath, stagingTargetPath, volumeCapability } = request;
    need({ volumeId, targetPath, volumeCapability });
    const staging = this.staged.get(volumeId);
    if (this.#stages && stagingTargetPath !== "" && staging !== stagingTargetPath)
      throw new Refusal(
        grpc.status.FAILED_PRECONDITION,
        `volume ${volumeId} is not staged at ${stagingTargetPath}`,
      );
    if ((await stat(path.dirname(targetPath)).catch(() => undefined))?.isDirectory() !== true)
      throw new Refusal(grpc.status.INTERNAL, `the directory above ${targetPath} is not there`);
    const isBlock = volumeCapability.block !== undefined && volumeCapability.block !== null;
    const isThere = (await mountPoints()).includes(targetPath);
    if (isBlock) {
      const device = await this.#loop(volumeId);
      await writeFile(targetPath, "", { flag: "a" });
      if (!isThere) bindMount(device, targetPath);
    } else {
      await mkdir(targetPath, { recursive: true });
      if (this.#mounts && !isThere) {
        if (stagingTargetPath === "") mountTmpfs(targetPath, "size=1m,mode=0755");
        else bindMount(stagingTargetPath, targetPath);
        if (request.readonly) mount("", targetPath, "", MS.bind | MS.remount | MS.rdonly);
      }
      const { ["csi.storage.k8s.io/serviceAccount.tokens"]: tokens } = request.volumeContext;
      if (tokens !== undefined) await writeFile(path.join(targetPath, "tokens"), tokens);
    }
    this.published.set(targetPath, { handle: volumeId, isBlock });
    return {};
  }

  async #unpublish(request: Record<string, unknown>): Promise<object> {
    const { targetPath } = strings(request, "volumeId", "targetPath");
    if ((await mountPoints()).includes(targetPath)) unmount(targetPath);
    const found = await stat(targetPath).catch(() => undefined);
    if (found?.isDirectory() === true) {
      if (!this.#mounts) await rm(path.join(targetPath, "tokens"), { force: true });
      await rmdir(targetPath);
    } else if (found !== undefined) await unlink(targetPath);
    this.published.delete(targetPath);
    return {};
  }

  async #stats(request: Record<string, unknown>): Promise<object> {
    const { volumePath } = strings(request, "volumeId", "volumePath");
    const published = this.published.get(volumePath);
    if (published === undefined)
      throw new Refusal(grpc.status.NOT_FOUND, `nothing is published at ${volumePath}`);
    return {
      usage: [
        { unit: 1, total: 4_096_000, used: 1_024_000, available: 3_072_000 },
        ...(published.isBlock ? [] : [{ unit: 2, total: 100, used: 7, available: 93 }]),
      ],
      ...(this.condition === undefined ? {} : { volumeCondition: this.condition }),
    };
  }

  async #expand(request: Record<string, unknown>): Promise<object> {
    const { volumeId, volumePath } = strings(request, "volumeId", "volumePath");
    if (!this.published.has(volumePath) && this.staged.get(volumeId) !== volumePath)
      throw new Refusal(grpc.status.NOT_FOUND, `nothing of ${volumeId} is at ${volumePath}`);
    const range = request["capacityRange"] as { readonly requiredBytes: number };
    this.sizes.set(volumeId, range.requiredBytes);
    return { capacityBytes: range.requiredBytes };
  }

  /** A loop device of 1 MiB. */
  async #loop(handle: string): Promise<string> {
    const known = this.#loops.get(handle);
    if (known !== undefined) return known;
    const file = path.join(this.options.folder, `${handle}.img`);
    await writeFile(file, "", { flag: "a" });
    await truncate(file, 1024 * 1024);
    const device = (await run("losetup", "--find", "--show", file)).trim();
    this.#loops.set(handle, device);
    return device;
  }
}

type Handler = (request: Record<string, unknown>) => Promise<object>;

async function serve(
  socket: string,
  prefix: string,
  messages: Readonly<Record<string, string>>,
  handlers: Readonly<Record<string, Handler>>,
  driver: TestCsiDriver,
): Promise<grpc.Server> {
  const codec = messageCodec(messages);
  const server = new grpc.Server();
  const typesOf = (method: string): readonly [string, string] => {
    if (method === "GetInfo") return ["InfoRequest", "PluginInfo"];
    if (method === "NotifyRegistrationStatus") return ["RegistrationStatus", "RegistrationStatusResponse"];
    return [`${method}Request`, `${method}Response`];
  };
  const methods = Object.keys(handlers).map((method) => {
    const [request, response] = typesOf(method);
    return [
      method,
      {
        path: `${prefix}${method}`,
        requestStream: false,
        responseStream: false,
        requestSerialize: (value: object) => codec.encode(request, value),
        requestDeserialize: (bytes: Buffer) => codec.decode(request, bytes),
        responseSerialize: (value: object) => driver.raw.get(method) ?? codec.encode(response, value),
        responseDeserialize: (bytes: Buffer) => codec.decode(response, bytes),
      },
    ] as const;
  });
  server.addService(
    Object.fromEntries(methods),
    Object.fromEntries(
      Object.entries(handlers).map(([method, handler]) => [
        method,
        (
          call: grpc.ServerUnaryCall<Record<string, unknown>, object>,
          answer: grpc.sendUnaryData<object>,
        ): void => {
          const work = async (): Promise<object> => {
            const change = async (): Promise<object> => {
              await driver.before(method);
              const fault = driver.faults.get(method);
              if (fault !== undefined) throw new Refusal(fault.code, fault.message);
              return await handler(call.request);
            };
            if (!/^Node(Un)?(S|s)tage|^Node(Un)?(P|p)ublish|^NodeExpand/.test(method)) return await change();
            driver.calls.push({ method, request: call.request });
            return await driver.alone(call.request, change);
          };
          work().then(
            (value) => answer(null, value),
            (cause: unknown) =>
              answer({
                code: cause instanceof Refusal ? cause.code : grpc.status.INTERNAL,
                details: cause instanceof Error ? cause.message : String(cause),
              }),
          );
        },
      ]),
    ),
  );
  await mkdir(path.dirname(socket), { recursive: true });
  await rm(socket, { force: true });
  await new Promise<void>((resolve, reject) => {
    server.bindAsync(`unix://${socket}`, grpc.ServerCredentials.createInsecure(), (error) =>
      error === null ? resolve() : reject(error),
    );
  });
  return server;
}

async function close(server: grpc.Server | undefined): Promise<void> {
  server?.forceShutdown();
}

function need(fields: Readonly<Record<string, unknown>>): void {
  for (const [name, value] of Object.entries(fields))
    if (value === undefined || value === null || value === "")
      throw new Refusal(grpc.status.INVALID_ARGUMENT, `${name} is missing`);
}

function strings<K extends string>(
  request: Readonly<Record<string, unknown>>,
  ...names: readonly K[]
): Readonly<Record<K, string>> {
  const found = names.map((name) => {
    const value = request[name];
    return [name, typeof value === "string" ? value : ""] as const;
  });
  need(Object.fromEntries(found));
  return Object.fromEntries(found) as Record<K, string>;
}
