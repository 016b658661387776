import { mkdtemp, rm } from "node:fs/promises";
import os from "node:os";
import path from "node:path";
import * as grpc from "@grpc/grpc-js";
import { criCodec } from "./codec.ts";

/** What the server can do, as `RuntimeHandlerFeatures` and `RuntimeFeatures` tell it. */
export interface FakeCriFeatures {
  /** By handler's name; "" for the usual one, which is there even where nothing is told. */
  readonly handlers: Readonly<
    Record<string, { readonly recursiveReadOnlyMounts?: boolean; readonly userNamespaces?: boolean }>
  >;
  readonly supplementalGroupsPolicy: boolean;
  /** Images of its registry. */
  readonly images: readonly string[];
  /** Whether it knows `Mount.image` and `Mount.image_sub_path`: what it does not know it passes over. */
  readonly mounts: { readonly image: boolean; readonly imageSubPath: boolean };
}

type Message = Readonly<Record<string, unknown>>;

/** A sandbox or a container, with all that it was asked for. */
export interface FakeCriRecord {
  readonly id: string;
  readonly sandboxId: string;
  readonly config: Message;
  readonly handler: string;
  state: number;
  startedAt: number;
  finishedAt: number;
}

const sandboxReady = 0;
const sandboxNotReady = 1;
const created = 0;
const running = 1;
const exited = 2;

/**
 * A CRI runtime newer than those that tests can run: it keeps sandboxes, containers and images, tells features, and
 * refuses what such a runtime refuses. Nothing runs in it.
 */
export class FakeCriServer implements AsyncDisposable {
  readonly endpoint: string;
  readonly sandboxes: Map<string, FakeCriRecord> = new Map();
  readonly containers: Map<string, FakeCriRecord> = new Map();
  readonly pulled: Set<string> = new Set();
  readonly #folder: string;
  readonly #server = new grpc.Server();
  readonly #features: FakeCriFeatures;
  #made = 0;

  private constructor(folder: string, features: FakeCriFeatures) {
    this.#folder = folder;
    this.#features = features;
    this.endpoint = `unix://${folder}/cri.sock`;
  }

  static async start(features: FakeCriFeatures): Promise<FakeCriServer> {
    const server = new FakeCriServer(await mkdtemp(path.join(os.tmpdir(), "cri-")), features);
    server.#offer();
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    server.#server.bindAsync(server.endpoint, grpc.ServerCredentials.createInsecure(), (cause) =>
      cause === null ? resolve() : reject(cause),
    );
    await promise;
    return server;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#server.forceShutdown();
    await rm(this.#folder, { recursive: true, force: true });
  }

