import { chmod, mkdir, readdir, readFile, writeFile } from "node:fs/promises";
import path from "node:path";
import type { Container, Pod, VolumeMount } from "#api/generated/kubernetes.ts";
import { errorText } from "#lib/log.ts";
import { type AgentContext, podEvent } from "../agent-context.ts";
import type { StartFailure } from "../model.ts";
import { hasAppArmorProfile } from "../observe/apparmor.ts";
import { appArmorProfile } from "../plan/apparmor.ts";
import { containerConfig, type ContainerInput, terminationFileName } from "../plan/container-config.ts";
import { containerRecords } from "../plan/container-records.ts";
import { containerResources } from "../plan/container-resources.ts";
import { fieldPathOf, type SpecContainer } from "../plan/containers-of.ts";
import { environment } from "../plan/environment.ts";
import { podHostname } from "../plan/hostname.ts";
import { hostsFile } from "../plan/hosts-file.ts";
import { attemptAfterLogs } from "../plan/log-names.ts";
import { containerHugePages } from "../plan/huge-pages.ts";
import { volumeImageKey } from "../plan/image-volumes.ts";
import type { PodAction } from "../plan/pod-actions.ts";
import { rootRefusal } from "../plan/security-context.ts";
import { subPathOf } from "../plan/sub-path-of.ts";
import type { PodEntry } from "../pod-entry.ts";
import { runHook } from "../probes/run-hook.ts";
import { ensurePodCgroup } from "../resources/pod-cgroups.ts";
import type { ContainerConfig, NamespaceMode, SandboxStatus } from "../runtime/runtime.ts";
import { podDirectory } from "../volumes/pod-directories.ts";
import { ensureHostPath } from "../volumes/plugins/host-path.ts";
import { bindSubPath, SubPathError } from "../volumes/sub-path.ts";
import { logDirectoryOf, sandboxOf } from "./create-sandbox.ts";
import { hookPorts } from "./hook-ports.ts";
import { linkLog, removeContainer } from "./log-links.ts";
import { readEnvFiles } from "./read-env-files.ts";

type Start = PodAction & { readonly do: "start-container" };

const retryMs = 10_000;

class StartError extends Error {
  override readonly name = "StartError";
  readonly reason: StartFailure["reason"];

  constructor(reason: StartFailure["reason"], message: string, options?: ErrorOptions) {
    super(message, options);
    this.reason = reason;
  }
}

/** Creates and starts one container. A failure is noted on the entry and said in an event; it is tried again later. */
export async function startContainer(
  context: AgentContext,
  entry: PodEntry,
  planned: Start,
  signal: AbortSignal,
): Promise<void> {
  const { pod } = entry;
  const action = await numbered(context, entry, planned);
  const { spec } = action;
  const name = spec.container.name;
  const place = fieldPathOf(spec);
  try {
    const id = await create(context, entry, action, signal);
    entry.forgetImages(name);
    podEvent(context, pod, "Normal", "Created", `Created container: ${name}`, place);
    // Before it starts: an agent that dies in between finds it running, and would not come here again.
    await linkLog(context, pod, name, id, action.attempt);
    await start(context, entry, spec, id, signal);
    podEvent(context, pod, "Normal", "Started", `Started container ${name}`, place);
    entry.startFailures.delete(name);
    beginPostStart(context, entry, spec, id, action.sandbox);
  } catch (cause) {
    signal.throwIfAborted();
    entry.forgetImages(name);
    const reason = cause instanceof StartError ? cause.reason : "CreateContainerError";
    const message = cause instanceof StartError ? cause.message : errorText(cause);
    podEvent(context, pod, "Warning", "Failed", `Error: ${message}`, place);
    entry.startFailures.set(name, { reason, message, retryAtMs: context.clock.now() + retryMs });
  }
}

