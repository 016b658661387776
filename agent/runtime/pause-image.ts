import { type BuiltImage, buildImage } from "./image-tar.ts";
import { type PauseArchitecture, pauseProgram } from "./pause-program.ts";

/**
 * The sandbox image, built in: a node without a registry starts Pods. Its only file is {@link pauseProgram}.
 * @throws for a machine we have no program for.
 */
export function pauseImage(architecture: string): BuiltImage {
  if (!isKnown(architecture))
    throw new Error(
      `cannot build the sandbox image: no program for "${architecture}"; load an image of your own under the runtime's sandbox image name`,
    );
  const program = { path: "pause", content: pauseProgram(architecture), mode: 0o755 };
  const user = "65535:65535";
  return buildImage([program], { entrypoint: ["/pause"], user }, architecture === "x64" ? "amd64" : "arm64");
}

/** The name under which Docker keeps it; containerd's configuration names its own. */
export const dockerPauseReference = "keelson/pause:1";

function isKnown(architecture: string): architecture is PauseArchitecture {
  return architecture === "x64" || architecture === "arm64";
}