  #offer(): void {
    const codec = criCodec();
    const empty = /^(Stop|Remove|Start)/;
    const services: Readonly<Record<string, Readonly<Record<string, (request: Message) => object>>>> = {
      Runtime: this.#runtime(),
      Image: this.#images(),
    };
    for (const [service, answers] of Object.entries(services)) {
      const methods = Object.keys(answers).map((name): [string, grpc.MethodDefinition<object, object>] => [
        name,
        {
          path: `/runtime.v1.${service}Service/${name}`,
          requestStream: false,
          responseStream: false,
          requestSerialize: (value) => codec.encode(`${name}Request`, value),
          requestDeserialize: (bytes) => codec.decode(`${name}Request`, bytes) as object,
          responseSerialize: (value) => codec.encode(empty.test(name) ? "Empty" : `${name}Response`, value),
          responseDeserialize: (bytes) => codec.decode(`${name}Response`, bytes) as object,
        },
      ]);
      const handlers = Object.entries(answers).map(
        ([name, answer]): [string, grpc.handleUnaryCall<Message, object>] => [
          name,
          (call, done) => {
            try {
              done(null, answer(call.request));
            } catch (cause) {
              done({ code: codeOf(cause), details: cause instanceof Error ? cause.message : String(cause) });
            }
          },
        ],
      );
      this.#server.addService(Object.fromEntries(methods), Object.fromEntries(handlers));
    }
  }

  #runtime(): Record<string, (request: Message) => object> {
    return {
      Version: () => ({ runtimeName: "newer", runtimeVersion: "9.0.0", runtimeApiVersion: "v1" }),
      Status: () => ({
        status: { conditions: ["RuntimeReady", "NetworkReady"].map((type) => ({ type, status: true })) },
        runtimeHandlers: Object.entries(this.#features.handlers).map(([name, features]) => ({
          name,
          features,
        })),
        features: { supplementalGroupsPolicy: this.#features.supplementalGroupsPolicy },
      }),
      RuntimeConfig: () => ({ linux: { cgroupDriver: 1 } }),
      RunPodSandbox: (request) => this.#runSandbox(request),
      StopPodSandbox: ({ podSandboxId }) => {
        for (const one of this.containers.values()) if (one.sandboxId === podSandboxId) end(one);
        const found = this.sandboxes.get(String(podSandboxId));
        if (found !== undefined) found.state = sandboxNotReady;
        return {};
      },
      RemovePodSandbox: ({ podSandboxId }) => {
        for (const one of this.containers.values())
          if (one.sandboxId === podSandboxId) this.containers.delete(one.id);
        this.sandboxes.delete(String(podSandboxId));
        return {};
      },
      ListPodSandbox: (request) => ({
        items: chosen(this.sandboxes, request).map((one) => ({
          ...one.config,
          id: one.id,
          state: one.state,
          createdAt: one.startedAt,
          runtimeHandler: one.handler,
        })),
      }),
      PodSandboxStatus: ({ podSandboxId }) => ({
        status: { id: podSandboxId, network: { ip: "10.0.0.9" } },
      }),
      CreateContainer: (request) => this.#createContainer(request),
      StartContainer: ({ containerId }) => {
        const found = need(this.containers, containerId);
        found.state = running;
        found.startedAt = Date.now() * 1_000_000;
        return {};
      },
      StopContainer: ({ containerId }) => {
        end(need(this.containers, containerId));
        return {};
      },
      RemoveContainer: ({ containerId }) => {
        this.containers.delete(String(containerId));
        return {};
      },
      ListContainers: (request) => ({
        containers: chosen(this.containers, request).map((one) => ({
          ...one.config,
          id: one.id,
          podSandboxId: one.sandboxId,
          state: one.state,
        })),
      }),
      ContainerStatus: ({ containerId }) => {
        const { config, ...rest } = need(this.containers, containerId);
        return { status: { ...config, ...rest, createdAt: rest.startedAt, imageRef: imageOf(config) } };
      },
    };
  }

  #images(): Record<string, (request: Message) => object> {
    const known = (image: unknown) => ({ id: `sha256:${String(image)}`, repoTags: [String(image)], size: 1 });
    return {
      PullImage: (request) => {
        const image = imageOf(request);
        if (!this.#features.images.includes(image)) throw new Refusal(`no image "${image}"`, "NOT_FOUND");
        this.pulled.add(image);
        return { imageRef: `sha256:${image}` };
      },
      ImageStatus: (request) => {
        const image = imageOf(request).replace(/^sha256:/, "");
        return this.pulled.has(image) ? { image: known(image) } : {};
      },
      ListImages: () => ({ images: [...this.pulled].map(known) }),
      ImageFsInfo: () => ({ imageFilesystems: [{ fsId: { mountpoint: "/" } }] }),
    };
  }

  #runSandbox({ config, runtimeHandler }: Message): object {
    const handler = String(runtimeHandler);
    const features = this.#features.handlers[handler] ?? (handler === "" ? {} : undefined);
    if (features === undefined)
      throw new Refusal(`no runtime for "${handler}" is configured`, "INVALID_ARGUMENT");
    const ids = at(config, "linux", "securityContext", "namespaceOptions", "usernsOptions");
    if (at(ids, "mode") === 0) {
      if (features.userNamespaces !== true) throw new Refusal("no user namespaces", "INVALID_ARGUMENT");
      const host = JSON.stringify(at(ids, "uids"));
      const same = [...this.sandboxes.values()].some(
        (one) =>
          JSON.stringify(
            at(one.config, "linux", "securityContext", "namespaceOptions", "usernsOptions", "uids"),
          ) === host,
      );
      if (same) throw new Refusal("another Pod has these ids", "INVALID_ARGUMENT");
    }
    const id = this.#keep(this.sandboxes, "", config, handler, sandboxReady);
    return { podSandboxId: id };
  }

  #createContainer({ podSandboxId, config }: Message): object {
    const sandbox = need(this.sandboxes, podSandboxId);
    const { image: knowsImage, imageSubPath: knowsSubPath } = this.#features.mounts;
    const mounts = list(at(config, "mounts")).map((mount) => {
      const rro = at(mount, "recursiveReadOnly") === true;
      if (rro && (at(mount, "readonly") !== true || at(mount, "propagation") !== 0))
        throw new Refusal("recursive_read_only needs readonly and private", "INVALID_ARGUMENT");
      if (rro && this.#features.handlers[sandbox.handler]?.recursiveReadOnlyMounts !== true)
        throw new Refusal("no recursive read-only mounts", "INVALID_ARGUMENT");
      const image = at(mount, "image");
      if (knowsImage && image !== null && !this.pulled.has(imageOf({ image }).replace(/^sha256:/, "")))
        throw new Refusal("the image to mount is not there", "NOT_FOUND");
      const seen: Record<string, unknown> = { ...(mount as object) };
      if (!knowsImage) delete seen["image"];
      if (!knowsSubPath) delete seen["imageSubPath"];
      return seen;
    });
    const kept = { ...(config as object), mounts };
    return { containerId: this.#keep(this.containers, sandbox.id, kept, sandbox.handler, created) };
  }

  #keep(
    where: Map<string, FakeCriRecord>,
    sandboxId: string,
    config: unknown,
    handler: string,
    state: number,
  ): string {
    this.#made += 1;
    const id = this.#made.toString(16).padStart(64, "0");
    const startedAt = Date.now() * 1_000_000;
    where.set(id, { id, sandboxId, config: config as Message, handler, state, startedAt, finishedAt: 0 });
    return id;
  }
}

