import { readdir, rmdir, stat } from "node:fs/promises";
import path from "node:path";
import type { FlexPersistentVolumeSource, FlexVolumeSource } from "#api/generated/kubernetes.ts";
import { errorText } from "#lib/log.ts";
import { makeFolder } from "#lib/make-folder.ts";
import { isMissing } from "#lib/read-if-there.ts";
import { mountAt } from "#linux/mount.ts";
import { runProgram } from "#linux/run-program.ts";
import { type FlexAnswer, flexOptions, parseFlexAnswer } from "../../plan/flex-options.ts";
import { applyFsGroup } from "../fs-group.ts";
import { unmountByProgram } from "../mount-program.ts";
import type {
  MountedVolume,
  VolumePlace,
  VolumePlugin,
  VolumeRequest,
  VolumeSource,
} from "../volume-plugin.ts";

const callMs = 120_000;

/** Reads a Secret's values. */
export type ReadSecret = (
  namespace: string,
  name: string,
  signal: AbortSignal,
) => Promise<ReadonlyMap<string, string>>;

/**
 * A FlexVolume driver of this node: a program that mounts and unmounts (deprecated upstream, for CSI). A driver whose
 * volumes have to be attached first is refused: nothing here attaches for it.
 * @see Kubernetes, contributors' guide, "Flexvolume".
 */
export class FlexPlugin implements VolumePlugin {
  /** `vendor/driver`. */
  readonly name: string;
  readonly refreshes = false;
  readonly #program: string;
  readonly #secret: ReadSecret;
  /** Once `init` went well. */
  #capabilities: FlexAnswer["capabilities"] | undefined;

  constructor(name: string, program: string, secret: ReadSecret) {
    this.name = name;
    this.#program = program;
    this.#secret = secret;
  }

  serves(source: VolumeSource): boolean {
    return flexOf(source)?.driver === this.name;
  }

  async setUp(request: VolumeRequest, signal: AbortSignal): Promise<MountedVolume> {
    const { place, pod, source, isBlock, readOnly, fsGroup, fsGroupPolicy, slowGroup } = request;
    const { directory, name } = place;
    if (isBlock) throw new Error("a FlexVolume has no block device");
    const flex = flexOf(source);
    if (flex === undefined) throw new Error(`volume "${request.name}" is no FlexVolume`);
    if ((await mountAt(directory)) !== undefined) return { hostPath: directory };
    const capabilities = await this.#init(signal);
    if (capabilities.get("attach") !== false)
      throw new Error(
        `FlexVolume driver "${this.name}" attaches its volumes, which this node does not do; use a CSI driver`,
      );
    const secrets = await this.#secrets(flex, request, signal);
    const options = flexOptions(flex, { pod, name, readOnly, fsGroup, secrets });
    await makeFolder(directory, 0o750);
    try {
      const isKnown = await this.#call(["mount", directory, JSON.stringify(options)], signal);
      if (!isKnown) throw new Error(`FlexVolume driver "${this.name}" does not support mount`);
    } catch (cause) {
      if ((await mountAt(directory)) === undefined) await rmdir(directory).catch(() => undefined);
      throw cause;
    }
    const isReadOnly = readOnly || flex.readOnly === true;
    if (fsGroup !== undefined && !isReadOnly && capabilities.get("fsGroup") !== false) {
      const wanted = { group: fsGroup, policy: fsGroupPolicy, readOnly: false, slow: slowGroup };
      await applyFsGroup(directory, wanted, signal);
    }
    return { hostPath: directory };
  }

  async tearDown({ directory }: VolumePlace, signal: AbortSignal): Promise<void> {
    if ((await mountAt(directory)) !== undefined) await this.#call(["unmount", directory], signal);
    // A driver may leave it to us.
    if ((await mountAt(directory)) !== undefined) await unmountByProgram(directory, callMs, signal);
    await rmdir(directory).catch((cause: unknown) => {
      if (!isMissing(cause)) throw cause;
    });
  }

  async #init(signal: AbortSignal): Promise<FlexAnswer["capabilities"]> {
    this.#capabilities ??= (await this.#answer(["init"], signal)).capabilities;
    return this.#capabilities;
  }

  /** @returns false for a call that the driver does not know. */
  async #call(args: readonly string[], signal: AbortSignal): Promise<boolean> {
    return (await this.#answer(args, signal)).status !== "Not supported";
  }

  /** @throws Error in the kubelet's words for a failure. */
  async #answer(args: readonly string[], signal: AbortSignal): Promise<FlexAnswer> {
    const [command = ""] = args;
    const { output, said } = await runProgram(this.#program, args, { timeoutMs: callMs }, signal);
    const answer = answerOf(output === "" ? said : output, `FlexVolume driver "${this.name}" ${command}`);
    if (answer.status === "Failure")
      throw new Error(`${command} command failed, status: ${answer.status}, reason: ${answer.message}`);
    return answer;
  }

  async #secrets(
    flex: FlexVolumeSource | FlexPersistentVolumeSource,
    { pod, source }: VolumeRequest,
    signal: AbortSignal,
  ): Promise<ReadonlyMap<string, string>> {
    if (flex.secretRef?.name === undefined) return new Map();
    const own = pod.metadata?.namespace ?? "";
    const named = source.from === "claim" ? source.volume.spec?.flexVolume?.secretRef?.namespace : undefined;
    return await this.#secret(named ?? own, flex.secretRef.name, signal);
  }
}

function answerOf(text: string, call: string): FlexAnswer {
  try {
    return parseFlexAnswer(text);
  } catch (cause) {
    throw new Error(`${call}: ${errorText(cause)}`, { cause });
  }
}

/**
 * The drivers that are installed: `<folder>/<vendor>~<driver>/<driver>`. One that is installed later is seen by the
 * next agent.
 */
export async function flexPlugins(folder: string, secret: ReadSecret): Promise<readonly FlexPlugin[]> {
  const names = await readdir(folder).catch((cause: unknown): string[] => {
    if (isMissing(cause)) return [];
    throw cause;
  });
  const found: FlexPlugin[] = [];
  for (const name of names.toSorted()) {
    const driver = name.slice(name.indexOf("~") + 1);
    const program = path.join(folder, name, driver);
    const isProgram = await stat(program).then(
      (one) => one.isFile() && (one.mode & 0o111) !== 0,
      () => false,
    );
    if (isProgram && !name.startsWith("."))
      found.push(new FlexPlugin(name.replace("~", "/"), program, secret));
  }
  return found;
}

function flexOf(source: VolumeSource): FlexVolumeSource | FlexPersistentVolumeSource | undefined {
  return source.from === "pod" ? source.volume.flexVolume : source.volume.spec?.flexVolume;
}