/** A first run goes on from the logs of runs that nobody else remembers. */
async function numbered(context: AgentContext, entry: PodEntry, action: Start): Promise<Start> {
  if (!action.isFirst) return action;
  const names = await readdir(path.join(logDirectoryOf(context, entry), action.spec.container.name)).catch(
    () => [],
  );
  return { ...action, attempt: Math.max(action.attempt, attemptAfterLogs(names)) };
}

async function create(
  context: AgentContext,
  entry: PodEntry,
  action: Start,
  signal: AbortSignal,
): Promise<string> {
  const { pod } = entry;
  const { spec, sandbox } = action;
  const { container } = spec;
  const image = entry.images.get(container.name);
  const imageUser = image?.state === "present" ? image.user : {};
  const refusal = rootRefusal(pod, container, imageUser);
  if (refusal !== undefined) throw new StartError("CreateContainerConfigError", refusal);
  await checkAppArmor(pod, container);
  const env = await variables(context, entry, container, sandbox);
  const directory = podDirectory(context.config.rootDir, entry.uid);
  const terminationFile = path.join(
    directory,
    "containers",
    container.name,
    terminationFileName(entry.uid, container.name, action.attempt),
  );
  await mkdir(path.dirname(terminationFile), { recursive: true, mode: 0o750 });
  await writeFile(terminationFile, "");
  await chmod(terminationFile, 0o666);
  const sources = await mountSources(context, entry, container, env, sandbox.id, signal);
  const handler = context.node.handlers().find(({ name }) => name === sandbox.runtimeHandler);
  const config = configOf(pod, spec, {
    attempt: action.attempt,
    backoffMs: action.backoffMs,
    imageRef: action.imageRef,
    env,
    sources,
    recursiveReadOnlyMounts: handler?.recursiveReadOnly ?? false,
    devices: deviceSources(context, entry, container),
    hostsFile: await writeHosts(context, entry, sandbox, directory),
    terminationFile,
    resources: {
      ...containerResources(pod, container, context.node.memoryBytes, context.node.minOomScoreAdj),
      hugepages: containerHugePages(container.resources, context.node.hugePages),
    },
    imageUser,
    seccompDefault: context.config.seccompDefault,
    seccompRoot: path.join(context.config.rootDir, "seccomp"),
    pid: pidMode(entry, spec),
  });
  await mkdir(
    path.join(
      context.config.podLogsDir,
      `${pod.metadata?.namespace}_${pod.metadata?.name}_${entry.uid}`,
      container.name,
    ),
    { recursive: true, mode: 0o755 },
  );
  // The sandbox came with a cgroup that is right for the first run.
  if (action.attempt > 0 || entry.settled !== entry.allocation) await ensurePodCgroup(context, entry);
  const sandboxConfig = await sandboxOf(context, entry, sandbox.attempt);
  return context.runtime.createContainer(sandbox.id, config, sandboxConfig, signal);
}

function configOf(pod: Pod, spec: SpecContainer, input: ContainerInput): ContainerConfig {
  try {
    return containerConfig(pod, spec, input);
  } catch (cause) {
    throw new StartError("CreateContainerConfigError", errorText(cause), { cause });
  }
}

/** A runtime that is asked for a profile nobody has may say no more than that the process did not start. */
async function checkAppArmor(pod: Pod, container: Container): Promise<void> {
  const profile = appArmorProfile(pod, container);
  if (profile?.type !== "Localhost") return;
  const { localhostProfile = "" } = profile;
  if ((await hasAppArmorProfile(localhostProfile)) === false)
    throw new StartError(
      "CreateContainerError",
      `Cannot enforce AppArmor: profile "${localhostProfile}" is not loaded`,
    );
}