class Refusal extends Error {
  override readonly name = "Refusal";
  readonly code: "NOT_FOUND" | "INVALID_ARGUMENT";

  constructor(message: string, code: Refusal["code"]) {
    super(message);
    this.code = code;
  }
}

function codeOf(cause: unknown): grpc.status {
  return cause instanceof Refusal ? grpc.status[cause.code] : grpc.status.UNKNOWN;
}

function end(container: FakeCriRecord): void {
  if (container.state === exited) return;
  container.state = exited;
  container.finishedAt = Date.now() * 1_000_000;
}

function need(where: ReadonlyMap<string, FakeCriRecord>, id: unknown): FakeCriRecord {
  const found = where.get(String(id));
  if (found === undefined) throw new Refusal(`there is no "${String(id)}"`, "NOT_FOUND");
  return found;
}

function chosen(where: ReadonlyMap<string, FakeCriRecord>, request: Message): readonly FakeCriRecord[] {
  const id = at(request, "filter", "id") ?? "";
  const labels = Object.entries((at(request, "filter", "labelSelector") ?? {}) as object);
  return [...where.values()].filter(
    (one) =>
      (id === "" || one.id === id) &&
      labels.every(([name, value]) => at(one.config, "labels", name) === value),
  );
}

/** A field of a message, and of the message in it. */
export function at(value: unknown, ...fields: readonly string[]): unknown {
  return fields.reduce<unknown>(
    (inner, field) =>
      typeof inner === "object" && inner !== null
        ? Object.entries(inner).find(([name]) => name === field)?.[1]
        : undefined,
    value,
  );
}

function list(value: unknown): readonly unknown[] {
  return Array.isArray(value) ? value : [];
}

function imageOf(message: Message): string {
  const image = at(message, "image", "image");
  return typeof image === "string" ? image : "";
}
