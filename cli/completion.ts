import type { Command } from "./command.ts";
import { commandNames } from "./main.ts";

/** `keelson completion`: a bash script for `source <(keelson completion)`. */
export const completion: Command = {
  name: "completion",
  summary: "print shell completion for bash",
  help: () => "usage: source <(keelson completion)\n",
  async run(_args, io) {
    io.out(
      `_keelson() { [ "$COMP_CWORD" = 1 ] && COMPREPLY=($(compgen -W "${commandNames.join(" ")}" -- "\${COMP_WORDS[1]}")); }\ncomplete -F _keelson keelson\n`,
    );
    return 0;
  },
};