async function start(
  context: AgentContext,
  entry: PodEntry,
  spec: SpecContainer,
  id: string,
  signal: AbortSignal,
): Promise<void> {
  try {
    await context.runtime.startContainer(id, signal);
  } catch (cause) {
    signal.throwIfAborted();
    const status = await context.runtime.containerStatus(id, signal).catch(() => undefined);
    // A container whose process could not be started is exited with StartError: it counts as a crash and backs off.
    if (status?.state !== "exited")
      await removeContainer(context, entry.pod, { id, name: spec.container.name }, signal).catch(
        () => undefined,
      );
    throw new StartError("RunContainerError", errorText(cause), { cause });
  }
}

async function variables(
  context: AgentContext,
  entry: PodEntry,
  container: Container,
  sandbox: SandboxStatus,
): Promise<readonly { readonly name: string; readonly value: string }[]> {
  const { pod } = entry;
  const namespace = pod.metadata?.namespace ?? "";
  const services = context.client === undefined || entry.source === "file" ? [] : context.node.services();
  if (services === undefined)
    throw new StartError(
      "CreateContainerConfigError",
      "services have not yet been read at least once, cannot construct envvars",
    );
  const found = <T>(
    view:
      | { readonly state: "found"; readonly object: T }
      | { readonly state: "absent" }
      | { readonly state: "loading"; readonly why: string },
  ): T | undefined => {
    if (view.state === "loading") throw new StartError("CreateContainerConfigError", view.why);
    return view.state === "found" ? view.object : undefined;
  };
  try {
    return environment(pod, container, {
      configMap: (name) => found(context.refs.configMap(namespace, name)),
      secret: (name) => found(context.refs.secret(namespace, name)),
      file: await readEnvFiles(container, context.volumes.of(entry.uid)),
      services,
      facts: context.node.facts(pod.spec?.hostNetwork === true ? context.node.hostIps() : sandbox.ips),
    });
  } catch (cause) {
    throw cause instanceof StartError
      ? cause
      : new StartError("CreateContainerConfigError", errorText(cause), { cause });
  }
}

async function mountSources(
  context: AgentContext,
  { pod, uid, images }: PodEntry,
  container: Container,
  env: readonly { readonly name: string; readonly value: string }[],
  sandboxId: string,
  signal: AbortSignal,
): Promise<ContainerInput["sources"]> {
  const variables = new Map(env.map(({ name, value }) => [name, value]));
  const sources: ContainerInput["sources"][number][] = [];
  for (const [place, mount] of (container.volumeMounts ?? []).entries()) {
    const volume = pod.spec?.volumes?.find(({ name }) => name === mount.name);
    if (volume === undefined)
      throw new StartError(
        "CreateContainerConfigError",
        `cannot find volume "${mount.name}" to mount into container "${container.name}"`,
      );
    const known = context.volumes.of(uid).get(mount.name);
    if (known === undefined)
      throw new StartError("CreateContainerError", `volume "${mount.name}" has not been set up yet`);
    const subPath = partOf(mount, variables);
    const image = volume.image && images.get(volumeImageKey(container.name, volume.name));
    const content = image?.state === "present" ? { image: image.ref } : {};
    if (image?.state === "present" && context.runtime.mountImage === undefined) {
      sources.push({ ...content, hostPath: "", ...(subPath === "" ? {} : { imageSubPath: subPath }) });
      continue;
    }
    if (image?.state === "present")
      await context.runtime.mountImage?.(sandboxId, image.ref, known.place.directory, signal);
    const hostPath = image === undefined ? known.mounted.hostPath : known.place.directory;
    if (subPath === "") {
      await ensureHostPath(known.source);
      sources.push({ ...content, hostPath });
      continue;
    }
    const target = path.join(
      podDirectory(context.config.rootDir, uid),
      "volume-subpaths",
      volume.name,
      container.name,
      String(place),
    );
    try {
      await bindSubPath(hostPath, subPath, target);
    } catch (cause) {
      const refusal = `failed to prepare subPath for volumeMount "${mount.name}" of container "${container.name}"`;
      context.log.warn("cannot bind a subPath", { uid, container: container.name, cause: errorText(cause) });
      // The Pod's owner hears of the volume only: what else went wrong would tell of the node's own files.
      const why = cause instanceof SubPathError ? `${refusal}: ${cause.message}` : refusal;
      throw new StartError("CreateContainerConfigError", why, { cause });
    }
    sources.push({ ...content, hostPath: target });
  }
  return sources;
}

