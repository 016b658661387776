import { story } from "./story.ts";

await story("docker");
