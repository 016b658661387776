import { execFileSync } from "node:child_process";
import { existsSync, readdirSync, realpathSync } from "node:fs";
import path from "node:path";

/** One kubectl on this machine. */
export interface Kubectl {
  /** `1.33`. */
  readonly version: string;
  readonly file: string;
}

/**
 * Every kubectl there is, oldest first: beside the one on the PATH, under names such as `kubectl.1.27`.
 * Tests run with all of them and name the versions that are missing.
 */
export function allKubectls(): readonly Kubectl[] {
  known ??= findKubectls();
  return known;
}

/** Found once: to ask a program its version costs as much as most calls of it. */
let known: readonly Kubectl[] | undefined;

function findKubectls(): readonly Kubectl[] {
  const onPath = ["/usr/local/bin/kubectl", "/usr/bin/kubectl"].find((file) => existsSync(file));
  if (onPath === undefined) return [];
  const folder = path.dirname(realpathSync(onPath));
  const versioned = readdirSync(folder).flatMap((name) => {
    const version = /^kubectl\.(\d+\.\d+)$/.exec(name)?.[1];
    return version === undefined ? [] : [{ version, file: path.join(folder, name) }];
  });
  const sorted = versioned.sort((a, b) => Number(a.version.slice(2)) - Number(b.version.slice(2)));
  return sorted.length > 0 ? sorted : [{ version: versionOf(onPath), file: onPath }];
}

/** `1.20`, as the program says it of itself. */
function versionOf(file: string): string {
  const said = execFileSync(file, ["version", "--client", "--output=json"], { encoding: "utf8" });
  const version = /"gitVersion": *"v(\d+\.\d+)/.exec(said)?.[1];
  if (version === undefined) throw new Error(`cannot read the version of "${file}": it says ${said}`);
  return version;
}

/** The kubectl of one version, or undefined. */
function kubectlOf(version: string): Kubectl | undefined {
  return allKubectls().find((kubectl) => kubectl.version === version);
}

/** Which of the wanted versions are here; where none is, the newest there is must do. */
export function chooseKubectls(wanted: readonly string[]): {
  readonly chosen: readonly Kubectl[];
  readonly missing: readonly string[];
} {
  const found = wanted.flatMap((version) => kubectlOf(version) ?? []);
  return {
    chosen: found.length > 0 ? found : allKubectls().slice(-1),
    missing: wanted.filter((version) => !found.some((kubectl) => kubectl.version === version)),
  };
}

/** The newest there is. @throws Error when there is none. */
export function newestKubectl(): Kubectl {
  const newest = allKubectls().at(-1);
  if (newest === undefined)
    throw new Error("cannot test: there is no kubectl on this machine; apt-get install kubernetes-client");
  return newest;
}