function partOf(mount: VolumeMount, variables: ReadonlyMap<string, string>): string {
  try {
    return subPathOf(mount, variables);
  } catch (cause) {
    throw new StartError("CreateContainerConfigError", errorText(cause), { cause });
  }
}

/** The devices of the container's block volumes, in the order of `volumeDevices`. */
function deviceSources(context: AgentContext, { uid }: PodEntry, container: Container): readonly string[] {
  return (container.volumeDevices ?? []).map(({ name }) => {
    const known = context.volumes.of(uid).get(name);
    if (known === undefined)
      throw new StartError("CreateContainerError", `volume "${name}" has not been set up yet`);
    return known.mounted.hostPath;
  });
}

async function writeHosts(
  context: AgentContext,
  { pod }: PodEntry,
  sandbox: SandboxStatus,
  directory: string,
): Promise<string> {
  const file = path.join(directory, "etc-hosts");
  const nodeHosts =
    pod.spec?.hostNetwork === true ? await readFile("/etc/hosts", "utf8").catch(() => "") : "";
  const text = hostsFile(
    pod,
    sandbox.ips,
    podHostname(pod, context.config.clusterDomain, context.nodeName),
    nodeHosts,
  );
  await mkdir(directory, { recursive: true, mode: 0o750 });
  // Written in place: containers that run have this very file mounted.
  if ((await readFile(file, "utf8").catch(() => undefined)) !== text)
    await writeFile(file, text, { mode: 0o644 });
  return file;
}

function pidMode({ pod, runtime }: PodEntry, { kind, container }: SpecContainer): NamespaceMode {
  if (pod.spec?.hostPID === true) return { mode: "node" };
  const target =
    kind === "ephemeral" && "targetContainerName" in container ? container.targetContainerName : undefined;
  if (typeof target === "string" && target !== "") {
    const record = containerRecords(runtime.containers).get(target);
    if (record === undefined)
      throw new StartError("CreateContainerError", `unable to find target container ${target}`);
    return { mode: "target", containerId: record.newest.id };
  }
  return { mode: pod.spec?.shareProcessNamespace === true ? "pod" : "container" };
}

function beginPostStart(
  context: AgentContext,
  entry: PodEntry,
  spec: SpecContainer,
  id: string,
  sandbox: SandboxStatus,
): void {
  const handler = spec.container.lifecycle?.postStart;
  if (handler === undefined) return;
  entry.postStart.set(id, "running");
  const podIp = sandbox.ips[0] ?? context.node.hostIps()[0] ?? "";
  const signal = AbortSignal.any([context.signal, entry.stop.signal]);
  const ended = context.journals.of(entry.uid).begin("postStart hook", spec.container.name, true);
  const run = async (): Promise<void> => {
    try {
      await runHook(
        handler,
        { containerId: id, container: spec.container, podIp },
        hookPorts(context, entry.pod, spec),
        signal,
      );
      entry.postStart.set(id, "done");
    } catch (cause) {
      if (signal.aborted) return;
      const message = `PostStartHook failed: ${errorText(cause)}`;
      podEvent(context, entry.pod, "Warning", "FailedPostStartHook", message, fieldPathOf(spec));
      entry.postStart.set(id, "failed");
      const retryAtMs = context.clock.now(); // the back-off of what was started and ended decides
      entry.startFailures.set(spec.container.name, { reason: "PostStartHookError", message, retryAtMs });
    } finally {
      ended(entry.postStart.get(id) !== "done");
      context.markDirty(entry.uid);
    }
  };
  void run();
}
